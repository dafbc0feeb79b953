//! Waiting for points in time.
//!
//! Public. Deadlines are kept in ticks of one millisecond and are never early.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Instant as StdInstant;

pub use std::time::{Duration, SystemTime};

use crate::sched;
use crate::sched::worker::Worker;

/// A point on the runtime's clock: [`std::time::Instant`], but that time is virtual in a
/// [simulated run](crate::sim).
///
/// # Examples
///
/// ```
/// use tarae::time::{Duration, Instant};
///
/// let start = Instant::now();
/// tarae::time::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(StdInstant);

impl Instant {
    /// The present.
    pub fn now() -> Instant {
        Instant(sched::now())
    }

    /// The present as this worker last read it, at its latest look at the driver: no clock call,
    /// and good enough for deadlines of seconds. On a plain thread, the present.
    pub fn coarse() -> Instant {
        Instant(Worker::current().map_or_else(StdInstant::now, Worker::coarse_now))
    }

    /// Time since this instant; zero if it lies ahead.
    pub fn elapsed(&self) -> Duration {
        sched::now().saturating_duration_since(self.0)
    }

    /// Time since `earlier`; zero if that lies ahead.
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.0.duration_since(earlier.0)
    }

    /// Time since `earlier`; `None` if that lies ahead.
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_duration_since(earlier.0)
    }

    /// `self + duration`, if it can be represented.
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }

    /// `self - duration`, if it can be represented.
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_sub(duration).map(Instant)
    }
}

impl From<StdInstant> for Instant {
    fn from(instant: StdInstant) -> Instant {
        Instant(instant)
    }
}

impl From<Instant> for StdInstant {
    fn from(instant: Instant) -> StdInstant {
        instant.0
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0 - duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

/// The time of day: [`SystemTime::now`]. In a [simulated run](crate::sim) it is virtual too, and
/// begins with the year 2000.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tarae::time::{sleep, system_time};
///
/// let years = Duration::from_secs(10_957 * 24 * 3600);
/// tarae::sim::run(1, || {
///     sleep(Duration::from_secs(60));
///     assert_eq!(system_time(), UNIX_EPOCH + years + Duration::from_secs(60));
/// })
/// .unwrap();
/// ```
pub fn system_time() -> SystemTime {
    /// Days from 1970 to 2000.
    const DAYS: u64 = 10_957;
    match sched::simulation() {
        Some(world) => {
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(DAYS * 24 * 3600);
            start + world.elapsed()
        }
        None => SystemTime::now(),
    }
}

/// Waits for `duration` at least: parks the coroutine, blocks a plain thread. A zero duration
/// yields. Returns early when cancelled, and at a [deadline](crate::cancel) around it.
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return sched::yield_now();
    }
    match sched::now().checked_add(duration) {
        Some(deadline) => sleep_until(Instant(deadline)),
        // A century stands for what is beyond the clock.
        None => {
            let century = Duration::from_secs(100 * 365 * 24 * 3600);
            sleep_until(Instant::now() + century);
        }
    }
}

/// Waits until `deadline` has passed; see [`sleep`].
pub fn sleep_until(deadline: Instant) {
    sched::sleep_until(deadline.0);
}

/// Ticks at a fixed period, the first after one period.
///
/// # Examples
///
/// ```
/// use tarae::time::{Duration, Instant, interval};
///
/// let start = Instant::now();
/// let mut ticks = interval(Duration::from_millis(1));
/// ticks.tick();
/// assert!(ticks.tick() >= start + Duration::from_millis(2));
/// ```
///
/// # Panics
///
/// When the period is zero.
pub fn interval(period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "the period of an interval must be longer than zero"
    );
    Interval {
        next: Instant::now() + period,
        period,
    }
}

/// See [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick and gives the instant it was due. Ticks that passed while nobody
    /// waited are skipped, not made up for: the next one is the next multiple of the period.
    /// Returns early when cancelled, or at a deadline around it.
    pub fn tick(&mut self) -> Instant {
        sleep_until(self.next);
        let due = self.next;
        let late = due.elapsed().as_nanos() / self.period.as_nanos();
        let periods = u32::try_from(late + 1).unwrap_or(u32::MAX);
        self.next += self.period * periods;
        due
    }

    /// The time between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}
