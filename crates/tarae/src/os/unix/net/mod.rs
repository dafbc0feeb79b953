//! `std::os::unix::net`, for coroutines: `use tarae::os::unix::net` in place of
//! `use std::os::unix::net`.
//!
//! Public. The sockets have std's whole surface and park the coroutine, or block the plain thread,
//! as those of [`tarae::net`](crate::net) do; the waits without a coroutine that are there take
//! these too. Beyond std they carry descriptors: [`UnixStream::send_fds`],
//! [`UnixDatagram::recv_fds`]. Nothing here may take a short read for the end of what there is: a
//! Unix stream stops short wherever descriptors were sent.
//!
//! A path is not removed when its socket is dropped, as with std.

mod datagram;
mod listener;
mod stream;

use std::io;
use std::os::fd::BorrowedFd;

pub use std::os::unix::net::SocketAddr;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use stream::{UCred, UnixStream};

use crate::sys::{Address, FDS_MAX, RawAddress};

/// The address of a path.
fn path_address(path: impl AsRef<std::path::Path>) -> io::Result<RawAddress> {
    SocketAddr::from_pathname(path).map(|address| address.to_raw())
}

/// Refuses more descriptors than one message carries, which the kernel calls an invalid argument.
fn check_count(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() <= FDS_MAX {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "one message carries up to {FDS_MAX} descriptors, not {}: send several",
            fds.len()
        ),
    ))
}
