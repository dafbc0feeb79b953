//! Datagrams with addresses, and descriptors in transit between processes (`SCM_RIGHTS`).
//!
//! Used by `driver::message`. Must never lose a received descriptor: whatever the kernel has put
//! into a control message is owned before anything else is looked at.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::c_int;

use super::address::RawAddress;
use super::check_size;

/// The most descriptors that one message carries (`SCM_MAX_FD`).
pub(crate) const FDS_MAX: usize = 253;

/// Room for what other control messages a socket may have been told to deliver: credentials, time
/// stamps, security labels. Without it they would push the descriptors out.
const OTHERS: usize = 256;

pub(crate) fn recv_from(
    fd: RawFd,
    buffer: &mut [u8],
    flags: c_int,
) -> io::Result<(usize, RawAddress)> {
    let mut from = RawAddress::room();
    let (storage, length) = (from.as_mut_ptr(), ptr::from_mut(from.len_mut()));
    let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the kernel writes at most the slice's length, and at most `*length` to `storage`.
    let count = check_size(unsafe { libc::recvfrom(fd, start, size, flags, storage, length) })?;
    Ok((count, from))
}

pub(crate) fn send_to(fd: RawFd, data: &[u8], to: &RawAddress, flags: c_int) -> io::Result<usize> {
    let (start, size) = (data.as_ptr().cast(), data.len());
    // SAFETY: the kernel reads at most the slice's length; an address with its length.
    check_size(unsafe { libc::sendto(fd, start, size, flags, to.as_ptr(), to.len()) })
}

/// A control message of descriptors as it is sent. The array begins where `CMSG_DATA` says.
#[repr(C)]
struct Outgoing {
    header: libc::cmsghdr,
    fds: [c_int; FDS_MAX],
}

/// Sends data with descriptors, which must not be more than `FDS_MAX`.
pub(crate) fn send_fds(
    fd: RawFd,
    data: &[u8],
    fds: &[BorrowedFd<'_>],
    to: Option<&RawAddress>,
    flags: c_int,
) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let mut slice = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all-zero is a valid empty message header.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut slice;
    message.msg_iovlen = 1;
    if let Some(to) = to {
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = to.len();
    }
    // SAFETY: all-zero is a valid control message of no descriptors.
    let mut control: Outgoing = unsafe { MaybeUninit::zeroed().assume_init() };
    if !fds.is_empty() {
        let bytes = size_of::<c_int>() * fds.len();
        // SAFETY: arithmetic only.
        let length = unsafe { libc::CMSG_LEN(bytes as u32) };
        control.header.cmsg_level = libc::SOL_SOCKET;
        control.header.cmsg_type = libc::SCM_RIGHTS;
        control.header.cmsg_len = length as _;
        for (place, fd) in control.fds[..fds.len()].iter_mut().zip(fds) {
            *place = fd.as_raw_fd();
        }
        message.msg_control = ptr::from_mut(&mut control).cast();
        message.msg_controllen = length as _;
    }
    // SAFETY: everything the header points to outlives the call, which only reads it.
    check_size(unsafe { libc::sendmsg(fd, &message, flags) })
}

/// What `recv_fds` has received, beside the descriptors.
pub(crate) struct Received {
    pub(crate) count: usize,
    /// Control data is missing: more descriptors were sent than there was room or are free.
    pub(crate) truncated: bool,
    pub(crate) from: RawAddress,
}

/// Memory for control messages, aligned as their headers must be.
#[repr(C)]
union Incoming {
    header: libc::cmsghdr,
    bytes: [u8; size_of::<Outgoing>() + OTHERS],
}

/// Receives data with descriptors, close-on-exec. Each is given to `take`; there may be more than
/// `room`, since the memory is shared with other control messages.
pub(crate) fn recv_fds(
    fd: RawFd,
    buffer: &mut [u8],
    room: usize,
    flags: c_int,
    take: &mut dyn FnMut(OwnedFd),
) -> io::Result<Received> {
    let mut from = RawAddress::room();
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Incoming {
        bytes: [0; size_of::<Outgoing>() + OTHERS],
    };
    let bytes = size_of::<c_int>() * room.min(FDS_MAX);
    // SAFETY: all-zero is a valid empty message header.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut slice;
    message.msg_iovlen = 1;
    message.msg_name = from.as_mut_ptr().cast();
    message.msg_namelen = from.len();
    message.msg_control = ptr::from_mut(&mut control).cast();
    // SAFETY: arithmetic only.
    message.msg_controllen = (OTHERS + unsafe { libc::CMSG_LEN(bytes as u32) } as usize) as _;
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: everything the header points to outlives the call and has the room it says.
    let count = check_size(unsafe { libc::recvmsg(fd, &mut message, flags) })?;
    // SAFETY: the kernel has filled the control memory of the header, which is still there.
    unsafe { take_fds(&message, take) };
    *from.len_mut() = message.msg_namelen;
    Ok(Received {
        count,
        truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
        from,
    })
}

/// Gives every descriptor of a received message to `take`.
///
/// # Safety
/// `message` is as `recvmsg` left it, its control memory is valid, and nobody else takes them.
#[allow(clippy::unnecessary_cast)] // The type of `cmsg_len` differs between C libraries.
unsafe fn take_fds(message: &libc::msghdr, take: &mut dyn FnMut(OwnedFd)) {
    // SAFETY: by the caller's promise these macros stay within the control memory, each header is
    // aligned and complete, and the descriptors after it are new and nobody else's.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(control) = header.as_ref() {
            if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let bytes = control.cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                for index in 0..bytes / size_of::<c_int>() {
                    take(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
