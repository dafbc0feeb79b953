//! Waiting for signals of the process, as for anything else.
//!
//! Public. A handler (`SA_ONSTACK | SA_RESTART`) writes to an eventfd that a coroutine waits for;
//! no signal mask is changed, so children inherit nothing.
//!
//! Invariant: the handler touches only the static table below. A place in it keeps its eventfd for
//! the process's lifetime, so that a handler on another thread never writes to a foreign
//! descriptor.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use crate::driver::Source;
use crate::driver::operation::ReadEventfd;
use crate::sched;
use crate::sched::io::{Patience, perform};
use crate::sys;

/// A signal that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// `SIGHUP`
    pub const HANGUP: Signal = Signal(libc::SIGHUP);
    /// `SIGINT`: Ctrl-C.
    pub const INTERRUPT: Signal = Signal(libc::SIGINT);
    /// `SIGQUIT`
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    /// `SIGTERM`: what `kill` and service managers send.
    pub const TERMINATE: Signal = Signal(libc::SIGTERM);
    /// `SIGUSR1`
    pub const USER1: Signal = Signal(libc::SIGUSR1);
    /// `SIGUSR2`
    pub const USER2: Signal = Signal(libc::SIGUSR2);

    /// The signal's number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Signal::HANGUP => "SIGHUP",
            Signal::INTERRUPT => "SIGINT",
            Signal::QUIT => "SIGQUIT",
            Signal::TERMINATE => "SIGTERM",
            Signal::USER1 => "SIGUSR1",
            _ => "SIGUSR2",
        })
    }
}

struct Place {
    taken: AtomicBool,
    /// Bits of the signals asked for, and of those that came.
    wanted: AtomicU64,
    pending: AtomicU64,
    /// -1 until the place was first taken.
    eventfd: AtomicI32,
}

const PLACES: usize = 16;
static TABLE: [Place; PLACES] = [const {
    Place {
        taken: AtomicBool::new(false),
        wanted: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        eventfd: AtomicI32::new(-1),
    }
}; PLACES];

extern "C" fn handle(signal: i32) {
    let bit = 1u64 << signal;
    for place in &TABLE {
        if place.wanted.load(Ordering::SeqCst) & bit != 0 {
            place.pending.fetch_or(bit, Ordering::SeqCst);
            sys::eventfd_write(place.eventfd.load(Ordering::SeqCst));
        }
    }
}

/// A set of signals to wait for. At most 16 sets exist at once.
///
/// Once asked for, a signal stays caught: after the last set is gone it is ignored rather than
/// fatal.
///
/// # Examples
///
/// ```no_run
/// use tarae::signal::{Signal, Signals};
///
/// tarae::run(|| {
///     let signals = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE]).unwrap();
///     let signal = signals.wait().unwrap();
///     println!("{signal}: shutting down");
/// })
/// .unwrap();
/// ```
#[derive(Debug)]
pub struct Signals {
    place: usize,
    /// A duplicate of the place's eventfd, which is never closed.
    source: Source,
}

impl Signals {
    /// Catches `signals` from now on.
    ///
    /// # Errors
    ///
    /// When 16 sets exist already, no descriptor is free, or the signal cannot be caught;
    /// [`Unsupported`](io::ErrorKind::Unsupported) in a [simulated run](crate::sim).
    pub fn new(signals: &[Signal]) -> io::Result<Signals> {
        sched::refuse_simulated("waiting for signals")?;
        let index = TABLE
            .iter()
            .position(|place| !place.taken.swap(true, Ordering::SeqCst))
            .ok_or_else(|| io::Error::other("16 sets of signals are being waited for already"))?;
        let place = &TABLE[index];
        let prepared = (|| {
            if place.eventfd.load(Ordering::SeqCst) == -1 {
                place
                    .eventfd
                    .store(sys::eventfd()?.into_raw_fd(), Ordering::SeqCst);
            }
            let source = sys::duplicate(&place.eventfd.load(Ordering::SeqCst).as_raw_fd())?;
            place.pending.store(0, Ordering::SeqCst);
            let bits = signals.iter().fold(0, |bits, signal| bits | 1 << signal.0);
            place.wanted.store(bits, Ordering::SeqCst);
            signals
                .iter()
                .try_for_each(|signal| sys::set_signal_handler(signal.0, handle))?;
            Ok(Signals {
                place: index,
                source: Source::new(source, false),
            })
        })();
        if prepared.is_err() {
            place.wanted.store(0, Ordering::SeqCst);
            place.taken.store(false, Ordering::SeqCst);
        }
        prepared
    }

    /// Waits until one of the signals has come since the last call: parks the coroutine, or blocks
    /// the plain thread. Several that came are given one by one, by number; the same one twice
    /// counts once.
    ///
    /// # Errors
    ///
    /// When cancelled (see [`Cancelled`](crate::Cancelled)).
    pub fn wait(&self) -> io::Result<Signal> {
        loop {
            if let Some((signal, more)) = self.take_one() {
                if more {
                    // What is left may be for somebody who waits already: the counter was taken.
                    let place = &TABLE[self.place];
                    sys::eventfd_write(place.eventfd.load(Ordering::SeqCst));
                }
                return Ok(signal);
            }
            perform(&self.source, Patience::For(None), ReadEventfd)?;
        }
    }

    /// One of the signals that have come, and whether it was not the only one.
    fn take_one(&self) -> Option<(Signal, bool)> {
        let pending = &TABLE[self.place].pending;
        loop {
            let seen = pending.load(Ordering::SeqCst);
            if seen == 0 {
                return None;
            }
            let number = seen.trailing_zeros();
            let bit = 1 << number;
            let before = pending.fetch_and(!bit, Ordering::SeqCst);
            // Else somebody else who waits for this set was faster.
            if before & bit != 0 {
                return Some((Signal(number as i32), before != bit));
            }
        }
    }

    /// Those that have come, for an event loop, which waits for `descriptor` by itself.
    pub(crate) fn take_all(&self) -> Vec<Signal> {
        // Those that come from here on are announced again.
        let _ = sys::eventfd_read(self.descriptor());
        std::iter::from_fn(|| self.take_one().map(|(signal, _)| signal)).collect()
    }

    /// Readable when a signal has come.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.source.raw()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let place = &TABLE[self.place];
        place.wanted.store(0, Ordering::SeqCst);
        place.taken.store(false, Ordering::SeqCst);
    }
}
