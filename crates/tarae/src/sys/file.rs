//! Reads of files that never wait for a disk.
//!
//! Used by `fs`.

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
