//! `UnixStream`: std's surface over `Socket`, and descriptors in transit.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use super::{SocketAddr, check_count, path_address};
use crate::Wake;
use crate::completion::{self, Completion};
use crate::driver::Direction;
use crate::driver::message::{ReceiveFds, SendFds};
use crate::driver::operation::{Peek, Recv, RecvVectored, Send, SendVectored};
use crate::net::sending::send_file_method;
use crate::net::socket::{
    Kind, Socket, conversions, data_socket_methods, handle_methods, read_and_write,
};
use crate::net::starting::start_methods;
use crate::net::{AsSocket, BorrowedSocket};
use crate::sched;
use crate::sched::io::Cancelled;
use crate::sys::{self, Address, RawAddress};

/// A stream between two processes of this machine: [`std::os::unix::net::UnixStream`], whose every
/// call parks the coroutine in place of blocking the thread.
///
/// It is `Read` and `Write`, by reference too, so any crate that takes those works over it. It may
/// be used by coroutines of several workers and by plain threads at once. A time-out gives
/// [`TimedOut`](io::ErrorKind::TimedOut); a cancellation an error that [`Cancelled::is`]
/// recognises.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::os::unix::net::UnixStream;
///
/// tarae::run(|| -> std::io::Result<()> {
///     let (mut client, mut server) = UnixStream::pair()?;
///     tarae::spawn(move || client.write_all(b"ping"));
///     let mut text = String::new();
///     server.read_to_string(&mut text)?;
///     assert_eq!(text, "ping");
///     Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub struct UnixStream {
    socket: Socket,
}

conversions!(UnixStream, std::os::unix::net::UnixStream, Kind::Other);
data_socket_methods!(
    UnixStream,
    SocketAddr,
    "let (socket, _) = tarae::os::unix::net::UnixStream::pair()?;"
);
read_and_write!(UnixStream);
start_methods!(
    UnixStream,
    "let (socket, other) = tarae::os::unix::net::UnixStream::pair()?;"
);

send_file_method!(
    UnixStream,
    "let (socket, other) = tarae::os::unix::net::UnixStream::pair()?;"
);

/// The first and the longest pause before another attempt to connect, in milliseconds.
const PAUSE_MS: (u64, u64) = (1, 16);

impl UnixStream {
    pub(super) fn of(fd: OwnedFd) -> UnixStream {
        UnixStream {
            socket: Socket::new(fd, Kind::Other),
        }
    }

    /// Connects to the listener at `path`. Waits while the listener's queue is full: of room there
    /// the kernel does not tell, so it tries again after pauses of 1 to 16 milliseconds.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a path, `ConnectionRefused` when nobody listens there any more,
    /// `InvalidInput` for a path of more than 107 bytes; `WouldBlock` never; those of `connect(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::os::unix::net::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("connect-{}.sock", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path)?;
    /// assert_eq!(client.peer_addr()?.as_pathname(), Some(path.as_path()));
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_raw(&path_address(path)?)
    }

    /// Connects to the listener at `address`, which may be an abstract name; as
    /// [`connect`](UnixStream::connect) otherwise.
    ///
    /// # Errors
    ///
    /// As for [`connect`](UnixStream::connect); an abstract name that nobody has is refused.
    ///
    /// # Examples
    ///
    /// See [`UnixListener::bind_addr`](super::UnixListener::bind_addr).
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_raw(&address.to_raw())
    }

    /// Starts to connect to the listener at `path` and goes on: the [`Completion`] gives what
    /// [`connect`](UnixStream::connect) would. Never waits.
    ///
    /// Where there is room in the listener's queue it has completed when this returns. Else a
    /// coroutine tries again, with the same pauses; off the workers a thread of the
    /// [blocking](crate::offload::Pool::Blocking) pool. Neither a cancellation nor a deadline of
    /// the caller reaches it, [`cancel`](Completion::cancel) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::os::unix::net::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("start-{}.sock", std::process::id()));
    /// tarae::run(|| {
    ///     let listener = UnixListener::bind(&path)?;
    ///     let accepted = listener.start_accept();
    ///     let stream = UnixStream::start_connect(&path).wait().unwrap()?;
    ///     assert_eq!(stream.peer_addr()?.as_pathname(), Some(path.as_path()));
    ///     accepted.wait().unwrap()?;
    ///     std::fs::remove_file(&path)
    /// })
    /// .unwrap()
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn start_connect(path: impl AsRef<Path>) -> Completion<io::Result<UnixStream>> {
        match path_address(path) {
            Ok(address) => UnixStream::start_raw(address),
            Err(error) => completion::io::ready(Ok(Err(error))),
        }
    }

    /// Starts to connect to the listener at `address`, which may be an abstract name; as
    /// [`start_connect`](UnixStream::start_connect) otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use tarae::os::unix::net::{SocketAddr, UnixStream};
    ///
    /// let nobody = SocketAddr::from_abstract_name(b"nobody has this name")?;
    /// let refused = UnixStream::start_connect_addr(&nobody).wait().unwrap();
    /// assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn start_connect_addr(address: &SocketAddr) -> Completion<io::Result<UnixStream>> {
        UnixStream::start_raw(address.to_raw())
    }

    #[track_caller]
    fn start_raw(address: RawAddress) -> Completion<io::Result<UnixStream>> {
        match UnixStream::begin(&address) {
            Ok((stream, false)) => {
                completion::io::start_call(move || stream.try_again(&address).map(|()| stream))
            }
            result => completion::io::ready(Ok(result.map(|(stream, _)| stream))),
        }
    }

    fn connect_raw(address: &RawAddress) -> io::Result<UnixStream> {
        let (stream, is_done) = UnixStream::begin(address)?;
        if !is_done {
            stream.try_again(address)?;
        }
        Ok(stream)
    }

    /// Makes a socket and tries to connect it; true if there was room.
    fn begin(address: &RawAddress) -> io::Result<(UnixStream, bool)> {
        sched::refuse_simulated("a Unix socket")?;
        let stream = UnixStream::of(sys::socket(libc::AF_UNIX, libc::SOCK_STREAM)?);
        let is_done = stream.try_once(address)?;
        Ok((stream, is_done))
    }

    fn try_once(&self, address: &RawAddress) -> io::Result<bool> {
        loop {
            match sys::connect(self.socket.raw(), address) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // Nothing was begun.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for room.
    fn try_again(&self, address: &RawAddress) -> io::Result<()> {
        let mut pause_ms = PAUSE_MS.0;
        loop {
            let pause = Duration::from_millis(pause_ms);
            match sched::sleep_until(sched::now() + pause) {
                Wake::Ready => {}
                Wake::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
                Wake::Cancelled => return Err(io::Error::other(Cancelled)),
            }
            if self.try_once(address)? {
                return Ok(());
            }
            pause_ms = (2 * pause_ms).min(PAUSE_MS.1);
        }
    }

    /// Two streams that are connected to each other and have no name.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    ///
    /// # Examples
    ///
    /// See [`UnixStream`].
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        sched::refuse_simulated("a Unix socket")?;
        let (one, other) = sys::socket_pair(libc::SOCK_STREAM)?;
        Ok((UnixStream::of(one), UnixStream::of(other)))
    }

    /// Who connected, or listened: the process at the other end as it was then.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::os::unix::net::UnixStream;
    ///
    /// let (stream, _other) = UnixStream::pair()?;
    /// assert_eq!(stream.peer_cred()?.pid, Some(std::process::id() as i32));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        let raw = sys::peer_credentials(self.socket.raw())?;
        Ok(UCred {
            uid: raw.uid,
            gid: raw.gid,
            // Zero: a process that cannot be named here, being outside this PID namespace.
            pid: (raw.pid != 0).then_some(raw.pid),
        })
    }

    /// Shuts one or both directions down; whoever waits in it is woken.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::net::Shutdown;
    /// use tarae::os::unix::net::UnixStream;
    ///
    /// let (one, mut other) = UnixStream::pair()?;
    /// one.shutdown(Shutdown::Write)?;
    /// assert_eq!(other.read(&mut [0; 8])?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Reads without taking: the next read gives the same bytes again. Waits until there are some.
    ///
    /// # Errors
    ///
    /// As for a read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use tarae::os::unix::net::UnixStream;
    ///
    /// let (mut one, mut other) = UnixStream::pair()?;
    /// one.write_all(b"ab")?;
    /// assert_eq!(other.peek(&mut [0; 8])?, 2);
    /// assert_eq!(other.read(&mut [0; 8])?, 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.perform(Peek(buffer))
    }

    /// Writes some of `data`, with the descriptors `fds`: the other process gets duplicates of
    /// them. If any of the data was written, all of the descriptors were, and arrive with its first
    /// byte; write the rest with `write_all`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for descriptors without data, since nothing would be sent, and for more than
    /// 253 of them; `ETOOMANYREFS` when too many are on their way; those of a write.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Read;
    /// use std::os::fd::AsFd;
    /// use tarae::os::unix::net::UnixStream;
    ///
    /// let (one, other) = UnixStream::pair()?;
    /// let file = File::open("/proc/self/comm")?;
    /// assert_eq!(one.send_fds(b"a file", &[file.as_fd()])?, 6);
    ///
    /// let mut text = [0; 6];
    /// let (count, mut fds) = other.recv_fds(&mut text, 1)?;
    /// assert_eq!((count, fds.len()), (6, 1));
    /// let mut name = String::new();
    /// File::from(fds.remove(0)).read_to_string(&mut name)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send_fds(&self, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        check_count(fds)?;
        if data.is_empty() && !fds.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "over a stream, descriptors travel with at least one byte of data",
            ));
        }
        self.socket.perform(SendFds { data, fds })
    }

    /// Reads data, and up to `max` descriptors that came with it, close-on-exec. A read never goes
    /// beyond the data of one sending with descriptors. Those that come where nobody asks for
    /// them, in an ordinary read, are closed by the kernel.
    ///
    /// Zero bytes and no descriptors are the end of the stream, unless `buffer` is empty.
    ///
    /// # Errors
    ///
    /// `InvalidData` when more than `max` were sent with this data, or more than the process may
    /// open: all of them are closed and the data is lost. Those of a read.
    ///
    /// # Examples
    ///
    /// See [`send_fds`](UnixStream::send_fds).
    pub fn recv_fds(&self, buffer: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut fds = Vec::new();
        let receive = ReceiveFds {
            buffer,
            room: max,
            fds: &mut fds,
        };
        let (count, _) = self.socket.perform(receive)?;
        Ok((count, fds))
    }
}

/// The process at the other end of a [`UnixStream`]; see [`UnixStream::peer_cred`].
///
/// # Examples
///
/// ```
/// use tarae::os::unix::net::UnixStream;
///
/// let (stream, _other) = UnixStream::pair()?;
/// let peer = stream.peer_cred()?;
/// println!("user {} of group {}", peer.uid, peer.gid);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UCred {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process; `None` if it cannot be named from here.
    pub pid: Option<i32>,
}
