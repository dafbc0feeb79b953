//! Sources with a key instead of a handler, for loops written by hand.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::table::{Body, Owned, Told};
use super::{EventLoop, Interest, Mode, SourceId, later};
use crate::signal::Signal;
use crate::time::{Duration, Instant};

/// Adds sources with a key to an event loop: made by [`EventLoop::key`]. Each function is the
/// loop's own of the same name, but that [`next_event`](EventLoop::next_event) gives the event to
/// its caller.
#[derive(Debug)]
pub struct Keyed<'a> {
    events: &'a EventLoop,
    key: u64,
}

impl<'a> Keyed<'a> {
    pub(super) fn new(events: &'a EventLoop, key: u64) -> Keyed<'a> {
        Keyed { events, key }
    }

    /// Watches a descriptor; the loop owns the source, see [`EventLoop::add`].
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::add`].
    pub fn add<S: AsFd + 'static>(
        &self,
        source: S,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<SourceId> {
        let fd = source.as_fd().as_raw_fd();
        let handler = |_: &EventLoop, _: &mut S, _| {};
        let body = Body::Descriptor(Some(self.key), Box::new(Owned { source, handler }));
        self.events.watch(body, fd, interest.events(mode))
    }

    /// An event `delay` from now or a little later.
    pub fn after(&self, delay: Duration) -> SourceId {
        self.at(later(delay))
    }

    /// An event when `deadline` has passed.
    pub fn at(&self, deadline: Instant) -> SourceId {
        self.events.timer(deadline, None, Told::Key(self.key))
    }

    /// An event after each `period`, until it is removed.
    ///
    /// # Panics
    ///
    /// When the period is zero.
    pub fn every(&self, period: Duration) -> SourceId {
        self.events.repeating(period, Told::Key(self.key))
    }

    /// An event for each of `signals` that comes.
    ///
    /// # Errors
    ///
    /// As for [`Signals::new`](crate::signal::Signals::new).
    pub fn on_signal(&self, signals: &[Signal]) -> io::Result<SourceId> {
        self.events.signals(signals, Told::Key(self.key))
    }

    /// An event when a child process has ended, see [`EventLoop::on_exit`].
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::on_exit`].
    pub fn on_exit(&self, child: u32) -> io::Result<SourceId> {
        self.events.child(child, Told::Key(self.key))
    }
}
