//! What is measured, and with what: the kernel's counters of a thread, and reads that are counted.
//!
//! Called by `ways`.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One way of getting the message.
pub(crate) struct Row {
    pub(crate) way: &'static str,
    /// The call had returned to its caller before the message was sent.
    pub(crate) returned: bool,
    /// What the calling thread ran between the call and the message, in pieces: polls that found
    /// nothing, work of the caller's own, work of other coroutines.
    pub(crate) ran: usize,
    pub(crate) reads: Reads,
    pub(crate) spent: Spent,
    pub(crate) called: ThreadId,
    pub(crate) processed: ThreadId,
}

impl Row {
    /// The calling thread processes the message itself.
    pub(crate) fn by_caller(
        way: &'static str,
        returned: bool,
        ran: usize,
        reads: Reads,
        spent: Spent,
    ) -> Row {
        let caller = thread::current().id();
        Row {
            way,
            returned,
            ran,
            reads,
            spent,
            called: caller,
            processed: caller,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let returned = if self.returned { "before" } else { "after" };
        let Spent {
            voluntary,
            cpu,
            wall,
        } = self.spent;
        let (reads, last) = *self.reads.locked();
        let name = |id: ThreadId| format!("{id:?}");
        let read_on = last.map_or("nobody".into(), name);
        write!(
            f,
            "{:<12} {returned:<8} {:>5} {:>5} ",
            self.way,
            self.ran.min(99_999),
            reads
        )?;
        write!(
            f,
            "{voluntary:>9} {:>7} {:>7} ",
            cpu.as_micros(),
            wall.as_micros()
        )?;
        write!(
            f,
            "{:<12} {read_on:<12} {}",
            name(self.called),
            name(self.processed)
        )
    }
}

/// A message, and whether it is on its way.
#[derive(Clone, Default)]
pub(crate) struct Message(Arc<AtomicBool>);

impl Message {
    pub(crate) const TEXT: &[u8; 5] = b"hello";

    pub(crate) fn send(&self, mut to: impl Write) -> io::Result<()> {
        self.0.store(true, SeqCst);
        to.write_all(Message::TEXT)
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// How often `read` was called, and on which thread last.
#[derive(Clone, Default)]
pub(crate) struct Reads(Arc<Mutex<(usize, Option<ThreadId>)>>);

impl Reads {
    fn locked(&self) -> std::sync::MutexGuard<'_, (usize, Option<ThreadId>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose reads are counted.
pub(crate) struct Counted<S>(pub(crate) S, pub(crate) Reads);

impl<S: Read> Read for Counted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reads = self.1.locked();
        *reads = (reads.0 + 1, Some(thread::current().id()));
        drop(reads);
        self.0.read(buffer)
    }
}

/// What a thread has spent.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    /// How often it gave the CPU up.
    pub(crate) voluntary: u64,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// Measures the thread on which it is made and asked.
pub(crate) struct Meter {
    voluntary: u64,
    cpu: Duration,
    start: Instant,
}

impl Meter {
    pub(crate) fn start() -> io::Result<Meter> {
        let voluntary = voluntary_switches()?;
        Ok(Meter {
            voluntary,
            cpu: cpu_time(),
            start: Instant::now(),
        })
    }

    pub(crate) fn spent(&self) -> io::Result<Spent> {
        // The clocks first: asking for the switches takes a moment.
        let (cpu, wall) = (cpu_time() - self.cpu, self.start.elapsed());
        let voluntary = voluntary_switches()? - self.voluntary;
        Ok(Spent {
            voluntary,
            cpu,
            wall,
        })
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn voluntary_switches() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let number = line.and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("no voluntary_ctxt_switches in the status"))
}
