//! Says on stderr that the first worker is held by a coroutine, so that `run` cannot come back.
//!
//! Called by `runtime` at the end. A coroutine that never yields cannot be left behind on the
//! thread that called `run`; all that can be done is to say so. That takes a thread of its own,
//! there only while coroutines of that worker have not ended. It must never touch the worker.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::shared::Shared;

/// Looks after a worker until it is dropped.
pub(super) struct Lookout {
    /// Dropped to end the thread.
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    /// Reports `worker` once if this is not dropped by `limit`. Without a thread nothing is
    /// reported: the end itself needs none.
    pub(super) fn until(limit: Instant, worker: &'static Shared) -> Lookout {
        let (ends, ended) = mpsc::channel::<()>();
        let wait = move || {
            let left = limit.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                let holder = worker.holder();
                eprintln!("tarae: the runtime cannot end: worker 0 is held by {holder}");
            }
        };
        let builder = thread::Builder::new().name("tarae-end".into());
        Lookout {
            ends: Some(ends),
            thread: builder.spawn(wait).ok(),
        }
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.ends.take();
        if let Some(thread) = self.thread.take() {
            // It prints and ends; if the printing panicked, that has been said as well.
            let _ = thread.join();
        }
    }
}
