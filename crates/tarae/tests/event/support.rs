//! What the tests share: a guard against hanging, a process of one's own, pairs of sockets, a log
//! of what was called. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use tarae::event::EventLoop;

use guards::guard_saying;
pub(crate) use process::{alone, alone_saying};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Runs a test; if it is stuck, names it and ends the process. A handler's panic is contained by
/// the loop, but fails the test.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
    let _guard = guard_saying(name, PATIENCE, || {});
    let result = test();
    assert_eq!(PANICS.get(), 0, "a handler has panicked");
    result
}

/// How many panics there have been on this thread, and forgets them.
pub(crate) fn take_panics() -> usize {
    PANICS.take()
}

/// Two connected sockets, neither of which blocks.
pub(crate) fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

/// A socket with a byte to read; the peer keeps it from being at its end.
pub(crate) fn readable() -> (UnixStream, UnixStream) {
    let (one, other) = pair();
    (&other).write_all(b"x").unwrap();
    (one, other)
}

/// One round that does not wait.
pub(crate) fn round(events: &EventLoop) -> usize {
    events.run_once(Some(Duration::ZERO)).unwrap()
}

/// What was called, in order.
pub(crate) struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(Rc::clone(&self.0))
    }
}

impl<T> Log<T> {
    pub(crate) fn new() -> Log<T> {
        Log(Rc::default())
    }

    pub(crate) fn note(&self, what: T) {
        self.0.borrow_mut().push(what);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        self.0.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Notes when it is dropped.
pub(crate) struct OnDrop<T: Clone>(pub(crate) Log<T>, pub(crate) T);

impl<T: Clone> Drop for OnDrop<T> {
    fn drop(&mut self) {
        self.0.note(self.1.clone());
    }
}
