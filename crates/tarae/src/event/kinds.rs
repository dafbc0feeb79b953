//! What is waited for and what has happened: the plain values of `event`. Pure.

use std::fmt;
use std::io;
use std::ops::BitOr;
use std::process::ExitStatus;

use super::SourceId;
use crate::signal::Signal;

const READ: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
const WRITE: u32 = libc::EPOLLOUT as u32;
const PRIORITY: u32 = libc::EPOLLPRI as u32;
const BROKEN: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
const EDGE: u32 = libc::EPOLLET as u32;
/// Told of once, then not before it is armed again, not even if it is broken.
pub(super) const ONCE: u32 = libc::EPOLLONESHOT as u32;

/// What a descriptor is watched for. Several are joined with `|`.
///
/// A descriptor that is broken (an error, or both directions closed) is reported whatever the
/// interest: with [`Mode::Level`] again and again, until it is removed.
///
/// # Examples
///
/// ```
/// use tarae::event::Interest;
///
/// let both = Interest::READ | Interest::WRITE;
/// assert_ne!(both, Interest::READ);
/// assert_eq!(both | Interest::NONE, both);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u32);

impl Interest {
    /// Nothing but that it is broken: a source that rests, for instance since its owner has no
    /// room for what it would give.
    pub const NONE: Interest = Interest(0);
    /// Data, the peer's end of it, or a connection to accept.
    pub const READ: Interest = Interest(READ);
    /// Room for data, or a connection made.
    pub const WRITE: Interest = Interest(WRITE);
    /// Out-of-band data and what else the kernel calls exceptional.
    pub const PRIORITY: Interest = Interest(PRIORITY);

    pub(super) fn events(self, mode: Mode) -> u32 {
        match mode {
            Mode::Level => self.0,
            Mode::Edge => self.0 | EDGE,
        }
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(READ, "READ"), (WRITE, "WRITE"), (PRIORITY, "PRIORITY")];
        let in_it = names.iter().filter(|(bits, _)| self.0 & bits != 0);
        let names: Vec<_> = in_it.map(|(_, name)| *name).collect();
        write!(f, "Interest({})", names.join(" | "))
    }
}

/// When a descriptor is reported.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use tarae::event::{EventLoop, Interest, Mode};
/// use tarae::time::Duration;
///
/// for (mode, times) in [(Mode::Level, 2), (Mode::Edge, 1)] {
///     let events = EventLoop::new()?;
///     let (ours, mut theirs) = UnixStream::pair()?;
///     events.key(0).add(ours, Interest::READ, mode)?;
///     theirs.write_all(b"nobody reads this")?;
///     let told = (0..2).filter(|_| events.next_event_timeout(Duration::ZERO).is_ok());
///     assert_eq!(told.count(), times);
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Whenever it becomes ready: read, or write, until `WouldBlock`, or be told nothing more.
    Edge,
    /// As long as it is ready. What is left is reported in the next round.
    Level,
}

/// What a descriptor is ready for, as far as the kernel said: another handler may have used it up.
///
/// # Examples
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use tarae::event::{Event, EventLoop, Interest, Mode};
///
/// let events = EventLoop::new()?;
/// let (ours, theirs) = UnixStream::pair()?;
/// events.key(0).add(ours, Interest::READ, Mode::Level)?;
/// drop(theirs);
/// let Some(Event::Ready { readiness, .. }) = events.next_event()? else { unreachable!() };
/// // The end can be read.
/// assert!(readiness.is_readable() && readiness.is_read_closed());
/// assert!(!readiness.is_priority() && !readiness.is_error());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Readiness(pub(super) u32);

impl Readiness {
    /// Reading is worth a try: it gives data, the end, or an error.
    ///
    /// # Examples
    ///
    /// See [`Readiness`].
    pub fn is_readable(self) -> bool {
        self.0 & (READ | BROKEN) != 0
    }

    /// Writing is worth a try: there is room, or an error to be had.
    ///
    /// # Examples
    ///
    /// See [`Readiness`].
    pub fn is_writable(self) -> bool {
        self.0 & (WRITE | BROKEN) != 0
    }

    /// Out-of-band data has come.
    ///
    /// # Examples
    ///
    /// See [`Readiness`].
    pub fn is_priority(self) -> bool {
        self.0 & PRIORITY != 0
    }

    /// The peer will send nothing more than what is here already.
    ///
    /// # Examples
    ///
    /// See [`Readiness`].
    pub fn is_read_closed(self) -> bool {
        self.0 & (libc::EPOLLRDHUP | libc::EPOLLHUP) as u32 != 0
    }

    /// The descriptor has an error, which the next read or write gives.
    ///
    /// # Examples
    ///
    /// See [`Readiness`].
    pub fn is_error(self) -> bool {
        self.0 & libc::EPOLLERR as u32 != 0
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("read_closed", &self.is_read_closed())
            .field("error", &self.is_error())
            .finish_non_exhaustive()
    }
}

/// What has happened at a source that has a [key](super::Keyed).
///
/// # Examples
///
/// See [the module](super).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A descriptor is ready.
    Ready {
        /// The source's key.
        key: u64,
        /// The source.
        id: SourceId,
        /// For what.
        readiness: Readiness,
    },
    /// A point in time has come.
    Timer {
        /// The timer's key.
        key: u64,
        /// The timer: gone by now, unless it repeats.
        id: SourceId,
    },
    /// A signal has come.
    Signal {
        /// The source's key.
        key: u64,
        /// The source.
        id: SourceId,
        /// Which.
        signal: Signal,
    },
    /// A child process has ended.
    Exit {
        /// The key.
        key: u64,
        /// How; an error if somebody else has asked for it already.
        status: io::Result<ExitStatus>,
    },
}
