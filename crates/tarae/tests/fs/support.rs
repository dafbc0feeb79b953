//! What the tests share: a watchdog, a process of one's own, folders, a pool that is held. Decides
//! nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/kernel.rs"]
pub(crate) mod kernel;
#[path = "../shared/alone.rs"]
mod process;
#[path = "../shared/running.rs"]
mod running;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tarae::inspect::{self, WaitReason};
use tarae::offload::{Builder, Pool, stats};

pub(crate) use process::alone;
pub(crate) use running::{run_on, until};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let pools = || eprintln!("pools: {:?}", stats());
    let _guard = guards::guard_saying(name, PATIENCE, pools);
    test()
}

/// Threads of the blocking pool: none before its first job.
pub(crate) fn threads() -> usize {
    stats().blocking.threads
}

/// Until some coroutine waits for room in a socket.
pub(crate) fn parked() {
    let writes = |waits: &WaitReason| matches!(waits, WaitReason::Writable(_));
    let all = || inspect::coroutines(PATIENCE);
    until(|| all().iter().any(|one| writes(&one.waits_for)));
}

/// Whether a thread of the pool is inside `read`: the kernel says which call a thread is in. Only
/// in a process of one's own is it certain whose read that is.
pub(crate) fn in_read() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|task| {
        let of = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let number = format!("{} ", read_number());
        of("comm").starts_with("tarae-blocking") && of("syscall").starts_with(&number)
    })
}

/// The number of `read(2)`.
fn read_number() -> i64 {
    if cfg!(target_arch = "x86_64") { 0 } else { 63 }
}

/// A folder that goes with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("fs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with these contents.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Holds the only thread of the blocking pool while it lives.
pub(crate) struct Held(Option<(Sender<()>, std::thread::JoinHandle<()>)>);

impl Held {
    /// Before the pool's first job.
    pub(crate) fn new() -> Held {
        Builder::new(Pool::Blocking).threads(1).apply().unwrap();
        let (begun, has_begun) = channel();
        let (release, released): (Sender<()>, Receiver<()>) = channel();
        let hold = move || {
            begun.send(()).unwrap();
            let _ = released.recv();
        };
        let holder = std::thread::spawn(move || Pool::Blocking.run(hold).unwrap());
        has_begun.recv().unwrap();
        Held(Some((release, holder)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (release, holder) = self.0.take().unwrap();
        drop(release);
        holder.join().unwrap();
    }
}
