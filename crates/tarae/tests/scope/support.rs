//! What the tests share: a watchdog, a runtime, conditions to yield for. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;
#[path = "../shared/running.rs"]
mod running;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use guards::guard_saying;
pub(crate) use process::alone;
pub(crate) use running::{run_on, until};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A deadline that never passes in a test.
pub(crate) const FAR: Duration = Duration::from_secs(3600);
/// One that passes soon.
pub(crate) const SOON: Duration = Duration::from_millis(5);

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let _guard = guard_saying(name, PATIENCE, || ());
    test()
}

/// Waits until cancelled: by `sleep`, whose early return is the report.
pub(crate) fn until_cancelled() {
    while !tarae::thread::is_cancelled() {
        tarae::thread::sleep(FAR);
    }
}

/// Set when dropped.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A panic without a report on the standard error.
pub(crate) fn panic_quietly(text: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(text))
}

/// The text that a closure panicked with.
pub(crate) fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    let payload = caught.err().expect("it panics");
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .expect("a text")
}
