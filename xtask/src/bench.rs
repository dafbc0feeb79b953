//! The benchmarks: builds what they need and hands over.
//!
//! Called by `main`. Must never be a part of `ci` or of a test: figures are for reading, and a
//! busy machine must not fail a change.

mod limit;
mod turns;
pub(crate) mod wrk;

use crate::shell::{Done, cargo, run, target};
use std::path::PathBuf;

/// `cargo xtask bench limit`.
pub(crate) fn limit(options: &[&str]) -> Done {
    limit::run(&limit::Options::parse(options)?)
}

/// `cargo xtask bench micro`; the programs are in `bench/micro`.
pub(crate) fn micro(options: &[&str]) -> Done {
    let program = build_peer("tarae-bench-micro", "micro")?;
    run(std::process::Command::new(program).args(options))
}

/// Builds a program of the workspace `bench/`.
fn build_peer(package: &str, program: &str) -> Done<PathBuf> {
    let folder = target().join("bench-peers");
    let arguments = [
        "build",
        "--locked",
        "--profile=bench",
        "--manifest-path=bench/Cargo.toml",
    ];
    let mut command = cargo(&arguments);
    run(command
        .args(["-p", package])
        .arg("--target-dir")
        .arg(&folder))?;
    // Cargo puts the results of the profile `bench` where those of `release` go.
    Ok(folder.join("release").join(program))
}

/// Builds the example server that is measured.
fn build_ours() -> Done<PathBuf> {
    let arguments = ["build", "--locked", "--profile=bench", "-p", "tarae-http"];
    run(cargo(&arguments).args(["--example", "plaintext"]))?;
    Ok(target().join("release/examples/plaintext"))
}
