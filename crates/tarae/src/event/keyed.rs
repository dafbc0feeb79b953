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
///
/// # Examples
///
/// See [the module](super), and its functions.
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
    ///
    /// # Examples
    ///
    /// See [the module](super).
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
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::{Event, EventLoop};
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// events.key(7).after(Duration::from_millis(1));
    /// assert!(matches!(events.next_event()?, Some(Event::Timer { key: 7, .. })));
    /// assert!(events.next_event()?.is_none()); // Nothing is left to wait for.
    /// # std::io::Result::Ok(())
    /// ```
    pub fn after(&self, delay: Duration) -> SourceId {
        self.at(later(delay))
    }

    /// An event when `deadline` has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::{Event, EventLoop};
    /// use tarae::time::Instant;
    ///
    /// let events = EventLoop::new()?;
    /// events.key(7).at(Instant::now());
    /// assert!(matches!(events.next_event()?, Some(Event::Timer { key: 7, .. })));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn at(&self, deadline: Instant) -> SourceId {
        self.events.timer(deadline, None, Told::Key(self.key))
    }

    /// An event after each `period`, until it is removed.
    ///
    /// # Panics
    ///
    /// When the period is zero.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    pub fn every(&self, period: Duration) -> SourceId {
        self.events.repeating(period, Told::Key(self.key))
    }

    /// An event for each of `signals` that comes.
    ///
    /// # Errors
    ///
    /// As for [`Signals::new`](crate::signal::Signals::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::{Event, EventLoop};
    /// use tarae::signal::Signal;
    ///
    /// let events = EventLoop::new()?;
    /// events.key(7).on_signal(&[Signal::USER1])?;
    /// tarae::process::Command::new("sh").args(["-c", "kill -USR1 $PPID"]).status()?;
    /// let event = events.next_event()?;
    /// assert!(matches!(event, Some(Event::Signal { signal: Signal::USER1, .. })));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_signal(&self, signals: &[Signal]) -> io::Result<SourceId> {
        self.events.signals(signals, Told::Key(self.key))
    }

    /// An event when a child process has ended, see [`EventLoop::on_exit`].
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::on_exit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::{Event, EventLoop};
    ///
    /// let events = EventLoop::new()?;
    /// let child = std::process::Command::new("false").spawn()?;
    /// events.key(7).on_exit(child.id())?;
    /// let Some(Event::Exit { key: 7, status }) = events.next_event()? else { unreachable!() };
    /// assert_eq!(status?.code(), Some(1));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_exit(&self, child: u32) -> io::Result<SourceId> {
        self.events.child(child, Told::Key(self.key))
    }
}
