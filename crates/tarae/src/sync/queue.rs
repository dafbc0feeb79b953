//! The queue of those who wait for one thing: first come, first served, and nothing handed out is
//! ever lost. Under every primitive of `sync` but the channels.
//!
//! Called by `signal`, `permits` and `barrier`, each of which keeps one under a lock. Pure: it
//! never
//! wakes anybody, it hands out whom to wake.
//!
//! ```text
//!   push ──► IN LINE ── grant ──► GRANTED ── collect, withdraw ──► out
//!               └─────────────── withdraw ────────────────────────► out
//! ```
//!
//! Invariants: a grant is written before its waiter is handed out to be woken, so a wake-up never
//! says anything by itself. Who pushed takes its place back exactly once: `collect` that gave a
//! grant, or `withdraw`, which tells whether a grant had come. So one that gives up either was
//! still
//! in line, and nobody counts on it, or has been given something and must keep it or pass it on.
//! A place is a slot that is used again: waiting allocates nothing once the queue has grown.

use crate::driver::slab::{NONE, Slab};

#[derive(Debug)]
pub(crate) struct Queue<W, G> {
    entries: Slab<Entry<W, G>>,
    oldest: u32,
    youngest: u32,
}

/// A place in a queue; whoever holds it has to take it back.
#[derive(Debug)]
pub(crate) struct Ticket(u32);

#[derive(Debug)]
struct Entry<W, G> {
    /// How much it asks for, where that differs.
    need: u64,
    older: u32,
    younger: u32,
    state: State<W, G>,
}

#[derive(Debug)]
enum State<W, G> {
    InLine(W),
    Granted(G),
}

impl<W, G> Queue<W, G> {
    pub(crate) const fn new() -> Queue<W, G> {
        Queue {
            entries: Slab::new(),
            oldest: NONE,
            youngest: NONE,
        }
    }

    /// Puts somebody at the end of the line.
    pub(crate) fn push(&mut self, waiter: W, need: u64) -> Ticket {
        let older = self.youngest;
        let place = self.entries.insert(Entry {
            need,
            older,
            younger: NONE,
            state: State::InLine(waiter),
        });
        match self.entries.get_mut(older) {
            Some(entry) => entry.younger = place,
            None => self.oldest = place,
        }
        self.youngest = place;
        Ticket(place)
    }

    /// What the first in line asks for.
    pub(crate) fn oldest_need(&self) -> Option<u64> {
        self.entries.get(self.oldest).map(|entry| entry.need)
    }

    /// Grants the first in line what it waits for; gives it, to be woken.
    pub(crate) fn grant_oldest(&mut self, grant: G) -> Option<W> {
        let place = self.oldest;
        if place == NONE {
            return None;
        }
        self.unlink(place);
        let entry = self.entries.get_mut(place)?;
        match std::mem::replace(&mut entry.state, State::Granted(grant)) {
            State::InLine(waiter) => Some(waiter),
            State::Granted(_) => unreachable!("who was granted something is not in line"),
        }
    }

    /// Grants the same to all in line.
    pub(crate) fn grant_all(&mut self, grant: G) -> Wakes<W>
    where
        G: Copy,
    {
        let mut wakes = Wakes::none();
        while let Some(waiter) = self.grant_oldest(grant) {
            wakes.add(waiter);
        }
        wakes
    }

    /// Takes a grant, if it has come, and the place with it.
    pub(crate) fn collect(&mut self, ticket: &Ticket) -> Option<G> {
        match self.entries.get(ticket.0)?.state {
            State::InLine(_) => None,
            State::Granted(_) => self.withdraw(Ticket(ticket.0)),
        }
    }

    /// Takes the place back; gives the grant if one had come.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Option<G> {
        let in_line = |entry: &Entry<W, G>| matches!(entry.state, State::InLine(_));
        if self.entries.get(ticket.0).is_some_and(in_line) {
            self.unlink(ticket.0);
        }
        match self.entries.remove(ticket.0).state {
            State::InLine(_) => None,
            State::Granted(grant) => Some(grant),
        }
    }

    /// Takes a place out of the line.
    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entries.get(place) else {
            return;
        };
        let (older, younger) = (entry.older, entry.younger);
        match self.entries.get_mut(older) {
            Some(entry) => entry.younger = younger,
            None => self.oldest = younger,
        }
        match self.entries.get_mut(younger) {
            Some(entry) => entry.older = older,
            None => self.youngest = older,
        }
    }
}

/// Whom to wake, once no lock is held any more. One of them needs no memory of its own.
#[derive(Debug)]
#[must_use = "they sleep on what they have been granted"]
pub(crate) struct Wakes<W> {
    first: Option<W>,
    rest: Vec<W>,
}

impl<W> Wakes<W> {
    pub(crate) const fn none() -> Wakes<W> {
        Wakes {
            first: None,
            rest: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, waiter: W) {
        if self.first.is_none() {
            self.first = Some(waiter);
        } else {
            self.rest.push(waiter);
        }
    }
}

impl<W> IntoIterator for Wakes<W> {
    type Item = W;
    type IntoIter = std::iter::Chain<std::option::IntoIter<W>, std::vec::IntoIter<W>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
