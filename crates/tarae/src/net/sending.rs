//! Files sent over streams: what `send_file` does on a socket of any type.
//!
//! Used by the stream types of `net` and `os`. It must never wait for a disk on a worker's thread:
//! what is not in memory is read in by the blocking pool first. By a real read: `readahead(2)` and
//! `posix_fadvise` begin to read and do not wait for the end.

use std::io;
use std::os::fd::AsFd;

use super::socket::Socket;
use crate::driver::operation::Send;
use crate::driver::sendfile::{SendFile, Sent};
use crate::fs::{self, File};
use crate::os::unix::fs::FileExt;
use crate::sched;

/// How much is copied through memory at a time, where it has to be.
const COPY_MAX: u64 = 64 * 1024;

/// After a piece of as much others have their turn.
const TURN_BYTES: u64 = 64 * 1024;

/// Sends up to `len` bytes from `offset`; an error is given if it came first.
pub(crate) fn send_file(socket: &Socket, file: &File, offset: u64, len: u64) -> io::Result<u64> {
    let mut rest = SendFile {
        file: file.as_fd(),
        offset,
        len,
        known: 0,
        looks: fs::tries_at_once(),
    };
    let simulated = socket.simulated().is_some() || sched::simulation().is_some();
    let result = match simulated {
        true => copy(socket, file, &mut rest),
        false => send(socket, file, &mut rest),
    };
    match (len - rest.len, result) {
        (0, Err(error)) => Err(error),
        (sent, _) => Ok(sent),
    }
}

fn send(socket: &Socket, file: &File, rest: &mut SendFile<'_>) -> io::Result<()> {
    while rest.len > 0 {
        match socket.perform(&mut *rest)? {
            Sent::Bytes(0) => break,
            Sent::Bytes(count) => {
                if count >= TURN_BYTES && sched::in_coroutine() {
                    sched::yield_now();
                }
            }
            Sent::NotInMemory(bytes) => {
                rest.known = file.read_in(rest.offset, bytes)?;
                if rest.known == 0 {
                    break;
                }
            }
            Sent::Unsuitable => return copy(socket, file, rest),
        }
    }
    Ok(())
}

/// The same through memory. What was read and could not be sent is still in the file.
fn copy(socket: &Socket, file: &File, rest: &mut SendFile<'_>) -> io::Result<()> {
    let mut buffer = vec![0; rest.len.min(COPY_MAX) as usize];
    while rest.len > 0 {
        let room = rest.len.min(COPY_MAX) as usize;
        let mut data = match file.read_at(&mut buffer[..room], rest.offset) {
            Ok(0) => break,
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        while !data.is_empty() {
            let count = socket.perform(Send(data))?;
            data = &data[count..];
            rest.offset += count as u64;
            rest.len -= count as u64;
        }
    }
    Ok(())
}

/// `send_file` of a stream. `$make` makes two that are connected, `socket` and `other`, for the
/// example, in a coroutine that returns `io::Result`.
macro_rules! send_file_method {
    ($type:ident, $make:literal) => {
        impl $type {
            /// Sends up to `len` bytes of `file` from `offset`, both in bytes, without copying them
            /// through the program's memory (`sendfile(2)`), and gives how many were sent. The
            /// file's own position is neither used nor moved.
            ///
            /// Fewer than `len` are sent when the file ends before, and when an error comes after
            /// some were sent; a cancellation and a time-out are such errors. As with
            /// [`write`](std::io::Write::write) the number is what the call gives then, and the
            /// next call gives the error, if it lasts. So whoever wants all of them calls again for
            /// the rest: `Ok(0)` is the end of the file, if `len` is not zero.
            ///
            /// While the socket takes no more, the coroutine is parked, or the plain thread
            /// blocked, as in a write: the write time-out bounds each such wait, cancellation and
            /// deadlines end it, and a handle that is set not to block gives
            /// [`WouldBlock`](io::ErrorKind::WouldBlock).
            ///
            /// * **Disks.** A coroutine's worker never waits for one: before each piece of up to
            ///   256 KiB the call looks whether the page cache has it (`cachestat(2)`, or reads of
            ///   single bytes that do not wait), and if not a thread of the
            ///   [blocking](crate::offload::Pool::Blocking) pool reads it in. That wait ends as
            ///   that of any [file's call](crate::fs) does. What the kernel drops from its cache in
            ///   the microseconds between look and call, or has not finished reading ahead in the
            ///   midst of a piece, is waited for all the same.
            /// * **A file that changes** meanwhile is sent as it is found. If it becomes shorter
            ///   the call ends early; nothing is mapped, so that there is no SIGBUS. What was sent
            ///   and is changed before the peer has it may arrive changed.
            /// * **Where the system cannot send files** the bytes are copied through a buffer: from
            ///   files of `/proc` and others that are no regular ones, or under a sandbox that
            ///   forbids it; to a socket taken over from std that is in blocking mode, since
            ///   `sendfile` would wait by that; and in a [simulated run](crate::sim).
            /// * **A peer that is gone** is an error (`BrokenPipe`, `ConnectionReset`). `sendfile`
            ///   knows no flag against the signal SIGPIPE: who changed that signal from what std
            ///   sets it to, which is to be ignored, gets it.
            ///
            /// # Errors
            ///
            /// Those of a write and of [`read_at`](crate::os::unix::fs::FileExt::read_at), if they
            /// come before anything was sent: so a pipe or a terminal, which has no offsets, is
            /// refused with `NotSeekable`; a directory with `IsADirectory`; a file that is not open
            /// for reading, or past the page cache (`O_DIRECT`).
            ///
            /// # Examples
            ///
            /// ```
            /// # use std::io::Read;
            /// # tarae::run(|| {
            #[doc = $make]
            /// let path = std::env::temp_dir().join(format!("send-{}", std::process::id()));
            /// tarae::fs::write(&path, "to be or not to be")?;
            /// let file = tarae::fs::File::open(&path)?;
            ///
            /// let sent = socket.send_file(&file, 6, u64::MAX)?;
            /// assert_eq!(sent, 12);
            /// let mut text = [0; 12];
            /// (&other).read_exact(&mut text)?;
            /// assert_eq!(&text, b"or not to be");
            /// tarae::fs::remove_file(&path)
            /// # }).unwrap().unwrap();
            /// ```
            pub fn send_file(
                &self,
                file: &crate::fs::File,
                offset: u64,
                len: u64,
            ) -> io::Result<u64> {
                crate::net::sending::send_file(&self.socket, file, offset, len)
            }
        }
    };
}
pub(crate) use send_file_method;
