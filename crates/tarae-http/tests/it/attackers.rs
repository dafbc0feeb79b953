//! Clients of bad will, used by `attacked`. Each kind of attack has a thread of its own, which
//! visits its connections in turn, at a steady rate. Notes what they are told and judges nothing.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::connect;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use crate::host::inet_socket;

/// A kind of attack.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// How often each connection is visited in a second.
    pub(crate) visits: u32,
    /// What is sent at first, and at each further visit.
    pub(crate) first: String,
    pub(crate) then: String,
    /// Reads 16 bytes at a visit, into a small buffer, instead of all there are.
    pub(crate) reads_little: bool,
    /// The connection is reset at this visit, the first being the one that calls.
    pub(crate) resets_at: Option<u32>,
    /// The status it is told, if it is told one before its connection ends.
    pub(crate) status: Option<&'static str>,
}

/// How many connections have ended, by the status of their first answer.
type Told = BTreeMap<Option<String>, usize>;

/// An attack under way. Dropping it ends it, and all its connections.
pub(crate) struct Attack {
    pub(crate) kind: Arc<Kind>,
    told: Arc<Mutex<Told>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    pub(crate) fn start(kind: &Arc<Kind>, addr: SocketAddr) -> Attack {
        let told = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (kind, note, end) = (Arc::clone(kind), Arc::clone(&told), Arc::clone(&over));
        let own = Arc::clone(&kind);
        Attack {
            kind,
            told,
            over,
            thread: Some(thread::spawn(move || own.go_on(addr, &note, &end))),
        }
    }

    /// Connections that have ended so far, by what they were told.
    pub(crate) fn told(&self) -> Told {
        self.told.lock().expect("not poisoned").clone()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.expect("joined once").expect("it goes on to the end");
        }
    }
}

impl Kind {
    fn go_on(&self, addr: SocketAddr, told: &Mutex<Told>, over: &AtomicBool) {
        let between = Duration::from_secs(1) / self.visits / self.connections as u32;
        let mut callers: Vec<Option<Caller>> = (0..self.connections).map(|_| None).collect();
        let mut due = Instant::now();
        for place in (0..self.connections).cycle() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            due = (due + between).max(Instant::now() - between);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if let Some(status) = self.visit(&mut callers[place], addr) {
                *told
                    .lock()
                    .expect("not poisoned")
                    .entry(status)
                    .or_default() += 1;
            }
        }
    }

    /// Calls, or goes on with the call. Gives what was told if it has ended.
    fn visit(&self, place: &mut Option<Caller>, addr: SocketAddr) -> Option<Option<String>> {
        match place {
            None => *place = Some(Caller::call(addr, self)),
            Some(caller) => {
                if caller.hears_the_end(self) {
                    return place.take().map(Caller::told);
                }
                caller.say(self.then.as_bytes());
            }
        }
        let is_due = |caller: &mut Caller| Some(caller.visits) == self.resets_at;
        let caller = place.take_if(is_due)?;
        set_socket_linger(&caller.stream, Some(Duration::ZERO)).expect("settable");
        Some(caller.told())
    }
}

struct Caller {
    stream: TcpStream,
    visits: u32,
    /// How much of what is said again and again has been taken.
    said: usize,
    /// The beginning of what was read.
    heard: Vec<u8>,
}

impl Caller {
    fn call(addr: SocketAddr, kind: &Kind) -> Caller {
        let socket = inet_socket();
        if kind.reads_little {
            set_socket_recv_buffer_size(&socket, 4096).expect("settable");
        }
        connect(&socket, &addr).expect("it listens");
        let mut stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("settable");
        stream.set_nonblocking(true).expect("settable");
        // It may have been closed already, and is short enough for a new connection.
        let _ = stream.write(kind.first.as_bytes());
        Caller {
            stream,
            visits: 1,
            said: 0,
            heard: Vec::new(),
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        // If the connection has ended, the next visit finds out.
        if let Ok(count) = self.stream.write(&bytes[self.said..]) {
            self.said = (self.said + count) % bytes.len().max(1);
        }
    }

    /// Reads, as much as the kind does. True if that was all.
    fn hears_the_end(&mut self, kind: &Kind) -> bool {
        self.visits += 1;
        let mut part = [0; 16 * 1024];
        let bytes_max = if kind.reads_little { 16 } else { part.len() };
        loop {
            match self.stream.read(&mut part[..bytes_max]) {
                Ok(0) => return true,
                Ok(count) if self.heard.len() < 12 => self.heard.extend(&part[..count]),
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
            if kind.reads_little {
                return false;
            }
        }
    }

    /// The status of the first answer.
    fn told(self) -> Option<String> {
        let status = self.heard.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        Some(String::from_utf8_lossy(status).into_owned())
    }
}
