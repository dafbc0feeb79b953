//! The watchdog: a thread that notices workers which do not come back to their scheduler, and says
//! who holds them.
//!
//! Started by `runtime`, only where it was asked for. It must never touch a worker's state: it
//! reads one counter, and asks the worker's thread for the rest by a signal.
//!
//! **Noticing.** A worker counts its `Pulse` up, by a relaxed store, at each round of its loop and
//! each switch into a coroutine; while it sleeps in the driver the number is even. The same odd
//! number for longer than the limit is a stall. Only time in which the watchdog itself was running
//! counts, so a process that was stopped or starved has not stalled all that while.
//!
//! **Asking.** The handler runs on the worker's thread, at any instruction. It copies registers,
//! the stack and who lives on it into memory set aside for it; it allocates nothing, takes no lock,
//! touches no thread-local and unwinds nothing (`stack::trace` does, on the watchdog's thread):
//!
//! ```text
//!   word:  idle ── watchdog ──► asked(thread) ── handler ──► copying ──► copied, or gone
//!            ▲                      │ no answer                               │ watchdog
//!            └──────────────────────┴─────────────────────────────────────────┘
//! ```
//!
//! The answer belongs to the handler while the word is *copying*, else to the watchdog that holds
//! `ASKING`. A handler that finds any other word than its own thread's *asked* does nothing: it
//! came too late. *gone*: the stall had ended by itself.
//!
//! The signal is a real-time one that does nothing yet. It is caught from then on, so that a late
//! one is harmless; children that `exec` have its default action again, and no mask is changed.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::WaitReason;
use super::frames::{Known, Listed};
use super::shared::Shared;
use super::standstill;
use super::task::contain;
use super::worker::Worker;
use crate::inspect::{Coroutine, Stall, State};
use crate::stack::overflow;
use crate::stack::trace::{COPIED_BYTES_MAX, Copied};
use crate::sys::{self, Registers};

/// What [`Builder::on_stall`](crate::Builder::on_stall) is given.
pub(super) type StallHook = Box<dyn Fn(&Stall) + Send + Sync>;

/// How long a thread may take to answer. One that blocks the signal, or waits in the kernel where
/// no signal reaches it, never does.
const PATIENCE: Duration = Duration::from_secs(5);

// ---- what a worker does -------------------------------------------------------------------------

/// The sign of life of one worker. Written by its thread only.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Pulse {
    /// Odd while the worker is about something, even while it sleeps.
    count: AtomicU64,
    thread: AtomicI32,
    /// Its thread's own stack.
    stack_start: AtomicUsize,
    stack_end: AtomicUsize,
}

impl Pulse {
    /// Its worker runs on this thread from now on.
    pub(super) fn attach(&self) {
        // Without bounds, the stack of a callback on the worker's own stack is not copied.
        let bounds = sys::stack_bounds().unwrap_or_default();
        self.stack_start.store(bounds.start, Ordering::Relaxed);
        self.stack_end.store(bounds.end, Ordering::Relaxed);
        self.thread.store(sys::thread_id(), Ordering::Release);
    }

    /// The worker is at its scheduler and goes on.
    #[inline]
    pub(super) fn beat(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store((count + 1) | 1, Ordering::Relaxed);
    }

    /// The worker sleeps, or has ended.
    pub(super) fn rest(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store((count + 1) & !1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Tells the watchdog, where there is one, that this worker is at its scheduler.
    #[inline]
    pub(super) fn beat(&self) {
        if self.runtime.watched {
            self.shared().pulse.beat();
        }
    }
}

/// What the watchdog remembers of one worker.
#[derive(Debug, Default)]
struct Watch {
    count: u64,
    held: Duration,
    reported: bool,
}

impl Watch {
    /// Looks at a pulse again, after `passed`. Gives how long the worker has been held when that is
    /// longer than `limit`; once for each stall.
    fn look(&mut self, count: u64, passed: Duration, limit: Duration) -> Option<Duration> {
        if count != self.count || count.is_multiple_of(2) {
            *self = Watch {
                count,
                ..Watch::default()
            };
            return None;
        }
        self.held += passed;
        let stalled = self.held >= limit && !self.reported;
        self.reported |= stalled;
        stalled.then_some(self.held)
    }
}

// ---- the thread ---------------------------------------------------------------------------------

/// A running watchdog. Dropping it ends its thread and waits for that.
pub(super) struct Watchdog {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    wanted: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    /// True when the thread is to end; false after `interval`.
    fn wait(&self, interval: Duration) -> bool {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        standstill::begin_idle();
        let waited = self
            .told
            .wait_timeout_while(wanted, interval, |wanted| !*wanted);
        standstill::end_idle();
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Watchdog {
    pub(super) fn start(
        workers: Vec<&'static Shared>,
        limit: Duration,
        hook: Option<StallHook>,
    ) -> io::Result<Watchdog> {
        let signal = install()?;
        let stop = Arc::<Stop>::default();
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("tarae-watchdog".into())
            .spawn(move || watch(&workers, limit, signal, &told, hook.as_deref()))?;
        Ok(Watchdog {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self
            .stop
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.told.notify_one();
        if let Some(thread) = self.thread.take() {
            // It contains every panic of the user's; one of its own has been printed.
            let _ = thread.join();
        }
    }
}

fn watch(
    workers: &[&'static Shared],
    limit: Duration,
    signal: c_int,
    stop: &Stop,
    hook: Option<&(dyn Fn(&Stall) + Send + Sync)>,
) {
    let limit = limit.max(Duration::from_millis(1));
    let interval = (limit / 4).min(Duration::from_secs(1));
    let mut watches: Vec<Watch> = workers.iter().map(|_| Watch::default()).collect();
    let mut before = Instant::now();
    while !stop.wait(interval) {
        let now = Instant::now();
        let passed = (now - before).min(2 * interval);
        before = now;
        for (worker, (shared, watch)) in workers.iter().zip(&mut watches).enumerate() {
            let pulse = &shared.pulse;
            let count = pulse.count.load(Ordering::Relaxed);
            if let Some(held) = watch.look(count, passed, limit)
                && let Some(stall) = ask(worker, pulse, count, held, signal)
            {
                match hook {
                    Some(hook) => contain(|| hook(&stall)),
                    None => report(&stall),
                }
            }
        }
    }
}

/// Past std's lock of stderr, which the worker may be waiting for.
fn report(stall: &Stall) {
    let text = format!("{stall}\n");
    sys::write_stderr(&[io::IoSlice::new(text.as_bytes())]);
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (worker, held) = (self.worker, self.running_for);
        writeln!(
            f,
            "tarae: worker {worker} has not come back to its scheduler for {held:.1?}"
        )?;
        match &self.coroutine {
            Some(coroutine) => {
                let site = coroutine.spawned_at;
                match (coroutine.id, coroutine.name.as_deref().unwrap_or("unnamed")) {
                    (Some(id), name) => write!(
                        f,
                        "tarae: coroutine {id} ({name}), spawned at {site}, holds it"
                    )?,
                    (None, _) => write!(f, "tarae: a bare coroutine, made at {site}, holds it")?,
                }
            }
            None if self.stack.is_empty() => write!(f, "tarae: its thread does not answer")?,
            None => write!(f, "tarae: no coroutine holds it, but a callback or hook")?,
        }
        write!(
            f,
            "{}\ntarae: what blocks its thread or computes for long belongs into `tarae::offload`, \
             a lock held across a wait is to be one of `tarae::sync`",
            Listed(&self.stack)
        )
    }
}

// ---- asking a worker's thread -------------------------------------------------------------------

/// Bytes of a name that are copied at most.
const NAME_BYTES_MAX: usize = 256;

struct Question {
    /// See the module header: the thread's number above two bits of state.
    word: AtomicU64,
    pulse: AtomicPtr<Pulse>,
    count: AtomicU64,
    answer: UnsafeCell<Answer>,
}

struct Answer {
    registers: Registers,
    start: usize,
    words_len: usize,
    words: [usize; COPIED_BYTES_MAX / size_of::<usize>()],
    /// Id and spawn site of whoever lives on the stack.
    occupant: Option<(u64, &'static Location<'static>)>,
    /// `None` for no name.
    name_bytes: Option<usize>,
    name: [u8; NAME_BYTES_MAX],
}

// SAFETY: whose turn it is with `answer` is said by `word` (module header).
unsafe impl Sync for Question {}

const IDLE: u64 = 0;
const ASKED: u64 = 1;
const COPYING: u64 = 2;
const COPIED: u64 = 3;
const GONE: u64 = 4;

fn asked(thread: i32) -> u64 {
    (u64::from(thread.cast_unsigned()) << 3) | ASKED
}

/// All zero, so that its pages cost nothing before they are used.
static QUESTION: Question = Question {
    word: AtomicU64::new(IDLE),
    pulse: AtomicPtr::new(std::ptr::null_mut()),
    count: AtomicU64::new(0),
    answer: UnsafeCell::new(Answer {
        registers: Registers::zero(),
        start: 0,
        words_len: 0,
        words: [0; COPIED_BYTES_MAX / size_of::<usize>()],
        occupant: None,
        name_bytes: None,
        name: [0; NAME_BYTES_MAX],
    }),
};

/// Held by the watchdog that asks: there may be one for each runtime.
static ASKING: Mutex<()> = Mutex::new(());

/// Takes a signal for the watchdog, once in the life of the process.
fn install() -> io::Result<c_int> {
    static SIGNAL: OnceLock<Option<c_int>> = OnceLock::new();
    let signal = SIGNAL.get_or_init(|| {
        let unused = sys::real_time_signals().find(|signal| {
            let action = sys::signal_action(*signal);
            action.is_ok_and(|action| action.sa_sigaction == libc::SIG_DFL)
        })?;
        let mut action = sys::signal_action(unused).ok()?;
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: `handle` is of that kind and may run at any point.
        unsafe { sys::set_signal_action(unused, &action) }.ok()?;
        Some(unused)
    });
    signal.ok_or_else(|| io::Error::other("no real-time signal is left for the watchdog"))
}

/// Asks who holds a worker. `None` if it has just gone on.
fn ask(
    worker: usize,
    pulse: &'static Pulse,
    count: u64,
    held: Duration,
    signal: c_int,
) -> Option<Stall> {
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stall = Stall {
        worker,
        coroutine: None,
        running_for: held,
        stack: Vec::new(),
    };
    let thread = pulse.thread.load(Ordering::Acquire);
    QUESTION
        .pulse
        .store(std::ptr::from_ref(pulse).cast_mut(), Ordering::Relaxed);
    QUESTION.count.store(count, Ordering::Relaxed);
    QUESTION.word.store(asked(thread), Ordering::Release);
    let word = match sys::signal_thread(thread, signal) {
        Ok(()) => await_answer(thread),
        Err(_) => IDLE,
    };
    if word == COPIED {
        // SAFETY: copied, so it is ours until the word says otherwise.
        unsafe { describe(&*QUESTION.answer.get(), &mut stall) };
    }
    QUESTION.word.store(IDLE, Ordering::Relaxed);
    (word != GONE).then_some(stall)
}

/// Gives `COPIED`, `GONE`, or `IDLE` where no answer has come.
fn await_answer(thread: i32) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let word = &QUESTION.word;
    loop {
        match word.load(Ordering::Acquire) {
            COPIED => return COPIED,
            GONE => return GONE,
            COPYING => {}
            _ if Instant::now() >= deadline => {
                let withdrawn = word.compare_exchange(
                    asked(thread),
                    IDLE,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if withdrawn.is_ok() {
                    return IDLE;
                }
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

unsafe extern "C" fn handle(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let question = &QUESTION;
    let mine = asked(sys::thread_id());
    let taken = question
        .word
        .compare_exchange(mine, COPYING, Ordering::Acquire, Ordering::Relaxed);
    if taken.is_err() {
        return;
    }
    // SAFETY: asked, so it is the pulse of a `Shared`, which is never freed.
    let pulse = unsafe { &*question.pulse.load(Ordering::Relaxed) };
    let held = pulse.count.load(Ordering::Relaxed) == question.count.load(Ordering::Relaxed);
    if held {
        // SAFETY: the kernel's own argument; copying, so the answer is ours.
        unsafe {
            fill(
                &mut *question.answer.get(),
                Registers::interrupted(context),
                pulse,
            )
        };
    }
    let answer = if held { COPIED } else { GONE };
    question.word.store(answer, Ordering::Release);
}

/// Copies what the interrupted code stands on. Async-signal-safe.
///
/// # Safety
/// In a signal handler on the pulse's thread, with the registers of what it interrupted.
unsafe fn fill(answer: &mut Answer, registers: Registers, pulse: &Pulse) {
    let stack_pointer = registers.0[Registers::STACK_POINTER];
    let start = stack_pointer.next_multiple_of(size_of::<usize>());
    answer.registers = registers;
    answer.start = start;
    answer.words_len = 0;
    (answer.occupant, answer.name_bytes) = (None, None);
    let mut end = 0;
    let own = pulse.stack_start.load(Ordering::Relaxed)..pulse.stack_end.load(Ordering::Relaxed);
    // SAFETY: the stack pointer of this thread.
    if let Some(resident) = unsafe { overflow::resident(stack_pointer) } {
        end = resident.frames_end;
        answer.occupant = Some((resident.id, resident.made_at));
        answer.name_bytes = resident.name.map(|name| {
            let length = name.len().min(NAME_BYTES_MAX);
            answer.name[..length].copy_from_slice(&name[..length]);
            length
        });
    } else if own.contains(&stack_pointer) {
        end = own.end;
    }
    let words = end.saturating_sub(start) / size_of::<usize>();
    answer.words_len = words.min(answer.words.len());
    for (index, word) in answer.words[..answer.words_len].iter_mut().enumerate() {
        // SAFETY: between the stack pointer and the end of the stack it is on, which is this
        // thread's.
        *word = unsafe { sys::read_word(start + index * size_of::<usize>()) };
    }
}

// ---- making sense of the answer -----------------------------------------------------------------

fn describe(answer: &Answer, stall: &mut Stall) {
    stall.coroutine = answer.occupant.map(|(id, spawned_at)| Coroutine {
        // Of a bare one, 0.
        id: (id != 0).then_some(id),
        name: answer
            .name_bytes
            .map(|length| String::from_utf8_lossy(&answer.name[..length]).into_owned()),
        spawned_at,
        worker: stall.worker,
        state: State::Runnable,
        waits_for: WaitReason::None,
    });
    let copied = Copied {
        registers: answer.registers,
        start: answer.start,
        words: &answer.words[..answer.words_len],
    };
    contain(|| stall.stack = Known::default().symbolised(&copied.calls()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const STEP: Duration = Duration::from_secs(4);

    #[test]
    fn only_a_count_that_stays_odd_is_a_stall_and_only_once() {
        let pulse = Pulse::default();
        let mut watch = Watch::default();
        let mut look = |pulse: &Pulse| {
            let count = pulse.count.load(Ordering::Relaxed);
            watch.look(count, STEP, LIMIT)
        };
        // Asleep, or never begun.
        assert!((0..10).all(|_| look(&pulse).is_none()));
        // Coming back each time.
        for _ in 0..10 {
            pulse.beat();
            assert_eq!(look(&pulse), None);
        }
        // 4 and 8 seconds are within the limit, 12 are not; then it is told no more.
        let held: Vec<_> = (0..6).map(|_| look(&pulse)).collect();
        assert_eq!(held, [None, None, Some(3 * STEP), None, None, None]);
        pulse.rest();
        assert!((0..10).all(|_| look(&pulse).is_none()));
        // Another stall is told again.
        pulse.beat();
        assert_eq!(look(&pulse), None);
        let held: Vec<_> = (0..4).map(|_| look(&pulse)).collect();
        assert_eq!(held, [None, None, Some(3 * STEP), None]);
    }

    /// What a watchdog with a limit of one second would see if a second passed between any two
    /// looks.
    fn count() -> u64 {
        let worker = Worker::current().unwrap();
        worker.shared().pulse.count.load(Ordering::Relaxed)
    }

    #[test]
    fn a_busy_worker_that_yields_is_never_held() {
        let second = Duration::from_secs(1);
        // The real one would take an hour to say anything.
        let builder = crate::Builder::new().workers(1);
        let builder = builder.watchdog(Duration::from_secs(3600));
        let (yielding, held) = builder
            .run(|| {
                crate::spawn(|| (0..1000).for_each(|_| crate::yield_now()));
                let mut watch = Watch::default();
                let mut look = || watch.look(count(), second, second).is_some();
                let yielding = (0..1000).filter(|_| {
                    crate::yield_now();
                    look()
                });
                let yielding = yielding.count();
                // The counter-check: without yielding it is held by the second look.
                (yielding, (0..10).filter(|_| look()).count())
            })
            .unwrap();
        assert_eq!((yielding, held), (0, 1));
    }

    #[test]
    fn a_worker_that_waits_for_events_is_never_held() {
        let builder = crate::Builder::new().workers(1);
        let builder = builder.watchdog(Duration::from_secs(3600));
        let asleep = builder.run(|| {
            let shared = Worker::current().unwrap().shared();
            let awaited = crate::thread::current();
            let watcher = std::thread::spawn(move || {
                let count = || shared.pulse.count.load(Ordering::Relaxed);
                let give_up = Instant::now() + Duration::from_secs(60);
                while !count().is_multiple_of(2) && Instant::now() < give_up {
                    std::thread::yield_now();
                }
                let hour = Duration::from_secs(3600);
                let mut watch = Watch::default();
                let held = (0..10).filter(|_| watch.look(count(), hour, hour).is_some());
                let held = held.count();
                let asleep = count().is_multiple_of(2);
                awaited.unpark();
                (asleep, held)
            });
            crate::thread::park();
            watcher.join().unwrap()
        });
        assert_eq!(asleep.unwrap(), (true, 0));
    }
}
