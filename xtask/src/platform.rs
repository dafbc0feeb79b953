//! What the runtime says when it is built for a system it cannot run on: only a test.
//!
//! The real build script is compiled and run as cargo would for other targets, whose standard
//! libraries this machine need not have.

use std::path::Path;
use std::process::Command;

/// What the build script prints for a target.
fn says(script: &Path, os: &str, arch: &str) -> String {
    let mut command = Command::new(script);
    command
        .env("CARGO_CFG_TARGET_OS", os)
        .env("CARGO_CFG_TARGET_ARCH", arch);
    let output = command.output().expect("the script runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn other_systems_get_one_clear_error() {
    let source = crate::shell::root().join("crates/tarae/build.rs");
    let script = std::env::temp_dir().join(format!("tarae-build-script-{}", std::process::id()));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile
        .args(["--edition", "2024", "-o"])
        .arg(&script)
        .arg(&source);
    assert!(compile.status().expect("rustc starts").success());
    for (os, arch) in [
        ("macos", "aarch64"),
        ("windows", "x86_64"),
        ("linux", "riscv64"),
    ] {
        let said = says(&script, os, arch);
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("cargo::error="))
            .collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains("Linux") && errors[0].contains(os) && errors[0].contains(arch));
    }
    for arch in ["x86_64", "aarch64"] {
        assert!(!says(&script, "linux", arch).contains("cargo::error"));
    }
    std::fs::remove_file(&script).expect("our own file");
}
