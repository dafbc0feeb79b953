//! Reads of files that never wait for a disk, files sent to sockets, and reads and writes of pipes.
//!
//! Used by `fs`, `driver::operation` and `driver::sendfile`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use super::{check, check_size};

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

/// `sendfile(2)` from `offset`, which leaves the file's position alone. The socket's own mode
/// decides whether it waits for room. It does wait for a disk.
pub(crate) fn send_file(
    socket: RawFd,
    file: RawFd,
    offset: u64,
    bytes: usize,
) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads and writes the offset, which is ours, and no other memory.
    check_size(unsafe { libc::sendfile(socket, file, &mut offset, bytes) })
}

/// How many pages of a range the page cache has, those still on their way from the disk included:
/// `cachestat(2)`. `ENOSYS` before Linux 6.5; `EPERM` in later ones for files that the process
/// could not write.
pub(crate) fn cached_pages(fd: RawFd, offset: u64, bytes: u64) -> io::Result<u64> {
    /// The same on every architecture.
    const SYS_CACHESTAT: libc::c_long = 451;
    let range = [offset, bytes];
    // Cached, dirty, under writeback, evicted, recently evicted.
    let mut pages = [0u64; 5];
    let (range, counts) = (ptr::from_ref(&range), ptr::from_mut(&mut pages));
    // SAFETY: two numbers that the kernel reads, and room for the five that it writes.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd, range, counts, 0) };
    check(result as libc::c_int)?;
    Ok(pages[0])
}

/// The size of a regular file, in bytes, as far as it is known without asking a server; none for
/// what is no regular file.
pub(crate) fn known_size(fd: RawFd) -> io::Result<Option<u64>> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_TYPE | libc::STATX_SIZE;
    // SAFETY: all-zero is a valid `statx`.
    let mut found: libc::statx = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: an empty path, and room for one answer.
    check(unsafe { libc::statx(fd, c"".as_ptr(), flags, mask, &mut found) })?;
    let is_regular = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFREG;
    Ok((is_regular && found.stx_mask & mask == mask).then_some(found.stx_size))
}
