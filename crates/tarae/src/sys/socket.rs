//! Sockets and their options, one call each.
//!
//! Used by `driver` and the public socket types. New sockets are non-blocking and close-on-exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, socklen_t};

use super::address::{Address, RawAddress, in_addr, in6_addr};
use super::{check, check_size, owned};

const NEW: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// A new socket; `kind` is `SOCK_STREAM` or `SOCK_DGRAM`.
pub(crate) fn socket(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(family, kind | NEW, 0) })
}

/// Two Unix sockets, connected to each other.
pub(crate) fn socket_pair(kind: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind | NEW, 0, pair.as_mut_ptr()) })?;
    Ok((owned(pair[0])?, owned(pair[1])?))
}

pub(crate) fn bind(fd: RawFd, address: &RawAddress) -> io::Result<()> {
    // SAFETY: an address with its length.
    check(unsafe { libc::bind(fd, address.as_ptr(), address.len()) }).map(drop)
}

pub(crate) fn listen(fd: RawFd, backlog: c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::listen(fd, backlog) }).map(drop)
}

pub(crate) fn connect(fd: RawFd, address: &RawAddress) -> io::Result<()> {
    // SAFETY: an address with its length.
    check(unsafe { libc::connect(fd, address.as_ptr(), address.len()) }).map(drop)
}

/// Accepts one connection.
pub(crate) fn accept<A: Address>(fd: RawFd) -> io::Result<(OwnedFd, A)> {
    let mut raw = RawAddress::room();
    let (storage, length) = (raw.as_mut_ptr(), ptr::from_mut(raw.len_mut()));
    // SAFETY: `storage` has room for `*length` bytes.
    let socket = owned(unsafe { libc::accept4(fd, storage, length, NEW) })?;
    Ok((socket, A::from_raw(&raw)?))
}

pub(crate) fn recv(fd: RawFd, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the slice's length.
    check_size(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

pub(crate) fn send(fd: RawFd, buffer: &[u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the kernel reads at most the slice's length.
    check_size(unsafe { libc::send(fd, buffer.as_ptr().cast(), buffer.len(), flags) })
}

/// The most slices one vectored call takes (`IOV_MAX`).
const IOV_MAX: usize = 1024;

pub(crate) fn recv_vectored(
    fd: RawFd,
    buffers: &mut [IoSliceMut<'_>],
    flags: c_int,
) -> io::Result<usize> {
    // SAFETY: all-zero is a valid empty message header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = buffers.as_mut_ptr().cast();
    header.msg_iovlen = buffers.len().min(IOV_MAX) as _;
    // SAFETY: `IoSliceMut` has the layout of `iovec` and borrows its memory for the call.
    check_size(unsafe { libc::recvmsg(fd, &mut header, flags) })
}

pub(crate) fn send_vectored(fd: RawFd, buffers: &[IoSlice<'_>], flags: c_int) -> io::Result<usize> {
    // SAFETY: all-zero is a valid empty message header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = buffers.as_ptr().cast_mut().cast();
    header.msg_iovlen = buffers.len().min(IOV_MAX) as _;
    // SAFETY: `IoSlice` has the layout of `iovec`; sending only reads from it.
    check_size(unsafe { libc::sendmsg(fd, &header, flags) })
}

/// `how` is `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`.
pub(crate) fn shutdown(fd: RawFd, how: c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// The socket's own address.
pub(crate) fn local_addr<A: Address>(fd: RawFd) -> io::Result<A> {
    address_by(|storage, length| {
        // SAFETY: `storage` has room for `*length` bytes.
        unsafe { libc::getsockname(fd, storage, length) }
    })
}

/// The address of the socket's peer.
pub(crate) fn peer_addr<A: Address>(fd: RawFd) -> io::Result<A> {
    address_by(|storage, length| {
        // SAFETY: `storage` has room for `*length` bytes.
        unsafe { libc::getpeername(fd, storage, length) }
    })
}

fn address_by<A: Address>(
    call: impl FnOnce(*mut libc::sockaddr, *mut socklen_t) -> c_int,
) -> io::Result<A> {
    let mut raw = RawAddress::room();
    let (storage, length) = (raw.as_mut_ptr(), ptr::from_mut(raw.len_mut()));
    check(call(storage, length))?;
    A::from_raw(&raw)
}

/// Sets an option whose value is an `int`.
pub(crate) fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option_value(fd, level, name, &value)
}

fn set_option_value<T: Copy>(fd: RawFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as socklen_t;
    // SAFETY: `value` points to `length` bytes, which the kernel only reads.
    check(unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(value).cast(), length) })
        .map(drop)
}

/// Reads an option whose value is an `int`.
pub(crate) fn option(fd: RawFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    let pointer = ptr::from_mut(&mut value).cast();
    // SAFETY: `value` has room for `length` bytes.
    check(unsafe { libc::getsockopt(fd, level, name, pointer, &mut length) })?;
    Ok(value)
}

/// Who made the other end of a connected Unix socket.
pub(crate) fn peer_credentials(fd: RawFd) -> io::Result<libc::ucred> {
    let mut value = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as socklen_t;
    let pointer = ptr::from_mut(&mut value).cast();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `value` has room for `length` bytes.
    check(unsafe { libc::getsockopt(fd, level, name, pointer, &mut length) })?;
    Ok(value)
}

/// `name` is `IP_ADD_MEMBERSHIP` or `IP_DROP_MEMBERSHIP`.
pub(crate) fn membership_v4(
    fd: RawFd,
    name: c_int,
    group: Ipv4Addr,
    interface: Ipv4Addr,
) -> io::Result<()> {
    let request = libc::ip_mreq {
        imr_multiaddr: in_addr(group),
        imr_interface: in_addr(interface),
    };
    set_option_value(fd, libc::IPPROTO_IP, name, &request)
}

/// `name` is `IPV6_ADD_MEMBERSHIP` or `IPV6_DROP_MEMBERSHIP`; `interface` is an index, 0 for any.
pub(crate) fn membership_v6(
    fd: RawFd,
    name: c_int,
    group: Ipv6Addr,
    interface: u32,
) -> io::Result<()> {
    let request = libc::ipv6_mreq {
        ipv6mr_multiaddr: in6_addr(group),
        ipv6mr_interface: interface,
    };
    set_option_value(fd, libc::IPPROTO_IPV6, name, &request)
}
