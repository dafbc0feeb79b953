//! The open connections of one server: who they are, which of them only wait, when all are gone.
//!
//! Used by the acceptor, which adds connections, by `exchange`, which says when one waits for a
//! request, and by whoever stops the server. Never reads what a peer has sent, only whether there
//! is something.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tarae::net::{AsSocket, BorrowedSocket, TcpStream};
use tarae::sync::mpsc;

use super::Shared;
use crate::conn::Parked;

/// All open connections of a server.
#[derive(Debug)]
pub(super) struct Connections<H>(Mutex<Registry<H>>);

#[derive(Debug)]
struct Registry<H> {
    /// By number, in the order of their arrival. A connection's socket is closed when it goes.
    open: BTreeMap<u64, Weak<Connection<H>>>,
    /// How many there have been.
    total: u64,
    /// Dropped when one has gone.
    room: Option<mpsc::Sender<()>>,
    /// Dropped when nothing is open any more.
    empty: Option<mpsc::Sender<()>>,
}

/// A connection, at work or between two requests. What each request looks at stands first: it is
/// cold, and the rest is colder.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection<H> {
    /// Dropped, and so closed, before the connection leaves its server.
    pub(super) stream: TcpStream,
    place: Place<H>,
    /// What is left of the protocol's state between two requests; its own coroutine only.
    served: AtomicU32,
    blank_seen: AtomicBool,
    /// No whole head has been read that is not answered. True from the start; written by the
    /// connection's own coroutine only. A connection sets it *before* it looks whether the server
    /// stops, and the server says that it stops *before* it looks here (both `SeqCst`): so none
    /// goes on waiting that was not seen to wait.
    waiting: AtomicBool,
    pub(super) peer: SocketAddr,
}

/// A connection's place among those of its server, until it is dropped.
#[derive(Debug)]
struct Place<H> {
    server: Arc<Shared<H>>,
    number: u64,
    /// What is known of the client beyond the socket's address. Where limits and proxies do not ask
    /// for it there is nothing.
    client: OnceLock<Box<Client>>,
}

#[derive(Debug, Default)]
struct Client {
    /// Who is connected to the proxy, as that says.
    source: OnceLock<SocketAddr>,
    /// The address that the connection counts for.
    counted: OnceLock<IpAddr>,
}

impl<H> Place<H> {
    fn client(&self) -> &Client {
        self.client.get_or_init(Box::default)
    }
}

impl<H> Drop for Place<H> {
    fn drop(&mut self) {
        let counted = self.client.get().and_then(|client| client.counted.get());
        if let Some(address) = counted {
            self.server.core.guards.release(*address);
        }
        self.server.connections.remove(self.number);
    }
}

impl<H> Connection<H> {
    pub(super) fn server(&self) -> &Arc<Shared<H>> {
        &self.place.server
    }

    /// The address at the other end, or at the other end of the proxy's connection.
    pub(super) fn source(&self) -> IpAddr {
        let client = self.place.client.get();
        let source = client.and_then(|client| client.source.get());
        source.unwrap_or(&self.peer).ip()
    }

    /// Takes a proxy's word for it.
    pub(super) fn comes_from(&self, source: SocketAddr) {
        // Told once.
        let _ = self.place.client().source.set(source);
    }

    /// Notes that the connection was counted for its source.
    pub(super) fn is_counted(&self) {
        // Told once.
        let _ = self.place.client().counted.set(self.source());
    }

    pub(super) fn parked(&self) -> Parked {
        Parked {
            peer: Some(self.peer),
            served: self.served.load(Ordering::Relaxed),
            blank_seen: self.blank_seen.load(Ordering::Relaxed),
        }
    }

    pub(super) fn park(&self, parked: &Parked) {
        self.served.store(parked.served, Ordering::Relaxed);
        self.blank_seen.store(parked.blank_seen, Ordering::Relaxed);
    }

    /// Says that the connection waits for a request.
    pub(super) fn wait(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// Says that a request may be under way.
    pub(super) fn work(&self) {
        self.waiting.store(false, Ordering::Release);
    }

    /// Ends the connection if it waits and nothing has come: its reads give the end of the input
    /// from now on. If something has come, its coroutine runs or is about to, and sees by itself
    /// that the server stops.
    fn end_if_waiting(&self) {
        // In this order: what a coroutine has taken out of the socket, it took after `work`.
        if self.has_nothing() && self.waiting.load(Ordering::SeqCst) {
            // It fails if the peer has gone already.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    fn has_nothing(&self) -> bool {
        let peek = || -> Result<usize> {
            let handle = self.stream.try_clone()?;
            handle.set_nonblocking(true)?;
            handle.peek(&mut [0])
        };
        peek().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl<H> Default for Connections<H> {
    fn default() -> Connections<H> {
        Connections(Mutex::new(Registry {
            open: BTreeMap::new(),
            total: 0,
            room: None,
            empty: None,
        }))
    }
}

impl<H> Connections<H> {
    fn registry(&self) -> MutexGuard<'_, Registry<H>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, number: u64) {
        let mut registry = self.registry();
        let removed = registry.open.remove(&number);
        let room = registry.room.take();
        let told = registry.open.is_empty().then(|| registry.empty.take());
        drop(registry);
        drop((removed, room, told));
    }

    pub(super) fn count(&self) -> usize {
        self.registry().open.len()
    }

    /// Ends those that wait for a request. The server stops already.
    pub(super) fn end_waiting(&self) {
        let open: Vec<_> = {
            let registry = self.registry();
            registry.open.values().filter_map(Weak::upgrade).collect()
        };
        open.iter()
            .for_each(|connection| connection.end_if_waiting());
    }

    /// Waits until fewer than `max` are open. False if this coroutine is cancelled first.
    pub(super) fn wait_for_room(&self, max: usize) -> bool {
        loop {
            let mut registry = self.registry();
            if registry.open.len() < max {
                return true;
            }
            let (sender, receiver) = mpsc::channel();
            registry.room = Some(sender);
            drop(registry);
            // Nothing is ever sent: this ends when the sender is dropped.
            if receiver.recv().is_err_and(|error| error.is_cancelled()) {
                return false;
            }
        }
    }

    /// Waits until all are gone, for so long at most.
    pub(super) fn wait_until_empty(&self, patience: Duration) -> Emptied {
        let (sender, receiver) = mpsc::channel();
        let mut registry = self.registry();
        if registry.open.is_empty() {
            return Emptied::Yes;
        }
        registry.empty = Some(sender);
        drop(registry);
        // Nothing is ever sent.
        match receiver.recv_timeout(patience) {
            Err(error) if error.is_cancelled() => Emptied::Cancelled,
            Err(error) if error.is_timeout() => Emptied::No,
            _ => Emptied::Yes,
        }
    }
}

/// Whether all connections have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    Yes,
    No,
    /// Nobody waits for it any more.
    Cancelled,
}

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Open<H>(Arc<Connection<H>>);

impl<H> Open<H> {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, server: &Arc<Shared<H>>) -> Open<H> {
        let mut registry = server.connections.registry();
        let number = registry.total;
        registry.total += 1;
        let connection = Arc::new(Connection {
            stream,
            place: Place {
                server: Arc::clone(server),
                number,
                client: OnceLock::new(),
            },
            served: AtomicU32::new(0),
            blank_seen: AtomicBool::new(false),
            waiting: AtomicBool::new(true),
            peer,
        });
        registry.open.insert(number, Arc::downgrade(&connection));
        Open(connection)
    }
}

impl<H> Clone for Open<H> {
    /// Another holder: the connection is closed when the last one drops it.
    fn clone(&self) -> Open<H> {
        Open(Arc::clone(&self.0))
    }
}

impl<H> Deref for Open<H> {
    type Target = Connection<H>;

    fn deref(&self) -> &Connection<H> {
        &self.0
    }
}

impl<H> AsSocket for Open<H> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.stream.as_socket()
    }
}
