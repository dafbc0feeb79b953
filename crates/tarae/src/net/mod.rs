//! `std::net`, for coroutines: `use tarae::net` in place of `use std::net`.
//!
//! Public. The sockets have std's whole surface. A call that would block parks the coroutine that
//! makes it, or blocks a plain thread; both may use one socket at the same time. Beyond std there
//! are waits without a coroutine: [`park_until_readable`], [`on_readable`], [`poll_readable`].

mod addresses;
pub(crate) mod listener;
pub(crate) mod sending;
pub(crate) mod socket;
pub(crate) mod starting;
mod stream;
mod udp;

use std::io;
use std::ops::ControlFlow;
use std::panic::Location;
use std::task::{Context, Poll};

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use addresses::ToSocketAddrs;
pub use listener::{Incoming, IntoIncoming, TcpListener};
pub use stream::TcpStream;
pub use udp::UdpSocket;

pub use crate::driver::Wake;
use crate::driver::{Direction, Source};
use crate::sched;
use crate::time::Instant;

/// Something that has a socket one can wait for: a socket, a pipe of a
/// [child process](crate::process), or what contains one.
///
/// # Examples
///
/// ```
/// use tarae::net::{AsSocket, BorrowedSocket, TcpStream};
///
/// struct Connection {
///     stream: TcpStream,
///     requests: u64,
/// }
///
/// impl AsSocket for Connection {
///     fn as_socket(&self) -> BorrowedSocket<'_> {
///         self.stream.as_socket()
///     }
/// }
/// ```
pub trait AsSocket {
    /// The socket to wait for; always the same one.
    fn as_socket(&self) -> BorrowedSocket<'_>;
}

/// A socket or pipe of this crate, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct BorrowedSocket<'a>(&'a Source);

impl<'a> BorrowedSocket<'a> {
    pub(crate) fn of(source: &'a Source) -> BorrowedSocket<'a> {
        BorrowedSocket(source)
    }

    pub(crate) fn source(self) -> &'a Source {
        self.0
    }
}

impl<T: AsSocket + ?Sized> AsSocket for &T {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        (**self).as_socket()
    }
}

impl<T: AsSocket + ?Sized> AsSocket for Box<T> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        (**self).as_socket()
    }
}

impl<T: AsSocket + ?Sized> AsSocket for std::sync::Arc<T> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        (**self).as_socket()
    }
}

/// Waits for a socket without holding a coroutine or a stack: `state` is put aside, and when its
/// socket is readable, the deadline has passed or the runtime ends, `f` is called with it in a new
/// coroutine of the same worker. Returns at once; end the present coroutine then.
///
/// This is how a server keeps ten thousand idle connections: each is its state and some 400 bytes.
/// On a plain thread it waits right here and calls `f` on this thread, and so on with what that
/// puts aside, until nothing is left.
///
/// The deadline is kept in milliseconds; [`Instant::coarse`] is good enough to reckon it from.
///
/// The state and what the function captures wait where the worker keeps them, not on a stack, so
/// they own what they need and are bound to no thread:
///
/// ```compile_fail,E0277
/// let listener = tarae::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// let (stream, _) = listener.accept().unwrap();
/// let here = std::rc::Rc::new(1);
/// tarae::net::park_until_readable(stream, None, move |_, _| drop(here));
/// ```
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::net::{TcpListener, TcpStream, Wake, park_until_readable};
///
/// fn echo(mut stream: TcpStream, wake: Wake) {
///     let mut buffer = [0; 1024];
///     match (wake, stream.read(&mut buffer)) {
///         (Wake::Ready, Ok(count)) if count > 0 => {
///             stream.write_all(&buffer[..count]).unwrap();
///             park_until_readable(stream, None, echo);
///         }
///         _ => {} // Closed, timed out or cancelled: dropping the stream closes it.
///     }
/// }
///
/// tarae::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
///     let (stream, _) = listener.accept().unwrap();
///     park_until_readable(stream, None, echo);
///     client.write_all(b"hello").unwrap();
///     let mut answer = [0; 5];
///     client.read_exact(&mut answer).unwrap();
///     assert_eq!(&answer, b"hello");
/// })
/// .unwrap();
/// ```
#[track_caller]
pub fn park_until_readable<S, F>(state: S, deadline: Option<Instant>, f: F)
where
    S: AsSocket + Send + 'static,
    F: FnOnce(S, Wake) + Send + 'static,
{
    let deadline = deadline.map(Into::into);
    fn source<S: AsSocket>(state: &S) -> &Source {
        state.as_socket().0
    }
    sched::io::park_until_readable(state, source::<S>, deadline, Location::caller(), f);
}

/// Has `callback` called on this worker's own stack whenever `socket` becomes readable, until it
/// returns [`ControlFlow::Break`]; with [`Wake::Cancelled`], for the last time, when the socket is
/// gone or the runtime ends.
///
/// Readiness is edge-triggered: read until `WouldBlock` (with
/// [`set_nonblocking`](TcpStream::set_nonblocking)), or the rest is not reported. The callback must
/// not wait: everything else on this worker would wait with it. Its panics are contained and end
/// the watch.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) on a plain thread; those of registering the socket.
pub fn on_readable(
    socket: &impl AsSocket,
    mut callback: impl FnMut(Wake) -> ControlFlow<()> + 'static,
) -> io::Result<()> {
    let callback = Box::new(move |wake| callback(wake).is_continue());
    sched::io::watch(socket.as_socket().0, Direction::Read, callback)
}

/// For futures: ready when reading from `socket` is worth trying; otherwise the context's waker is
/// woken when it is. Try first: what readiness was found is used up by an attempt that gave
/// `WouldBlock`.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) on a plain thread; those of registering the socket.
pub fn poll_readable(socket: &impl AsSocket, context: &Context<'_>) -> Poll<io::Result<()>> {
    sched::io::poll_ready(socket.as_socket().0, Direction::Read, context)
}

/// As [`poll_readable`], for writing.
///
/// # Errors
///
/// As for [`poll_readable`].
pub fn poll_writable(socket: &impl AsSocket, context: &Context<'_>) -> Poll<io::Result<()>> {
    sched::io::poll_ready(socket.as_socket().0, Direction::Write, context)
}
