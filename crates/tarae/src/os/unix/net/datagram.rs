//! `UnixDatagram`: std's surface over `Socket`, and descriptors in transit.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{SocketAddr, check_count, path_address};
use crate::driver::message::{
    Receive, ReceiveFds, ReceiveFrom, SendFds, TrySendFdsTo, UntilShutdown, Writable,
};
use crate::driver::operation::Send;
use crate::driver::{Direction, Operation, Source};
use crate::net::socket::{Kind, Socket, conversions, data_socket_methods, handle_methods};
use crate::net::{AsSocket, BorrowedSocket};
use crate::sched;
use crate::sched::io::{Patience, perform};
use crate::sys::{self, Address, RawAddress};

/// A socket for datagrams between processes of this machine:
/// [`std::os::unix::net::UnixDatagram`], whose every call parks the coroutine in place of blocking
/// the thread.
///
/// A call gives or takes one datagram, whole: what does not fit into the buffer is lost. Unlike
/// with UDP none is lost on the way: whoever sends waits while the receiver's queue is full. It may
/// be used by coroutines of several workers and by plain threads at once; each datagram goes to one
/// of them. A time-out gives [`TimedOut`](io::ErrorKind::TimedOut); a cancellation an error that
/// [`Cancelled::is`](crate::Cancelled::is) recognises.
///
/// # Examples
///
/// ```
/// use tarae::os::unix::net::UnixDatagram;
///
/// tarae::run(|| -> std::io::Result<()> {
///     let (one, other) = UnixDatagram::pair()?;
///     tarae::spawn(move || one.send(b"hello"));
///     let mut buffer = [0; 100];
///     let count = other.recv(&mut buffer)?;
///     assert_eq!(&buffer[..count], b"hello");
///     Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub struct UnixDatagram {
    socket: Socket,
}

conversions!(UnixDatagram, std::os::unix::net::UnixDatagram, Kind::Other);
data_socket_methods!(
    UnixDatagram,
    SocketAddr,
    "let socket = tarae::os::unix::net::UnixDatagram::unbound()?;"
);

impl UnixDatagram {
    fn of(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram {
            socket: Socket::new(fd, Kind::Other),
        }
    }

    /// A socket at `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when something has that path, if only what an earlier program left: remove it
    /// first; `InvalidInput` for a path of more than 107 bytes; those of `bind(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::os::unix::net::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("datagram-{}.sock", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &path)?;
    /// assert_eq!(server.recv(&mut [0; 100])?, 5);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_raw(&path_address(path)?)
    }

    /// A socket at `address`, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when it is taken; those of `bind(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use tarae::os::unix::net::{SocketAddr, UnixDatagram};
    ///
    /// let name = format!("tarae-datagram-{}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let server = UnixDatagram::bind_addr(&address)?;
    /// UnixDatagram::unbound()?.send_to_addr(b"hello", &address)?;
    /// assert_eq!(server.recv(&mut [0; 100])?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_raw(&address.to_raw())
    }

    fn bind_raw(address: &RawAddress) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        sys::bind(socket.socket.raw(), address)?;
        Ok(socket)
    }

    /// A socket without a name: it can send, and nobody can send to it unless it is connected.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`.
    ///
    /// # Examples
    ///
    /// See [`bind`](UnixDatagram::bind).
    pub fn unbound() -> io::Result<UnixDatagram> {
        sched::refuse_simulated("a Unix socket")?;
        sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM).map(UnixDatagram::of)
    }

    /// Two sockets that are connected to each other and have no name.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    ///
    /// # Examples
    ///
    /// See [`UnixDatagram`].
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        sched::refuse_simulated("a Unix socket")?;
        let (one, other) = sys::socket_pair(libc::SOCK_DGRAM)?;
        Ok((UnixDatagram::of(one), UnixDatagram::of(other)))
    }

    /// Sets where [`send`](UnixDatagram::send) sends to, and receives from nobody else.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a path, `ConnectionRefused` when nobody has it any more; those of
    /// `connect(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::os::unix::net::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("peer-{}.sock", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.connect(&path)?;
    /// assert_eq!(client.send(b"hello")?, 5);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.socket.source().connect(&path_address(path)?)
    }

    /// As [`connect`](UnixDatagram::connect), to an address that may be an abstract name.
    ///
    /// # Errors
    ///
    /// As for [`connect`](UnixDatagram::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::linux::net::SocketAddrExt;
    /// # use tarae::os::unix::net::{SocketAddr, UnixDatagram};
    /// # let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    /// # let address = SocketAddr::from_abstract_name(name)?;
    /// let server = UnixDatagram::bind_addr(&address)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.connect_addr(&address)?;
    /// assert_eq!(client.send(b"hello")?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.source().connect(&address.to_raw())
    }

    /// Sends a datagram to the peer. Waits while the peer's queue or the socket's buffer is full.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` when the peer is gone; those of `send(2)`.
    ///
    /// # Examples
    ///
    /// See [`UnixDatagram`].
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.socket.perform(Send(data))
    }

    /// Sends a datagram to the socket at `path`. Waits while its queue, or this socket's buffer, is
    /// full; with the help of another descriptor, since only a connected socket is told of room in
    /// a queue.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a path, `ConnectionRefused` when nobody has it any more; those of
    /// `sendto(2)`.
    ///
    /// # Examples
    ///
    /// See [`bind`](UnixDatagram::bind).
    pub fn send_to(&self, data: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_fds_raw(data, &[], &path_address(path)?)
    }

    /// As [`send_to`](UnixDatagram::send_to), to an address that may be an abstract name.
    ///
    /// # Errors
    ///
    /// As for [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    ///
    /// See [`bind_addr`](UnixDatagram::bind_addr).
    pub fn send_to_addr(&self, data: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.send_fds_raw(data, &[], &address.to_raw())
    }

    /// Sends a datagram with the descriptors `fds` to the peer, who gets duplicates of them.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more than 253 descriptors; `ETOOMANYREFS` when too many are on their way;
    /// those of [`send`](UnixDatagram::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use tarae::os::unix::net::UnixDatagram;
    ///
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send_fds(b"two", &[one.as_fd(), other.as_fd()])?;
    /// let (count, fds) = other.recv_fds(&mut [0; 100], 2)?;
    /// assert_eq!((count, fds.len()), (3, 2));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send_fds(&self, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        check_count(fds)?;
        self.socket.perform(SendFds { data, fds })
    }

    /// As [`send_fds`](UnixDatagram::send_fds), to an address.
    ///
    /// # Errors
    ///
    /// As for [`send_fds`](UnixDatagram::send_fds) and [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::linux::net::SocketAddrExt;
    /// # use std::os::fd::AsFd;
    /// # use tarae::os::unix::net::{SocketAddr, UnixDatagram};
    /// # let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    /// # let address = SocketAddr::from_abstract_name(name)?;
    /// let server = UnixDatagram::bind_addr(&address)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.send_fds_to_addr(b"", &[client.as_fd()], &address)?;
    /// let (count, fds, sender) = server.recv_fds_from(&mut [], 1)?;
    /// assert_eq!((count, fds.len()), (0, 1));
    /// assert!(sender.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send_fds_to_addr(
        &self,
        data: &[u8],
        fds: &[BorrowedFd<'_>],
        address: &SocketAddr,
    ) -> io::Result<usize> {
        check_count(fds)?;
        self.send_fds_raw(data, fds, &address.to_raw())
    }

    fn send_fds_raw(
        &self,
        data: &[u8],
        fds: &[BorrowedFd<'_>],
        to: &RawAddress,
    ) -> io::Result<usize> {
        let mut deadline = None;
        loop {
            let attempt = TrySendFdsTo { data, fds, to };
            if let Some(count) = perform(self.socket.source(), Patience::None, attempt)? {
                return Ok(count);
            }
            let Patience::For(timeout) = self.socket.patience(Direction::Write) else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let deadline = *deadline.get_or_insert_with(|| {
                timeout.and_then(|timeout| sched::now().checked_add(timeout))
            });
            let left = deadline.map(|end: Instant| end.saturating_duration_since(sched::now()));
            self.wait_for_room(to, left)?;
        }
    }

    /// Waits until sending to `to` is worth another attempt. A socket connected to it is told when
    /// there is room in its queue; ours is told of room in its own buffer.
    fn wait_for_room(&self, to: &RawAddress, timeout: Option<Duration>) -> io::Result<()> {
        let patience = Patience::For(timeout);
        let probe = Source::new(sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM)?, false);
        match probe.connect(to) {
            Ok(()) => {
                if Writable.attempt(&probe).is_err() {
                    return perform(&probe, patience, Writable);
                }
            }
            // It takes datagrams from its peer only, which is us: then its queue has no bound.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => return Err(error),
        }
        perform(self.socket.source(), patience, Writable)
    }

    /// Receives a datagram, of the peer only if there is one. Waits until there is one; it may be
    /// of zero bytes. What does not fit into `buffer` is lost. Zero as well when the socket is shut
    /// down for reading and all is read, in non-blocking mode too.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`.
    ///
    /// # Examples
    ///
    /// See [`UnixDatagram`].
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer, 0)
    }

    /// As [`recv`](UnixDatagram::recv), with the sender's address.
    ///
    /// # Errors
    ///
    /// As for [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::os::unix::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send(b"hello")?;
    /// let (count, sender) = other.recv_from(&mut [0; 100])?;
    /// assert!(count == 5 && sender.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buffer, 0)
    }

    /// Receives without taking: the next call gives the same datagram again.
    ///
    /// # Errors
    ///
    /// As for [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::os::unix::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send(b"hello")?;
    /// assert_eq!(other.peek(&mut [0; 3])?, 3);
    /// assert_eq!(other.recv(&mut [0; 100])?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer, libc::MSG_PEEK)
    }

    /// As [`peek`](UnixDatagram::peek), with the sender's address.
    ///
    /// # Errors
    ///
    /// As for [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::os::unix::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send(b"hello")?;
    /// let (count, sender) = other.peek_from(&mut [0; 100])?;
    /// assert!(count == 5 && sender.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buffer, libc::MSG_PEEK)
    }

    fn receive(&self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        let receive = UntilShutdown(Receive { buffer, flags });
        self.socket.perform(receive).map(Option::unwrap_or_default)
    }

    fn receive_from(
        &self,
        buffer: &mut [u8],
        flags: libc::c_int,
    ) -> io::Result<(usize, SocketAddr)> {
        let receive = UntilShutdown(ReceiveFrom(Receive { buffer, flags }));
        let (count, from) = self.socket.perform(receive)?.unwrap_or(END);
        Ok((count, SocketAddr::from_raw(&from)?))
    }

    /// Receives a datagram, and up to `max` descriptors that came with it, close-on-exec. Those
    /// that come where nobody asks for them, with an ordinary `recv`, are closed by the kernel.
    ///
    /// # Errors
    ///
    /// `InvalidData` when more than `max` were sent with it, or more than the process may open: all
    /// of them are closed and the datagram is lost. Those of [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    ///
    /// See [`send_fds`](UnixDatagram::send_fds).
    pub fn recv_fds(&self, buffer: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        let (count, fds, _) = self.recv_fds_from(buffer, max)?;
        Ok((count, fds))
    }

    /// As [`recv_fds`](UnixDatagram::recv_fds), with the sender's address.
    ///
    /// # Errors
    ///
    /// As for [`recv_fds`](UnixDatagram::recv_fds).
    ///
    /// # Examples
    ///
    /// See [`send_fds_to_addr`](UnixDatagram::send_fds_to_addr).
    pub fn recv_fds_from(
        &self,
        buffer: &mut [u8],
        max: usize,
    ) -> io::Result<(usize, Vec<OwnedFd>, SocketAddr)> {
        let mut fds = Vec::new();
        let receive = UntilShutdown(ReceiveFds {
            buffer,
            room: max,
            fds: &mut fds,
        });
        let (count, from) = self.socket.perform(receive)?.unwrap_or(END);
        Ok((count, fds, SocketAddr::from_raw(&from)?))
    }

    /// Shuts one or both directions down; whoever waits in it is woken.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Shutdown;
    /// use tarae::os::unix::net::UnixDatagram;
    ///
    /// let (one, _other) = UnixDatagram::pair()?;
    /// one.shutdown(Shutdown::Both)?;
    /// assert_eq!(one.recv(&mut [0; 8])?, 0);
    /// assert!(one.send(b"x").is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }
}

/// What is received once nothing can be: no bytes, from nobody.
const END: (usize, RawAddress) = (0, RawAddress::NONE);
