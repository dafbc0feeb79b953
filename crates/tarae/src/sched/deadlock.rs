//! Cycles of coroutines that wait for each other: for locks and for each other's end.
//!
//! Called by the locks of `sync` and by `JoinHandle::join`, when they are about to park. It changes
//! nothing and wakes nobody: it looks and reports, once for each cycle.
//!
//! Who waits is known to its own worker alone: `Task::blocked` is written by the coroutine itself,
//! on its thread. So a walk along the cycle goes from worker to worker, through their inboxes:
//!
//! ```text
//!   about to park ──► whom do I wait for? ──► and that one? ──► … ──► for me: a cycle, perhaps
//!                                                └ for nobody: done            │
//!   report  ◄── the same waits, all the way  ◄── once more, from the start ────┘
//! ```
//!
//! Invariants. Whoever is the last of a cycle to park finds the others parked: it has published its
//! own wait before it asks, and a worker answers only when none of its coroutines runs. Each wait
//! has a number that is never used again: a cycle whose waits are the same in both walks stood
//! complete between the two. Its members wait without a deadline, and for locks they cannot be
//! cancelled, so it will stand for ever (a guard that was moved to another coroutine of the same
//! worker aside: a lock knows who locked it). While a lock is on its way from one holder to the
//! next, it has no owner. Plain threads are not known here: a cycle through one is not seen.
//!
//! A report needs the stacks' functions, whose names take a while to find. So a thread of its own
//! finds and prints them; `run` waits for it at its end, and so does whoever counts threads.
//!
//! The pointers in `Blocked` go to what the blocked coroutine's frames borrow. They are followed
//! only while it is parked in that wait, on its own thread, where those frames cannot end.

use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::WaitReason;
use super::frames::{Known, Listed};
use super::shared::Shared;
use super::task::{Status, Task, TaskRef, contain};
use super::worker::Worker;
use crate::driver::slab::NONE;
use crate::inspect::Frame;

/// Members of a cycle that are followed at most.
const LENGTH_MAX: usize = 1_000;
/// Reports that are kept.
const REPORTS_MAX: usize = 64;

/// Which coroutine has a lock. Stands beside it; written by who has it.
#[derive(Debug)]
pub(crate) struct Owner {
    /// Its worker's number and its index among that one's coroutines.
    place: AtomicU64,
    /// Zero: nobody, or a plain thread. Checked against the place, so the two may be torn.
    id: AtomicU64,
}

impl Owner {
    pub(crate) const fn new() -> Owner {
        Owner {
            place: AtomicU64::new(0),
            id: AtomicU64::new(0),
        }
    }

    /// The caller has the lock from now on.
    #[inline]
    pub(crate) fn take(&self) {
        if let Some((worker, task)) = running() {
            let place = u64::from(worker.number()) << 32 | u64::from(task.live.get());
            self.place.store(place, Ordering::Relaxed);
            self.id.store(task.info.id, Ordering::Relaxed);
            task.held.set(task.held.get() + 1);
        }
    }

    /// The caller is about to let go of it.
    #[inline]
    pub(crate) fn release(&self) {
        self.id.store(0, Ordering::Relaxed);
        if let Some((_, task)) = running() {
            // A guard may have come from another coroutine.
            task.held.set(task.held.get().saturating_sub(1));
        }
    }

    fn target(&self) -> Target {
        let place = self.place.load(Ordering::Relaxed);
        Target::Placed {
            worker: (place >> 32) as u32,
            slot: place as u32,
            id: self.id.load(Ordering::Relaxed),
        }
    }
}

#[inline]
fn running() -> Option<(&'static Worker, &'static Task)> {
    let worker = Worker::current()?;
    Some((worker, worker.running()?))
}

/// What a coroutine waits for, as far as somebody owns it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blocked {
    Lock(NonNull<Owner>),
    End(NonNull<Task>),
}

/// Says that the running coroutine waits, until it is dropped.
pub(crate) struct Blocking(Option<&'static Task>);

impl Drop for Blocking {
    fn drop(&mut self) {
        if let Some(task) = self.0 {
            task.blocked.set(None);
        }
    }
}

/// The caller is about to wait for a lock, until it gets it. Nothing on a plain thread.
pub(crate) fn waits_for_lock(owner: &Owner) -> Blocking {
    begin(Blocked::Lock(NonNull::from(owner)))
}

/// The caller is about to wait for the end of a coroutine. Nothing on a plain thread.
pub(super) fn waits_for_end(task: &TaskRef) -> Blocking {
    begin(Blocked::End(task.as_ptr()))
}

fn begin(blocked: Blocked) -> Blocking {
    let Some((worker, task)) = running() else {
        return Blocking(None);
    };
    task.blocked.set(Some(blocked));
    task.waits.set(task.waits.get() + 1);
    // Whoever has nothing that another may wait for closes no cycle.
    if task.held.get() > 0 || task.join.is_awaited() {
        let step = step(task, blocked);
        let target = blocked_on(blocked);
        follow(worker, target, Walk::new(step, None));
    }
    Blocking(Some(task))
}

/// A coroutine to be looked at, on its own worker.
enum Target {
    Placed { worker: u32, slot: u32, id: u64 },
    Task(TaskRef),
}

/// Whom `blocked` waits for. The caller is the one that waits, or its worker while it is parked.
fn blocked_on(blocked: Blocked) -> Target {
    match blocked {
        // SAFETY: borrowed by the frames of the coroutine that waits (module invariants).
        Blocked::Lock(owner) => unsafe { owner.as_ref() }.target(),
        Blocked::End(task) => {
            // SAFETY: its handle is in the frames of the coroutine that waits; the reference is
            // borrowed for the clone only.
            let task = std::mem::ManuallyDrop::new(unsafe { TaskRef::from_raw(task) });
            Target::Task(TaskRef::clone(&task))
        }
    }
}

impl Target {
    fn id(&self) -> u64 {
        match self {
            Target::Placed { id, .. } => *id,
            Target::Task(task) => task.info.id,
        }
    }

    /// Where it runs; none if it has not begun, or belongs to another runtime.
    fn home(&self, worker: &Worker) -> Option<&'static Shared> {
        let all = worker.runtime_workers().iter().copied();
        match self {
            Target::Placed { worker, .. } => all.into_iter().find(|one| one.number() == *worker),
            Target::Task(task) => {
                let owner = task.owner.load(Ordering::Acquire).cast_const();
                all.into_iter().find(|one| std::ptr::eq(*one, owner))
            }
        }
    }
}

/// One member of a cycle.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) reason: WaitReason,
    /// What it is suspended in; empty before its report is told.
    pub(crate) stack: Vec<Frame>,
    /// The same as addresses; noted by the second walk.
    calls: Vec<usize>,
    /// The number of its wait.
    wait: u64,
}

fn step(task: &Task, blocked: Blocked) -> Step {
    Step {
        id: task.info.id,
        name: task.info.name.as_deref().map(str::to_owned),
        spawned_at: task.info.spawned_at,
        reason: match blocked {
            Blocked::Lock(_) => WaitReason::Lock,
            // SAFETY: as in `blocked_on`.
            Blocked::End(task) => WaitReason::Join(unsafe { task.as_ref() }.info.id),
        },
        stack: Vec::new(),
        calls: Vec::new(),
        wait: task.waits.get(),
    }
}

/// How far a walk has come.
struct Walk {
    steps: Vec<Step>,
    /// What the first walk found, for the second.
    expected: Option<Vec<Step>>,
}

impl Walk {
    fn new(first: Step, expected: Option<Vec<Step>>) -> Walk {
        Walk {
            steps: vec![first],
            expected,
        }
    }

    /// Adds a member. False if this walk leads nowhere, or not where the first one led.
    fn add(&mut self, step: Step) -> bool {
        let at = self.steps.len();
        let as_before = self.expected.as_ref().is_none_or(|expected| {
            let same = |known: &Step| known.id == step.id && known.wait == step.wait;
            expected.get(at).is_some_and(same)
        });
        self.steps.push(step);
        as_before && at < LENGTH_MAX
    }
}

/// Goes on along the cycle as far as this worker knows it; then its next member's worker goes on.
fn follow(worker: &Worker, mut target: Target, mut walk: Walk) {
    loop {
        if target.id() == walk.steps[0].id {
            return close(worker, target, walk);
        }
        if walk.steps.iter().any(|step| step.id == target.id()) {
            // A cycle that the first is not in: whoever closed it reports it.
            return;
        }
        let Some(home) = target.home(worker) else {
            return;
        };
        if !std::ptr::eq(home, worker.shared()) {
            home.post(move |there| follow(there, target, walk));
            return;
        }
        let again = walk.expected.is_some();
        let Some((step, next)) = look(worker, &target, again) else {
            return;
        };
        if !walk.add(step) {
            return;
        }
        target = next;
    }
}

/// The walk has come back to its first member: goes once more, from that one's worker, or reports.
fn close(worker: &Worker, first: Target, walk: Walk) {
    let Walk { steps, expected } = walk;
    if expected.is_some() {
        return report(steps);
    }
    let Some(home) = first.home(worker) else {
        return;
    };
    // Through the inbox in any case: the first member has not parked yet if this is its worker.
    home.post(move |there| {
        let Some((step, next)) = look(there, &first, true) else {
            return;
        };
        if step.wait == steps[0].wait {
            follow(there, next, Walk::new(step, Some(steps)));
        }
    });
}

/// Whom one of this worker's coroutines waits for, if it is parked for somebody, for good; on
/// request with its calls. Those of the second walk are never asked for while a coroutine runs.
fn look(worker: &Worker, target: &Target, with_calls: bool) -> Option<(Step, Target)> {
    let task = match target {
        Target::Placed { slot, id, .. } => worker.started(*slot, *id)?,
        Target::Task(task) if worker.owns(task) => task.clone(),
        Target::Task(_) => return None,
    };
    let parked = task.status.get() == Status::ParkedForToken;
    // A wait of the driver beside it is a deadline.
    if !parked || task.wait.get() != NONE || worker.is_stopping() {
        return None;
    }
    let blocked = task.blocked.get()?;
    let mut step = step(&task, blocked);
    if with_calls {
        step.calls = worker.calls(&task);
    }
    Some((step, blocked_on(blocked)))
}

/// The cycles found so far, the latest last.
static REPORTS: Mutex<Vec<Report>> = Mutex::new(Vec::new());
/// The threads that are about to tell of some.
static TELLING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

struct Report {
    steps: Vec<Step>,
    told: bool,
}

impl Report {
    /// Whether it is of the very same waits.
    fn is_of(&self, steps: &[Step]) -> bool {
        let waits = |steps: &[Step]| -> Vec<_> { steps.iter().map(|s| (s.id, s.wait)).collect() };
        waits(&self.steps) == waits(steps)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each cycle told of so far, as plain data.
pub(crate) fn found() -> Vec<Vec<Step>> {
    let reports = locked(&REPORTS);
    let told = reports.iter().filter(|report| report.told);
    told.map(|report| report.steps.clone()).collect()
}

fn report(mut steps: Vec<Step>) {
    // Whoever found it: the same cycle begins with the same member.
    let first = steps.iter().enumerate().min_by_key(|(_, step)| step.id);
    let first = first.map_or(0, |(at, _)| at);
    steps.rotate_left(first);
    let mut reports = locked(&REPORTS);
    if reports.iter().any(|known| known.is_of(&steps)) {
        return;
    }
    if reports.len() == REPORTS_MAX {
        reports.remove(0);
    }
    reports.push(Report {
        steps: steps.clone(),
        told: false,
    });
    drop(reports);
    let mut telling = locked(&TELLING);
    telling.retain(|thread| !thread.is_finished());
    let thread = std::thread::Builder::new().name("tarae-report".into());
    let theirs = steps.clone();
    match thread.spawn(move || tell(theirs)) {
        Ok(thread) => telling.push(thread),
        Err(_) => tell(steps),
    }
}

/// Prints a report and notes that it is told.
fn tell(mut steps: Vec<Step>) {
    contain(|| {
        let mut known = Known::default();
        for step in &mut steps {
            step.stack = known.symbolised_waiting(&step.calls);
        }
    });
    eprint!("{}", describe(&steps));
    let mut reports = locked(&REPORTS);
    if let Some(report) = reports.iter_mut().find(|known| known.is_of(&steps)) {
        *report = Report { steps, told: true };
    }
}

/// Waits until all that was found has been told.
pub(super) fn await_reports() {
    let telling = std::mem::take(&mut *locked(&TELLING));
    for thread in telling {
        // One that panicked could not print.
        let _ = thread.join();
    }
}

fn describe(steps: &[Step]) -> String {
    let mut text = match steps.len() {
        1 => "tarae: deadlock: a coroutine waits for itself\n".to_owned(),
        count => format!("tarae: deadlock: {count} coroutines wait for each other\n"),
    };
    for (at, step) in steps.iter().enumerate() {
        let name = step.name.as_deref().unwrap_or("unnamed");
        let (id, site, reason) = (step.id, step.spawned_at, step.reason);
        let next = steps[(at + 1) % steps.len()].id;
        let held = match reason {
            WaitReason::Lock => format!(" that coroutine {next} has"),
            _ => String::new(),
        };
        text.push_str(&format!(
            "  coroutine {id} ({name}), spawned at {site}, waits for {reason}{held}{}\n",
            Listed(&step.stack)
        ));
    }
    text
}
