//! Calls that would block the thread of an event loop while it runs a handler: noticed, and
//! reported once per call site or refused.
//!
//! Called by `event`, which marks its thread, and by every wait of a plain thread before it blocks:
//! `park`, `wait_ready`, `sleep_until`, `select`, look-ups of names and `run`. Not by time: a call
//! that finds what it wants without waiting is never noticed. A wait in a coroutine parks it and
//! does not come here.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Mutex, PoisonError};

use super::frames::{Known, Listed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// No handler of an event loop runs on this thread.
    None,
    Reports,
    /// Where a call has an error to give, it is refused.
    Refuses,
}

thread_local! {
    static MARK: Cell<Mark> = const { Cell::new(Mark::None) };
}

/// The thread is what it was marked as until this is dropped.
pub(crate) struct Marked(Mark);

/// Marks this thread.
pub(crate) fn mark(strict: bool) -> Marked {
    let mark = if strict { Mark::Refuses } else { Mark::Reports };
    Marked(MARK.replace(mark))
}

/// The loop itself waits, until this is dropped.
pub(crate) fn unmark() -> Marked {
    Marked(MARK.replace(Mark::None))
}

impl Drop for Marked {
    fn drop(&mut self) {
        MARK.set(self.0);
    }
}

/// Whether a handler of an event loop runs on this thread, so that nothing may block it.
pub(crate) fn is_marked() -> bool {
    MARK.try_with(|mark| mark.get() != Mark::None)
        .unwrap_or(false)
}

/// Called before a call blocks its thread that has an `io::Error` to give.
pub(crate) fn about_to_block() -> io::Result<()> {
    if is_marked() {
        if MARK.get() == Mark::Refuses {
            return Err(io::Error::other(WouldBlockLoop));
        }
        report();
    }
    Ok(())
}

/// As `about_to_block`, for calls that cannot be refused.
pub(crate) fn will_block() {
    if is_marked() {
        report();
    }
}

/// The call would have blocked the thread of an event loop that is
/// [strict](crate::event::EventLoop::set_strict), in one of its handlers: nothing else on that loop
/// could have gone on.
///
/// ```
/// let error = std::io::Error::other(tarae::event::WouldBlockLoop);
/// assert!(tarae::event::WouldBlockLoop::is(&error));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WouldBlockLoop;

impl WouldBlockLoop {
    /// Whether `error` says that a call would have blocked an event loop.
    pub fn is(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|inner| inner.is::<WouldBlockLoop>())
    }
}

impl fmt::Display for WouldBlockLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call would block the thread of an event loop")
    }
}

impl std::error::Error for WouldBlockLoop {}

/// What has been reported: hashes of whole stacks, which are cheap to find, and call sites.
#[derive(Default)]
struct Reported {
    stacks: HashSet<u64>,
    sites: HashSet<(usize, Option<u32>)>,
}

/// Says on stderr who would block, unless that has been said of the same call site.
fn report() {
    static REPORTED: Mutex<Option<Reported>> = Mutex::new(None);
    let mut calls = Vec::new();
    backtrace::trace(|frame| {
        calls.push(frame.ip() as usize);
        true
    });
    let mut hasher = DefaultHasher::new();
    calls.hash(&mut hasher);
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    let reported = reported.get_or_insert_default();
    if !reported.stacks.insert(hasher.finish()) {
        return;
    }
    let frames = Known::default().symbolised_waiting(&calls);
    let site = frames.first().map(|frame| (frame.address, frame.line));
    if reported.sites.insert(site.unwrap_or_default()) {
        let thread = std::thread::current();
        eprintln!(
            "tarae: thread `{}` runs an event loop, and a handler makes a call that blocks it; \
             give such work to a pool thread{}",
            thread.name().unwrap_or("(no name)"),
            Listed(&frames)
        );
    }
}
