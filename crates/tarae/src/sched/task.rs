//! A spawned coroutine: its closure, its stack while it runs, its result, and who may touch what.
//!
//! Used by all of `sched`. One allocation per coroutine, counted by `TaskRef`:
//!
//! ```text
//!   Task (header, no type parameters)                     TaskOf<F, T>
//!   ┌───────────────────────────────────────────────────┬──────────────────────┐
//!   │ any thread: node, refs, notice, join, owner         │ stage: F → running   │
//!   │ owner's thread only: status, wake, wait, coroutine │        → Result<T>   │
//!   └───────────────────────────────────────────────────┴──────────────────────┘
//! ```
//!
//! Invariants. *Owner's thread only* means: the thread that holds the unstarted task (it moves with
//! the queue entry), then, from the start on and forever, the worker that started it. `stage` holds
//! the closure until the start; then only the coroutine itself touches it until the worker calls
//! `join.complete`; then the joiner or, if detached, the worker. So a closure or a result that is
//! not `Send` never leaves its thread. A started coroutine is never dropped before its frames have
//! returned: its worker keeps a reference, and forgets that one rather than drop it. Of one that
//! has been leaked so, the stage is its worker's again, since it never runs any more. One that has
//! ended, and that only its worker has a reference to, may become another one (`succeed`).

use std::alloc::Layout;
use std::any::Any;
use std::cell::{Cell, OnceCell, UnsafeCell};
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::WaitReason;
use super::context::Slot;
use super::deadlock::Blocked;
use super::inbox::Linked;
use super::join::{JoinState, Joiner};
use super::locals::Locals;
use super::memory;
use super::park::{Notice, Token};
use super::select::Alarm;
use super::shared::Shared;
use crate::driver::slab::NONE;
use crate::driver::{WaitKey, Wake};
use crate::stack::Class;
use crate::stack::switch::Request;

pub(super) type Switch = crate::stack::switch::Switch<Request, (), ()>;
pub(super) type SwitchOut = corosensei::Yielder<Request, ()>;

/// What can stand in a worker's inbox: a task, a posted function, a parcel. Always the first field.
#[repr(C)]
pub(crate) struct Node {
    next: AtomicPtr<Node>,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    Task,
    Posted,
    Parcel,
}

impl Node {
    pub(super) fn new(kind: NodeKind) -> Node {
        Node {
            next: AtomicPtr::new(std::ptr::null_mut()),
            kind,
        }
    }
}

// SAFETY: one field, used by the inbox alone.
unsafe impl Linked for Node {
    fn next(&self) -> &AtomicPtr<Node> {
        &self.next
    }
}

/// How a coroutine is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// Any worker may start it.
    Stealable,
    /// It starts on the worker it was given to and counts as one of its connections.
    Placed,
    /// It starts on the worker it was made on.
    Local,
}

/// What a coroutine is doing, as its worker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Unstarted,
    Ready,
    Running,
    /// Parked until somebody unparks it (see `park`).
    ParkedForToken,
    /// Parked in a wait of the driver.
    ParkedInDriver,
    Finished,
}

/// Who a coroutine is.
pub(crate) struct Info {
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Info {
    fn new(name: Option<Box<str>>, spawned_at: &'static Location<'static>) -> Info {
        Info {
            id: next_id(),
            name,
            spawned_at,
        }
    }
}

#[repr(C)]
pub(crate) struct Task {
    node: Node,
    vtable: &'static VTable,
    refs: AtomicUsize,
    pub(super) notice: Notice,
    pub(super) join: JoinState<Alarm>,
    /// The worker it was started on; null before that.
    pub(super) owner: AtomicPtr<Shared>,
    /// An `unpark` by the user that no `park` of the user has used up yet. Apart from the token of
    /// `park`, which every wait for a lock or a channel may use up.
    pub(crate) unparked: AtomicBool,
    /// Set once, by anybody; its worker then looks at it before every wait that can be cancelled.
    pub(super) cancelled: AtomicBool,
    pub(crate) info: Info,
    pub(super) affinity: Affinity,
    pub(super) class: &'static Class,

    // From here on: the owner's thread only.
    pub(super) park: Token,
    /// A reference to itself for its next wait, while it runs or is parked otherwise: so that
    /// waits which end on its own worker count nothing. Gone when it has ended.
    pub(super) spare: Cell<Option<TaskRef>>,
    pub(super) status: Cell<Status>,
    pub(super) wake: Cell<Wake>,
    pub(super) reason: Cell<WaitReason>,
    /// The driver's wait it is parked in, or whose deadline bounds its park.
    pub(super) wait: Cell<WaitKey>,
    /// Whether the present wait may be cancelled.
    pub(super) cancellable: Cell<bool>,
    /// Whom it waits for, while it does (see `deadlock`), and how often it has.
    pub(super) blocked: Cell<Option<Blocked>>,
    pub(super) waits: Cell<u64>,
    /// Locks that it has taken and not let go of.
    pub(super) held: Cell<u32>,
    /// The deadlines, tokens and scopes that it stands inside of.
    pub(super) context: Slot,
    /// Emptied by the coroutine at its end.
    locals: OnceCell<Box<Locals>>,
    /// It accepted a connection and has spawned nothing since (see `spawn`).
    pub(super) accepted: Cell<bool>,
    /// Its index among the worker's live coroutines.
    pub(super) live: Cell<u32>,
    pub(super) switch: UnsafeCell<Option<Switch>>,
    pub(super) switch_out: Cell<*const SwitchOut>,
}

#[repr(C)]
struct TaskOf<F, T> {
    task: Task,
    stage: UnsafeCell<Stage<F, T>>,
}

enum Stage<F, T> {
    Unstarted(F),
    Taken,
    Finished(Result<T, Failure>),
}

/// Why there is no value.
pub(crate) enum Failure {
    Panic(Box<dyn Any + Send>),
    /// It never ran: the runtime had ended.
    Cancelled,
    /// It never ran: there was no stack for it. Says why.
    NoStack(String),
    /// It would not end and never runs again.
    Leaked,
}

struct VTable {
    /// Of the whole allocation.
    layout: Layout,
    /// True if it has left nothing that would have to be dropped.
    run: unsafe fn(NonNull<Task>) -> bool,
    fail: unsafe fn(NonNull<Task>, Failure),
    /// Moves the result out, to `*mut Option<Result<T, Failure>>`.
    take_result: unsafe fn(NonNull<Task>, *mut ()),
    drop_result: unsafe fn(NonNull<Task>),
    deallocate: unsafe fn(NonNull<Task>),
}

impl VTable {
    const fn of<F: FnOnce(Wake) -> T, T>() -> VTable {
        VTable {
            layout: Layout::new::<TaskOf<F, T>>(),
            run: run::<F, T>,
            fail: fail::<F, T>,
            take_result: take_result::<F, T>,
            drop_result: drop_result::<F, T>,
            deallocate: deallocate::<F, T>,
        }
    }
}

/// A counted reference to a task.
pub(crate) struct TaskRef(NonNull<Task>);

// SAFETY: the header's shared fields are atomics; the rest is touched on the owner's thread only
// (see above), and the allocation may be freed on any thread once no stage is left in it that is
// bound to one.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

/// What to make a task of.
pub(crate) struct Blueprint<F> {
    pub(crate) body: F,
    pub(crate) name: Option<Box<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) affinity: Affinity,
    pub(crate) class: &'static Class,
}

impl Blueprint<()> {
    pub(super) fn with_body<F>(self, body: F) -> Blueprint<F> {
        Blueprint {
            body,
            name: self.name,
            spawned_at: self.spawned_at,
            affinity: self.affinity,
            class: self.class,
        }
    }

    /// Of the first coroutine, which stays where it is made.
    pub(super) fn of_main(
        spawned_at: &'static Location<'static>,
        class: &'static Class,
    ) -> Blueprint<()> {
        Blueprint {
            body: (),
            name: Some("main".into()),
            spawned_at,
            affinity: Affinity::Local,
            class,
        }
    }
}

impl TaskRef {
    /// # Safety
    /// Whatever `F` borrows outlives the task's run, and the thread rules above are kept for an `F`
    /// or `T` that is not `Send`.
    pub(crate) unsafe fn new<F, T>(blueprint: Blueprint<F>) -> TaskRef
    where
        F: FnOnce(Wake) -> T,
    {
        // SAFETY: the caller's promise.
        unsafe { TaskRef::with_join(blueprint, JoinState::new()) }
    }

    /// With nobody to join it.
    ///
    /// # Safety
    /// As for `new`.
    pub(super) unsafe fn new_detached<F: FnOnce(Wake)>(blueprint: Blueprint<F>) -> TaskRef {
        // SAFETY: the caller's promise.
        unsafe { TaskRef::with_join(blueprint, JoinState::detached()) }
    }

    /// # Safety
    /// As for `new`.
    unsafe fn with_join<F, T>(blueprint: Blueprint<F>, join: JoinState<Alarm>) -> TaskRef
    where
        F: FnOnce(Wake) -> T,
    {
        let pointer = memory::allocate::<TaskOf<F, T>>();
        let stage = UnsafeCell::new(Stage::Unstarted(blueprint.body));
        // SAFETY: fresh memory of this type.
        unsafe {
            pointer.write(TaskOf {
                task: Task {
                    node: Node::new(NodeKind::Task),
                    vtable: const { &VTable::of::<F, T>() },
                    refs: AtomicUsize::new(1),
                    notice: Notice::new(),
                    join,
                    owner: AtomicPtr::new(std::ptr::null_mut()),
                    unparked: AtomicBool::new(false),
                    cancelled: AtomicBool::new(false),
                    info: Info::new(blueprint.name, blueprint.spawned_at),
                    affinity: blueprint.affinity,
                    class: blueprint.class,
                    park: Token::new(),
                    spare: Cell::new(None),
                    status: Cell::new(Status::Unstarted),
                    wake: Cell::new(Wake::Ready),
                    reason: Cell::new(WaitReason::None),
                    wait: Cell::new(NONE),
                    cancellable: Cell::new(false),
                    blocked: Cell::new(None),
                    waits: Cell::new(0),
                    held: Cell::new(0),
                    context: Slot::new(),
                    locals: OnceCell::new(),
                    accepted: Cell::new(false),
                    live: Cell::new(NONE),
                    switch: UnsafeCell::new(None),
                    switch_out: Cell::new(std::ptr::null()),
                },
                stage,
            });
        }
        // `Task` is the first field of a `repr(C)` allocation.
        TaskRef(pointer.cast())
    }

    /// Turns the reference into its node, for an inbox or a ring.
    pub(super) fn into_node(self) -> NonNull<Node> {
        self.into_raw().cast()
    }

    /// # Safety
    /// `node` came from `into_node` and is turned back once.
    pub(super) unsafe fn from_node(node: NonNull<Node>) -> TaskRef {
        TaskRef(node.cast())
    }

    pub(super) fn into_raw(self) -> NonNull<Task> {
        let pointer = self.0;
        mem::forget(self);
        pointer
    }

    /// # Safety
    /// `pointer` came from `into_raw` and is turned back once.
    pub(super) unsafe fn from_raw(pointer: NonNull<Task>) -> TaskRef {
        TaskRef(pointer)
    }

    /// Keeps the reference with the coroutine itself, for its next wait.
    ///
    /// On the owner's thread; the coroutine has not ended.
    #[inline]
    pub(super) fn keep_spare(self) {
        // SAFETY: `live` has a reference to a coroutine that has not ended.
        let task = unsafe { self.0.as_ref() };
        drop(task.spare.replace(Some(self)));
    }

    /// Whether nobody else has a reference, so that nobody can come by one either.
    pub(super) fn is_only(&self) -> bool {
        self.refs.load(Ordering::Acquire) == 1
    }

    pub(super) fn as_ptr(&self) -> NonNull<Task> {
        self.0
    }

    /// Runs the closure on the present stack and leaves its result, panic included. True if that
    /// is nothing anybody would have to drop.
    ///
    /// # Safety
    /// On the coroutine's own stack, once.
    pub(super) unsafe fn run(task: NonNull<Task>) -> bool {
        // SAFETY: the caller's promise; a task that runs is alive.
        unsafe { (task.as_ref().vtable.run)(task) }
    }

    /// Makes of a coroutine that has ended another one that has just started, in the same memory
    /// and on the same stack, with nobody to join it.
    ///
    /// # Safety
    /// On its own stack; it was detached from the start, `can_succeed::<F>`, its result is nothing
    /// that would have to be dropped, and no reference but its worker's is left. As for `new`.
    pub(super) unsafe fn succeed<F: FnOnce(Wake)>(
        task: NonNull<Task>,
        seed: Blueprint<F>,
        wake: Wake,
    ) {
        let whole = task.cast::<TaskOf<F, ()>>().as_ptr();
        // By places: the switch is in use, and a shared borrow of the rest would not outlive this.
        // SAFETY: alive, and nobody else looks at it; what stays was set when it was made: node,
        // count, notice, join state, owner, live, switch.
        unsafe {
            (*whole).task.vtable = const { &VTable::of::<F, ()>() };
            (*whole).task.info = Info::new(seed.name, seed.spawned_at);
            (*whole).task.affinity = seed.affinity;
            (*whole).task.park = Token::new();
            (&raw mut (*whole).stage).write(UnsafeCell::new(Stage::Unstarted(seed.body)));
        }
        // SAFETY: as above.
        let task = unsafe { task.as_ref() };
        task.unparked.store(false, Ordering::Relaxed);
        task.cancelled.store(false, Ordering::Relaxed);
        task.wake.set(wake);
        task.wait.set(NONE);
        task.cancellable.set(false);
        task.waits.set(0);
        task.accepted.set(false);
    }

    /// Leaves the failure as the result of a task that never started, whose closure it drops, or
    /// that never runs again.
    ///
    /// # Safety
    /// Unstarted, or suspended for good; on the owner's thread.
    pub(super) unsafe fn fail(&self, failure: Failure) {
        // SAFETY: the caller's promise.
        unsafe { (self.vtable.fail)(self.0, failure) };
    }

    /// Tells the joiner of the end; the result is in place.
    ///
    /// # Safety
    /// Once, on the owner's thread.
    pub(super) unsafe fn complete(&self) {
        // SAFETY: the caller's promise.
        match unsafe { self.join.complete() } {
            Joiner::Waiting(waiter) => waiter.ring(),
            // SAFETY: nobody else will look at the result.
            Joiner::Detached => unsafe { (self.vtable.drop_result)(self.0) },
            Joiner::Absent => {}
        }
    }

    /// Moves the result out.
    ///
    /// # Safety
    /// `T` is the task's result type; by the joiner, once, after the join state told of the end.
    pub(super) unsafe fn take_result<T>(&self) -> Result<T, Failure> {
        let mut result: Option<Result<T, Failure>> = None;
        // SAFETY: the caller's promise; the target has the type that the function writes.
        unsafe { (self.vtable.take_result)(self.0, std::ptr::from_mut(&mut result).cast()) };
        result.expect("a finished coroutine has a result")
    }

    /// The joiner goes away.
    pub(super) fn detach(&self) {
        if !self.join.detach() {
            // SAFETY: done, and the joiner that held the result is going: it is ours to drop.
            unsafe { (self.vtable.drop_result)(self.0) };
        }
    }
}

/// A number that no other coroutine of the process has.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        /// Numbers this thread may still give out: `(next, end)`.
        static NUMBERS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    const BATCH: u64 = 64;
    NUMBERS.with(|numbers| {
        let (mut next, mut end) = numbers.get();
        if next == end {
            next = NEXT.fetch_add(BATCH, Ordering::Relaxed);
            end = next + BATCH;
        }
        numbers.set((next + 1, end));
        next
    })
}

impl std::ops::Deref for TaskRef {
    type Target = Task;

    fn deref(&self) -> &Task {
        // SAFETY: the count keeps it alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> TaskRef {
        let before = self.refs.fetch_add(1, Ordering::Relaxed);
        if before > usize::MAX / 2 {
            std::process::abort();
        }
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // Whoever has the only reference needs no locked instruction to give it up.
        if self.is_only() || self.refs.fetch_sub(1, Ordering::Release) == 1 {
            // As good as a fence, which ThreadSanitizer does not know.
            self.refs.load(Ordering::Acquire);
            // SAFETY: that was the last reference.
            unsafe { (self.vtable.deallocate)(self.0) };
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("id", &self.info.id)
            .field("name", &self.info.name)
            .field("spawned_at", &format_args!("{}", self.info.spawned_at))
            .finish()
    }
}

impl Task {
    /// What it does and waits for; its owner's thread only.
    pub(crate) fn state(&self) -> (Status, WaitReason) {
        (self.status.get(), self.reason.get())
    }

    /// Whether its waits are cancelled; its owner's thread only.
    pub(super) fn is_cancelled(&self) -> bool {
        self.context
            .is_cancelled(self.cancelled.load(Ordering::Relaxed))
    }

    /// Whether a wait may have to end for what stands around it, or is refused; its owner's thread
    /// only.
    #[inline]
    pub(super) fn is_bounded(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || !self.context.is_empty()
    }

    /// Marks the limit that a wait was bounded by (`outer`) if that has ended it.
    pub(super) fn note_limit(&self, outer: bool, wake: Wake) -> Wake {
        if outer && wake == Wake::TimedOut {
            self.context.met();
        }
        wake
    }

    /// Whether, having ended, it is known to nobody, has left nothing that a coroutine in its place
    /// would meet, and its memory fits that of an `F`; its owner's thread only.
    pub(super) fn can_succeed<F: FnOnce(Wake)>(&self) -> bool {
        self.refs.load(Ordering::Acquire) == 1
            && self.join.is_detached()
            && self.vtable.layout == Layout::new::<TaskOf<F, ()>>()
            && self.locals.get().is_none()
            && self.context.is_empty()
            && self.held.get() == 0
            && self.blocked.get().is_none()
    }

    /// Its locals; the coroutine itself only.
    pub(super) fn locals(&self) -> &Locals {
        self.locals.get_or_init(Box::default)
    }
}

fn stage<F, T>(task: NonNull<Task>) -> *mut Stage<F, T> {
    // SAFETY: only called through the vtable made for this `F` and `T`; taking the cell's address
    // reads nothing.
    unsafe { (*task.cast::<TaskOf<F, T>>().as_ptr()).stage.get() }
}

unsafe fn run<F: FnOnce(Wake) -> T, T>(task: NonNull<Task>) -> bool {
    let stage = stage::<F, T>(task);
    // SAFETY: the coroutine alone touches the stage while it runs (module invariants).
    let Stage::Unstarted(body) = (unsafe { stage.replace(Stage::Taken) }) else {
        unreachable!("a coroutine starts once")
    };
    // SAFETY: alive while it runs.
    let task_ref = unsafe { task.as_ref() };
    let wake = task_ref.wake.get();
    let result = panic::catch_unwind(AssertUnwindSafe(move || body(wake)));
    if let Some(locals) = task_ref.locals.get() {
        locals.destroy();
    }
    let leaves_nothing = result.is_ok() && !mem::needs_drop::<T>();
    // SAFETY: as above; what is overwritten is `Taken`, which needs no drop.
    unsafe { stage.write(Stage::Finished(result.map_err(Failure::Panic))) };
    leaves_nothing
}

unsafe fn fail<F, T>(task: NonNull<Task>, failure: Failure) {
    // SAFETY: on the owner's thread, and the coroutine itself does not run, so nobody else touches
    // the stage.
    let closure = unsafe { mem::replace(&mut *stage::<F, T>(task), Stage::Finished(Err(failure))) };
    contain(move || drop(closure));
}

unsafe fn take_result<F, T>(task: NonNull<Task>, target: *mut ()) {
    // SAFETY: the joiner's turn (module invariants).
    let taken = unsafe { mem::replace(&mut *stage::<F, T>(task), Stage::Taken) };
    if let Stage::Finished(result) = taken {
        // SAFETY: the target has this type, by the promise of `TaskRef::take_result`.
        unsafe { *target.cast::<Option<Result<T, Failure>>>() = Some(result) };
    }
}

unsafe fn drop_result<F, T>(task: NonNull<Task>) {
    // SAFETY: the completer's or the last joiner's turn (module invariants).
    let result = unsafe { stage::<F, T>(task).replace(Stage::Taken) };
    match result {
        Stage::Finished(Ok(value)) if !mem::needs_drop::<T>() => mem::forget(value),
        result => contain(move || drop(result)),
    }
}

unsafe fn deallocate<F, T>(task: NonNull<Task>) {
    let task = task.cast::<TaskOf<F, T>>();
    // SAFETY: made as this type by `TaskRef::with_join`; no reference is left.
    unsafe {
        task.drop_in_place();
        memory::free(task);
    }
}

/// Runs what is not this crate's so that its panic ends nothing else.
pub(crate) fn contain(f: impl FnOnce()) {
    // The panic hook has reported it; a payload whose own drop panics is leaked.
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    use crate::sched::Unparker;
    use crate::sync::mpsc::Sender;

    /// Has `send` wake a coroutine that waits for a message.
    fn check(send: impl FnOnce(Sender<()>)) {
        let runtime = crate::Builder::new().workers(1);
        let ended = runtime.run(|| {
            let (sender, receiver) = crate::sync::mpsc::channel::<()>();
            let waiter = crate::spawn(move || {
                let Unparker::Coroutine(task) = Unparker::current() else {
                    unreachable!("in a coroutine")
                };
                receiver.recv().unwrap();
                let kept = task.spare.take();
                let has_kept = kept.is_some();
                task.spare.set(kept);
                (task, has_kept)
            });
            crate::yield_now();
            send(sender);
            waiter.join().unwrap()
        });
        let (task, has_kept) = ended.unwrap();
        assert!(has_kept, "its wait gave it back");
        assert!(task.is_only());
    }

    #[test]
    fn an_ended_coroutine_keeps_no_reference_to_itself() {
        check(|sender| sender.send(()).unwrap());
    }

    #[test]
    fn nor_does_one_that_another_thread_woke() {
        check(|sender| {
            let thread = std::thread::spawn(move || sender.send(()).unwrap());
            thread.join().unwrap();
        });
    }
}
