//! The system calls of the raw loop, each wrapped once.
//!
//! Called by `main` only. Must never decide anything: policy is the loop's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const EVENTS_MAX: usize = 1024;

/// Room for the events of one wait.
pub(crate) struct Events(Box<[libc::epoll_event]>);

impl Events {
    pub(crate) fn new() -> Self {
        Events(vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX].into_boxed_slice())
    }

    pub(crate) fn at(&self, index: usize) -> (RawFd, Flags) {
        let event = self.0[index];
        (event.u64 as RawFd, Flags(event.events))
    }
}

/// What an event says.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) fn readable(self) -> bool {
        self.0 & libc::EPOLLIN as u32 != 0 || self.hung_up()
    }

    /// With any of these a short read does not prove that the input is empty.
    pub(crate) fn hung_up(self) -> bool {
        self.0 & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }
}

/// The one epoll instance.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else owns it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn add_listener(&self, fd: RawFd) -> io::Result<()> {
        self.add(fd, libc::EPOLLIN)
    }

    pub(crate) fn add_connection(&self, fd: RawFd) -> io::Result<()> {
        self.add(
            fd,
            libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET,
        )
    }

    fn add(&self, fd: RawFd, interest: i32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: fd as u64,
        };
        let epoll = self.0.as_raw_fd();
        // SAFETY: `event` lives across the call, which copies it.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits without a limit. Gives how many events there are.
    pub(crate) fn wait(&self, events: &mut Events) -> io::Result<usize> {
        loop {
            let room = events.0.as_mut_ptr();
            // SAFETY: `room` points to EVENTS_MAX events, borrowed mutably for the call.
            let count =
                unsafe { libc::epoll_wait(self.0.as_raw_fd(), room, EVENTS_MAX as i32, -1) };
            match check(count) {
                Ok(count) => return Ok(count as usize),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A listener with the longest queue the kernel allows, so that 10,000 connections at once fit.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // SAFETY: takes no pointers; a second listen only changes the queue's length.
    check(unsafe { libc::listen(listener.as_raw_fd(), i32::from(u16::MAX)) })?;
    Ok(listener)
}

/// The next connection, non-blocking and with Nagle's algorithm off; none when the queue is empty.
pub(crate) fn accept(listener: RawFd) -> io::Result<Option<OwnedFd>> {
    let null = std::ptr::null_mut();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null for the address means that it is not wanted.
    let fd = match check(unsafe { libc::accept4(listener, null, null.cast(), flags) }) {
        Ok(fd) => fd,
        Err(error) if is_transient(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    // SAFETY: the descriptor is new and nobody else owns it.
    let stream = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: `value` points to an int of `length` bytes that lives across the call.
    let set = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, length) };
    check(set)?;
    Ok(Some(stream))
}

/// The listener is level-triggered, so stopping early only means another event.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}

/// What a receive gave.
pub(crate) enum Received {
    /// That many bytes.
    Bytes(usize),
    /// Nothing for now.
    Empty,
    /// The peer is done, or the connection is broken.
    Over,
}

pub(crate) fn receive(fd: RawFd, buffer: &mut [u8]) -> Received {
    let room = buffer.as_mut_ptr().cast();
    // SAFETY: `room` points to as many writable bytes as stated, borrowed for the call.
    let count = unsafe { libc::recv(fd, room, buffer.len(), 0) };
    match count {
        1.. => Received::Bytes(count as usize),
        0 => Received::Over,
        _ if would_block() => Received::Empty,
        _ => Received::Over,
    }
}

/// What a send gave.
pub(crate) enum Sent {
    /// That many bytes were taken.
    Bytes(usize),
    /// The socket's buffer is full; an event tells when it is not.
    Full,
    /// The connection is broken.
    Broken,
}

pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> Sent {
    let start = bytes.as_ptr().cast();
    // SAFETY: `start` points to as many readable bytes as stated, borrowed for the call.
    let count = unsafe { libc::send(fd, start, bytes.len(), libc::MSG_NOSIGNAL) };
    match count {
        0.. => Sent::Bytes(count as usize),
        _ if would_block() => Sent::Full,
        _ => Sent::Broken,
    }
}

/// Closing takes the descriptor out of epoll, for nothing else refers to the socket.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: `fd` came from `accept` and is closed once, here.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
