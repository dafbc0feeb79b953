//! A guard against hanging, for every test program. Decides nothing itself.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Ends the process unless it is dropped in time.
pub(crate) struct Guard {
    _alive: mpsc::Sender<()>,
}

/// Names `what` if it is stuck for `bound`, has `more` say what else there is to know, and aborts.
pub(crate) fn guard_saying(
    what: &'static str,
    bound: Duration,
    more: impl FnOnce() + Send + 'static,
) -> Guard {
    // What takes seconds takes minutes there, beside other programs.
    let bound = bound * if cfg!(tarae_tsan) { 10 } else { 1 };
    let (alive, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(bound) == Err(RecvTimeoutError::Timeout) {
            eprintln!("stuck for {bound:?}: {what}");
            more();
            std::process::abort();
        }
    });
    Guard { _alive: alive }
}
