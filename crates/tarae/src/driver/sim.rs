//! The simulated backend of the driver seam (see `driver` for the contract): virtual time, and
//! sockets that are memory.
//!
//! One `Sim` per simulated worker; all of a run share a `World`: clock, network, random numbers and
//! log. Made by `sched::simulation`, which also moves the clock. No descriptor and no clock of the
//! system is ever touched here, and nothing blocks: `wait` only looks.
//!
//! Invariants: a place's slot is its socket's number, which is never used again, so no generation
//! is needed. The world's
//! lock is never held while anything foreign runs. Whatever several waiters are handed out for at
//! once, they come in an order drawn from the seed.

pub(crate) mod net;
mod trace;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::slab::NONE;
use super::source::Source;
use super::timers::Tick;
use super::waits::Waits;
use super::{Attempt, Direction, Driver, Operation, Place, Step, WaitKey, Wake, Woken};
use net::{Faults, Id, Net};
pub(crate) use trace::hash;

/// What is common to a simulated run.
pub(crate) struct World {
    /// Tick 0. It only gives instants something to count from; nothing depends on its value.
    base: Instant,
    /// The present, in milliseconds.
    now: AtomicU64,
    net: Mutex<Net>,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, workers: usize) -> World {
        World {
            base: Instant::now(),
            now: AtomicU64::new(0),
            net: Mutex::new(Net::new(seed, faults, workers)),
        }
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network, with everything arrived that is due.
    fn arrived(&self) -> MutexGuard<'_, Net> {
        let mut net = self.net();
        net.deliver();
        net
    }

    pub(crate) fn now(&self) -> Instant {
        self.base + self.elapsed()
    }

    /// Virtual time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// The first tick at which `time` has passed: deadlines are never early.
    pub(crate) fn tick_after(&self, time: Instant) -> Tick {
        let since = time.saturating_duration_since(self.base);
        since
            .as_nanos()
            .div_ceil(1_000_000)
            .try_into()
            .unwrap_or(Tick::MAX)
    }

    /// Moves the clock; never back.
    pub(crate) fn advance(&self, to: Tick) {
        self.now.fetch_max(to, Ordering::Relaxed);
        self.net().now = self.now.load(Ordering::Relaxed);
    }

    /// When the next thing that is on its way arrives.
    pub(crate) fn next_arrival(&self) -> Option<Tick> {
        self.net().next_arrival()
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.net().random.below(bound as u64) as usize
    }

    pub(crate) fn random(&self) -> u64 {
        self.net().random.next()
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) {
        self.net().note(text);
    }

    /// The run's own number of a coroutine, by its id.
    pub(crate) fn number(&self, id: u64) -> usize {
        self.net().log.number(id)
    }

    pub(crate) fn take_trace(&self) -> String {
        self.net().log.take()
    }

    pub(crate) fn describe(&self, id: Id) -> String {
        self.net().describe(id)
    }

    pub(crate) fn bind(self: &Arc<World>, address: SocketAddr) -> io::Result<Socket> {
        let id = self.net().bind(address)?;
        Ok(Socket::new(self, id))
    }

    /// Begins a connection; `Operation`s of its socket wait until it has come about.
    pub(crate) fn connect(self: &Arc<World>, address: SocketAddr) -> Socket {
        let id = self.net().connect(address);
        Socket::new(self, id)
    }
}

/// A simulated socket: what a `Source` has in place of a descriptor. Dropping it closes it.
pub(crate) struct Socket {
    world: Arc<World>,
    id: Id,
}

impl Socket {
    fn new(world: &Arc<World>, id: Id) -> Socket {
        let world = Arc::clone(world);
        Socket { world, id }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (id, peer) = self.world.arrived().accept(self.id)?;
        Ok((Socket::new(&self.world, id), peer))
    }

    /// `WouldBlock` while an attempt would.
    pub(crate) fn poll(&self, direction: Direction) -> io::Result<()> {
        match self.world.arrived().is_ready(self.id, direction) {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn recv(&self, buffers: &mut [&mut [u8]], keep: bool) -> io::Result<usize> {
        self.world.arrived().recv(self.id, buffers, keep)
    }

    pub(crate) fn send(&self, data: &[&[u8]]) -> io::Result<usize> {
        self.world.arrived().send(self.id, data)
    }

    pub(crate) fn connect_outcome(&self) -> io::Result<()> {
        self.world.arrived().outcome(self.id)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.world.arrived().shutdown(self.id, how)
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.world.net().local(self.id)
    }

    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.world.arrived().peer(self.id)
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.world.arrived().take_error(self.id)
    }

    pub(crate) fn option(&self, name: libc::c_int) -> u32 {
        self.world.net().option(self.id, name)
    }

    pub(crate) fn set_option(&self, name: libc::c_int, value: u32) {
        self.world.net().set_option(self.id, name, value);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.world.arrived().close(self.id);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated socket {}", self.id)
    }
}

pub(crate) struct Sim<W> {
    world: Arc<World>,
    /// Its worker's place among those of the run.
    index: usize,
    waits: Waits<W>,
    /// Where the list of those begins who wait for a socket, by its number and the direction.
    heads: BTreeMap<(Id, Direction), u32>,
    /// Waiters that came when their socket was ready.
    ready: Vec<Place>,
}

impl<W> Sim<W> {
    pub(crate) fn new(world: Arc<World>, index: usize) -> Sim<W> {
        Sim {
            world,
            index,
            waits: Waits::new(),
            heads: BTreeMap::new(),
            ready: Vec::new(),
        }
    }

    /// Whether a `wait` would hand something out, or have something arrive.
    pub(crate) fn has_news(&self) -> bool {
        let net = self.world.net();
        !self.ready.is_empty()
            || net.has_news(self.index)
            || self
                .waits
                .next_deadline()
                .is_some_and(|tick| tick <= net.now)
    }

    /// The tick until which no wait of this worker's can end by itself.
    pub(crate) fn next_timer(&self) -> Option<Tick> {
        self.waits.next_deadline()
    }

    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Waits in progress, with the negative number of the socket they are for.
    pub(crate) fn waits(&self) -> impl Iterator<Item = (WaitKey, Option<RawFd>, &W)> {
        self.waits.iter().map(|(key, slot, waiter)| {
            let socket = (slot != NONE).then(|| -(slot as RawFd));
            (key, socket, waiter)
        })
    }

    /// Whoever waits at `place`.
    pub(crate) fn waiters_at(&self, place: Place) -> impl Iterator<Item = &W> {
        let head = self.heads.get(&(place.slot, place.direction));
        self.waits.list(head.copied().unwrap_or(NONE))
    }

    pub(crate) fn is_ready(&self, place: Place) -> bool {
        self.world.net().is_ready(place.slot, place.direction)
    }

    /// The source's socket, if it is one of this run's.
    fn socket<'a>(&self, source: &'a Source) -> io::Result<&'a Socket> {
        let ours = |socket: &&Socket| Arc::ptr_eq(&socket.world, &self.world);
        let stranger = || unsupported("a socket that was made outside of the run");
        source.simulated().filter(ours).ok_or_else(stranger)
    }

    fn remove(&mut self, key: WaitKey) -> W {
        match self.waits.list_of(key) {
            Some(at) => {
                let head = self.heads.get_mut(&at).expect("a wait is in its list");
                let waiter = self.waits.remove(key, Some(head));
                if *head == NONE {
                    self.heads.remove(&at);
                }
                waiter
            }
            None => self.waits.remove(key, None),
        }
    }

    fn wake_list(&mut self, place: Place, wake: Wake, woken: &mut Vec<Woken<W>>) {
        let Some(mut head) = self.heads.remove(&(place.slot, place.direction)) else {
            return;
        };
        while let Some(waiter) = self.waits.pop(&mut head) {
            let place = Some(place);
            woken.push(Woken {
                waiter,
                wake,
                place,
                source: std::ptr::null(),
            });
        }
    }

    /// Wakes whoever waits for a socket that has changed.
    fn look_at(&mut self, id: Id, woken: &mut Vec<Woken<W>>) {
        for direction in [Direction::Read, Direction::Write] {
            let place = place(id, direction);
            let (closed, ready) = {
                let net = self.world.net();
                (net.is_closed(id), net.is_ready(id, direction))
            };
            if closed {
                self.wake_list(place, Wake::Cancelled, woken);
            } else if ready {
                self.wake_list(place, Wake::Ready, woken);
            }
        }
    }
}

fn place(slot: Id, direction: Direction) -> Place {
    Place {
        slot,
        generation: 0,
        direction,
    }
}

impl<W> Driver for Sim<W> {
    type Waiter = W;

    fn register(&mut self, source: &Source, direction: Direction) -> io::Result<Place> {
        Ok(place(self.socket(source)?.id, direction))
    }

    fn poll_ready(
        &mut self,
        place: Place,
        waiter: W,
        deadline: Option<Instant>,
    ) -> Result<WaitKey, W> {
        let (closed, ready) = {
            let net = self.world.arrived();
            let ready = net.is_ready(place.slot, place.direction);
            (net.is_closed(place.slot), ready)
        };
        if closed {
            return Err(waiter);
        }
        if ready {
            self.ready.push(place);
        }
        let deadline = deadline.map(|deadline| self.world.tick_after(deadline));
        let head = self.heads.entry((place.slot, place.direction));
        let head = head.or_insert(NONE);
        Ok(self.waits.push(head, place, waiter, deadline))
    }

    fn sleep(&mut self, waiter: W, deadline: Instant) -> WaitKey {
        self.waits.insert(waiter, self.world.tick_after(deadline))
    }

    fn cancel(&mut self, wait: WaitKey) -> W {
        self.remove(wait)
    }

    /// Does not wait, whatever the bound: `sched::simulation` moves the clock when nobody can run.
    fn wait(&mut self, _bound: Option<Instant>, woken: &mut Vec<Woken<W>>) -> io::Result<()> {
        let (now, mut news) = {
            let mut net = self.world.arrived();
            (net.now, net.take_news(self.index))
        };
        news.extend(self.ready.drain(..).map(|place| place.slot));
        let first = woken.len();
        for id in news {
            self.look_at(id, woken);
        }
        for key in self.waits.due(now) {
            let waiter = self.remove(key);
            woken.push(Woken {
                waiter,
                wake: Wake::TimedOut,
                place: None,
                source: std::ptr::null(),
            });
        }
        self.world.net().random.shuffle(&mut woken[first..]);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.world.now()
    }

    /// Always attempts: that costs nothing here.
    unsafe fn step<O: Operation>(
        &mut self,
        source: &Source,
        operation: &mut O,
        _attempt: Attempt,
    ) -> Step<O::Output> {
        let socket = self.socket(source);
        match socket.and_then(|socket| operation.simulate(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::NotReady,
            result => Step::Done(result),
        }
    }
}

/// What does not belong in a simulated run.
pub(crate) fn unsupported(what: &str) -> io::Error {
    let text = format!("{what}: not supported in a simulated run (see `tarae::sim`)");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// A simulated socket whose run is over, or that was taken out of it to a plain thread.
pub(crate) fn stranded() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a simulated socket works in the coroutines of its own run only (see `tarae::sim`)",
    )
}
