//! The repository's own commands: `cargo xtask ci | soak | sanitize | fuzz | tidy | …`.
//!
//! Called by people, by `.ci/run` and by nothing else; no crate depends on it. It must never need
//! a crate from outside, for it is what a clean checkout builds first.

#![forbid(unsafe_code)]

mod bench;
mod ci;
mod docker;
mod fuzz;
#[cfg(test)]
mod platform;
mod sanitize;
mod server;
mod setup;
mod shell;
mod smoke;
mod soak;
mod tidy;

use shell::Done;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  ci                   everything a change must pass: formatting, clippy, house rules, docs,
                       examples/hello, a smoke test of the server, all tests (under 15 minutes)
  soak                 everything longer: tests in release with TARAE_SOAK=1, cargo-deny,
                       the Dockerfile's commands in a scratch copy, the sanitizers,
                       each fuzz target for ten minutes
  sanitize             only the tests under AddressSanitizer and ThreadSanitizer, on nightly
  fuzz [TARGET] [SECONDS]
                       the fuzz targets of HTTP (head, chunks, connection, multipart), or one of
                       them, on nightly; 60 seconds each by default
  fuzz [TARGET] keep   adds what earlier runs found to the committed corpus
  conformance          how many conformance cases of HTTP there are, having run them
  tidy                 only the house rules (also a test of the package xtask)
  deny                 cargo-deny over deny.toml; installs it when it is missing
  bench limit          our /plaintext beside a raw epoll loop: CPU per request, requests/s, memory
      --rounds N       interleaved rounds, 5 by default; figures are their medians
      --seconds S      measured seconds of each server and round, 5 by default
      --connections N  only the scenarios with that many connections
      --server PATH    another server than ours; takes --listen ADDR and --workers 1
  bench micro [NAME]   our primitives beside those of other runtimes, in one run
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nxtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Done {
    match words {
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["ci"] => ci::run(),
        ["soak"] => soak::run(),
        ["sanitize"] => sanitize::run(),
        ["fuzz", words @ ..] => fuzz::run(words),
        ["conformance"] => fuzz::count(),
        ["tidy"] => tidy::run(),
        ["deny"] => soak::deny(),
        ["bench", "limit", options @ ..] => bench::limit(options),
        ["bench", "micro", options @ ..] => bench::micro(options),
        other => Err(format!("`{}`: no such command\n\n{USAGE}", other.join(" "))),
    }
}
