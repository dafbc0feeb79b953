//! Where a test runs, in a coroutine or on a plain thread, and company of the same sort; paths and
//! names for sockets.
//!
//! Used by every other module here. Must never let a test on a plain thread use a runtime.

use std::os::linux::net::SocketAddrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tarae::inspect::{self, State, WaitReason};
use tarae::os::unix::net::SocketAddr;

use super::support::guarded;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Coroutine,
    Thread,
}

/// Runs a test in a coroutine of a runtime with one worker, then on a plain thread.
pub(crate) fn everywhere(name: &'static str, test: fn(Side)) {
    guarded(name, || {
        let runtime = tarae::Builder::new().workers(1);
        runtime.run(move || test(Side::Coroutine)).unwrap();
        std::thread::spawn(move || test(Side::Thread))
            .join()
            .expect("on a plain thread");
    });
}

/// Somebody else at work, on the same side.
pub(crate) enum Beside<T> {
    /// With its name, which nobody else has.
    Coroutine(tarae::thread::JoinHandle<T>, String),
    /// With the place of its state below `/proc`, such as `7/task/8`.
    Thread(std::thread::JoinHandle<T>, String),
}

impl Side {
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Beside<T> {
        if self == Side::Coroutine {
            let name = unique();
            let handle = tarae::thread::Builder::new().name(name.clone()).spawn(f);
            return Beside::Coroutine(handle.unwrap(), name);
        }
        let (tell, told) = mpsc::channel();
        let handle = std::thread::spawn(move || {
            let place = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(place.to_str().unwrap().to_owned()).unwrap();
            f()
        });
        Beside::Thread(handle, told.recv().unwrap())
    }
}

impl<T> Beside<T> {
    /// Gives it the time it needs to come to its wait: until it is parked for a descriptor or a
    /// point in time, or its thread sleeps.
    pub(crate) fn until_waiting(&self) {
        loop {
            match self {
                Beside::Coroutine(handle, name) => {
                    assert!(!handle.is_finished(), "it ended in place of waiting");
                    let all = inspect::coroutines(Duration::from_secs(10));
                    if all
                        .iter()
                        .any(|c| c.name.as_ref() == Some(name) && waits(c))
                    {
                        return;
                    }
                    tarae::yield_now();
                }
                Beside::Thread(_, place) => {
                    let stat = std::fs::read_to_string(format!("/proc/{place}/stat")).unwrap();
                    // `7 (name) S …`
                    if stat.rsplit(") ").next().unwrap().starts_with('S') {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
        }
    }

    pub(crate) fn join(self) -> T {
        match self {
            Beside::Coroutine(handle, _) => handle.join().unwrap(),
            Beside::Thread(handle, _) => handle.join().unwrap(),
        }
    }
}

fn waits(coroutine: &inspect::Coroutine) -> bool {
    let reason = coroutine.waits_for;
    let for_that = matches!(
        reason,
        WaitReason::Readable(_) | WaitReason::Writable(_) | WaitReason::Sleep
    );
    coroutine.state == State::Parked && for_that
}

fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("tarae-sockets-{}-{count}", std::process::id())
}

/// A folder for sockets, removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let path = std::env::temp_dir().join(unique());
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An abstract name that nobody else has.
pub(crate) fn abstract_name() -> SocketAddr {
    SocketAddr::from_abstract_name(unique()).unwrap()
}
