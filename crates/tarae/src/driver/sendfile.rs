//! A file to a stream, piece by piece, without a copy in user memory: `sendfile(2)` of what is in
//! the page cache.
//!
//! Made by `net::sending`, executed by `sched::io`. It must never wait for a disk on a worker's
//! thread: `sendfile` knows no flag for that. So an attempt first looks whether the next piece is
//! in memory, and says so if it is not; somebody else then reads it in.
//!
//! What is found in memory stays known until it is sent, or until there is no room: the wait for
//! room may be long, so after it the attempt looks again. What the kernel takes out of its cache in
//! the microseconds between the look and the call is waited for, and cannot be told.
//!
//! The mode of the socket's description decides whether `sendfile` waits for room, and somebody
//! else may have set that: where it waits, the bytes are to be copied.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Direction, Operation, Source};
use crate::sys;

/// How much is sent by one call, on a worker's thread, which others wait for.
pub(crate) const PIECE_MAX: u64 = 256 * 1024;

/// The part of a file that is still to be sent.
pub(crate) struct SendFile<'a> {
    pub(crate) file: BorrowedFd<'a>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// So many bytes at the offset are in memory, or need not be.
    pub(crate) known: u64,
    /// Whether it matters here what is in memory.
    pub(crate) looks: bool,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many bytes; none at the end of the file.
    Bytes(u64),
    /// So many bytes have to be read from the disk first.
    NotInMemory(u64),
    /// `sendfile` is not for this file, this socket or this system.
    Unsuitable,
}

impl SendFile<'_> {
    /// Looks at the next piece; none if it can be sent.
    fn look(&mut self) -> Option<Sent> {
        let fd = self.file.as_raw_fd();
        // Files of /proc are regular ones of no size.
        let Ok(Some(size @ 1..)) = sys::known_size(fd) else {
            return Some(Sent::Unsuitable);
        };
        // Never beyond the end: the kernel would keep the last packet back, for what comes next.
        let left = size.saturating_sub(self.offset);
        let piece = left.min(self.len).min(PIECE_MAX);
        if piece == 0 {
            return Some(Sent::Bytes(0));
        }
        if self.looks && !is_in_memory(self.file, self.offset, piece) {
            return Some(Sent::NotInMemory(piece));
        }
        self.known = piece;
        None
    }
}

impl Operation for &mut SendFile<'_> {
    type Output = Sent;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<Sent> {
        if self.known == 0
            && let Some(found) = self.look()
        {
            return Ok(found);
        }
        if !sys::is_nonblocking(source.raw())? {
            return Ok(Sent::Unsuitable);
        }
        let file = self.file.as_raw_fd();
        match sys::send_file(source.raw(), file, self.offset, self.known as usize) {
            Ok(count) => {
                let count = count as u64;
                self.offset += count;
                self.len -= count;
                self.known -= count;
                Ok(Sent::Bytes(count))
            }
            Err(error) if is_unsuitable(&error) => Ok(Sent::Unsuitable),
            Err(error) => {
                self.known = 0;
                Err(error)
            }
        }
    }

    // A short one is never taken for a lack of room: it may be the file that ended.
}

/// A file system without it, or a sandbox that forbids it.
fn is_unsuitable(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(
        code,
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)
    )
}

/// Whether so many bytes, one at least, are in memory.
///
/// `cachestat` tells which pages there are, those included that are still being read ahead, which
/// begins and ends at a border of the piece more often than not: so its first and last byte are
/// tried as well. Without `cachestat` a byte of every page is.
fn is_in_memory(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> bool {
    let fd = file.as_raw_fd();
    let page = sys::page_size() as u64;
    let (first, last) = (offset / page, (offset + bytes - 1) / page);
    let cached = sys::cached_pages(fd, offset, bytes).ok();
    if cached.is_some_and(|cached| cached <= last - first) {
        return false;
    }
    let step = match cached {
        Some(_) => (last - first).max(1),
        None => 1,
    };
    let mut tried = (first..=last).step_by(step as usize);
    tried.all(|number| {
        let at = offset.max(number * page).cast_signed();
        match sys::read_cached(fd, &mut [IoSliceMut::new(&mut [0])], at) {
            Ok(count) => count > 0,
            // The file system cannot tell: `cachestat` has.
            Err(error) => error.raw_os_error() == Some(libc::EOPNOTSUPP) && cached.is_some(),
        }
    })
}
