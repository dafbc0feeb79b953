//! What TCP streams and listeners have in common: a shared source, a blocking mode per handle, the
//! conversions to and from std. Used by `stream` and `listener` only.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{BorrowedSocket, ToSocketAddrs};
use crate::driver::{Operation, Source};
use crate::sched::io::{Patience, perform};
use crate::sys;

#[derive(Debug)]
pub(super) struct Socket {
    source: Arc<Source>,
    /// As the user set it on this handle. The description itself is always non-blocking.
    nonblocking: AtomicBool,
}

impl Socket {
    /// Of a new descriptor in non-blocking mode.
    pub(super) fn new(fd: OwnedFd, stream: bool) -> Socket {
        let source = Arc::new(Source::new(fd, stream));
        Socket {
            source,
            nonblocking: AtomicBool::new(false),
        }
    }

    /// Of a descriptor that somebody else made; its blocking mode becomes the handle's.
    pub(super) fn adopt(fd: OwnedFd, stream: bool) -> Socket {
        let raw = fd.as_raw_fd();
        let nonblocking = sys::is_nonblocking(raw).unwrap_or(false);
        if !stream {
            // `accept` has no flag to ask for this per call.
            let _ = sys::set_nonblocking(raw, true);
        }
        let socket = Socket::new(fd, stream);
        socket.set_nonblocking(nonblocking);
        socket
    }

    /// Takes the descriptor out, deregistered and in the user's blocking mode. If there are clones
    /// it is a duplicate, and they go on.
    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
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

    pub(super) fn try_clone(&self) -> Socket {
        Socket {
            source: Arc::clone(&self.source),
            nonblocking: AtomicBool::new(self.nonblocking.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn perform<O: Operation>(&self, operation: O) -> io::Result<O::Output> {
        let patience = if self.nonblocking.load(Ordering::Relaxed) {
            Patience::None
        } else {
            Patience::For(self.source.timeout(O::DIRECTION))
        };
        perform(&self.source, patience, operation)
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn borrowed(&self) -> BorrowedSocket<'_> {
        BorrowedSocket(&self.source)
    }

    pub(super) fn raw(&self) -> RawFd {
        self.source.raw()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.borrow()
    }

    pub(super) fn ttl(&self) -> io::Result<u32> {
        sys::option(self.raw(), libc::IPPROTO_IP, libc::IP_TTL).map(|ttl| ttl as u32)
    }

    pub(super) fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = i32::try_from(ttl).unwrap_or(i32::MAX);
        sys::set_option(self.raw(), libc::IPPROTO_IP, libc::IP_TTL, ttl)
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let code = sys::option(self.raw(), libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
    }
}

/// Tries each address in turn and gives the first success, or the last error.
pub(super) fn try_each<T>(
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
    ($type:ident, $std:ty, stream: $stream:literal) => {
        impl $type {
            /// Takes the socket out of every event loop and gives it as std's type, in the blocking
            /// mode that was set on this handle. If there are clones it is a duplicate.
            ///
            /// # Errors
            ///
            /// When the blocking mode cannot be set or, with clones, no descriptor is free.
            pub fn into_std(self) -> io::Result<$std> {
                self.socket.into_fd().map(<$std>::from)
            }

            /// Takes over a socket of std's, with its blocking mode as this handle's.
            ///
            /// # Errors
            ///
            /// None now; mirrors its siblings elsewhere.
            pub fn from_std(socket: $std) -> io::Result<$type> {
                Ok($type::from(OwnedFd::from(socket)))
            }
        }

        impl From<OwnedFd> for $type {
            fn from(fd: OwnedFd) -> $type {
                $type {
                    socket: Socket::adopt(fd, $stream),
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
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.raw()
            }
        }

        impl IntoRawFd for $type {
            /// See `into_std`.
            ///
            /// # Panics
            ///
            /// When the socket has clones and no descriptor is free for the duplicate.
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
pub(super) use conversions;
