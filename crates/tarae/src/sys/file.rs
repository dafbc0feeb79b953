//! Reads of files that never wait for a disk, and reads and writes of pipes.
//!
//! Used by `fs` and `driver::operation`.

use std::io::{self, IoSlice, IoSliceMut};
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

/// `readv(2)`, of a descriptor in non-blocking mode.
pub(crate) fn read_vectored(fd: RawFd, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = buffers.len().min(libc::UIO_MAXIOV as usize) as libc::c_int;
    // As above.
    let pointer = buffers.as_ptr().cast::<libc::iovec>();
    // SAFETY: `count` buffers that are lent to us mutably for the length of the call.
    check_size(unsafe { libc::readv(fd, pointer, count) })
}

/// `writev(2)`, to a descriptor in non-blocking mode.
pub(crate) fn write_vectored(fd: RawFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = data.len().min(libc::UIO_MAXIOV as usize) as libc::c_int;
    // std promises that `IoSlice` has the layout of `iovec`.
    let pointer = data.as_ptr().cast::<libc::iovec>();
    // SAFETY: `count` slices that the kernel only reads, lent to us for the length of the call.
    check_size(unsafe { libc::writev(fd, pointer, count) })
}
