//! One epoll and the clock of those who wait in it: what workers and event loops have in common.
//!
//! Owned by `driver::epoll` and by `event::EventLoop`, and used on one thread only. It gives events
//! as they come and knows nothing of who waits for them.
//!
//! Time is counted in ticks of a millisecond, for the timing wheel. Invariant: deadlines are
//! rounded up and the present down, so that none is ever early.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::timers::Tick;
use crate::sys::{self, EpollEvent};

/// The tokens of the notification descriptor and of the timer, whose events only end a wait. The
/// others have a slot's index in the lower half; no slot has one of these.
const NOTIFICATION: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const EVENTS: usize = 512;
/// A deadline further off than this is left to the timer: with a time-out of its own, each
/// `epoll_wait` that sleeps costs the kernel a timer to set and to remove, and on a virtual machine
/// much more than that.
const FAR: Duration = Duration::from_millis(100);

pub(crate) struct Poller {
    epoll: Arc<OwnedFd>,
    /// Ends a wait whose next deadline is far off, and when it is set to.
    timer: OwnedFd,
    armed: Option<Instant>,
    /// Tick 0.
    base: Instant,
    /// A deadline and its tick: servers give the same one again and again.
    last_tick: (Instant, Tick),
    now: Instant,
}

impl Poller {
    /// One that `notification` (an eventfd, never read) wakes.
    pub(crate) fn new(notification: RawFd) -> io::Result<Poller> {
        let epoll = sys::epoll_create()?;
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let raw = epoll.as_raw_fd();
        sys::epoll_ctl(raw, libc::EPOLL_CTL_ADD, notification, events, NOTIFICATION)?;
        let timer = sys::timerfd()?;
        sys::epoll_ctl(raw, libc::EPOLL_CTL_ADD, timer.as_raw_fd(), events, TIMER)?;
        let now = Instant::now();
        Ok(Poller {
            epoll: Arc::new(epoll),
            timer,
            armed: None,
            base: now,
            last_tick: (now, 0),
            now,
        })
    }

    pub(crate) fn epoll(&self) -> &Arc<OwnedFd> {
        &self.epoll
    }

    /// Begins to watch a descriptor.
    pub(crate) fn add(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        sys::epoll_ctl(
            self.epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            fd,
            events,
            token,
        )
    }

    /// Watches it for something else; what is ready now is reported as a new edge.
    pub(crate) fn modify(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        sys::epoll_ctl(
            self.epoll.as_raw_fd(),
            libc::EPOLL_CTL_MOD,
            fd,
            events,
            token,
        )
    }

    /// Watches it no more. A descriptor that has been closed is none that is watched.
    pub(crate) fn remove(&self, fd: RawFd) {
        let _ = sys::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// The present, as of the last `wait`.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The tick that has begun by then.
    #[inline]
    pub(crate) fn elapsed(&self) -> Tick {
        self.now.saturating_duration_since(self.base).as_millis() as Tick
    }

    /// The first tick at which `time` has passed: deadlines are never early.
    #[inline]
    pub(crate) fn tick_after(&mut self, time: Instant) -> Tick {
        if self.last_tick.0 != time {
            let tick = millis_ceil(time.saturating_duration_since(self.base));
            self.last_tick = (time, tick);
        }
        self.last_tick.1
    }

    /// How long `wait` may wait: until `bound` and the next tick that matters.
    #[inline]
    pub(crate) fn timeout_ms(&mut self, bound: Option<Instant>, next: Option<Tick>) -> i32 {
        let due = next.map(|tick| self.base + Duration::from_millis(tick));
        if let (None, Some(due)) = (bound, due)
            && due > self.now + FAR
            && self.arm(due).is_ok()
        {
            return -1;
        }
        let until = match (bound, due) {
            (Some(bound), Some(due)) => bound.min(due),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return -1,
        };
        if until <= self.now {
            return 0;
        }
        millis_ceil(until.saturating_duration_since(Instant::now()))
            .try_into()
            .unwrap_or(i32::MAX)
    }

    /// Sees to it that a wait without a bound ends by `due`.
    fn arm(&mut self, due: Instant) -> io::Result<()> {
        // One that expires earlier does too, if it has not expired yet: the wait is merely looked
        // at once more.
        if self
            .armed
            .is_none_or(|armed| armed > due || armed <= self.now)
        {
            let left = due.saturating_duration_since(Instant::now());
            sys::timerfd_set(self.timer.as_raw_fd(), left)?;
            self.armed = Some(due);
        }
        Ok(())
    }

    /// Waits for events, and looks at the clock. Gives how many of `events` have been written.
    #[inline]
    pub(crate) fn wait(&mut self, events: &mut [EpollEvent], timeout_ms: i32) -> io::Result<usize> {
        let count = sys::epoll_wait(self.epoll.as_raw_fd(), events, timeout_ms);
        self.now = Instant::now();
        count
    }
}

/// Room for the events of one wait.
pub(crate) fn batch() -> Box<[EpollEvent]> {
    vec![EpollEvent { events: 0, u64: 0 }; EVENTS].into_boxed_slice()
}

/// What is watched under a slot's index, as long as its generation lasts.
pub(crate) fn token(slot: u32, generation: u32) -> u64 {
    u64::from(slot) | u64::from(generation) << 32
}

/// The slot and the generation of a token.
pub(crate) fn of_token(token: u64) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}

fn millis_ceil(duration: Duration) -> u64 {
    let part = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration
        .as_secs()
        .saturating_mul(1_000)
        .saturating_add(part)
}
