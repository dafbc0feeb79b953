//! What all sockets have in common: a shared source, a blocking mode per handle, the conversions to
//! and from std, and methods that only differ in the type they stand on, as macros.
//!
//! Used by the socket types of `net` and `os` only. Must never wait but in `perform`.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{BorrowedSocket, ToSocketAddrs};
use crate::driver::{Direction, Operation, Source, sim};
use crate::sched::io::{Patience, perform};
use crate::sys::{self, Address};

/// What a socket is, as far as waiting for it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Short reads tell of readiness (see `driver`).
    TcpStream,
    /// `accept` has no flag to ask it not to block, so the description itself must not.
    Listener,
    /// Neither: datagrams, and Unix streams, which stop short at ancillary data.
    Other,
}

#[derive(Debug)]
pub(crate) struct Socket {
    source: Arc<Source>,
    /// As the user set it on this handle. The description's own mode decides nothing, or is
    /// non-blocking.
    nonblocking: AtomicBool,
}

impl Socket {
    /// Of a new descriptor in non-blocking mode.
    pub(crate) fn new(fd: OwnedFd, kind: Kind) -> Socket {
        Socket::of_source(Arc::new(Source::new(fd, kind == Kind::TcpStream)))
    }

    pub(crate) fn of_source(source: Arc<Source>) -> Socket {
        Socket {
            source,
            nonblocking: AtomicBool::new(false),
        }
    }

    /// Of a simulated run.
    pub(crate) fn of_simulated(socket: sim::Socket) -> Socket {
        Socket::of_source(Arc::new(Source::of_simulated(socket)))
    }

    pub(crate) fn simulated(&self) -> Option<&sim::Socket> {
        self.source.simulated()
    }

    /// Of a descriptor that somebody else made; its blocking mode becomes the handle's.
    pub(crate) fn adopt(fd: OwnedFd, kind: Kind) -> Socket {
        let raw = fd.as_raw_fd();
        let nonblocking = sys::is_nonblocking(raw).unwrap_or(false);
        if kind == Kind::Listener {
            let _ = sys::set_nonblocking(raw, true);
        }
        let socket = Socket::new(fd, kind);
        socket.set_nonblocking(nonblocking);
        socket
    }

    /// Takes the descriptor out, deregistered and in the user's blocking mode. If there are clones
    /// it is a duplicate, and they go on.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        if self.simulated().is_some() {
            return Err(sim::unsupported("the descriptor of a simulated socket"));
        }
        let nonblocking = self.nonblocking.into_inner();
        let fd = match Arc::try_unwrap(self.source) {
            Ok(source) => source.into_fd(),
            Err(shared) => {
                shared.set_mode_shared();
                sys::duplicate(&shared.borrow())?
            }
        };
        sys::set_nonblocking(fd.as_raw_fd(), nonblocking)?;
        Ok(fd)
    }

    pub(crate) fn try_clone(&self) -> Socket {
        Socket {
            source: Arc::clone(&self.source),
            nonblocking: AtomicBool::new(self.nonblocking.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn perform<O: Operation>(&self, operation: O) -> io::Result<O::Output> {
        perform(&self.source, self.patience(O::DIRECTION), operation)
    }

    /// How a call on this handle waits.
    pub(crate) fn patience(&self, direction: Direction) -> Patience {
        if self.nonblocking.load(Ordering::Relaxed) {
            Patience::None
        } else {
            Patience::For(self.source.timeout(direction))
        }
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn shared_source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(crate) fn borrowed(&self) -> BorrowedSocket<'_> {
        BorrowedSocket(&self.source)
    }

    /// The descriptor; of a simulated socket its number, negative.
    pub(crate) fn raw(&self) -> RawFd {
        self.source.raw()
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.source.descriptor_number()
    }

    pub(crate) fn local_addr<A: Address>(&self) -> io::Result<A> {
        match self.simulated() {
            Some(socket) => A::from_raw(&socket.local()?.to_raw()),
            None => sys::local_addr(self.raw()),
        }
    }

    pub(crate) fn peer_addr<A: Address>(&self) -> io::Result<A> {
        match self.simulated() {
            Some(socket) => A::from_raw(&socket.peer()?.to_raw()),
            None => sys::peer_addr(self.raw()),
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.borrow()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Some(socket) = self.simulated() {
            return socket.shutdown(how);
        }
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        sys::shutdown(self.raw(), how)
    }

    pub(crate) fn option(&self, level: libc::c_int, name: libc::c_int) -> io::Result<u32> {
        if let Some(socket) = self.simulated() {
            return Ok(socket.option(name));
        }
        // None of the options used has negative values.
        sys::option(self.raw(), level, name).map(|value| value as u32)
    }

    pub(crate) fn set_option(
        &self,
        level: libc::c_int,
        name: libc::c_int,
        value: u32,
    ) -> io::Result<()> {
        if let Some(socket) = self.simulated() {
            socket.set_option(name, value);
            return Ok(());
        }
        let value = i32::try_from(value).unwrap_or(i32::MAX);
        sys::set_option(self.raw(), level, name, value)
    }

    pub(crate) fn ttl(&self) -> io::Result<u32> {
        self.option(libc::IPPROTO_IP, libc::IP_TTL)
    }

    pub(crate) fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.set_option(libc::IPPROTO_IP, libc::IP_TTL, ttl)
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        if let Some(socket) = self.simulated() {
            return Ok(socket.take_error());
        }
        let code = sys::option(self.raw(), libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
    }
}

/// Tries each address in turn and gives the first success, or the last error.
pub(crate) fn try_each<T>(
    addresses: impl ToSocketAddrs,
    f: impl Fn(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses.to_socket_addrs()? {
        match f(&address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any addresses",
        )
    }))
}

/// The conversions that every socket type has.
macro_rules! conversions {
    ($type:ident, $std:ty, $kind:expr) => {
        impl $type {
            /// Takes the socket out of every event loop and gives it as std's type, in the blocking
            /// mode that was set on this handle. If there are clones it is a duplicate.
            ///
            /// # Errors
            ///
            /// When the blocking mode cannot be set or, with clones, no descriptor is free;
            /// [`Unsupported`](io::ErrorKind::Unsupported) for a [simulated](crate::sim) socket.
            pub fn into_std(self) -> io::Result<$std> {
                self.socket.into_fd().map(<$std>::from)
            }

            /// Takes over a socket of std's, with its blocking mode as this handle's.
            ///
            /// # Errors
            ///
            /// [`Unsupported`](io::ErrorKind::Unsupported) in a [simulated run](crate::sim).
            pub fn from_std(socket: $std) -> io::Result<$type> {
                sched::refuse_simulated("a socket of std's")?;
                Ok($type::from(OwnedFd::from(socket)))
            }
        }

        impl From<OwnedFd> for $type {
            fn from(fd: OwnedFd) -> $type {
                $type {
                    socket: Socket::adopt(fd, $kind),
                }
            }
        }

        impl From<$std> for $type {
            fn from(socket: $std) -> $type {
                $type::from(OwnedFd::from(socket))
            }
        }

        impl TryFrom<$type> for OwnedFd {
            type Error = io::Error;

            fn try_from(socket: $type) -> io::Result<OwnedFd> {
                socket.socket.into_fd()
            }
        }

        impl AsFd for $type {
            /// # Panics
            ///
            /// When the socket is [simulated](crate::sim).
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl AsRawFd for $type {
            /// # Panics
            ///
            /// When the socket is [simulated](crate::sim).
            fn as_raw_fd(&self) -> RawFd {
                self.socket.as_raw_fd()
            }
        }

        impl IntoRawFd for $type {
            /// See `into_std`.
            ///
            /// # Panics
            ///
            /// When the socket has clones and no descriptor is free for the duplicate, or it is
            /// [simulated](crate::sim).
            fn into_raw_fd(self) -> RawFd {
                let fd = self.socket.into_fd().expect("giving a socket away");
                fd.into_raw_fd()
            }
        }

        crate::driver::source::from_raw_fd!($type);

        impl AsSocket for $type {
            fn as_socket(&self) -> BorrowedSocket<'_> {
                self.socket.borrowed()
            }
        }
    };
}
pub(crate) use conversions;

/// What a handle of any socket offers. `$make` makes a `socket`, for the examples, in a function
/// that returns `io::Result`.
macro_rules! handle_methods {
    ($type:ident, $make:literal) => {
        impl $type {
            /// Another handle of the same socket. It costs no descriptor; options and time-outs are
            /// shared, the blocking mode is each handle's own.
            ///
            /// # Errors
            ///
            /// None now; the signature is std's.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// let other = socket.try_clone()?;
            /// other.set_nonblocking(true)?; // `socket` waits as before.
            /// # std::io::Result::Ok(())
            /// ```
            pub fn try_clone(&self) -> io::Result<$type> {
                Ok($type {
                    socket: self.socket.try_clone(),
                })
            }

            /// Whether calls on this handle return `WouldBlock` in place of waiting.
            ///
            /// # Errors
            ///
            /// None; the signature is std's.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// socket.set_nonblocking(true)?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.socket.set_nonblocking(nonblocking);
                Ok(())
            }

            /// Takes the socket's pending error, if there is one.
            ///
            /// # Errors
            ///
            /// Those of `getsockopt(2)`.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// if let Some(error) = socket.take_error()? {
            ///     eprintln!("since the last call: {error}");
            /// }
            /// # std::io::Result::Ok(())
            /// ```
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.take_error()
            }
        }
    };
}
pub(crate) use handle_methods;

/// What a handle of a socket offers that data goes through: time-outs, two addresses, and a `Debug`
/// that names them.
macro_rules! data_socket_methods {
    ($type:ident, $address:ty, $make:literal) => {
        handle_methods!($type, $make);

        impl $type {
            /// Bounds how long a call waits for something to receive; `None`: without bound. All
            /// handles of the socket share it.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a time-out of zero.
            ///
            /// # Examples
            ///
            /// ```
            /// # use std::time::Duration;
            #[doc = $make]
            /// socket.set_read_timeout(Some(Duration::from_secs(30)))?;
            /// assert!(socket.set_read_timeout(Some(Duration::ZERO)).is_err());
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.source().set_timeout(Direction::Read, timeout)
            }

            /// Bounds how long a call waits for room to send; `None`: without bound. All handles of
            /// the socket share it.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a time-out of zero.
            ///
            /// # Examples
            ///
            /// ```
            /// # use std::time::Duration;
            #[doc = $make]
            /// socket.set_write_timeout(Some(Duration::from_secs(30)))?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.source().set_timeout(Direction::Write, timeout)
            }

            /// How long a call waits for something to receive.
            ///
            /// # Errors
            ///
            /// None; the signature is std's.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// assert_eq!(socket.read_timeout()?, None);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.source().timeout(Direction::Read))
            }

            /// How long a call waits for room to send.
            ///
            /// # Errors
            ///
            /// None; the signature is std's.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// assert_eq!(socket.write_timeout()?, None);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.source().timeout(Direction::Write))
            }
        }

        impl $type {
            /// The address of this side.
            ///
            /// # Errors
            ///
            /// Those of `getsockname(2)`.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// println!("{:?}", socket.local_addr()?);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn local_addr(&self) -> io::Result<$address> {
                self.socket.local_addr()
            }

            /// The address of the other side.
            ///
            /// # Errors
            ///
            /// Those of `getpeername(2)`; `NotConnected` when there is none.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $make]
            /// match socket.peer_addr() {
            ///     Ok(address) => println!("connected to {address:?}"),
            ///     Err(error) => println!("{error}"),
            /// }
            /// # std::io::Result::Ok(())
            /// ```
            pub fn peer_addr(&self) -> io::Result<$address> {
                self.socket.peer_addr()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($type));
                if let Ok(address) = self.local_addr() {
                    debug.field("addr", &address);
                }
                if let Ok(peer) = self.peer_addr() {
                    debug.field("peer", &peer);
                }
                debug.field("fd", &self.socket.raw()).finish()
            }
        }
    };
}
pub(crate) use data_socket_methods;

/// `Read` and `Write` for a stream and for a reference to it.
macro_rules! read_and_write {
    ($type:ident) => {
        impl Read for &$type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.socket.perform(Recv(buffer))
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.socket.perform(RecvVectored(buffers))
            }
        }

        impl Write for &$type {
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

        impl Read for $type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }

        impl Write for $type {
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
    };
}
pub(crate) use read_and_write;
