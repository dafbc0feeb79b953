//! What the tests share: a guard against hanging, tests in a process of their own, counts of what
//! the process holds. Called by every test; decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/running.rs"]
mod running;

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use guards::{Guard, guard_saying};
pub(crate) use running::{run_on, until};

/// Guards a test against hanging; a generous bound, since the machine may be busy.
pub(crate) fn guard(what: &'static str) -> Guard {
    guard_for(what, Duration::from_secs(120))
}

pub(crate) fn guard_for(what: &'static str, bound: Duration) -> Guard {
    guard_saying(what, bound, || ())
}

const CHILD: &str = "TARAE_TEST_CHILD";

/// Runs `body` in a process that runs nothing but the test `name`, on its first thread.
pub(crate) fn isolated(name: &str, body: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        return body();
    }
    let output = child(name, &[]);
    assert!(
        output.status.success(),
        "{name} in its own process: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// The output of the test `name`, run alone in a new process that knows it is the child.
pub(crate) fn child(name: &str, environment: &[(&str, &str)]) -> Output {
    let _guard = guard_for("a test in a process of its own", Duration::from_secs(300));
    let mut command = child_command(name);
    command.envs(environment.iter().copied()).output().unwrap()
}

/// Runs the test `name` alone in a new process that knows it is the child.
pub(crate) fn child_command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        // One arena: the address space then grows by what the test does, not by who allocates.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null());
    command
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Whether the long versions are wanted (`cargo xtask soak`).
pub(crate) fn soak() -> bool {
    std::env::var_os("TARAE_SOAK").is_some()
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// What the process holds and should give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

pub(crate) fn held() -> Held {
    Held {
        descriptors: entries("/proc/self/fd"),
        threads: entries("/proc/self/task"),
    }
}

/// Bytes of a line such as `VmRSS:` or `VmSize:` of the process's status.
pub(crate) fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let digits = found.unwrap().trim().trim_end_matches(" kB");
    digits.parse::<usize>().unwrap() * 1024
}

/// Counts that it was dropped.
pub(crate) struct Counted(pub(crate) &'static AtomicUsize);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A counter that lives as long as the process.
pub(crate) fn counter() -> &'static AtomicUsize {
    Box::leak(Box::new(AtomicUsize::new(0)))
}
