//! `WaitGroup`: waiting until everybody else has let go.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::queue::Ticket;
use super::signal::Signal;
use super::wait::{Patience, WaitError, wait, wake};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;

/// Waits until all clones have been dropped or wait as well. std has no such type; names and
/// meaning
/// are those of crossbeam's `WaitGroup`. The drop of a clone never waits.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tarae::sync::{Arc, WaitGroup};
///
/// tarae::run(|| {
///     let group = WaitGroup::new();
///     let done = Arc::new(AtomicU32::new(0));
///     for _ in 0..10 {
///         let (part, done) = (group.clone(), Arc::clone(&done));
///         tarae::spawn(move || {
///             done.fetch_add(1, Ordering::Relaxed);
///             drop(part);
///         });
///     }
///     group.wait();
///     assert_eq!(done.load(Ordering::Relaxed), 10);
/// })
/// .unwrap();
/// ```
pub struct WaitGroup(Arc<Group>);

struct Group {
    members: AtomicUsize,
    end: Signal<Unparker>,
}

impl WaitGroup {
    /// A group of this one.
    pub fn new() -> WaitGroup {
        WaitGroup(Arc::new(Group {
            members: AtomicUsize::new(1),
            end: Signal::new(),
        }))
    }

    /// Leaves the group and waits until all others have. Not cancelled: its signature has no room
    /// for it.
    pub fn wait(self) {
        let waited = self.wait_for(Patience::ENDLESS);
        debug_assert!(waited.is_ok(), "this wait has no other end");
    }

    /// As [`wait`](WaitGroup::wait), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended before the others had left; this one has left all the same.
    pub fn wait_cancellable(self, deadline: impl Into<Option<Instant>>) -> Result<(), WaitError> {
        self.wait_for(Patience::cancellable(deadline.into()))
    }

    fn wait_for(self, patience: Patience) -> Result<(), WaitError> {
        let group = Arc::clone(&self.0);
        let Some(ticket) = group.end.enter(Unparker::current()) else {
            unreachable!("nobody leaves permits here")
        };
        // The last to leave tells the line, which this one is in by now, itself included.
        drop(self);
        let collect = |ticket: &Ticket| group.end.collect(ticket);
        let withdraw = |ticket| group.end.withdraw(ticket);
        wait(WaitReason::Condition, patience, ticket, collect, withdraw).map(drop)
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> WaitGroup {
        self.0.members.fetch_add(1, Ordering::Relaxed);
        WaitGroup(Arc::clone(&self.0))
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        // What the members did is seen by who returns from `wait`.
        if self.0.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            wake(self.0.end.tell_all());
        }
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.0.members.load(Ordering::Relaxed);
        f.debug_struct("WaitGroup")
            .field("members", &members)
            .finish()
    }
}
