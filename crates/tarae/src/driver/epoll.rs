//! The epoll backend of the driver seam (see `driver` for the contract).
//!
//! One per worker, used on its thread only; other threads reach it through the worker's inbox and
//! the notification descriptor. Edge-triggered: a registration is made once, at a socket's first
//! `EAGAIN`, and lives until the socket is dropped or given away.
//!
//! Invariants: a token names a slot *and its generation*, so an event harvested before its slot was
//! released is ignored. `readable`/`writable` of a slot are true whenever trying might succeed;
//! they become false only by the rules of the seam. A wait is linked into at most one slot's list.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use super::poller::{self, Poller, token};
use super::slab::NONE;
use super::source::{Registration, Source};
use super::waits::Waits;
use super::{Attempt, Direction, Driver, Home, Operation, Place, Step, WaitKey, Wake, Woken};
use crate::sys::{self, EpollEvent};

const IN: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET) as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const BROKEN: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
const WAKES_READERS: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI) as u32 | BROKEN;
const WAKES_WRITERS: u32 = OUT | BROKEN;
/// After one of these a short read proves nothing any more.
const ENDS_SHORT_READS: u32 = (libc::EPOLLRDHUP | libc::EPOLLPRI) as u32 | BROKEN;

/// Events whose registrations are fetched into the cache before they are looked at.
const PREFETCHED: usize = 32;

pub(crate) struct Epoll<W> {
    poller: Poller,
    /// This worker's number, unique in the process.
    worker: u32,
    home: &'static dyn Home,
    events: Box<[EpollEvent]>,
    slots: Vec<Slot>,
    free_slot: u32,
    waits: Waits<W>,
    /// Lists to hand out at the next wait: a waiter came when the source was known to be ready.
    ready: Vec<Place>,
}

/// A registration as its worker sees it.
#[repr(align(32))]
struct Slot {
    generation: u32,
    fd: RawFd,
    used: bool,
    readable: bool,
    writable: bool,
    /// EPOLLOUT was asked for: at the first wait for it, since every socket begins writable.
    watches_out: bool,
    /// A short read means "not readable" (the source is a TCP stream and nothing odd was seen).
    short_reads: bool,
    /// For a prefetch and nothing else: it may be gone.
    source: *const Source,
    /// First wait of each direction's list; of a free slot, `[0]` links the next free one.
    heads: [u32; 2],
}

impl Slot {
    /// Whether the source is known to have nothing to give: trying would be wasted.
    fn is_blocked(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => !self.readable,
            Direction::Write => self.watches_out && !self.writable,
        }
    }
}

impl<W> Epoll<W> {
    /// A driver that `notification` (an eventfd, never read) wakes.
    pub(crate) fn new(
        worker: u32,
        notification: RawFd,
        home: &'static dyn Home,
    ) -> io::Result<Epoll<W>> {
        Ok(Epoll {
            poller: Poller::new(notification)?,
            worker,
            home,
            events: poller::batch(),
            slots: Vec::new(),
            free_slot: NONE,
            waits: Waits::new(),
            ready: Vec::new(),
        })
    }

    /// Whether anybody waits, for a source or for a point in time.
    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Waits in progress, with the descriptor they are for.
    pub(crate) fn waits(&self) -> impl Iterator<Item = (WaitKey, Option<RawFd>, &W)> {
        self.waits.iter().map(|(key, slot, waiter)| {
            let fd = self.slots.get(slot as usize).map(|slot| slot.fd);
            (key, fd, waiter)
        })
    }

    fn add(&mut self, source: &Source, direction: Direction) -> io::Result<u32> {
        let index = match self.free_slot {
            NONE => self.slots.len() as u32,
            free => free,
        };
        let generation = self
            .slots
            .get(index as usize)
            .map_or(0, |slot| slot.generation);
        let watches_out = direction == Direction::Write;
        let events = if watches_out { IN | OUT } else { IN };
        let fd = source.raw();
        self.poller.add(fd, events, token(index, generation))?;
        let slot = Slot {
            generation,
            fd,
            used: true,
            // The kernel reports what is ready at registration as a first edge.
            readable: false,
            writable: false,
            watches_out,
            short_reads: source.is_stream(),
            source: std::ptr::from_ref(source),
            heads: [NONE; 2],
        };
        if self.free_slot == NONE {
            self.slots.push(slot);
        } else {
            self.free_slot = self.slots[index as usize].heads[0];
            self.slots[index as usize] = slot;
        }
        source.registered(Registration {
            worker: self.worker,
            slot: index,
            generation,
            epoll: Arc::clone(self.poller.epoll()),
            home: self.home,
        });
        Ok(index)
    }

    /// Frees a slot whose source is gone from this epoll; whoever still waits is cancelled.
    pub(crate) fn release(&mut self, index: u32, generation: u32, woken: &mut Vec<Woken<W>>) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        if !slot.used || slot.generation != generation {
            return;
        }
        slot.used = false;
        slot.generation = slot.generation.wrapping_add(1);
        for direction in [Direction::Read, Direction::Write] {
            self.wake_list(index, direction, Wake::Cancelled, woken);
        }
        self.slots[index as usize].heads = [self.free_slot, NONE];
        self.free_slot = index;
    }

    /// Whoever waits at `place`.
    pub(crate) fn waiters_at(&self, place: Place) -> impl Iterator<Item = &W> {
        let head = self.slots[place.slot as usize].heads[place.direction as usize];
        self.waits.list(head)
    }

    /// Whether there is something to be had at `place`, as far as is known.
    pub(crate) fn is_ready(&self, place: Place) -> bool {
        let slot = &self.slots[place.slot as usize];
        match place.direction {
            Direction::Read => slot.readable,
            Direction::Write => slot.writable,
        }
    }

    fn wake_list(
        &mut self,
        slot: u32,
        direction: Direction,
        wake: Wake,
        woken: &mut Vec<Woken<W>>,
    ) {
        let Slot {
            generation,
            heads,
            source,
            ..
        } = &mut self.slots[slot as usize];
        let place = Place {
            slot,
            generation: *generation,
            direction,
        };
        let head = &mut heads[direction as usize];
        while let Some(waiter) = self.waits.pop(head) {
            woken.push(Woken {
                waiter,
                wake,
                place: Some(place),
                source: *source,
            });
        }
    }

    /// Takes a wait out of its list.
    fn unlink(&mut self, key: WaitKey) -> W {
        let head = match self.waits.list_of(key) {
            Some((slot, direction)) => {
                Some(&mut self.slots[slot as usize].heads[direction as usize])
            }
            None => None,
        };
        self.waits.remove(key, head)
    }

    /// Has the processor fetch what `dispatch` will look at: of a connection that has been idle it
    /// is cold, and one would be waited for after the other.
    fn prefetch(&self, events: &[EpollEvent]) {
        let slot = |event: &EpollEvent| self.slots.get(event.u64 as u32 as usize);
        for slot in events.iter().filter_map(slot) {
            sys::prefetch(slot);
        }
        for slot in events.iter().filter_map(slot) {
            self.waits.prefetch(slot.heads[Direction::Read as usize]);
        }
    }

    /// The same, of what an operation and a wait at a slot will look at.
    pub(crate) fn prefetch_slot(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot as usize) {
            sys::prefetch(slot);
        }
        self.waits.prefetch_free();
    }

    fn dispatch(&mut self, event: EpollEvent, woken: &mut Vec<Woken<W>>) {
        let (token, events) = (event.u64, event.events);
        let (index, generation) = poller::of_token(token);
        // The poller's own tokens have no slot.
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        if !slot.used || slot.generation != generation {
            return;
        }
        if events & ENDS_SHORT_READS != 0 {
            slot.short_reads = false;
        }
        if events & WAKES_READERS != 0 {
            slot.readable = true;
            self.wake_list(index, Direction::Read, Wake::Ready, woken);
        }
        if events & WAKES_WRITERS != 0 {
            self.slots[index as usize].writable = true;
            self.wake_list(index, Direction::Write, Wake::Ready, woken);
        }
    }
}

impl<W> Driver for Epoll<W> {
    type Waiter = W;

    fn register(&mut self, source: &Source, direction: Direction) -> io::Result<Place> {
        let index = match source.slot_on(self.worker) {
            Some(index) => index,
            None => self.add(source, direction)?,
        };
        let slot = &mut self.slots[index as usize];
        if direction == Direction::Write && !slot.watches_out {
            let token = token(index, slot.generation);
            // Modifying reports what is ready now as a new edge: nothing is missed in between.
            self.poller.modify(slot.fd, IN | OUT, token)?;
            slot.watches_out = true;
        }
        Ok(Place {
            slot: index,
            generation: slot.generation,
            direction,
        })
    }

    fn poll_ready(
        &mut self,
        place: Place,
        waiter: W,
        deadline: Option<Instant>,
    ) -> Result<WaitKey, W> {
        match self.slots.get(place.slot as usize) {
            Some(slot) if slot.used && slot.generation == place.generation => {}
            _ => return Err(waiter),
        }
        if self.is_ready(place) {
            // There will be no further edge for what is there already.
            self.ready.push(place);
        }
        let deadline = deadline.map(|deadline| self.poller.tick_after(deadline));
        let head = &mut self.slots[place.slot as usize].heads[place.direction as usize];
        Ok(self.waits.push(head, place, waiter, deadline))
    }

    fn sleep(&mut self, waiter: W, deadline: Instant) -> WaitKey {
        let deadline = self.poller.tick_after(deadline);
        self.waits.insert(waiter, deadline)
    }

    fn cancel(&mut self, wait: WaitKey) -> W {
        self.unlink(wait)
    }

    fn wait(&mut self, bound: Option<Instant>, woken: &mut Vec<Woken<W>>) -> io::Result<()> {
        let timeout = if self.ready.is_empty() {
            self.poller.timeout_ms(bound, self.waits.next_deadline())
        } else {
            0
        };
        while let Some(place) = self.ready.pop() {
            let slot = &self.slots[place.slot as usize];
            if slot.used && slot.generation == place.generation {
                self.wake_list(place.slot, place.direction, Wake::Ready, woken);
            }
        }
        let mut events = std::mem::take(&mut self.events);
        let count = self.poller.wait(&mut events, timeout);
        if let Ok(count) = count {
            for some in events[..count].chunks(PREFETCHED) {
                self.prefetch(some);
                some.iter().for_each(|event| self.dispatch(*event, woken));
            }
        }
        self.events = events;
        for key in self.waits.due(self.poller.elapsed()) {
            let waiter = self.unlink(key);
            woken.push(Woken {
                waiter,
                wake: Wake::TimedOut,
                place: None,
                source: std::ptr::null(),
            });
        }
        count.map(drop)
    }

    fn now(&self) -> Instant {
        self.poller.now()
    }

    unsafe fn step<O: Operation>(
        &mut self,
        source: &Source,
        operation: &mut O,
        attempt: Attempt,
    ) -> Step<O::Output> {
        let slot = source
            .slot_on(self.worker)
            .map(|index| &mut self.slots[index as usize]);
        if attempt == Attempt::IfReady
            && let Some(slot) = &slot
            && slot.is_blocked(O::DIRECTION)
        {
            return Step::NotReady;
        }
        let result = operation.attempt(source);
        let (blocked, short) = match &result {
            Ok(output) => (false, operation.is_short(output)),
            Err(error) => (error.kind() == io::ErrorKind::WouldBlock, false),
        };
        if (blocked || short)
            && let Some(slot) = slot
        {
            match O::DIRECTION {
                Direction::Read => slot.readable &= short && !slot.short_reads,
                Direction::Write => slot.writable = false,
            }
        }
        if blocked {
            Step::NotReady
        } else {
            Step::Done(result)
        }
    }
}
