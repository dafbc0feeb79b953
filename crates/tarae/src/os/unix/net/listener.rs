//! `UnixListener`: std's surface over `Socket`.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::{SocketAddr, UnixStream, path_address};
use crate::completion::{self, Completion};
use crate::driver::Source;
use crate::driver::operation::Accept;
use crate::net::listener::{BACKLOG, unless_ended};
use crate::net::socket::{Kind, Socket, conversions, handle_methods};
use crate::net::starting::Accepting;
use crate::net::{AsSocket, BorrowedSocket};
use crate::sched;
use crate::sched::io::{Patience, perform};
use crate::sched::worker::Worker;
use crate::select::Accepts;
use crate::sys::{self, Address, RawAddress};

/// A Unix socket that listens: [`std::os::unix::net::UnixListener`], whose every call parks the
/// coroutine in place of blocking the thread.
///
/// # Examples
///
/// A server that answers everybody and removes its path at the end:
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::os::unix::net::{UnixListener, UnixStream};
///
/// tarae::run(|| -> std::io::Result<()> {
///     let path = std::env::temp_dir().join(format!("listener-{}.sock", std::process::id()));
///     let listener = UnixListener::bind(&path)?;
///     tarae::spawn(move || {
///         for stream in listener.incoming().flatten() {
///             tarae::spawn(move || (&stream).write_all(b"hello\n"));
///         }
///     });
///     let mut answer = String::new();
///     UnixStream::connect(&path)?.read_to_string(&mut answer)?;
///     assert_eq!(answer, "hello\n");
///     std::fs::remove_file(path)
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub struct UnixListener {
    socket: Socket,
}

conversions!(
    UnixListener,
    std::os::unix::net::UnixListener,
    Kind::Listener
);
handle_methods!(
    UnixListener,
    r#"# use std::os::linux::net::SocketAddrExt;
# use tarae::os::unix::net::{SocketAddr, UnixListener};
# let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
# let address = SocketAddr::from_abstract_name(name)?;
let socket = UnixListener::bind_addr(&address)?;"#
);

impl UnixListener {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when something has that path, if only what an earlier server left: remove it
    /// first; `InvalidInput` for a path of more than 107 bytes; those of `bind(2)`.
    ///
    /// # Examples
    ///
    /// See [`UnixListener`].
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_raw(&path_address(path)?)
    }

    /// Listens at `address`, which may be an abstract name: that is no file, and free again when
    /// the last socket of that name is closed.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when it is taken; those of `bind(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use tarae::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    ///
    /// let name = format!("tarae-example-{}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let client = UnixStream::connect_addr(&address)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_raw(&address.to_raw())
    }

    fn bind_raw(address: &RawAddress) -> io::Result<UnixListener> {
        sched::refuse_simulated("a Unix socket")?;
        let fd = sys::socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
        sys::bind(fd.as_raw_fd(), address)?;
        sys::listen(fd.as_raw_fd(), BACKLOG)?;
        Ok(UnixListener {
            socket: Socket::new(fd, Kind::Listener),
        })
    }

    /// Waits for a connection and gives it with its peer's address, which mostly has no name. The
    /// next coroutine that the caller spawns counts as this connection's (see
    /// [`spawn`](crate::spawn)).
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`: when the process is out of descriptors (`EMFILE`) the connection stays
    /// in the queue and a later call gets it. `WouldBlock` in non-blocking mode; an error that
    /// [`Cancelled::is`](crate::Cancelled::is) recognises when cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::linux::net::SocketAddrExt;
    /// # use tarae::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    /// # let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    /// # let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let client = UnixStream::connect_addr(&address)?;
    /// let (server, peer) = listener.accept()?;
    /// assert!(peer.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accepted(self.socket.perform(Accept(PhantomData))?)
    }

    /// Starts to accept a connection and goes on: the [`Completion`] gives what
    /// [`accept`](UnixListener::accept) would. As
    /// [`TcpListener::start_accept`](crate::net::TcpListener::start_accept).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::linux::net::SocketAddrExt;
    /// # use tarae::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    /// # let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    /// # let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let accepted = listener.start_accept();
    /// let client = UnixStream::connect_addr(&address)?;
    /// let (server, peer) = accepted.wait().unwrap()?;
    /// assert!(peer.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_accept(&self) -> Completion<io::Result<(UnixStream, SocketAddr)>> {
        completion::io::start(self.socket.shared_source(), Accepting(accept_from))
    }

    fn accepted(
        &self,
        (fd, address): (OwnedFd, SocketAddr),
    ) -> io::Result<(UnixStream, SocketAddr)> {
        if let Some(worker) = Worker::current() {
            worker.note_accept();
        }
        Ok((UnixStream::of(fd), address))
    }

    /// Connections as they come: [`accept`](UnixListener::accept) again and again. Unlike std's,
    /// the iterator ends when the coroutine is cancelled.
    ///
    /// # Examples
    ///
    /// See [`UnixListener`].
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            listener: self,
            ended: false,
        }
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::linux::net::SocketAddrExt;
    /// # use tarae::os::unix::net::{SocketAddr, UnixListener};
    /// # let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    /// # let address = SocketAddr::from_abstract_name(&name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// assert_eq!(listener.local_addr()?.as_abstract_name(), Some(name.as_bytes()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Accepts for UnixListener {
    type Connection = (UnixStream, SocketAddr);

    fn listening(&self) -> BorrowedSocket<'_> {
        self.as_socket()
    }

    fn try_accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let accept = Accept(PhantomData);
        self.accepted(perform(self.socket.source(), Patience::None, accept)?)
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.socket.raw()).finish()
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

fn accept_from(source: &Source, patience: Patience) -> io::Result<(UnixStream, SocketAddr)> {
    let (fd, address) = perform(source, patience, Accept(PhantomData))?;
    Ok((UnixStream::of(fd), address))
}

/// See [`UnixListener::incoming`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
    ended: bool,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        if self.ended {
            return None;
        }
        let accepted = self.listener.accept().map(|(stream, _)| stream);
        unless_ended(accepted, &mut self.ended)
    }
}

impl FusedIterator for Incoming<'_> {}
