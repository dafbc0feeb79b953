//! `cargo xtask fuzz [TARGET] [SECONDS]`: runs the fuzz targets of `fuzz/` under libFuzzer.
//!
//! Called by people and by `soak`. Needs a nightly compiler, as the sanitizers do. `ci` only
//! replays the corpus, on stable, in the tests of `tarae-http`. A run must never write to the
//! committed corpus: what is found stays among the build results until `fuzz [TARGET] keep`.

use crate::shell::{self, Done, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs in `fuzz/src/bin` that are fuzz targets.
const TARGETS: &[&str] = &["head", "chunks", "connection", "multipart"];

/// How long `soak` runs each target.
const SOAK_SECONDS: u32 = 600;

/// What has the compiler count which edges are taken and note what is compared with what. The
/// code under test is safe Rust, so no sanitizer is needed beside that.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1";

/// Runs one target, or all of them one after another, each for that many seconds.
pub(crate) fn run(words: &[&str]) -> Done {
    let (targets, rest) = match words {
        [name, rest @ ..] if TARGETS.contains(name) => (std::slice::from_ref(name), rest),
        rest => (TARGETS, rest),
    };
    let seconds = match rest {
        ["keep"] => {
            let folder = build()?;
            return targets.iter().try_for_each(|name| keep(&folder, name));
        }
        [] => 60,
        [seconds] => seconds
            .parse()
            .map_err(|_| format!("`{seconds}`: not a target, and not a number of seconds"))?,
        _ => return Err("fuzz takes a target and a number of seconds".into()),
    };
    let folder = build()?;
    for name in targets {
        run_one(&folder, name, seconds)?;
    }
    Ok(())
}

/// The step of `soak`.
pub(crate) fn soak() -> Done {
    run(&[&SOAK_SECONDS.to_string()])
}

/// Runs the conformance cases and shows how many there are: the number that documents name.
pub(crate) fn count() -> Done {
    let words = [
        "test",
        "--package=tarae-http",
        "--test=it",
        "conforms::",
        "--",
    ];
    let shown = shell::output(shell::cargo(&words).arg("--nocapture"))?;
    let line = shown
        .lines()
        .find(|line| line.ends_with(" conformance cases"));
    println!("{}", line.ok_or("the tests show no number")?);
    Ok(())
}

/// Builds all targets; gives the folder with the programs.
fn build() -> Done<PathBuf> {
    let folder = target().join("xtask").join("fuzz");
    let platform = shell::platform();
    let mut cargo = shell::nightly_cargo("build");
    cargo
        .args(["--release", "--bins", "--manifest-path", "fuzz/Cargo.toml"])
        .arg(format!("--target={platform}"))
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &folder);
    shell::run(&mut cargo)?;
    Ok(folder.join(platform).join("release"))
}

/// Adds to the committed corpus what earlier runs have found and covers more than it and the
/// conformance cases do.
fn keep(programs: &Path, name: &str) -> Done {
    let base = shell::scratch(&format!("fuzz-base-{name}"))?;
    let corpus = shell::root().join("fuzz").join("corpus").join(name);
    let found = target().join("xtask").join("fuzz-corpus").join(name);
    let mut fuzzer = Command::new(programs.join(name));
    fuzzer.env("FUZZ_SEEDS", &base).arg("-merge=1").arg(&base);
    // By edges alone, not by how often each is taken: a small corpus.
    fuzzer
        .args(["-max_len=512", "-use_counters=0"])
        .arg(&corpus)
        .arg(&found);
    shell::run(&mut fuzzer)?;
    let failed = |error: std::io::Error| format!("{}: {error}", base.display());
    for entry in std::fs::read_dir(&base).map_err(failed)? {
        let file = entry.map_err(failed)?.file_name();
        if !file.to_string_lossy().starts_with("seed-") {
            std::fs::copy(base.join(&file), corpus.join(&file)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Runs one target over the committed corpus, the conformance cases and what earlier runs found.
fn run_one(programs: &Path, name: &str, seconds: u32) -> Done {
    println!("=== fuzz {name}: {seconds} s");
    let found = target().join("xtask").join("fuzz-corpus").join(name);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let own = shell::root().join("fuzz");
    let mut fuzzer = Command::new(programs.join(name));
    fuzzer
        .env("FUZZ_SEEDS", &found)
        .arg(&found)
        .arg(own.join("corpus").join(name))
        .arg(format!("-dict={}", own.join("http.dict").display()))
        .arg(format!("-artifact_prefix={}-", found.display()))
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-max_len=2048",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
    shell::run(&mut fuzzer)
}
