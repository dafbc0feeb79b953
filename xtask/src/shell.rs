//! Running programs, and where things are.
//!
//! Used by every command. Must never hide a program's output or its failure.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What every step gives: nothing or something, or a sentence that names the thing at fault.
pub(crate) type Done<T = ()> = Result<T, String>;

/// The repository's root, by where this package was compiled.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in the root")
        .to_path_buf()
}

/// Where the workspace's build results are.
pub(crate) fn target() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(chosen.unwrap_or_else(|| "target".into()))
}

/// A cargo command in the root; the same cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    command
}

/// The toolchain for what a stable compiler cannot do.
pub(crate) const NIGHTLY: &str = "nightly";

/// The platform we run on. Naming it to cargo keeps `RUSTFLAGS` away from build scripts and macros.
pub(crate) fn platform() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// A cargo command of the nightly toolchain in the root.
pub(crate) fn nightly_cargo(command: &str) -> Command {
    let mut cargo = Command::new("rustup");
    cargo
        .current_dir(root())
        .args(["run", NIGHTLY, "cargo", command])
        // Those of the toolchain that runs us.
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTDOC")
        .env("RUSTUP_TOOLCHAIN", NIGHTLY);
    cargo
}

/// Runs to the end with our own input and output; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Done {
    let status = command
        .status()
        .map_err(|error| not_started(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: {status}", shown(command)))
    }
}

/// Runs to the end and gives what it printed; an error, with its messages, when it fails.
pub(crate) fn output(command: &mut Command) -> Done<String> {
    let output = command
        .output()
        .map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}\n{messages}", shown(command), output.status))
}

/// Reads a text file; the error names it.
pub(crate) fn read(path: &Path) -> Done<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether a program can be found on the path.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// An empty folder for one run; a folder left by an earlier run is removed first.
pub(crate) fn scratch(name: &str) -> Done<PathBuf> {
    let folder = target().join("xtask").join(name);
    let failed = |error| format!("{}: {error}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(failed)?;
    }
    std::fs::create_dir_all(&folder).map_err(failed)?;
    Ok(folder)
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!(
        "{}: cannot start: {error}",
        command.get_program().to_string_lossy()
    )
}
