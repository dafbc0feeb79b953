//! A test in a process of its own, for the test programs that need one. Decides nothing itself.

use crate::support::guarded;

/// Runs a test in a process of its own: this program again, asked for that test only.
pub(crate) fn alone(name: &'static str, test: impl FnOnce()) {
    alone_saying(name, test);
}

/// As `alone`; gives what the other process wrote to standard error, and nothing in that one.
pub(crate) fn alone_saying(name: &'static str, test: impl FnOnce()) -> Option<String> {
    const VARIABLE: &str = "TARAE_TEST_ALONE";
    if std::env::var(VARIABLE).is_ok_and(|value| value == name) {
        guarded(name, test);
        return None;
    }
    let program = std::env::current_exe().expect("this program's path");
    let output = std::process::Command::new(program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, name)
        // One arena: the address space then grows by what the test does, not by who allocates.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .expect("starting this program again");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{name}` failed in a process of its own ({}):\n{said}\n{complained}",
        output.status
    );
    assert!(said.contains("1 passed"), "no test is called `{name}`");
    Some(complained.into_owned())
}
