//! What the tests share: a watchdog, shells, waiting for a state. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;
#[path = "../shared/running.rs"]
mod running;

use std::time::Duration;

use tarae::process::{Child, Command, Stdio};

pub(crate) use process::alone;
pub(crate) use running::{run_on, until};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let pools = || eprintln!("pools: {:?}", tarae::offload::stats());
    let _guard = guards::guard_saying(name, PATIENCE, pools);
    test()
}

/// In a coroutine, and on a plain thread.
pub(crate) fn both(name: &'static str, test: fn()) {
    guarded(name, || {
        run_on(1, test);
        test();
    });
}

pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A child that goes on until its input ends.
pub(crate) fn cat() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Whether so many coroutines wait for a descriptor, as `inspect` sees it.
pub(crate) fn parked(count: usize) -> bool {
    let all = tarae::inspect::coroutines(PATIENCE);
    let waits = |one: &&tarae::inspect::Coroutine| {
        matches!(
            one.waits_for,
            tarae::inspect::WaitReason::Readable(_) | tarae::inspect::WaitReason::Writable(_)
        )
    };
    all.iter().filter(waits).count() == count
}
