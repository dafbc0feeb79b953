//! Reads of files that never wait for a disk, and reads and writes of pipes.
//!
//! Used by `fs` and `driver::operation`.

use std::io::{self, IoSliceMut};
use std::os::fd::RawFd;

use super::check_size;

/// Reads what is in memory already, at `offset`, or at the file's position, which it moves, for -1.
/// It may stop short where the rest is not in memory.
///
/// `EAGAIN` when the first byte is not there; `EOPNOTSUPP` for files that cannot tell, and from old
/// kernels. A result of 0 need not be the end of the file (Linux 5.9 and 5.10).
pub(crate) fn read_cached(
    fd: RawFd,
    buffers: &mut [IoSliceMut<'_>],
    offset: i64,
) -> io::Result<usize> {
    let count = buffers.len().min(libc::UIO_MAXIOV as usize) as libc::c_int;
    // std promises that `IoSliceMut` has the layout of `iovec`.
    let pointer = buffers.as_mut_ptr().cast::<libc::iovec>();
    // SAFETY: `count` buffers that are lent to us mutably for the length of the call.
    check_size(unsafe { libc::preadv2(fd, pointer, count, offset, libc::RWF_NOWAIT) })
}

/// `read(2)`, of a descriptor in non-blocking mode.
pub(crate) fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the length of the buffer.
    check_size(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// `write(2)`, to a descriptor in non-blocking mode.
pub(crate) fn write(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most the length of the data.
    check_size(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) })
}
