//! The pipes to a child, and what came out of two of them.
//!
//! Public by way of `process`. Must never wait but in `perform` and `select!`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

use crate::driver::Source;
use crate::driver::operation::{PollRead, ReadPipe, WritePipe};
use crate::net::{AsSocket, BorrowedSocket};
use crate::sched::io::{Patience, perform};
use crate::sys;

/// How much is read from one pipe before it is another's turn.
const ROUND_BYTES: u64 = 1 << 20;

/// A pipe has no time-out of its own.
const WAITS: Patience = Patience::For(None);

/// This end of a pipe. The mode is this end's own: the child's blocks.
struct Pipe(Source);

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Pipe> {
        sys::set_nonblocking(fd.as_raw_fd(), true)?;
        Ok(Pipe(Source::new(fd, false)))
    }

    /// In blocking mode, as those expect it who get it.
    fn into_fd(self) -> OwnedFd {
        let fd = self.0.into_fd();
        sys::set_nonblocking(fd.as_raw_fd(), false).expect("the mode of an open descriptor");
        fd
    }

    fn read(&self, buffers: &mut [IoSliceMut<'_>], patience: Patience) -> io::Result<usize> {
        perform(&self.0, patience, ReadPipe(buffers))
    }
}

impl AsSocket for Pipe {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        BorrowedSocket::of(&self.0)
    }
}

/// A type of pipe, with the conversions that all have.
macro_rules! pipe {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        pub struct $type(Pipe);

        impl $type {
            pub(super) fn new(pipe: impl Into<OwnedFd>) -> io::Result<$type> {
                Pipe::new(pipe.into()).map($type)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("fd", &self.0.0.raw()).finish()
            }
        }

        impl AsSocket for $type {
            fn as_socket(&self) -> BorrowedSocket<'_> {
                self.0.as_socket()
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.0.borrow()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.0.0.raw()
            }
        }

        impl IntoRawFd for $type {
            /// In blocking mode.
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<OwnedFd> for $type {
            /// Sets non-blocking mode, which whoever shares the open file finds too.
            ///
            /// # Panics
            ///
            /// When a filter of system calls refuses that.
            fn from(fd: OwnedFd) -> $type {
                $type::new(fd).expect("the mode of an open descriptor")
            }
        }

        impl From<$type> for OwnedFd {
            /// In blocking mode.
            fn from(pipe: $type) -> OwnedFd {
                pipe.0.into_fd()
            }
        }

        impl From<$type> for Stdio {
            /// For another child, in blocking mode.
            fn from(pipe: $type) -> Stdio {
                OwnedFd::from(pipe).into()
            }
        }
    };
}

/// A pipe to be read.
macro_rules! read {
    ($type:ident) => {
        impl Read for &$type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.read_vectored(&mut [IoSliceMut::new(buffer)])
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.read(buffers, WAITS)
            }
        }

        impl Read for $type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }
    };
}

pipe! {
    /// The pipe to a child's standard input; mirrors [`std::process::ChildStdin`].
    ///
    /// A write parks the coroutine, or blocks the plain thread, while the pipe is full; it is
    /// `BrokenPipe` when the child has closed its end. By reference too. Cancelled it gives an
    /// error that [`Cancelled::is`](crate::Cancelled::is) recognises, at a deadline
    /// [`TimedOut`](io::ErrorKind::TimedOut). Dropping it is the end of the child's input.
    ///
    /// # Examples
    ///
    /// See [`process`](crate::process).
    ChildStdin
}

pipe! {
    /// The pipe from a child's standard output; mirrors [`std::process::ChildStdout`].
    ///
    /// A read parks the coroutine, or blocks the plain thread, until there is something; it is the
    /// end when nobody has the other end open. By reference too. Cancelled it gives an error that
    /// [`Cancelled::is`](crate::Cancelled::is) recognises, at a deadline
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    ///
    /// # Examples
    ///
    /// It can be another child's input, and be waited for beside other things:
    ///
    /// ```
    /// use std::io::Read;
    /// use tarae::process::{Command, Stdio};
    ///
    /// tarae::run(|| -> std::io::Result<()> {
    ///     let mut first = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    ///     let between = first.stdout.take().unwrap();
    ///     let mut second = Command::new("cat").stdin(between).stdout(Stdio::piped()).spawn()?;
    ///     let mut stdout = second.stdout.take().unwrap();
    ///     tarae::select! {
    ///         readable(stdout) -> result => result?,
    ///         sleep(std::time::Duration::from_secs(60)) => panic!("nothing for a minute"),
    ///     }
    ///     let mut text = String::new();
    ///     stdout.read_to_string(&mut text)?;
    ///     assert_eq!(text, "hello\n");
    ///     assert!(first.wait()?.success() && second.wait()?.success());
    ///     Ok(())
    /// })?
    /// # ;
    /// # std::io::Result::Ok(())
    /// ```
    ChildStdout
}

pipe! {
    /// The pipe from a child's standard error; mirrors [`std::process::ChildStderr`]. As
    /// [`ChildStdout`].
    ChildStderr
}

read!(ChildStdout);
read!(ChildStderr);

impl Write for &ChildStdin {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        perform(&self.0.0, WAITS, WritePipe(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe and what has come out of it; without a pipe that is all.
struct Reading {
    pipe: Option<Pipe>,
    data: Vec<u8>,
}

/// A pipe from which is read what is there.
struct WithoutWaiting<'a>(&'a Pipe);

impl Read for WithoutWaiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut [IoSliceMut::new(buffer)], Patience::None)
    }
}

impl Reading {
    /// Reads what is there, within bounds: the child may write for ever.
    fn advance(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.pipe else {
            return Ok(());
        };
        // With an error, too, what was read before is in the vector.
        let mut round = WithoutWaiting(pipe).take(ROUND_BYTES);
        match round.read_to_end(&mut self.data) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(_) if round.limit() == 0 => {}
            Ok(_) => self.pipe = None,
        }
        Ok(())
    }
}

/// Reads both to their ends, whichever has something: a child that is stuck in writing to one never
/// closes the other.
pub(super) fn read_both(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let of = |pipe| Reading {
        pipe,
        data: Vec::new(),
    };
    let mut out = of(stdout.map(|pipe| pipe.0));
    let mut err = of(stderr.map(|pipe| pipe.0));
    loop {
        out.advance()?;
        err.advance()?;
        match (&out.pipe, &err.pipe) {
            (None, None) => return Ok((out.data, err.data)),
            (Some(one), Some(other)) => crate::select! {
                readable(one) -> result => result?,
                readable(other) -> result => result?,
            },
            (Some(one), None) | (None, Some(one)) => perform(&one.0, WAITS, PollRead)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pipe, ROUND_BYTES, Reading};

    /// What is always readable, as a file is, keeps nobody from the other pipe.
    #[test]
    fn a_round_ends_although_there_is_more() {
        let fd = rustix::fs::memfd_create("pipe", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, ROUND_BYTES + 1).unwrap();
        let mut reading = Reading {
            pipe: Some(Pipe::new(fd).unwrap()),
            data: Vec::new(),
        };
        reading.advance().unwrap();
        assert!(reading.pipe.is_some() && reading.data.len() as u64 == ROUND_BYTES);
        reading.advance().unwrap();
        assert!(reading.pipe.is_none() && reading.data.len() as u64 == ROUND_BYTES + 1);
    }
}
