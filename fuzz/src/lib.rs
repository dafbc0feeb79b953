//! What the fuzz targets share: the checks and cases of the tests of `tarae-http`, compiled once
//! more here. Must hold nothing of its own: the tests replay all of it on a stable compiler.

#![forbid(unsafe_code)]

use std::path::Path;

/// Reading bodies of forms.
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/tarae-http/tests/it/multipart.rs"]
mod multipart;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/tarae-http/tests/it/conformance/mod.rs"]
mod conformance;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/tarae-http/tests/it/harness.rs"]
mod harness;

#[path = "../../crates/tarae-http/tests/it/fuzzed.rs"]
mod fuzzed;

/// Runs the check of the target of this name.
///
/// # Panics
///
/// If what the target asserts does not hold, or there is no such target.
pub fn check(name: &str, input: &[u8]) {
    let (_, check, _) = target(name);
    check(input);
}

/// Writes what the target of this name begins with into the folder `FUZZ_SEEDS`, before libFuzzer
/// reads that.
///
/// # Panics
///
/// If the variable is not set, the folder cannot be written to, or there is no such target.
pub fn write_seeds(name: &str) {
    let folder = std::env::var_os("FUZZ_SEEDS").expect("set by `cargo xtask fuzz`");
    let (_, _, seeds) = target(name);
    for (number, seed) in seeds().iter().enumerate() {
        let file = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("a folder to write to");
    }
}

fn target(name: &str) -> fuzzed::Target {
    let mut targets = fuzzed::TARGETS.into_iter();
    targets.find(|target| target.0 == name).expect("a target")
}
