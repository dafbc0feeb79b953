//! The command `tarae`: reads the command line, does what it says, turns errors into one line on
//! standard error and an exit code. It must never panic because its output is closed.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use tarae_cli::args::{self, Command};
use tarae_cli::serve;

/// Something the command line named cannot be used.
const FAILED: u8 = 1;
/// The command line itself is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(args)) => match serve::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), FAILED),
        },
        Ok(Command::Help) => print(args::HELP),
        Ok(Command::ServeHelp) => print(args::SERVE_HELP),
        Ok(Command::Version) => print(concat!("tarae ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => fail(&error.to_string(), USAGE),
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that has seen enough, as in `tarae --help | head -1`, is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(sentence: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "tarae: {sentence}");
    ExitCode::from(code)
}
