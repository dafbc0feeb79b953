//! What the tests share: a watchdog, a process of one's own, gates that jobs wait at, threads by
//! name. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;
#[path = "../shared/running.rs"]
mod running;

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use guards::guard_saying;
pub(crate) use process::alone;
pub(crate) use running::{run_on, until};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let pools = || eprintln!("pools: {:?}", tarae::offload::stats());
    let _guard = guard_saying(name, PATIENCE, pools);
    test()
}

/// Where jobs stop until it is opened. Blocks the thread, as a job's work would.
#[derive(Default)]
pub(crate) struct Gate {
    /// How many have come, and whether it is open.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    /// The job's side.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    /// How many jobs have come to it.
    pub(crate) fn arrived(&self) -> usize {
        self.state.lock().unwrap().0
    }
}

/// The names of all threads of the process, as the kernel has them: 15 bytes at most.
pub(crate) fn thread_names() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// How many threads have a name that begins so.
pub(crate) fn threads_called(prefix: &str) -> usize {
    let names = thread_names();
    names.iter().filter(|name| name.starts_with(prefix)).count()
}
