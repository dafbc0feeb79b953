//! A descriptor with its registrations: what every socket is made of.
//!
//! Called by `net`, `signal` and `process` (to own a descriptor) and by the backends (to register
//! it). It belongs to no worker and may be used by all of them and by plain threads at once.
//!
//! Invariants: at most one registration per worker. `first` names the first one without a lock; a
//! worker compares it with its own number, so nobody acts on another's. `EPOLL_CTL_DEL` always
//! precedes the close, since the description may live on in a duplicate (`as_fd`, fork) and the
//! kernel would go on delivering its events. The slot is then released on its worker.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Direction, Home, sim};
use crate::sys;

/// What every operation looks at stands first and together.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Source {
    /// The descriptor; of a simulated socket its number, negative, which no descriptor is.
    raw: RawFd,
    stream: bool,
    /// A duplicate was given away and its owner may have set the description to blocking mode.
    mode_shared: AtomicBool,
    /// Worker number and slot of the first registration; 0: none (workers count from 1).
    first: AtomicU64,
    /// Nanoseconds; 0: none.
    timeouts: [AtomicU64; 2],
    /// Present until `into_fd`; closed after `drop` has deregistered it.
    fd: Option<OwnedFd>,
    /// What there is in place of a descriptor in a simulated run.
    simulated: Option<sim::Socket>,
    registrations: Mutex<Registrations>,
}

#[derive(Debug, Default)]
struct Registrations {
    first: Option<Registration>,
    others: Vec<Registration>,
}

pub(crate) struct Registration {
    pub(crate) worker: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// Keeps the epoll descriptor open for the deregistration.
    pub(crate) epoll: Arc<OwnedFd>,
    pub(crate) home: &'static dyn Home,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {} slot {}", self.worker, self.slot)
    }
}

impl Source {
    /// Has the processor fetch what every operation looks at, if a source is there.
    #[inline]
    pub(crate) fn prefetch(source: *const Source) {
        const HOT_BYTES: usize = std::mem::offset_of!(Source, fd);
        sys::prefetch(source);
        // It may lie across the end of a line.
        sys::prefetch(source.cast::<u8>().wrapping_add(HOT_BYTES - 1));
    }

    /// `stream`: it is a TCP stream, so that short reads tell of readiness (see `driver`).
    pub(crate) fn new(fd: OwnedFd, stream: bool) -> Source {
        Source {
            raw: fd.as_raw_fd(),
            fd: Some(fd),
            simulated: None,
            stream,
            first: AtomicU64::new(0),
            registrations: Mutex::default(),
            mode_shared: AtomicBool::new(false),
            timeouts: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// Of a simulated socket, which is never registered with a kernel.
    pub(crate) fn of_simulated(socket: sim::Socket) -> Source {
        Source {
            raw: -RawFd::try_from(socket.id()).expect("fewer than 2^31 sockets"),
            fd: None,
            simulated: Some(socket),
            stream: false,
            first: AtomicU64::new(0),
            registrations: Mutex::default(),
            mode_shared: AtomicBool::new(false),
            timeouts: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    pub(crate) fn simulated(&self) -> Option<&sim::Socket> {
        self.simulated.as_ref()
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.raw
    }

    pub(crate) fn borrow(&self) -> BorrowedFd<'_> {
        self.descriptor().as_fd()
    }

    fn descriptor(&self) -> &OwnedFd {
        match &self.fd {
            Some(fd) => fd,
            None => panic!("a simulated socket has no descriptor (see `tarae::sim`)"),
        }
    }

    /// For the public conversions.
    ///
    /// # Panics
    ///
    /// When the socket is simulated.
    pub(crate) fn descriptor_number(&self) -> RawFd {
        self.descriptor().as_raw_fd()
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.stream
    }

    /// The slot of the registration with `worker`, if there is one. Only that worker may ask.
    pub(crate) fn slot_on(&self, worker: u32) -> Option<u32> {
        let first = self.first.load(Ordering::Relaxed);
        if first == 0 {
            return None;
        }
        if (first >> 32) as u32 == worker {
            return Some(first as u32);
        }
        let registrations = self
            .registrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        registrations
            .others
            .iter()
            .find(|r| r.worker == worker)
            .map(|r| r.slot)
    }

    /// Records a registration that a worker has just made.
    pub(crate) fn registered(&self, registration: Registration) {
        let mut registrations = self
            .registrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if registrations.first.is_none() {
            let first = u64::from(registration.worker) << 32 | u64::from(registration.slot);
            self.first.store(first, Ordering::Relaxed);
            registrations.first = Some(registration);
        } else {
            registrations.others.push(registration);
        }
    }

    /// Takes the descriptor out of every epoll it is in.
    fn deregister(&mut self) {
        let fd = self.raw();
        let registrations = self
            .registrations
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        *self.first.get_mut() = 0;
        for r in registrations
            .first
            .take()
            .into_iter()
            .chain(registrations.others.drain(..))
        {
            // The description cannot have left the epoll while `fd` was open, so the only failures
            // are of an epoll that is gone with its process (after a fork).
            let _ = sys::epoll_ctl(r.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, 0, 0);
            r.home.release(r.worker, r.slot, r.generation);
        }
    }

    /// Gives the descriptor away, deregistered. The socket is not simulated.
    pub(crate) fn into_fd(mut self) -> OwnedFd {
        self.deregister();
        self.fd.take().expect("present until given away")
    }

    pub(crate) fn set_mode_shared(&self) {
        self.mode_shared.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_mode_shared(&self) -> bool {
        self.mode_shared.load(Ordering::Relaxed)
    }

    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        match self.timeouts[direction as usize].load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// A zero time-out is refused, as by std.
    pub(crate) fn set_timeout(
        &self,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a time-out must be longer than zero; None waits without bound",
            ));
        }
        let nanos = timeout.map_or(0, |timeout| {
            timeout.as_nanos().try_into().unwrap_or(u64::MAX)
        });
        self.timeouts[direction as usize].store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a connection; `Ok` if it stands at once.
    pub(crate) fn connect(&self, address: &sys::RawAddress) -> io::Result<()> {
        sys::connect(self.raw(), address)
    }

    /// Whether a connection begun has come about; `WouldBlock` while it has not.
    pub(crate) fn connect_outcome(&self) -> io::Result<()> {
        let error = sys::option(self.raw(), libc::SOL_SOCKET, libc::SO_ERROR)?;
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        match sys::poll_wait(self.raw(), libc::POLLOUT, Some(Duration::ZERO))? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.deregister();
    }
}

/// Implements `FromRawFd` for a socket type through its `From<OwnedFd>`.
macro_rules! from_raw_fd {
    ($type:ident) => {
        #[allow(unsafe_code)]
        impl std::os::fd::FromRawFd for $type {
            unsafe fn from_raw_fd(fd: RawFd) -> $type {
                // SAFETY: the caller hands over an open descriptor.
                $type::from(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) })
            }
        }
    };
}
pub(crate) use from_raw_fd;

#[cfg(test)]
mod tests {
    use crate::net::TcpListener;
    use std::os::fd::{FromRawFd, IntoRawFd};

    #[test]
    fn a_descriptor_goes_out_and_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let raw = listener.into_raw_fd();
        // SAFETY: just given away, so nobody else has it.
        let back = unsafe { TcpListener::from_raw_fd(raw) };
        assert_eq!(back.local_addr().unwrap(), address);
    }
}
