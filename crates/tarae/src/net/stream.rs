//! `TcpStream`: std's surface over `Socket`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::socket::{Socket, conversions, try_each};
use super::{AsSocket, BorrowedSocket, ToSocketAddrs};
use crate::driver::Direction;
use crate::driver::operation::{FinishConnect, Peek, Recv, RecvVectored, Send, SendVectored};
use crate::sched::io::{Patience, perform};
use crate::sys;

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

conversions!(TcpStream, std::net::TcpStream, stream: true);

impl TcpStream {
    pub(super) fn accepted(fd: OwnedFd) -> TcpStream {
        TcpStream {
            socket: Socket::new(fd, true),
        }
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
        let stream = TcpStream::accepted(sys::stream_socket(address)?);
        let source = stream.socket.source();
        match source.connect(address) {
            Err(error) if is_in_progress(&error) => {
                perform(source, Patience::For(timeout), FinishConnect)?;
            }
            result => result?,
        }
        Ok(stream)
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_addr(self.socket.raw())
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.raw())
    }

    /// Shuts one or both directions down; whoever waits in it is woken.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        sys::shutdown(self.socket.raw(), how)
    }

    /// Another handle of the same socket. It costs no descriptor; options and time-outs are shared,
    /// the blocking mode is each handle's own.
    ///
    /// # Errors
    ///
    /// None now; the signature is std's.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream {
            socket: self.socket.try_clone(),
        })
    }

    /// Bounds how long a read waits; `None`: without bound.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time-out of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.source().set_timeout(Direction::Read, timeout)
    }

    /// Bounds how long a write waits; `None`: without bound.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time-out of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.source().set_timeout(Direction::Write, timeout)
    }

    /// How long a read waits.
    ///
    /// # Errors
    ///
    /// None; the signature is std's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.socket.source().timeout(Direction::Read))
    }

    /// How long a write waits.
    ///
    /// # Errors
    ///
    /// None; the signature is std's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.socket.source().timeout(Direction::Write))
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
        let raw = self.socket.raw();
        sys::set_option(raw, libc::IPPROTO_TCP, libc::TCP_NODELAY, nodelay.into())
    }

    /// Whether small writes leave at once.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        let value = sys::option(self.socket.raw(), libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
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

    /// Takes the socket's pending error, if there is one.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Whether calls on this handle return `WouldBlock` in place of waiting.
    ///
    /// # Errors
    ///
    /// None; the signature is std's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking);
        Ok(())
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    // An interrupted connect goes on in the background too.
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.perform(Recv(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.perform(RecvVectored(buffers))
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.socket.perform(Send(data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.perform(SendVectored(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.socket.raw()).finish()
    }
}
