//! The simulated network: listeners, connections, what is on its way between them, and the faults
//! that befall it.
//!
//! Called by `World` for one socket's call at a time, and to deliver what is due. Pure but for its
//! own random numbers: it knows ticks, no clock, and no waiter; it only notes whose readiness may
//! have changed.
//!
//! Invariants. Whatever is sent to one socket arrives in the order in which it was sent: nothing
//! overtakes on a connection, however the delays are drawn. Numbers of sockets are never reused. A
//! socket is in `sockets` while it has a handle or waits in a listener's queue.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};

use super::trace::{Log, Random, hash};
use crate::driver::Direction;
use crate::driver::timers::Tick;

/// Connections a listener holds until they are accepted; later ones try again.
const QUEUE: usize = 4096;
/// Bytes on their way to a socket or unread there, at most.
const WINDOW: usize = 64 * 1024;
/// When a connection that found the queue full tries again.
const RETRY: Tick = 1_000;
const FIRST_PORT: u16 = 49_152;

/// What may happen to connections, and how often: probabilities from 0 to 1.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// How long anything is on its way, at least and at most.
    pub(crate) delay: (Tick, Tick),
    /// Of a read or write to move only a part of what it could.
    pub(crate) partial: f64,
    /// Of a write to find the connection reset.
    pub(crate) resets: f64,
    /// Of an attempt to connect to be refused.
    pub(crate) refusals: f64,
    /// Of a connection to overtake others that wait to be accepted.
    pub(crate) reorder: f64,
}

pub(crate) type Id = u32;

pub(crate) struct Net {
    pub(super) now: Tick,
    pub(super) random: Random,
    pub(super) log: Log,
    faults: Faults,
    sockets: BTreeMap<Id, Entry>,
    /// What was set, by socket and name.
    options: BTreeMap<(Id, libc::c_int), u32>,
    next_id: Id,
    next_port: u16,
    /// By arrival, then in the order of sending.
    flights: BTreeMap<(Tick, u64), Flight>,
    sent: u64,
    /// Sockets whose readiness may have changed, for each worker.
    news: Vec<Vec<Id>>,
}

enum Entry {
    Listener(Listener),
    Stream(Stream),
}

struct Listener {
    address: SocketAddr,
    queue: VecDeque<Id>,
}

struct Stream {
    local: SocketAddr,
    peer: SocketAddr,
    /// The other end, once the connection stands; it may be gone.
    other: Option<Id>,
    received: VecDeque<u8>,
    /// Bytes on their way here.
    coming: usize,
    /// When the last of what was sent here arrives.
    last_arrival: Tick,
    /// The other end has shut its side down, and all of it has arrived.
    ended: bool,
    read_shut: bool,
    write_shut: bool,
    /// Reset or refused: nothing goes in or out.
    dead: bool,
    /// Told once, by the next call.
    error: Option<i32>,
}

/// Something on its way from one socket to another.
struct Flight {
    from: Id,
    /// 0 for an attempt to connect, which goes to an address.
    to: Id,
    what: What,
}

enum What {
    Attempt,
    Accepted,
    Refused,
    Bytes(Vec<u8>),
    End,
    Reset,
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Stream {
    fn new(local: SocketAddr, peer: SocketAddr) -> Stream {
        Stream {
            local,
            peer,
            other: None,
            received: VecDeque::new(),
            coming: 0,
            last_arrival: 0,
            ended: false,
            read_shut: false,
            write_shut: false,
            dead: false,
            error: None,
        }
    }

    fn is_readable(&self) -> bool {
        !self.received.is_empty() || self.ended || self.read_shut || self.dead
    }

    /// The error that came up since the last call, as every call begins.
    fn check(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |code| Err(error(code)))
    }

    fn kill(&mut self, code: i32) {
        if !self.dead {
            self.dead = true;
            self.error = Some(code);
        }
    }
}

// ---- what a socket's handle can do ------------------------------------------------------------

impl Net {
    pub(super) fn new(seed: u64, faults: Faults, workers: usize) -> Net {
        Net {
            now: 0,
            random: Random::new(seed),
            log: Log::default(),
            faults,
            sockets: BTreeMap::new(),
            options: BTreeMap::new(),
            next_id: 1,
            next_port: FIRST_PORT,
            flights: BTreeMap::new(),
            sent: 0,
            news: vec![Vec::new(); workers],
        }
    }

    pub(super) fn bind(&mut self, mut address: SocketAddr) -> io::Result<Id> {
        let given = address.port() != 0;
        loop {
            if !given {
                address.set_port(self.port());
            }
            if self.listener_at(address).is_none() {
                break;
            }
            if given {
                return Err(error(libc::EADDRINUSE));
            }
        }
        let queue = VecDeque::new();
        let id = self.insert(Entry::Listener(Listener { address, queue }));
        self.note(format_args!("socket {id} listens on {address}"));
        Ok(id)
    }

    /// Begins a connection; whether it comes about is told by `outcome`.
    pub(super) fn connect(&mut self, mut to: SocketAddr) -> Id {
        if to.ip().is_unspecified() {
            to.set_ip(match to.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let mut local = to;
        local.set_port(self.port());
        let id = self.insert(Entry::Stream(Stream::new(local, to)));
        self.note(format_args!("socket {id} connects from {local} to {to}"));
        if self.random.chance(self.faults.refusals) {
            self.note(format_args!("fault: socket {id} will be refused"));
            self.send_off(id, id, What::Refused);
        } else {
            self.send_off(id, 0, What::Attempt);
        }
        id
    }

    /// Whether a connection begun has come about; `WouldBlock` while it has not.
    pub(super) fn outcome(&mut self, id: Id) -> io::Result<()> {
        let Some(Entry::Stream(stream)) = self.sockets.get_mut(&id) else {
            return Err(error(libc::ENOTCONN));
        };
        stream.check()?;
        if stream.other.is_none() && !stream.dead {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, id: Id) -> io::Result<(Id, SocketAddr)> {
        let Some(Entry::Listener(listener)) = self.sockets.get_mut(&id) else {
            return Err(error(libc::EINVAL));
        };
        let Some(accepted) = listener.queue.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let Some(Entry::Stream(stream)) = self.sockets.get(&accepted) else {
            unreachable!("what is in a queue is a connection, with or without a peer")
        };
        let peer = stream.peer;
        self.note(format_args!("socket {id} accepts {accepted} from {peer}"));
        Ok((accepted, peer))
    }

    /// Copies what has arrived into the buffers; `keep` leaves it there.
    pub(super) fn recv(
        &mut self,
        id: Id,
        buffers: &mut [&mut [u8]],
        keep: bool,
    ) -> io::Result<usize> {
        let partial = self.faults.partial;
        let Some(Entry::Stream(stream)) = self.sockets.get_mut(&id) else {
            return Err(error(libc::ENOTCONN));
        };
        if stream.received.is_empty() {
            stream.check()?;
            if stream.is_readable() {
                self.note(format_args!("socket {id} reads the end"));
                return Ok(0);
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let room = buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
        let mut count = room.min(stream.received.len());
        if count > 1 && self.random.chance(partial) {
            count = 1 + self.random.below(count as u64 - 1) as usize;
        }
        let mut bytes = stream.received.iter().copied().take(count);
        for place in buffers.iter_mut().flat_map(|buffer| buffer.iter_mut()) {
            let Some(byte) = bytes.next() else { break };
            *place = byte;
        }
        let sum = hash(stream.received.iter().copied().take(count));
        let other = stream.other;
        let verb = if keep { "peeks at" } else { "reads" };
        if !keep {
            stream.received.drain(..count);
        }
        self.note(format_args!("socket {id} {verb} {count} bytes: {sum:016x}"));
        if let (Some(other), false) = (other, keep) {
            // There is room again.
            self.changed(other);
        }
        Ok(count)
    }

    pub(super) fn send(&mut self, id: Id, data: &[&[u8]]) -> io::Result<usize> {
        let Some(Entry::Stream(stream)) = self.sockets.get_mut(&id) else {
            return Err(error(libc::ENOTCONN));
        };
        stream.check()?;
        if stream.dead || stream.write_shut {
            return Err(error(libc::EPIPE));
        }
        let Some(other) = stream.other else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let whole = data.iter().map(|slice| slice.len()).sum::<usize>();
        if whole == 0 {
            return Ok(0);
        }
        if self.random.chance(self.faults.resets) {
            self.note(format_args!(
                "fault: the connection of socket {id} is reset"
            ));
            self.break_connection(id, other);
            return Err(error(libc::ECONNRESET));
        }
        let mut count = whole.min(self.room(other));
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if count > 1 && self.random.chance(self.faults.partial) {
            count = 1 + self.random.below(count as u64 - 1) as usize;
        }
        let bytes = data.iter().flat_map(|slice| slice.iter().copied());
        let bytes: Vec<u8> = bytes.take(count).collect();
        let sum = hash(bytes.iter().copied());
        self.note(format_args!("socket {id} sends {count} bytes: {sum:016x}"));
        if let Some(Entry::Stream(other)) = self.sockets.get_mut(&other) {
            other.coming += count;
        }
        self.send_off(id, other, What::Bytes(bytes));
        Ok(count)
    }

    pub(super) fn shutdown(&mut self, id: Id, how: Shutdown) -> io::Result<()> {
        let stream = match self.sockets.get_mut(&id) {
            Some(Entry::Stream(stream)) if !stream.dead => stream,
            _ => return Err(error(libc::ENOTCONN)),
        };
        let Some(other) = stream.other else {
            return Err(error(libc::ENOTCONN));
        };
        stream.read_shut |= how != Shutdown::Write;
        let end = how != Shutdown::Read && !stream.write_shut;
        stream.write_shut |= end;
        self.note(format_args!("socket {id} shuts {how:?} down"));
        self.changed(id);
        if end {
            self.send_off(id, other, What::End);
        }
        Ok(())
    }

    /// The last handle is gone.
    pub(super) fn close(&mut self, id: Id) {
        self.note(format_args!("socket {id} is closed"));
        match self.sockets.remove(&id) {
            Some(Entry::Listener(listener)) => {
                for waiting in listener.queue {
                    if let Some(Entry::Stream(stream)) = self.sockets.remove(&waiting)
                        && let Some(other) = stream.other
                    {
                        self.send_off(id, other, What::Reset);
                    }
                }
            }
            Some(Entry::Stream(stream)) if !stream.dead => {
                if let Some(other) = stream.other {
                    // What the peer has sent in vain it is told of, as by Linux.
                    if !stream.received.is_empty() {
                        self.send_off(id, other, What::Reset);
                    } else if !stream.write_shut {
                        self.send_off(id, other, What::End);
                    }
                }
            }
            _ => {}
        }
        self.options.retain(|(of, _), _| *of != id);
        self.changed(id);
    }

    pub(super) fn local(&self, id: Id) -> io::Result<SocketAddr> {
        match self.sockets.get(&id) {
            Some(Entry::Listener(listener)) => Ok(listener.address),
            Some(Entry::Stream(stream)) => Ok(stream.local),
            None => Err(error(libc::EBADF)),
        }
    }

    pub(super) fn peer(&self, id: Id) -> io::Result<SocketAddr> {
        match self.sockets.get(&id) {
            Some(Entry::Stream(stream)) if !stream.dead && stream.other.is_some() => {
                Ok(stream.peer)
            }
            _ => Err(error(libc::ENOTCONN)),
        }
    }

    pub(super) fn take_error(&mut self, id: Id) -> Option<io::Error> {
        match self.sockets.get_mut(&id) {
            Some(Entry::Stream(stream)) => stream.check().err(),
            _ => None,
        }
    }

    /// An option: those that std's TCP sockets have keep their value, and do nothing.
    pub(super) fn option(&self, id: Id, name: libc::c_int) -> u32 {
        let default = if name == libc::IP_TTL { 64 } else { 0 };
        self.options.get(&(id, name)).copied().unwrap_or(default)
    }

    pub(super) fn set_option(&mut self, id: Id, name: libc::c_int, value: u32) {
        self.options.insert((id, name), value);
    }

    /// A socket as a person would want it named.
    pub(super) fn describe(&self, id: Id) -> String {
        match self.sockets.get(&id) {
            Some(Entry::Listener(listener)) => format!("socket {id} (on {})", listener.address),
            Some(Entry::Stream(stream)) => {
                format!("socket {id} ({} to {})", stream.local, stream.peer)
            }
            None => format!("socket {id} (closed)"),
        }
    }
}

// ---- what a driver asks -----------------------------------------------------------------------

impl Net {
    /// Whether an attempt would not block; of a socket that is closed, that it is.
    pub(super) fn is_ready(&self, id: Id, direction: Direction) -> bool {
        match (self.sockets.get(&id), direction) {
            (Some(Entry::Stream(stream)), Direction::Read) => stream.is_readable(),
            (Some(Entry::Stream(stream)), Direction::Write) => {
                let over = stream.dead || stream.write_shut;
                over || stream.other.is_some_and(|other| self.room(other) > 0)
            }
            (Some(Entry::Listener(listener)), _) => !listener.queue.is_empty(),
            (None, _) => true,
        }
    }

    pub(super) fn is_closed(&self, id: Id) -> bool {
        !self.sockets.contains_key(&id)
    }

    pub(super) fn has_news(&self, worker: usize) -> bool {
        let due = |arrival| arrival <= self.now;
        !self.news[worker].is_empty() || self.next_arrival().is_some_and(due)
    }

    pub(super) fn take_news(&mut self, worker: usize) -> Vec<Id> {
        std::mem::take(&mut self.news[worker])
    }

    pub(super) fn next_arrival(&self) -> Option<Tick> {
        self.flights
            .first_key_value()
            .map(|((arrival, _), _)| *arrival)
    }

    /// Has everything arrive that is due.
    pub(super) fn deliver(&mut self) {
        while self
            .next_arrival()
            .is_some_and(|arrival| arrival <= self.now)
        {
            let (_, flight) = self.flights.pop_first().expect("there is a next one");
            self.arrive(flight);
        }
    }

    pub(super) fn note(&mut self, text: std::fmt::Arguments<'_>) {
        self.log.line(self.now, text);
    }
}

// ---- on the way -------------------------------------------------------------------------------

impl Net {
    fn insert(&mut self, entry: Entry) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        self.sockets.insert(id, entry);
        id
    }

    fn port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    fn listener_at(&self, address: SocketAddr) -> Option<Id> {
        let found = self.sockets.iter().find(|(_, entry)| match entry {
            Entry::Listener(listener) => overlap(listener.address, address),
            Entry::Stream(_) => false,
        });
        found.map(|(id, _)| *id)
    }

    /// Bytes that may be sent to a socket. One that is gone takes everything, and will answer.
    fn room(&self, to: Id) -> usize {
        match self.sockets.get(&to) {
            Some(Entry::Stream(stream)) => {
                WINDOW.saturating_sub(stream.received.len() + stream.coming)
            }
            _ => WINDOW,
        }
    }

    fn changed(&mut self, id: Id) {
        self.news.iter_mut().for_each(|news| news.push(id));
    }

    fn send_off(&mut self, from: Id, to: Id, what: What) {
        let (least, most) = self.faults.delay;
        let delay = least + self.random.below(most - least + 1);
        let mut arrival = self.now + delay;
        if let Some(Entry::Stream(stream)) = self.sockets.get_mut(&to) {
            arrival = arrival.max(stream.last_arrival);
            stream.last_arrival = arrival;
        }
        self.sent += 1;
        let flight = Flight { from, to, what };
        self.flights.insert((arrival, self.sent), flight);
    }

    fn break_connection(&mut self, id: Id, other: Id) {
        let lose_all = self.random.chance(0.5);
        let lost = |flight: &Flight| flight.to == id || (lose_all && flight.to == other);
        self.flights.retain(|_, flight| !lost(flight));
        for (end, lost) in [(id, true), (other, lose_all)] {
            if let (Some(Entry::Stream(stream)), true) = (self.sockets.get_mut(&end), lost) {
                stream.coming = 0;
            }
        }
        if let Some(Entry::Stream(stream)) = self.sockets.get_mut(&id) {
            stream.dead = true;
        }
        self.changed(id);
        self.send_off(id, other, What::Reset);
    }

    fn arrive(&mut self, flight: Flight) {
        let Flight { from, to, what } = flight;
        if let What::Attempt = what {
            return self.attempt(from);
        }
        let Some(Entry::Stream(stream)) = self.sockets.get_mut(&to) else {
            if matches!(what, What::Bytes(_) | What::Accepted) {
                // Nobody is there any more.
                self.send_off(to, from, What::Reset);
            }
            return;
        };
        match what {
            What::Attempt => unreachable!("taken care of above"),
            _ if stream.dead => return,
            What::Accepted => {
                stream.other = Some(from);
                self.note(format_args!("socket {to} is connected"));
            }
            What::Refused => {
                stream.kill(libc::ECONNREFUSED);
                self.note(format_args!("socket {to} is refused"));
            }
            What::Bytes(bytes) => {
                stream.coming -= bytes.len();
                stream.received.extend(&bytes);
                self.note(format_args!("socket {to} gets {} bytes", bytes.len()));
            }
            What::End => {
                stream.ended = true;
                self.note(format_args!("socket {to} gets the end"));
            }
            What::Reset => {
                let code = if stream.ended {
                    libc::EPIPE
                } else {
                    libc::ECONNRESET
                };
                stream.kill(code);
                self.note(format_args!("socket {to} gets a reset"));
            }
        }
        self.changed(to);
    }

    /// A connection's first packet arrives at its address.
    fn attempt(&mut self, from: Id) {
        let Some(Entry::Stream(client)) = self.sockets.get(&from) else {
            return;
        };
        let (local, peer) = (client.peer, client.local);
        let Some(at) = self.listener_at(local) else {
            return self.send_off(from, from, What::Refused);
        };
        let mut end = Stream::new(local, peer);
        end.other = Some(from);
        let end = self.insert(Entry::Stream(end));
        let overtakes = self.random.chance(self.faults.reorder);
        let Some(Entry::Listener(listener)) = self.sockets.get_mut(&at) else {
            unreachable!("found among the listeners")
        };
        if listener.queue.len() == QUEUE {
            self.sockets.remove(&end);
            self.sent += 1;
            let again = Flight {
                from,
                to: 0,
                what: What::Attempt,
            };
            self.flights.insert((self.now + RETRY, self.sent), again);
            return;
        }
        let length = listener.queue.len();
        let place = if overtakes {
            self.random.below(length as u64 + 1) as usize
        } else {
            length
        };
        listener.queue.insert(place, end);
        self.note(format_args!(
            "socket {at} has {end} from {peer} in its queue"
        ));
        if place < length {
            self.note(format_args!("fault: {end} overtakes {}", length - place));
        }
        self.changed(at);
        self.send_off(end, from, What::Accepted);
    }
}

/// Whether a listener on one address gets what is meant for the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && same_family && (any || one.ip() == other.ip())
}
