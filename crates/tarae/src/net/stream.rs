//! `TcpStream`: std's surface over `Socket`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::sending::send_file_method;
use super::socket::{
    Kind, Socket, conversions, data_socket_methods, handle_methods, read_and_write, try_each,
};
use super::starting::{Connecting, start_methods};
use super::{AsSocket, BorrowedSocket, ToSocketAddrs};
use crate::completion::{self, Completion};
use crate::driver::Direction;
use crate::driver::operation::{FinishConnect, Peek, Recv, RecvVectored, Send, SendVectored};
use crate::sched;
use crate::sched::io::{Patience, perform};
use crate::sys::{self, Address};

/// A TCP connection: [`std::net::TcpStream`], whose every call parks the coroutine in place of
/// blocking the thread.
///
/// It is `Read` and `Write`, by reference too, so any crate that takes those works over it. It may
/// be used by coroutines of several workers and by plain threads at once. A time-out gives
/// [`TimedOut`](io::ErrorKind::TimedOut); a cancellation an error that
/// [`Cancelled::is`](crate::Cancelled::is) recognises.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::net::{TcpListener, TcpStream};
///
/// tarae::run(|| -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?)?;
///     let (mut server, _) = listener.accept()?;
///     client.write_all(b"ping")?;
///     let mut buffer = [0; 4];
///     server.read_exact(&mut buffer)?;
///     assert_eq!(&buffer, b"ping");
///     Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub struct TcpStream {
    socket: Socket,
}

conversions!(TcpStream, std::net::TcpStream, Kind::TcpStream);
data_socket_methods!(
    TcpStream,
    SocketAddr,
    r#"# let listener = tarae::net::TcpListener::bind("127.0.0.1:0")?;
# let address = listener.local_addr()?;
let socket = tarae::net::TcpStream::connect(address)?;"#
);
read_and_write!(TcpStream);
start_methods!(
    TcpStream,
    r#"let listener = tarae::net::TcpListener::bind("127.0.0.1:0")?;
let other = tarae::net::TcpStream::connect(listener.local_addr()?)?;
let (socket, _) = listener.accept()?;"#
);

send_file_method!(
    TcpStream,
    r#"let listener = tarae::net::TcpListener::bind("127.0.0.1:0")?;
let other = tarae::net::TcpStream::connect(listener.local_addr()?)?;
let (socket, _) = listener.accept()?;"#
);

impl TcpStream {
    pub(super) fn of(socket: Socket) -> TcpStream {
        TcpStream { socket }
    }

    /// Connects to the first of `addresses` that answers. Waits as a read does.
    ///
    /// A *name* is looked up without holding up the worker (see [`ToSocketAddrs`]).
    ///
    /// # Errors
    ///
    /// That of the last address tried.
    pub fn connect(addresses: impl ToSocketAddrs) -> io::Result<TcpStream> {
        try_each(addresses, |address| TcpStream::connect_one(address, None))
    }

    /// Connects, but gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `InvalidInput` for a time-out of zero; those of `connect(2)`.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a time-out must be longer than zero",
            ));
        }
        TcpStream::connect_one(address, Some(timeout))
    }

    fn connect_one(address: &SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let (stream, is_done) = TcpStream::begin(address)?;
        if !is_done {
            let source = stream.socket.source();
            perform(source, Patience::For(timeout), FinishConnect)?;
        }
        Ok(stream)
    }

    /// Begins to connect; true if that was all.
    fn begin(address: &SocketAddr) -> io::Result<(TcpStream, bool)> {
        if let Some(world) = sched::simulation() {
            let socket = Socket::of_simulated(world.connect(*address));
            return Ok((TcpStream::of(socket), false));
        }
        let address = address.to_raw();
        let fd = sys::socket(address.family(), libc::SOCK_STREAM)?;
        let stream = TcpStream::of(Socket::new(fd, Kind::TcpStream));
        match stream.socket.source().connect(&address) {
            Err(error) if is_in_progress(&error) => Ok((stream, false)),
            result => result.map(|()| (stream, true)),
        }
    }

    /// Starts to connect to `address` and goes on: the [`Completion`] gives what
    /// [`connect`](TcpStream::connect) would. Never waits; see
    /// [`start_read`](TcpStream::start_read) for who does the work.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::net::{TcpListener, TcpStream};
    ///
    /// tarae::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let accepted = listener.start_accept();
    ///     let connected = TcpStream::start_connect(&listener.local_addr()?);
    ///     let stream = connected.wait().unwrap()?;
    ///     let (_, peer) = accepted.wait().unwrap()?;
    ///     assert_eq!(stream.local_addr()?, peer);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap()
    /// .unwrap();
    /// ```
    pub fn start_connect(address: &SocketAddr) -> Completion<io::Result<TcpStream>> {
        match TcpStream::begin(address) {
            Ok((stream, false)) => {
                let finish = |source| TcpStream::of(Socket::of_source(source));
                completion::io::start(stream.socket.shared_source(), Connecting(finish))
            }
            result => completion::io::ready(Ok(result.map(|(stream, _)| stream))),
        }
    }

    /// Shuts one or both directions down; whoever waits in it is woken.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Reads without taking: the next read gives the same bytes again. Waits until there are some.
    ///
    /// # Errors
    ///
    /// As for a read.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.perform(Peek(buffer))
    }

    /// Whether small writes leave at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let socket = &self.socket;
        socket.set_option(libc::IPPROTO_TCP, libc::TCP_NODELAY, nodelay.into())
    }

    /// Whether small writes leave at once.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        let value = self.socket.option(libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
        Ok(value != 0)
    }

    /// Sets the time to live of outgoing packets, in hops.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_ttl(ttl)
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

fn is_in_progress(error: &io::Error) -> bool {
    // An interrupted connect goes on in the background too.
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}
