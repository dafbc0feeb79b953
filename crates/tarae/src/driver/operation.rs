//! The data operations of sockets, pipes and child processes, each one system call that does not
//! block.
//!
//! Made by `net`, `os`, `signal` and `process`, executed by `sched::io` through a driver or on a
//! plain thread.
//! `MSG_DONTWAIT` rather than the descriptor's own mode decides, so a duplicate that somebody uses
//! in blocking mode changes nothing here.

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use super::{Direction, Operation, Source, sim};
use crate::sys;

pub(crate) struct Recv<'a>(pub(crate) &'a mut [u8]);

impl Operation for Recv<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::recv(source.raw(), self.0, libc::MSG_DONTWAIT)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<usize> {
        socket.recv(&mut [&mut *self.0], false)
    }

    fn is_short(&self, &count: &usize) -> bool {
        count > 0 && count < self.0.len()
    }
}

/// Whether there is something to be read, or an end or error to be told of.
pub(crate) struct PollRead;

/// Whether there is room to write, or an error to be told of.
pub(crate) struct PollWrite;

fn poll_now(source: &Source, direction: Direction) -> io::Result<()> {
    if source.simulated().is_some() {
        return Err(sim::stranded());
    }
    match sys::poll_wait(source.raw(), direction.poll_events(), Some(Duration::ZERO))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

impl Operation for PollRead {
    type Output = ();
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<()> {
        poll_now(source, Self::DIRECTION)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<()> {
        socket.poll(Self::DIRECTION)
    }
}

impl Operation for PollWrite {
    type Output = ();
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<()> {
        poll_now(source, Self::DIRECTION)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<()> {
        socket.poll(Self::DIRECTION)
    }
}

pub(crate) struct Peek<'a>(pub(crate) &'a mut [u8]);

impl Operation for Peek<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::recv(source.raw(), self.0, libc::MSG_DONTWAIT | libc::MSG_PEEK)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<usize> {
        socket.recv(&mut [&mut *self.0], true)
    }
}

pub(crate) struct RecvVectored<'a, 'b>(pub(crate) &'a mut [IoSliceMut<'b>]);

impl Operation for RecvVectored<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        if self.is_empty() {
            // As `readv`; `recvmsg` would report that there is nothing to read.
            return Ok(0);
        }
        sys::recv_vectored(source.raw(), self.0, libc::MSG_DONTWAIT)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let mut buffers: Vec<&mut [u8]> = self.0.iter_mut().map(|slice| &mut **slice).collect();
        socket.recv(&mut buffers, false)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|slice| slice.is_empty())
    }

    // Never taken as short: one call takes at most 1,024 of the slices.
}

pub(super) const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

pub(crate) struct Send<'a>(pub(crate) &'a [u8]);

impl Operation for Send<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::send(source.raw(), self.0, SEND_FLAGS)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<usize> {
        socket.send(&[self.0])
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) struct SendVectored<'a, 'b>(pub(crate) &'a [IoSlice<'b>]);

impl Operation for SendVectored<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::send_vectored(source.raw(), self.0, SEND_FLAGS)
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<usize> {
        let data: Vec<&[u8]> = self.0.iter().map(|slice| &**slice).collect();
        socket.send(&data)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|slice| slice.is_empty())
    }
}

/// Accepts one connection of a listener in non-blocking mode.
pub(crate) struct Accept<A>(pub(crate) PhantomData<A>);

impl<A: sys::Address> Operation for Accept<A> {
    type Output = (OwnedFd, A);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<(OwnedFd, A)> {
        if source.is_mode_shared() {
            // The call itself might block: look first. (If the other owner takes the connection in
            // between, it does block, until the next one.)
            let none = Some(std::time::Duration::ZERO);
            if sys::poll_wait(source.raw(), libc::POLLIN, none)? == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        sys::accept(source.raw())
    }
}

/// Accepts one connection of a simulated listener.
pub(crate) struct AcceptSimulated;

impl Operation for AcceptSimulated {
    type Output = (sim::Socket, SocketAddr);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, _source: &Source) -> io::Result<(sim::Socket, SocketAddr)> {
        Err(sim::stranded())
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<(sim::Socket, SocketAddr)> {
        socket.accept()
    }
}

/// The second half of a connection attempt: whether it has come about.
pub(crate) struct FinishConnect;

impl Operation for FinishConnect {
    type Output = ();
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<()> {
        source.connect_outcome()
    }

    fn simulate(&mut self, socket: &sim::Socket) -> io::Result<()> {
        socket.connect_outcome()
    }
}

/// Takes an eventfd's counter.
pub(crate) struct ReadEventfd;

impl Operation for ReadEventfd {
    type Output = u64;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<u64> {
        sys::eventfd_read(source.raw())
    }
}

/// Reads from a pipe in non-blocking mode. What is short there tells nothing.
pub(crate) struct ReadPipe<'a, 'b>(pub(crate) &'a mut [IoSliceMut<'b>]);

impl Operation for ReadPipe<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::read_vectored(source.raw(), self.0)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|slice| slice.is_empty())
    }
}

/// Writes to a pipe in non-blocking mode.
pub(crate) struct WritePipe<'a, 'b>(pub(crate) &'a [IoSlice<'b>]);

impl Operation for WritePipe<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source) -> io::Result<usize> {
        sys::write_vectored(source.raw(), self.0)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|slice| slice.is_empty())
    }
}

/// Takes the end of the child whose pidfd the source is.
pub(crate) struct Reap;

impl Operation for Reap {
    type Output = ExitStatus;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source) -> io::Result<ExitStatus> {
        sys::reap(source.raw())?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}
