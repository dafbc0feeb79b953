//! Where panics abort: the program of the folder `abort`, built with `panic = "abort"`, since a
//! test itself never is.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::support::guard;

/// Builds the program, once for all tests here and once for all runs of the tests.
static PROGRAM: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sched/abort");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abort");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    target.join("debug/abort")
});

fn run(what: &str) -> Output {
    let _guard = guard("a program whose panics abort");
    let mut command = Command::new(&*PROGRAM);
    command.arg(what).env_remove("RUST_BACKTRACE");
    command.output().unwrap()
}

/// Spawning, joining, cancelling, offloading, the end, and stragglers need no unwinding.
#[test]
fn the_runtime_works() {
    let output = run("works");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert_eq!(output.stdout, b"ended\n");
}

/// A panic of any coroutine ends the process, with its message and its place.
#[test]
fn a_panic_aborts_and_says_why() {
    let output = run("panics");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "{}: {said}", output.status);
    assert!(said.contains("the soup is cold"), "{said}");
    assert!(said.contains("src/main.rs:"), "{said}");
    assert_eq!(output.stdout, b"");
}
