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
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slab::NONE;
use super::source::{Registration, Source};
use super::timers::Tick;
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

/// The token of the notification descriptor.
const NOTIFICATION: u64 = u64::MAX;
/// The token of the timer.
const TIMER: u64 = u64::MAX - 1;
const EVENTS: usize = 512;
/// Events whose registrations are fetched into the cache before they are looked at.
const PREFETCHED: usize = 32;
/// A deadline further off than this is left to the timer: with a time-out of its own, each
/// `epoll_wait` that sleeps costs the kernel a timer to set and to remove, and on a virtual machine
/// much more than that.
const FAR: Duration = Duration::from_millis(100);

pub(crate) struct Epoll<W> {
    epoll: Arc<OwnedFd>,
    /// This worker's number, unique in the process.
    worker: u32,
    home: &'static dyn Home,
    events: Box<[EpollEvent]>,
    slots: Vec<Slot>,
    free_slot: u32,
    waits: Waits<W>,
    /// Lists to hand out at the next wait: a waiter came when the source was known to be ready.
    ready: Vec<Place>,
    /// Ends a wait whose next deadline is far off, and when it is set to.
    timer: OwnedFd,
    armed: Option<Instant>,
    /// Tick 0.
    base: Instant,
    /// A deadline and its tick: servers give the same one again and again.
    last_tick: (Instant, Tick),
    now: Instant,
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
        let epoll = sys::epoll_create()?;
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let raw = epoll.as_raw_fd();
        sys::epoll_ctl(raw, libc::EPOLL_CTL_ADD, notification, events, NOTIFICATION)?;
        let timer = sys::timerfd()?;
        sys::epoll_ctl(raw, libc::EPOLL_CTL_ADD, timer.as_raw_fd(), events, TIMER)?;
        let now = Instant::now();
        Ok(Epoll {
            timer,
            armed: None,
            epoll: Arc::new(epoll),
            worker,
            home,
            events: vec![EpollEvent { events: 0, u64: 0 }; EVENTS].into_boxed_slice(),
            slots: Vec::new(),
            free_slot: NONE,
            waits: Waits::new(),
            ready: Vec::new(),
            base: now,
            last_tick: (now, 0),
            now,
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
        let epoll = self.epoll.as_raw_fd();
        sys::epoll_ctl(
            epoll,
            libc::EPOLL_CTL_ADD,
            fd,
            events,
            token(index, generation),
        )?;
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
            epoll: Arc::clone(&self.epoll),
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
        if token == NOTIFICATION || token == TIMER {
            return;
        }
        let (index, generation) = (token as u32, (token >> 32) as u32);
        let slot = &mut self.slots[index as usize];
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

    /// The first tick at which `time` has passed: deadlines are never early.
    fn tick_after(&mut self, time: Instant) -> Tick {
        if self.last_tick.0 != time {
            let tick = millis_ceil(time.saturating_duration_since(self.base));
            self.last_tick = (time, tick);
        }
        self.last_tick.1
    }

    /// How long `epoll_wait` may wait.
    fn timeout_ms(&mut self, bound: Option<Instant>) -> i32 {
        let tick = self.waits.next_deadline();
        let due = tick.map(|tick| self.base + Duration::from_millis(tick));
        if let (None, Some(due)) = (bound, due)
            && due > self.now + FAR
            && self.arm(due).is_ok()
        {
            return -1;
        }
        let until = match (bound, due) {
            (Some(bound), Some(due)) => bound.min(due),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return -1,
        };
        if until <= self.now {
            return 0;
        }
        millis_ceil(until.saturating_duration_since(Instant::now()))
            .try_into()
            .unwrap_or(i32::MAX)
    }
}

impl<W> Epoll<W> {
    /// Sees to it that a wait without a bound ends by `due`.
    fn arm(&mut self, due: Instant) -> io::Result<()> {
        // One that expires earlier does too, if it has not expired yet: the wait is merely looked
        // at once more.
        if self
            .armed
            .is_none_or(|armed| armed > due || armed <= self.now)
        {
            let left = due.saturating_duration_since(Instant::now());
            sys::timerfd_set(self.timer.as_raw_fd(), left)?;
            self.armed = Some(due);
        }
        Ok(())
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
            let epoll = self.epoll.as_raw_fd();
            // Modifying reports what is ready now as a new edge: nothing is missed in between.
            sys::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, slot.fd, IN | OUT, token)?;
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
        let deadline = deadline.map(|deadline| self.tick_after(deadline));
        let head = &mut self.slots[place.slot as usize].heads[place.direction as usize];
        Ok(self.waits.push(head, place, waiter, deadline))
    }

    fn sleep(&mut self, waiter: W, deadline: Instant) -> WaitKey {
        let deadline = self.tick_after(deadline);
        self.waits.insert(waiter, deadline)
    }

    fn cancel(&mut self, wait: WaitKey) -> W {
        self.unlink(wait)
    }

    fn wait(&mut self, bound: Option<Instant>, woken: &mut Vec<Woken<W>>) -> io::Result<()> {
        let timeout = if self.ready.is_empty() {
            self.timeout_ms(bound)
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
        let count = sys::epoll_wait(self.epoll.as_raw_fd(), &mut events, timeout);
        self.now = Instant::now();
        if let Ok(count) = count {
            for some in events[..count].chunks(PREFETCHED) {
                self.prefetch(some);
                some.iter().for_each(|event| self.dispatch(*event, woken));
            }
        }
        self.events = events;
        let elapsed = self.now.saturating_duration_since(self.base).as_millis() as Tick;
        for key in self.waits.due(elapsed) {
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
        self.now
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

fn millis_ceil(duration: Duration) -> u64 {
    let part = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration
        .as_secs()
        .saturating_mul(1_000)
        .saturating_add(part)
}

fn token(slot: u32, generation: u32) -> u64 {
    // Generations wrap before they could make a slot's token that of the notification.
    u64::from(slot) | u64::from(generation) << 32
}
