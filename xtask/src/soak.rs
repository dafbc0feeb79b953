//! `cargo xtask soak`: everything that takes too long for every change.
//!
//! Called by people. Must never be a part of `ci`, and must hold nothing that `ci` could afford.

use crate::shell::{self, Done, cargo, has, target};
use crate::{ci, docker, fuzz, sanitize, setup};
use std::ffi::OsStr;
use std::process::Command;

/// Tests lengthen themselves when this variable is set.
const SOAK: (&str, &str) = ("TARAE_SOAK", "1");

/// Runs all long steps; the first failure ends it.
pub(crate) fn run() -> Done {
    ci::run_all(&[
        ("set-up", setup::run_step),
        ("deny", deny),
        ("docker", docker::run),
        ("nightly", sanitize::install),
        ("asan", sanitize::address),
        ("tsan", sanitize::thread),
        ("fuzz", fuzz::soak),
    ])?;
    println!("=== tests in release, long");
    let mut tests = cargo(&["test", "--workspace", "--release"]);
    shell::run(tests.env(SOAK.0, SOAK.1))
}

/// Licences, advisories, sources and duplicates by cargo-deny. It takes minutes to build, so `ci`
/// does without: `tidy` checks the same for what this platform builds.
pub(crate) fn deny() -> Done {
    let folder = target().join("xtask").join("tools");
    let own = folder.join("bin").join("cargo-deny");
    if !has("cargo-deny") && !own.is_file() {
        println!("installing cargo-deny into {}", folder.display());
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--root"]);
        shell::run(install.arg(&folder))?;
    }
    let program = if own.is_file() {
        own.as_os_str()
    } else {
        "cargo-deny".as_ref()
    };
    let checks: fn(&OsStr, &[&str]) -> Done =
        |program, words| shell::run(Command::new(program).args(words).current_dir(shell::root()));
    checks(program, &["check", "bans", "licenses", "sources"])?;
    // The advisories lie in a database on the network; without one the rest still counts.
    match checks(program, &["fetch", "db"]) {
        Ok(()) => checks(program, &["check", "advisories"]),
        Err(message) => {
            println!("advisories NOT checked, the database cannot be fetched: {message}");
            Ok(())
        }
    }
}
