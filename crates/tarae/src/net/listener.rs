//! `TcpListener`: std's surface over `Socket`.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use super::socket::{Kind, Socket, conversions, handle_methods, try_each};
use super::starting::Accepting;
use super::{AsSocket, BorrowedSocket, TcpStream, ToSocketAddrs};
use crate::completion::{self, Completion};
use crate::driver::operation::{Accept, AcceptSimulated};
use crate::driver::{Direction, Source};
use crate::sched;
use crate::sched::io::{Cancelled, Patience, perform};
use crate::sched::worker::Worker;
use crate::select::Accepts;
use crate::sys::{self, Address};

/// Connections waiting to be accepted; the kernel caps it at `net.core.somaxconn`.
pub(crate) const BACKLOG: libc::c_int = 4096;

/// A TCP socket that listens: [`std::net::TcpListener`], whose every call parks the coroutine in
/// place of blocking the thread.
///
/// # Examples
///
/// An echo server:
///
/// ```no_run
/// use tarae::net::TcpListener;
///
/// fn main() -> std::io::Result<()> {
///     tarae::run(|| {
///         for stream in TcpListener::bind("127.0.0.1:7007")?.incoming() {
///             let stream = stream?;
///             tarae::spawn(move || std::io::copy(&mut &stream, &mut &stream));
///         }
///         Ok(())
///     })?
/// }
/// ```
pub struct TcpListener {
    socket: Socket,
}

conversions!(TcpListener, std::net::TcpListener, Kind::Listener);
handle_methods!(
    TcpListener,
    "let socket = tarae::net::TcpListener::bind(\"127.0.0.1:0\")?;"
);

impl TcpListener {
    /// Listens on the first of `addresses` that can be bound; port 0 asks for a free one. The
    /// address may be reused at once after a restart (`SO_REUSEADDR`), as with std.
    ///
    /// A *name* is looked up without holding up the worker (see [`ToSocketAddrs`]).
    ///
    /// # Errors
    ///
    /// That of the last address tried.
    pub fn bind(addresses: impl ToSocketAddrs) -> io::Result<TcpListener> {
        try_each(addresses, |address| {
            if let Some(world) = sched::simulation() {
                let socket = Socket::of_simulated(world.bind(*address)?);
                return Ok(TcpListener { socket });
            }
            let address = address.to_raw();
            let fd = sys::socket(address.family(), libc::SOCK_STREAM)?;
            let raw = fd.as_raw_fd();
            sys::set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            sys::bind(raw, &address)?;
            sys::listen(raw, BACKLOG)?;
            Ok(TcpListener {
                socket: Socket::new(fd, Kind::Listener),
            })
        })
    }

    /// Waits for a connection and gives it with its peer's address. The next coroutine that the
    /// caller spawns counts as this connection's (see [`spawn`](crate::spawn)).
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`: when the process is out of descriptors (`EMFILE`) the connection stays
    /// in the queue and a later call gets it. `WouldBlock` in non-blocking mode; an error that
    /// [`Cancelled::is`] recognises when cancelled.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_within(self.socket.patience(Direction::Read))
    }

    /// Starts to accept a connection and goes on: the [`Completion`] gives what
    /// [`accept`](TcpListener::accept) would. Never waits; see
    /// [`TcpStream::start_read`] for who does the work, and
    /// [`TcpStream::start_connect`] for an example. One that is cancelled has taken nothing out of
    /// the queue.
    pub fn start_accept(&self) -> Completion<io::Result<(TcpStream, SocketAddr)>> {
        completion::io::start(self.socket.shared_source(), Accepting(accept_from))
    }

    fn accept_within(&self, patience: Patience) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = accept_from(self.socket.source(), patience)?;
        if let Some(worker) = Worker::current() {
            worker.note_accept();
        }
        Ok(accepted)
    }

    /// Connections as they come: [`accept`](TcpListener::accept) again and again. Unlike std's, the
    /// iterator ends when the coroutine is cancelled, or a deadline around it has passed.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            listener: self,
            ended: false,
        }
    }

    /// As [`incoming`](TcpListener::incoming), owning the listener.
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming {
            listener: self,
            ended: false,
        }
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sets the time to live of outgoing packets, in hops.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_ttl(ttl)
    }

    /// Bounds how many bytes may lie in the kernel that were written to a connection and never sent
    /// (`TCP_NOTSENT_LOWAT`), for the connections accepted from now on. Writes wait for room below
    /// that. Without it the kernel takes megabytes for each client that does not read.
    ///
    /// The bound is approximate: a write that finds room may exceed it by what one packet holds.
    /// Simulated sockets have a fixed room, whatever is set here.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = tarae::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_notsent_lowat(128 * 1024)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_notsent_lowat(&self, bytes: u32) -> io::Result<()> {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
        self.socket.set_option(level, name, bytes)
    }

    /// The time to live of outgoing packets, in hops.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.ttl()
    }
}

impl Accepts for TcpListener {
    type Connection = (TcpStream, SocketAddr);

    fn listening(&self) -> BorrowedSocket<'_> {
        self.as_socket()
    }

    fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_within(Patience::None)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.socket.raw()).finish()
    }
}

fn accept_from(source: &Source, patience: Patience) -> io::Result<(TcpStream, SocketAddr)> {
    if source.simulated().is_some() {
        let (socket, address) = perform(source, patience, AcceptSimulated)?;
        return Ok((TcpStream::of(Socket::of_simulated(socket)), address));
    }
    let (fd, address) = perform(source, patience, Accept(PhantomData))?;
    Ok((TcpStream::of(Socket::new(fd, Kind::TcpStream)), address))
}

/// See [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    ended: bool,
}

/// See [`TcpListener::into_incoming`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct IntoIncoming {
    listener: TcpListener,
    ended: bool,
}

/// What an iterator makes of what `accept` gave: the end, if that was cut short.
pub(crate) fn unless_ended<T>(accepted: io::Result<T>, ended: &mut bool) -> Option<io::Result<T>> {
    // A listener has no time-outs, so it is a deadline around it that has passed.
    let cut_short = |error: &io::Error| {
        let timed_out = error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none();
        timed_out || Cancelled::is(error)
    };
    *ended = accepted.as_ref().is_err_and(cut_short);
    (!*ended).then_some(accepted)
}

fn next(listener: &TcpListener, ended: &mut bool) -> Option<io::Result<TcpStream>> {
    if *ended {
        return None;
    }
    unless_ended(listener.accept().map(|(stream, _)| stream), ended)
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        next(self.listener, &mut self.ended)
    }
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        next(&self.listener, &mut self.ended)
    }
}

impl FusedIterator for Incoming<'_> {}
impl FusedIterator for IntoIncoming {}
