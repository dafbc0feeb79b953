//! The sources of one event loop: what each is, and who is to be told.
//!
//! Used by `event` only, on the loop's thread. It calls nobody: a body is taken out of its entry,
//! called, and put back if the entry is still there.
//!
//! Invariants: an id is an index and the entry's serial number, so that the id of a source that was
//! removed names none of those that come to its index later. A descriptor is taken out of the epoll
//! by the entry that put it there last, and before it is closed.

use std::any::Any;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::{EventLoop, Readiness};
use crate::driver::poller;
use crate::driver::slab::{NONE, Slab};
use crate::driver::timers::TimerKey;
use crate::signal::{Signal, Signals};

/// Names a source of an event loop (a descriptor, a timer, signals, a child process) from its
/// addition to its removal, and nothing afterwards.
///
/// # Examples
///
/// See [`EventLoop::remove`](super::EventLoop::remove).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    index: u32,
    serial: u32,
}

impl SourceId {
    pub(super) fn of_token(token: u64) -> SourceId {
        let (index, serial) = poller::of_token(token);
        SourceId { index, serial }
    }

    /// Later sources have higher ones.
    pub(super) fn serial(self) -> u32 {
        self.serial
    }

    pub(super) fn token(self) -> u64 {
        poller::token(self.index, self.serial)
    }
}

/// Who is told of an event.
pub(super) enum Told<F> {
    /// Whoever asks for the next event, by this key.
    Key(u64),
    Handler(F),
}

impl<F> Told<F> {
    pub(super) fn key(&self) -> Option<u64> {
        match self {
            Told::Key(key) => Some(*key),
            Told::Handler(_) => None,
        }
    }
}

pub(super) type OnTime = Box<dyn FnMut(&EventLoop)>;
pub(super) type OnSignal = Box<dyn FnMut(&EventLoop, Signal)>;
pub(super) type OnExit = Box<dyn FnOnce(&EventLoop, io::Result<ExitStatus>)>;

pub(super) enum Body {
    /// With its key, if it has no handler.
    Descriptor(Option<u64>, Box<dyn Watched>),
    Timer {
        /// None: it expires once.
        period: Option<Duration>,
        told: Told<OnTime>,
    },
    Signals(Signals, Told<OnSignal>),
    Child(OwnedFd, Told<OnExit>),
}

impl Body {
    /// The key of a source without a handler.
    pub(super) fn key(&self) -> Option<u64> {
        match self {
            Body::Descriptor(key, _) => *key,
            Body::Timer { told, .. } => told.key(),
            Body::Signals(_, told) => told.key(),
            Body::Child(_, told) => told.key(),
        }
    }
}

/// A source with a descriptor, and its handler.
pub(super) trait Watched {
    fn call(&mut self, events: &EventLoop, readiness: Readiness);

    fn source(&mut self) -> &mut dyn Any;

    fn into_source(self: Box<Self>) -> Box<dyn Any>;

    /// A thread of a pool has called the handler: `result` is an `Option` of what that gave.
    fn handled(&mut self, _events: &EventLoop, _result: &mut dyn Any) {}
}

pub(super) struct Owned<S, F> {
    pub(super) source: S,
    pub(super) handler: F,
}

impl<S, F> Watched for Owned<S, F>
where
    S: AsFd + 'static,
    F: FnMut(&EventLoop, &mut S, Readiness),
{
    fn call(&mut self, events: &EventLoop, readiness: Readiness) {
        (self.handler)(events, &mut self.source, readiness);
    }

    fn source(&mut self) -> &mut dyn Any {
        &mut self.source
    }

    fn into_source(self: Box<Self>) -> Box<dyn Any> {
        Box::new(self.source)
    }
}

pub(super) struct Entry {
    serial: u32,
    /// What is watched, or -1.
    pub(super) fd: RawFd,
    /// What for.
    pub(super) events: u32,
    /// Its entry in the wheel, or `NONE`: not a timer, or one that has expired.
    pub(super) timer: TimerKey,
    /// Of a timer.
    pub(super) due: Instant,
    /// None while its handler runs.
    pub(super) body: Option<Body>,
}

#[derive(Default)]
pub(super) struct Table {
    entries: Slab<Entry>,
    serial: u32,
    /// For each descriptor's number, the index of the entry that had it watched last.
    watchers: Vec<u32>,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    pub(super) fn insert(&mut self, body: Body, due: Instant) -> SourceId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let index = self.entries.insert(Entry {
            serial,
            fd: -1,
            events: 0,
            timer: NONE,
            due,
            body: Some(body),
        });
        SourceId { index, serial }
    }

    pub(super) fn get_mut(&mut self, id: SourceId) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(id.index)?;
        (entry.serial == id.serial).then_some(entry)
    }

    /// Notes that an entry has `fd` watched. The number may be another's, who has lost it.
    pub(super) fn watches(&mut self, id: SourceId, fd: RawFd, events: u32) {
        let number = fd as usize;
        if self.watchers.len() <= number {
            self.watchers.resize(number + 1, NONE);
        }
        self.watchers[number] = id.index;
        if let Some(entry) = self.get_mut(id) {
            (entry.fd, entry.events) = (fd, events);
        }
    }

    /// Takes an entry out. Its descriptor is given if it is still this entry's to take out of the
    /// epoll.
    pub(super) fn remove(&mut self, id: SourceId) -> Option<(Entry, Option<RawFd>)> {
        self.get_mut(id)?;
        let entry = self.entries.remove(id.index);
        let watcher = usize::try_from(entry.fd)
            .ok()
            .and_then(|number| self.watchers.get_mut(number))
            .filter(|watcher| **watcher == id.index);
        let fd = watcher.map(|watcher| {
            *watcher = NONE;
            entry.fd
        });
        Some((entry, fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer() -> Body {
        Body::Timer {
            period: None,
            told: Told::Key(0),
        }
    }

    #[test]
    fn an_id_names_nobody_who_comes_to_its_index_later() {
        let mut table = Table::default();
        let first = table.insert(timer(), Instant::now());
        assert!(table.remove(first).is_some());
        let second = table.insert(timer(), Instant::now());
        assert_eq!(first.index, second.index);
        assert!(table.get_mut(first).is_none() && table.remove(first).is_none());
        assert!(table.get_mut(second).is_some());
        assert_eq!(SourceId::of_token(second.token()), second);
    }

    #[test]
    fn a_number_belongs_to_who_had_it_watched_last() {
        let mut table = Table::default();
        let first = table.insert(timer(), Instant::now());
        table.watches(first, 5, 0);
        let second = table.insert(timer(), Instant::now());
        table.watches(second, 5, 0);
        assert_eq!(table.remove(first).unwrap().1, None, "it has lost it");
        assert_eq!(table.remove(second).unwrap().1, Some(5));
        let third = table.insert(timer(), Instant::now());
        assert_eq!(table.remove(third).unwrap().1, None, "it watches nothing");
    }
}
