//! The programs that the checks need beside cargo.
//!
//! Called by `ci` and `soak` before their other steps. Must never install anything without being
//! root on a machine with apt; elsewhere it names the one command to run.

use crate::shell::{Done, has, run};
use std::process::Command;

/// Program, Debian package, and why it is needed.
const NEEDED: &[(&str, &str, &str)] = &[
    (
        "curl",
        "curl",
        "an HTTP client that is not ours, for the smoke test",
    ),
    (
        "wrk",
        "wrk",
        "1,000 connections at once in the smoke test; the load of `bench limit`",
    ),
    (
        "chromium",
        "chromium",
        "a real browser shows a page of `tarae serve` in the smoke test",
    ),
    (
        "strace",
        "strace",
        "tests count a server's system calls, and have them fail",
    ),
    ("timeout", "coreutils", "bounds programs that could hang"),
];

/// Sees to it that everything needed is there.
pub(crate) fn run_step() -> Done {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(program, ..)| !has(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    if !has("apt-get") || !is_root() {
        let reasons: Vec<String> = missing
            .iter()
            .map(|(program, _, why)| format!("  {program}: {why}"))
            .collect();
        return Err(format!(
            "missing programs:\n{}\nrun: sudo apt-get install -y {}",
            reasons.join("\n"),
            packages.join(" ")
        ));
    }
    println!("installing {}", packages.join(" "));
    if install(&packages).is_err() {
        run(Command::new("apt-get").args(["-q", "update"]))?;
        install(&packages)?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Done {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(packages);
    run(&mut command)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::NEEDED;
    use crate::shell::{read, root};

    #[test]
    fn the_ci_script_installs_the_same() {
        let script = read(&root().join(".ci/run")).expect("a script");
        let line = script
            .lines()
            .find_map(|line| line.strip_prefix("for pair in "));
        let pairs = line
            .and_then(|line| line.strip_suffix("; do"))
            .expect("a list");
        let want: Vec<String> = NEEDED
            .iter()
            .map(|(program, package, _)| format!("{program}:{package}"))
            .collect();
        assert_eq!(pairs.split(' ').collect::<Vec<_>>(), want);
    }
}
