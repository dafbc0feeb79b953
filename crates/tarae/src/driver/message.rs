//! The data operations of datagram sockets, and those that carry descriptors; each is one system
//! call that does not block, but for a second look at a socket that was shut down.
//!
//! Made by `net` and `os`. Unlike those of streams (see `operation`), an empty buffer is something
//! to wait for here: a datagram, which it then cuts to nothing.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::operation::SEND_FLAGS;
use super::{Direction, Operation, Source};
use crate::sys::{self, RawAddress};

/// Receives a datagram; `flags` is 0 or `MSG_PEEK`.
pub(crate) struct Receive<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) flags: libc::c_int,
}

impl Operation for Receive<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::recv(source.raw(), self.buffer, self.flags | libc::MSG_DONTWAIT)
    }
}

/// As `Receive`, with the sender's address.
pub(crate) struct ReceiveFrom<'a>(pub(crate) Receive<'a>);

impl Operation for ReceiveFrom<'_> {
    type Output = (usize, RawAddress);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<(usize, RawAddress)> {
        let Receive { buffer, flags } = &mut self.0;
        sys::recv_from(source.raw(), buffer, *flags | libc::MSG_DONTWAIT)
    }
}

/// Sends a datagram to where an internet socket is told to.
pub(crate) struct SendTo<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) to: &'a RawAddress,
}

impl Operation for SendTo<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::send_to(source.raw(), self.data, self.to, SEND_FLAGS)
    }
}

/// Receives data and up to `room` descriptors, which it adds to `fds`. Nothing is added unless the
/// attempt succeeds.
pub(crate) struct ReceiveFds<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) room: usize,
    pub(crate) fds: &'a mut Vec<OwnedFd>,
}

impl Operation for ReceiveFds<'_> {
    type Output = (usize, RawAddress);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<(usize, RawAddress)> {
        let mut came = Vec::new();
        let (raw, room, flags) = (source.raw(), self.room, libc::MSG_DONTWAIT);
        let received = sys::recv_fds(raw, self.buffer, room, flags, &mut |fd| came.push(fd))?;
        if received.truncated || came.len() > room {
            // What came is closed here, what did not come by the kernel.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a message brought more descriptors than the {room} asked for, or than this \
                     process may open; all of them were closed: ask for more, or raise the limit \
                     of open files"
                ),
            ));
        }
        self.fds.append(&mut came);
        Ok((received.count, received.from))
    }
}

/// Sends data and descriptors over a connected socket.
pub(crate) struct SendFds<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) fds: &'a [BorrowedFd<'a>],
}

impl Operation for SendFds<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::send_fds(source.raw(), self.data, self.fds, None, SEND_FLAGS)
    }
}

/// Sends from a Unix socket to an address, unless there is no room: `None`. This must not count as
/// "not ready", for it may be the *receiver* who has no room, and of that the sending socket is not
/// told: a wait for it to become writable might never end.
pub(crate) struct TrySendFdsTo<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) fds: &'a [BorrowedFd<'a>],
    pub(crate) to: &'a RawAddress,
}

impl Operation for TrySendFdsTo<'_> {
    type Output = Option<usize>;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<Option<usize>> {
        match sys::send_fds(source.raw(), self.data, self.fds, Some(self.to), SEND_FLAGS) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }
}

/// Nothing but the wait until a socket is writable.
pub(crate) struct Writable;

impl Operation for Writable {
    type Output = ();
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<()> {
        match sys::poll_wait(source.raw(), libc::POLLOUT, Some(Duration::ZERO))? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

/// A receiving operation of a Unix datagram socket that ends, with `None`, when the socket has been
/// shut down for reading and all is read. The kernel says so only to calls that block; to ours it
/// says for ever that there is nothing yet, without another event.
pub(crate) struct UntilShutdown<O>(pub(crate) O);

impl<O: Operation> Operation for UntilShutdown<O> {
    type Output = Option<O::Output>;
    const DIRECTION: Direction = O::DIRECTION;

    fn attempt(&mut self, source: &Source) -> io::Result<Option<O::Output>> {
        let blocked = |result: &io::Result<_>| match result {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        let result = self.0.attempt(source);
        let none = Some(Duration::ZERO);
        if !blocked(&result) || sys::poll_wait(source.raw(), libc::POLLRDHUP, none)? == 0 {
            return result.map(Some);
        }
        // What came between the two calls comes first; nothing can come any more.
        let result = self.0.attempt(source);
        if blocked(&result) {
            return Ok(None);
        }
        result.map(Some)
    }
}
