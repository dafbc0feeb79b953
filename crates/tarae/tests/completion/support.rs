//! What the tests share: a watchdog, runtimes, gates, sockets. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;
#[path = "../shared/running.rs"]
mod running;

use std::sync::mpsc;
use std::thread::ThreadId;
use std::time::Duration;

use guards::guard_saying;
pub(crate) use process::alone;
pub(crate) use running::{run_on, until};
use tarae::net::{TcpListener, TcpStream};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A time that never passes in a test.
pub(crate) const FAR: Duration = Duration::from_secs(3600);

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let _guard = guard_saying(name, PATIENCE, || ());
    test()
}

/// Something a pool's job waits at, blocking its thread.
pub(crate) fn gate() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
    let (open, opened) = mpsc::channel::<()>();
    (open, move || {
        let _ = opened.recv();
    })
}

/// Where something ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) thread: ThreadId,
    pub(crate) name: String,
    /// Whether it was in a coroutine.
    pub(crate) in_coroutine: bool,
}

/// Where this runs.
pub(crate) fn here() -> Place {
    let thread = std::thread::current();
    Place {
        thread: thread.id(),
        name: thread.name().unwrap_or_default().to_owned(),
        in_coroutine: tarae::current().spawned_at().is_some(),
    }
}

/// Two connected sockets.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}
