//! Deterministic simulation: a program's coroutines, its time and its network, from a seed.
//!
//! Public. [`run`] is [`tarae::run`](crate::run) for tests: the program is the same, with the same
//! types, but *time is virtual* and *TCP sockets are memory*. Whatever a real system leaves to
//! chance is drawn from the seed: which worker's turn it is, how long bytes are on their way, where
//! reads and writes are cut, which connection breaks. So a run can be repeated exactly, and a few
//! hundred seeds see what a test on the real network sees once a month.
//!
//! ```
//! use std::io::{Read, Result, Write};
//! use std::time::Duration;
//! use tarae::net::{TcpListener, TcpStream};
//!
//! /// Asks for the double of a number.
//! fn ask(number: u8) -> Result<u8> {
//!     let mut stream = TcpStream::connect("127.0.0.1:7")?;
//!     stream.write_all(&[number])?;
//!     let mut answer = [0];
//!     stream.read_exact(&mut answer)?;
//!     Ok(answer[0])
//! }
//!
//! /// Asks again until there is an answer.
//! fn ask_until_answered(number: u8) -> u8 {
//!     loop {
//!         match ask(number) {
//!             Ok(answer) => return answer,
//!             // Refused, reset, or closed before the answer came: once more.
//!             Err(_) => tarae::time::sleep(Duration::from_secs(1)),
//!         }
//!     }
//! }
//!
//! for seed in 0..20 {
//!     let simulation = tarae::sim::Builder::new(seed).resets(0.3).refusals(0.2);
//!     let report = simulation.run(|| {
//!         let listener = TcpListener::bind("127.0.0.1:7").unwrap();
//!         tarae::spawn(move || {
//!             for mut stream in listener.incoming().flatten() {
//!                 tarae::spawn(move || -> Result<()> {
//!                     let mut number = [0];
//!                     stream.read_exact(&mut number)?;
//!                     stream.write_all(&[2 * number[0]])
//!                 });
//!             }
//!         });
//!         assert_eq!(ask_until_answered(21), 42);
//!     });
//!     // All those seconds passed in no time.
//!     println!("seed {seed}: {:?}", report.unwrap().elapsed);
//! }
//! ```
//!
//! # What a run is
//!
//! * **One thread.** All workers ([`Builder::workers`], two unless set) run on the thread that
//!   calls `run`, one coroutine after the other. Queues, inboxes, stealing, parking and timers are
//!   those of the real runtime; whose turn it is is drawn from the seed.
//! * **Virtual time.** [`time::Instant::now`](crate::time::Instant::now), sleeps, time-outs and
//!   intervals, all in whole milliseconds. The clock stands while anybody can run, then jumps to
//!   the next thing that happens. [`time::system_time`](crate::time::system_time) is the time of
//!   day, from the year 2000 on.
//! * **A network.** [`TcpListener`](crate::net::TcpListener) and
//!   [`TcpStream`](crate::net::TcpStream) meet in memory; any IP address can be bound and connected
//!   to, `localhost` is the only name. Bytes arrive in order, after a delay; up to 64 KiB may be on
//!   their way or unread. End of input, half-closed streams, resets, refused connections and
//!   time-outs are TCP's, as Linux reports them. A simulated socket has no descriptor: `as_raw_fd`
//!   and `as_fd` panic.
//! * **An end.** When `main` has returned the rest is cancelled, as by `tarae::run`; the grace
//!   period is virtual too. When nothing can happen any more, the run ends with an error that names
//!   every coroutine and what it waits for.
//! * **A trace.** Each spawn, switch, wait and wake-up and each event of the network, with its
//!   time: [`Report::trace`]. The same seed gives the same trace, in the same build.
//!
//! # What is not simulated
//!
//! * [`offload`](fn@crate::offload) runs its closure in the calling coroutine, after some others
//!   have had their turn, and takes no virtual time.
//! * UDP and Unix sockets, std's sockets, signals, and names other than `localhost` give
//!   [`Unsupported`](io::ErrorKind::Unsupported).
//! * Plain threads are no part of a run: simulated sockets refuse to work there, and what wakes a
//!   coroutine from there makes the run depend on chance. Calls of std that block hold everything
//!   up and take no virtual time.
//! * Whatever else a program takes from outside is its own affair: `std::time`, files, environment,
//!   random numbers, and the order of a `HashMap`, which differs from map to map.
//!   [`random`] gives numbers from the seed.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::sim::net::Faults;
use crate::driver::sim::{World, hash};
use crate::sched;
use crate::sched::simulation::{self, Stuck};

/// Runs `main` in a simulation: [`Builder::new`]`(seed).run(main)`.
///
/// The network is slow (up to 10 ms each way), cuts every fourth read and write, and lets one
/// connection in four overtake others that wait to be accepted. Nothing is reset or refused: that
/// has to be asked for.
///
/// # Errors
///
/// [`Error`], which names the seed.
///
/// # Panics
///
/// With the panic of `main`; the seed and the end of the trace are printed to stderr.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::time::{Instant, sleep};
///
/// let report = tarae::sim::run(7, || {
///     let start = Instant::now();
///     sleep(Duration::from_secs(24 * 3600));
///     assert_eq!(start.elapsed(), Duration::from_secs(24 * 3600));
/// })
/// .unwrap();
/// assert_eq!(report.elapsed, Duration::from_secs(24 * 3600));
/// ```
#[track_caller]
pub fn run<T>(seed: u64, main: impl FnOnce() -> T) -> Result<Report<T>, Error> {
    Builder::new(seed).run(main)
}

/// A number from the seed of the simulated run that this is called in; `None` outside.
///
/// # Examples
///
/// ```
/// let roll = || tarae::sim::run(1, || tarae::sim::random().unwrap() % 6).unwrap().value;
/// assert_eq!(roll(), roll());
/// assert_eq!(tarae::sim::random(), None);
/// ```
pub fn random() -> Option<u64> {
    sched::simulation().map(|world| world.random())
}

/// A simulation and what may go wrong in it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let simulation = tarae::sim::Builder::new(1)
///     .workers(4)
///     .delay(Duration::from_millis(20)..=Duration::from_millis(300))
///     .resets(0.01);
/// simulation.run(|| tarae::spawn(|| 42).join().unwrap()).unwrap();
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `run`"]
pub struct Builder {
    seed: u64,
    workers: usize,
    grace: Duration,
    faults: Faults,
}

impl Builder {
    /// Two workers, five virtual seconds of grace, the network of [`run`](fn@run).
    pub fn new(seed: u64) -> Builder {
        Builder {
            seed,
            workers: 2,
            grace: Duration::from_secs(5),
            faults: Faults {
                delay: (0, 10),
                partial: 0.25,
                resets: 0.0,
                refusals: 0.0,
                reorder: 0.25,
            },
        }
    }

    /// A network without delays or faults; what is set after this holds.
    pub fn no_faults(mut self) -> Builder {
        self.faults = Faults {
            delay: (0, 0),
            partial: 0.0,
            resets: 0.0,
            refusals: 0.0,
            reorder: 0.0,
        };
        self
    }

    /// The number of workers.
    ///
    /// # Panics
    ///
    /// When it is zero.
    pub fn workers(mut self, workers: usize) -> Builder {
        assert!(workers > 0, "a runtime needs at least one worker");
        self.workers = workers;
        self
    }

    /// How long coroutines may go on once `main` has returned, in virtual time.
    pub fn grace(mut self, grace: Duration) -> Builder {
        self.grace = grace;
        self
    }

    /// How long anything is on its way from one socket to another, in whole milliseconds. A
    /// connection takes two ways to come about.
    ///
    /// # Panics
    ///
    /// When the range is empty.
    pub fn delay(mut self, range: RangeInclusive<Duration>) -> Builder {
        assert!(!range.is_empty(), "there is no delay in {range:?}");
        let millis = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4);
        self.faults.delay = (millis(range.start()), millis(range.end()));
        self
    }

    /// How often a read or a write moves only a part of what it could.
    ///
    /// # Panics
    ///
    /// As all probabilities, when it does not lie between 0 and 1.
    pub fn partial(mut self, probability: f64) -> Builder {
        self.faults.partial = checked(probability);
        self
    }

    /// How often a write finds its connection reset. What was on its way is lost, in one direction
    /// or both.
    pub fn resets(mut self, probability: f64) -> Builder {
        self.faults.resets = checked(probability);
        self
    }

    /// How often an attempt to connect is refused, listener or not.
    pub fn refusals(mut self, probability: f64) -> Builder {
        self.faults.refusals = checked(probability);
        self
    }

    /// How often a connection overtakes others that wait to be accepted. (Different delays change
    /// their order too.)
    pub fn reorder(mut self, probability: f64) -> Builder {
        self.faults.reorder = checked(probability);
        self
    }

    /// Runs `main` as the first coroutine, and everything it spawns, as
    /// [`tarae::Builder::run`](crate::Builder::run) does. Blocks the calling thread, on which
    /// everything runs; it must not be a worker's.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    ///
    /// # Panics
    ///
    /// With the panic of `main`; the seed is printed to stderr.
    #[track_caller]
    pub fn run<T>(self, main: impl FnOnce() -> T) -> Result<Report<T>, Error> {
        let seed = self.seed;
        let world = Arc::new(World::new(seed, self.faults, self.workers));
        let builder = crate::Builder::new().grace(self.grace);
        let outcome = simulation::run(&world, builder, self.workers, Location::caller(), main);
        let trace = Trace(world.take_trace());
        let stuck = match outcome {
            Ok(Ok(value)) => {
                return Ok(Report {
                    value,
                    elapsed: world.elapsed(),
                    trace,
                });
            }
            Ok(Err(failure)) if failure.is_panic() => {
                let last = trace.last_lines();
                eprintln!("tarae: the simulated run of seed {seed} has panicked; {REPEAT}\n{last}");
                std::panic::resume_unwind(failure.into_panic())
            }
            Ok(Err(failure)) => Stuck::Start(io::Error::other(failure)),
            Err(stuck) => stuck,
        };
        Err(Error { seed, stuck, trace })
    }
}

const REPEAT: &str = "run the same program with the same seed and options to repeat it";
/// Lines of the trace that are printed after a panic.
const LAST_LINES: usize = 10;

fn checked(probability: f64) -> f64 {
    assert!(
        (0.0..=1.0).contains(&probability),
        "{probability} is no probability: it must lie between 0 and 1"
    );
    probability
}

/// What came of a simulated run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report<T> {
    /// What `main` returned.
    pub value: T,
    /// How long it took, in virtual time, to the end of the last coroutine.
    pub elapsed: Duration,
    /// What happened.
    pub trace: Trace,
}

/// What happened in a simulated run, line by line, for comparing and for reading. The form of the
/// lines may change from version to version.
///
/// # Examples
///
/// ```
/// let trace = |seed| {
///     let report = tarae::sim::run(seed, || {
///         let handles: Vec<_> = (0..10).map(|_| tarae::spawn(tarae::yield_now)).collect();
///         handles.into_iter().for_each(|handle| handle.join().unwrap());
///     });
///     report.unwrap().trace
/// };
/// assert_eq!(trace(1), trace(1));
/// assert_ne!(trace(1).hash(), trace(2).hash());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// All lines. Each begins with the virtual time in seconds.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number that is the same for the same trace, in every process and version.
    pub fn hash(&self) -> u64 {
        hash(self.0.bytes())
    }
}

impl Trace {
    fn last_lines(&self) -> String {
        let skipped = self.0.lines().count().saturating_sub(LAST_LINES);
        let lines = self
            .0
            .lines()
            .skip(skipped)
            .map(|line| format!("  {line}\n"));
        format!(
            "the last of {} lines of its trace:\n{}",
            skipped + LAST_LINES,
            lines.collect::<String>()
        )
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Trace({} lines, {:016x})",
            self.0.lines().count(),
            self.hash()
        )
    }
}

/// Why a simulated run gave no value. Its text names the seed.
pub struct Error {
    seed: u64,
    stuck: Stuck,
    trace: Trace,
}

impl Error {
    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What happened, to the end.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Nothing could happen any more while `main` waited: everybody waits for each other, or for
    /// what never comes. [`coroutines`](Error::coroutines) says who and for what.
    pub fn is_deadlock(&self) -> bool {
        matches!(self.stuck, Stuck::Deadlock(_))
    }

    /// The workers had fifty thousand turns, of up to 64 coroutines each, without any time passing:
    /// somebody yields and never waits.
    pub fn is_livelock(&self) -> bool {
        matches!(self.stuck, Stuck::Livelock(_))
    }

    /// `run` was called on a worker's thread, in a simulated run, or inside a
    /// [`Coroutine`](crate::Coroutine).
    pub fn is_nested(&self) -> bool {
        matches!(self.stuck, Stuck::Nested)
    }

    /// Every coroutine there was: number, name, where it was spawned, what it waits for. When
    /// `main` had returned, only those that ignored their cancellation; their stacks were leaked.
    pub fn coroutines(&self) -> &[String] {
        match &self.stuck {
            Stuck::Deadlock(lines) | Stuck::Livelock(lines) | Stuck::Stragglers(lines) => lines,
            Stuck::Nested | Stuck::Start(_) => &[],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulated run of seed {}: ", self.seed)?;
        match &self.stuck {
            Stuck::Nested => f.write_str("started inside a runtime or a bare coroutine")?,
            Stuck::Start(error) => write!(f, "it could not start: {error}")?,
            Stuck::Deadlock(_) => f.write_str("deadlock, nothing can ever happen any more")?,
            Stuck::Livelock(_) => f.write_str("no time passes, since somebody always runs")?,
            Stuck::Stragglers(_) => f.write_str("coroutines ignored their cancellation")?,
        }
        write!(f, "; {REPEAT}")?;
        self.coroutines()
            .iter()
            .try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {}
