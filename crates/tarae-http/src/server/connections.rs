//! The open connections of one server: who they are, which of them only wait, when all are gone.
//!
//! Used by the acceptor, which adds connections, by `exchange`, which says when one waits for a
//! request, and by whoever stops the server. Never reads what a peer has sent, only whether there
//! is something.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tarae::net::TcpStream;
use tarae::sync::mpsc;

use super::Shared;

/// All open connections of a server.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    /// By number, in the order of their arrival.
    open: BTreeMap<u64, Arc<Socket>>,
    /// How many there have been.
    total: u64,
    /// Dropped when nothing is open any more.
    empty: Option<mpsc::Sender<()>>,
}

/// A connection's socket and whether anything would be lost if it were closed now.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    /// Its number among the connections of its server.
    number: u64,
    /// No whole head has been read that is not answered. True from the start; written by the
    /// connection's own coroutine only. A connection sets it *before* it looks whether the server
    /// stops, and the server says that it stops *before* it looks here (both `SeqCst`): so none
    /// goes on waiting that was not seen to wait.
    waiting: AtomicBool,
}

impl Socket {
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

impl Connections {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, stream: TcpStream) -> Arc<Socket> {
        let mut registry = self.registry();
        let number = registry.total;
        registry.total += 1;
        let socket = Arc::new(Socket {
            stream,
            number,
            waiting: AtomicBool::new(true),
        });
        registry.open.insert(number, Arc::clone(&socket));
        socket
    }

    fn remove(&self, socket: &Socket) {
        let mut registry = self.registry();
        let removed = registry.open.remove(&socket.number);
        let told = registry.open.is_empty().then(|| registry.empty.take());
        drop(registry);
        drop((removed, told));
    }

    /// Ends those that wait for a request. The server stops already.
    pub(super) fn end_waiting(&self) {
        let sockets: Vec<_> = self.registry().open.values().cloned().collect();
        sockets.iter().for_each(|socket| socket.end_if_waiting());
    }

    /// Waits until all are gone, or this coroutine is cancelled.
    pub(super) fn wait_until_empty(&self) {
        let (sender, receiver) = mpsc::channel();
        let mut registry = self.registry();
        if registry.open.is_empty() {
            return;
        }
        registry.empty = Some(sender);
        drop(registry);
        // Nothing is ever sent: this ends when the sender is dropped.
        let _ = receiver.recv();
    }
}

/// An open connection and the server it belongs to. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Open<H> {
    pub(super) socket: Arc<Socket>,
    pub(super) server: Arc<Shared<H>>,
}

impl<H> Open<H> {
    pub(super) fn new(stream: TcpStream, server: &Arc<Shared<H>>) -> Open<H> {
        Open {
            socket: server.core.connections.add(stream),
            server: Arc::clone(server),
        }
    }
}

impl<H> Drop for Open<H> {
    fn drop(&mut self) {
        self.server.core.connections.remove(&self.socket);
    }
}
