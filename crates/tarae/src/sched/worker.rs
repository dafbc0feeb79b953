//! A worker: one thread that runs an event loop and coroutines.
//!
//! Called by `runtime` (`run`, `wind_down`) and, from inside coroutines, by the waits of `sched`.
//! Everything in `Worker` belongs to its thread; other threads reach it through `Shared` alone.
//!
//! One round of the loop: take the mail, run at most `BATCH` coroutines, look at the driver — or
//! sleep in it when nobody is ready. So the driver is polled under a queue that never empties.
//!
//! Invariants: no `RefCell` of a worker stays borrowed over a switch, a callback, a waker or a
//! foreign destructor. A started coroutine is kept alive by `live`; the ready queue and the driver
//! hold uncounted pointers to it. An unstarted one owns the reference that queues hold.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use super::context::Slot;
use super::locals::Locals;
use super::memory::Spare;
use super::runtime::{Runtime, Switch};
use super::seed::Seed;
use super::shared::{Message, Shared};
use super::task::{Affinity, Failure, Status, Task, TaskRef, contain};
use super::{Cancel, WaitReason, Waiter};
use crate::driver::sim::World;
use crate::driver::slab::{NONE, Slab};
use crate::driver::{Backend, Direction, Driver, Epoll, Source, Wake, Woken};
use crate::stack::Cache;
use crate::stack::overflow::{self, Occupant};
use crate::stack::switch;
use spinning::Mail;
use starved::Starved;

/// Coroutines run between two looks at the driver.
const BATCH: u32 = 64;
/// Operations a coroutine may do without waiting before it yields.
const BUDGET: u32 = 128;

mod cancelling;
mod deadlock;
mod ending;
mod listing;
mod simulated;
mod spinning;
mod starved;
mod stealing;
mod succession;
mod unwinding;
mod waking;

pub(crate) use cancelling::cancel_numbered;
pub(super) use cancelling::{cancel, reexamine};
pub(super) use succession::Near;
pub(super) use waking::{unpark, unpark_last};

thread_local! {
    static CURRENT: Cell<*const Worker> = const { Cell::new(std::ptr::null()) };
}

/// Who may run.
enum Ready {
    Task(NonNull<Task>),
    /// To be made first.
    Seed(Seed, Wake, Near),
}

pub(crate) struct Worker {
    shared: &'static Shared,
    number: u32,
    /// Its place among the runtime's workers.
    index: usize,
    pub(super) runtime: Arc<Runtime>,
    driver: RefCell<Backend<Waiter>>,
    /// What a simulated run has in common; none otherwise.
    world: Option<Arc<World>>,
    ready: RefCell<VecDeque<Ready>>,
    woken: RefCell<Vec<Woken<Waiter>>>,
    /// Of a batch of these, what is not a coroutine. Empty but for the moment.
    foreign: RefCell<Vec<Woken<Waiter>>>,
    live: RefCell<Slab<TaskRef>>,
    stacks: RefCell<Cache>,
    spare: Spare,
    starved: RefCell<Starved>,
    current: Cell<Option<NonNull<Task>>>,
    budget: Cell<u32>,
    stopping: Cell<bool>,
    turns: Cell<u32>,
    /// Coroutines that may yet run before the driver is looked at.
    left: Cell<u32>,
    #[cfg(test)]
    successions: Cell<u32>,
    /// Whether mail may come within a moment (see `spinning`).
    mail_is_near: Cell<bool>,
    /// Coroutines that were suspended while this thread was panicking (see `unwinding`).
    panicking: Cell<u32>,
    /// The state of its random numbers: the same in each run.
    pub(super) random: Cell<u64>,
}

impl Worker {
    pub(super) fn new(shared: &'static Shared, runtime: Arc<Runtime>) -> io::Result<Worker> {
        let driver = Epoll::new(shared.number(), shared.notification(), shared)?;
        Worker::on(shared, runtime, Backend::Epoll(driver), None)
    }

    fn on(
        shared: &'static Shared,
        runtime: Arc<Runtime>,
        driver: Backend<Waiter>,
        world: Option<Arc<World>>,
    ) -> io::Result<Worker> {
        let ours = |other: &&Shared| std::ptr::eq(*other, shared);
        let index = runtime.workers.iter().position(ours);
        let stacks = Cache::new(runtime.class)?;
        shared.begin_use();
        Ok(Worker {
            shared,
            number: shared.number(),
            index: index.expect("a worker of its runtime"),
            driver: RefCell::new(driver),
            world,
            ready: RefCell::new(VecDeque::with_capacity(256)),
            woken: RefCell::new(Vec::with_capacity(256)),
            foreign: RefCell::default(),
            live: RefCell::new(Slab::new()),
            stacks: RefCell::new(stacks),
            spare: Spare::default(),
            starved: RefCell::default(),
            current: Cell::new(None),
            budget: Cell::new(BUDGET),
            stopping: Cell::new(false),
            turns: Cell::new(0),
            left: Cell::new(0),
            #[cfg(test)]
            successions: Cell::new(0),
            mail_is_near: Cell::new(false),
            panicking: Cell::new(0),
            random: Cell::new(super::select::SEED),
            runtime,
        })
    }

    /// The worker of this thread. Valid as long as the frames that asked: a worker outlives every
    /// coroutine that can still run on it.
    #[inline]
    pub(crate) fn current() -> Option<&'static Worker> {
        let worker = CURRENT.get();
        // SAFETY: `enter` sets the pointer for the worker's lifetime on its own thread.
        unsafe { worker.as_ref() }
    }

    /// This thread's worker, if it is the one that started the coroutine.
    #[inline]
    fn of(task: &TaskRef) -> Option<&'static Worker> {
        let owner = task.owner.load(Ordering::Acquire);
        Worker::current().filter(|worker| std::ptr::eq(owner, worker.shared))
    }

    /// Makes this the thread's worker while `f` runs. A panic of the loop itself (not of a
    /// coroutine: those are caught) is a fault of this crate after which nothing can be unwound
    /// safely: suspended frames may borrow from the caller.
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Worker);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                if self.0.is_unwinding() {
                    eprintln!("tarae: a worker's loop panicked");
                    std::process::abort();
                }
                CURRENT.set(std::ptr::null());
                crate::coroutine::leave_all();
            }
        }
        overflow::watch_thread();
        CURRENT.set(self);
        // One that is panicking already counts as one that is suspended while it does.
        self.panicking.set(std::thread::panicking().into());
        if self.runtime.watched {
            self.shared.pulse.attach();
        }
        let _leave = Leave(self);
        let result = f();
        self.shared.pulse.rest();
        result
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn shared(&self) -> &'static Shared {
        self.shared
    }

    pub(super) fn spare(&self) -> &Spare {
        &self.spare
    }

    /// All workers of its runtime, itself included.
    pub(crate) fn runtime_workers(&self) -> &[&'static Shared] {
        &self.runtime.workers
    }

    pub(crate) fn in_coroutine(&self) -> bool {
        self.current.get().is_some()
    }

    /// The running coroutine.
    fn task(&self) -> &Task {
        let task = self.current.get().expect("called in a coroutine");
        // SAFETY: the running coroutine is alive.
        unsafe { task.as_ref() }
    }

    /// The number of the coroutine that runs.
    #[inline]
    pub(crate) fn running_id(&self) -> Option<u64> {
        self.in_coroutine().then(|| self.task().info.id)
    }

    pub(crate) fn current_task(&self) -> Option<TaskRef> {
        self.current.get().map(|task| {
            // SAFETY: the reference that `live` owns is borrowed for the clone only.
            let borrowed = std::mem::ManuallyDrop::new(unsafe { TaskRef::from_raw(task) });
            let spare = borrowed.spare.take();
            spare.unwrap_or_else(|| TaskRef::clone(&borrowed))
        })
    }

    /// The present, as of the last look at the driver: good enough for deadlines of seconds.
    pub(crate) fn coarse_now(&self) -> Instant {
        self.driver.borrow().now()
    }

    // ---- waits, called in coroutines ----------------------------------------------------------

    /// Switches back to the worker's loop until somebody has made the coroutine ready.
    #[inline(always)]
    fn suspend(&self, status: Status, reason: WaitReason, cancel: Cancel) -> Wake {
        let task = self.task();
        task.status.set(status);
        task.reason.set(reason);
        task.cancellable.set(cancel == Cancel::Yes);
        let _panicking = self.note_panic();
        // SAFETY: set when the coroutine started; lives on its stack.
        switch::suspend(unsafe { &*task.switch_out.get() });
        task.reason.set(WaitReason::None);
        task.wake.get()
    }

    #[inline(always)]
    pub(super) fn park(
        &self,
        reason: WaitReason,
        deadline: Option<Instant>,
        cancel: Cancel,
    ) -> Wake {
        let task = self.task();
        if !task.park.begin() {
            self.spend_budget();
            return Wake::Ready;
        }
        let mut outer = false;
        if deadline.is_some() || task.is_bounded() || std::thread::panicking() {
            match self.bound_park(task, deadline, cancel) {
                Ok(by_outer) => outer = by_outer,
                Err(refused) => return refused,
            }
        }
        let wake = self.suspend(Status::ParkedForToken, reason, cancel);
        task.note_limit(outer, wake)
    }

    /// Has the driver end a park that has begun, if it has a deadline: `Ok` says whether that is
    /// one that it stands inside of. `Err` when it is refused.
    #[inline(never)]
    fn bound_park(
        &self,
        task: &Task,
        deadline: Option<Instant>,
        cancel: Cancel,
    ) -> Result<bool, Wake> {
        if cancel == Cancel::Yes && self.is_cancelled() {
            task.park.end();
            return Err(self.refuse_to_wait());
        }
        let (deadline, outer) = match cancel {
            Cancel::Yes => task.context.bound(deadline),
            Cancel::No => (deadline, false),
        };
        if let Some(deadline) = deadline {
            let waiter = Waiter::Coroutine(NonNull::from(task));
            task.wait
                .set(self.driver.borrow_mut().sleep(waiter, deadline));
        }
        Ok(outer)
    }

    pub(super) fn wait_ready(
        &self,
        source: &Source,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> io::Result<Wake> {
        let task = self.task();
        if self.is_cancelled() {
            return Ok(self.refuse_to_wait());
        }
        let (deadline, outer) = task.context.bound(deadline);
        let mut driver = self.driver.borrow_mut();
        let place = driver.register(source, direction)?;
        let waiter = Waiter::Coroutine(NonNull::from(task));
        let Ok(wait) = driver.poll_ready(place, waiter, deadline) else {
            unreachable!("the source is borrowed, so its registration stands");
        };
        drop(driver);
        task.wait.set(wait);
        let reason = match direction {
            Direction::Read => WaitReason::Readable(source.raw()),
            Direction::Write => WaitReason::Writable(source.raw()),
        };
        let wake = self.suspend(Status::ParkedInDriver, reason, Cancel::Yes);
        Ok(task.note_limit(outer, wake))
    }

    pub(super) fn sleep_until(&self, deadline: Instant) -> Wake {
        let task = self.task();
        if self.is_cancelled() {
            return self.refuse_to_wait();
        }
        let (bound, outer) = task.context.bound(Some(deadline));
        let waiter = Waiter::Coroutine(NonNull::from(task));
        let wait = self
            .driver
            .borrow_mut()
            .sleep(waiter, bound.unwrap_or(deadline));
        task.wait.set(wait);
        match self.suspend(Status::ParkedInDriver, WaitReason::Sleep, Cancel::Yes) {
            Wake::TimedOut if !outer => Wake::Ready,
            wake => task.note_limit(outer, wake),
        }
    }

    /// A wait of a cancelled coroutine. It yields all the same: a loop around a wait that ignores
    /// the cancellation would otherwise hold its worker for ever, the end of the runtime with it.
    fn refuse_to_wait(&self) -> Wake {
        self.yield_now();
        Wake::Cancelled
    }

    pub(super) fn yield_now(&self) {
        if self.stays_while_unwinding() {
            return;
        }
        let task = NonNull::from(self.task());
        self.ready.borrow_mut().push_back(Ready::Task(task));
        self.suspend(Status::Ready, WaitReason::None, Cancel::No);
    }

    pub(super) fn spend_budget(&self) {
        let left = self.budget.get() - 1;
        self.budget.set(left);
        if left == 0 {
            self.yield_spent();
        }
    }

    #[cold]
    fn yield_spent(&self) {
        self.yield_now();
    }

    /// The running coroutine has accepted a connection: its next spawn is placed.
    pub(crate) fn note_accept(&self) {
        if let Some(task) = self.current.get() {
            // SAFETY: the running coroutine is alive.
            unsafe { task.as_ref() }.accepted.set(true);
        }
    }

    /// Whether the running coroutine's next spawn is a connection's; asks once.
    pub(super) fn take_accept(&self) -> bool {
        // SAFETY: the running coroutine is alive.
        self.current
            .get()
            .is_some_and(|task| unsafe { task.as_ref() }.accepted.take())
    }

    /// What bounds the running coroutine's waits.
    pub(super) fn slot(&self) -> &Slot {
        &self.task().context
    }

    /// The running coroutine's locals.
    pub(super) fn locals(&self) -> &Locals {
        self.task().locals()
    }

    /// Whether the running coroutine counts as one of this worker's connections.
    pub(crate) fn is_placed(&self) -> bool {
        self.in_coroutine() && self.task().affinity == Affinity::Placed
    }

    /// Runs `f` on this worker's driver. `f` must not wake, run or drop anything foreign.
    pub(crate) fn with_driver<R>(&self, f: impl FnOnce(&mut Backend<Waiter>) -> R) -> R {
        f(&mut self.driver.borrow_mut())
    }

    // ---- making ready -------------------------------------------------------------------------

    /// Has the coroutine of `seed` made and run in its turn.
    pub(super) fn sow(&self, seed: Seed, wake: Wake, near: Near) {
        self.note_seed(&seed, "is woken");
        let seed = Ready::Seed(seed, wake, near);
        self.ready.borrow_mut().push_back(seed);
    }

    /// Puts an unstarted coroutine where it will be started: here, or by a thief.
    pub(super) fn enqueue(&self, task: TaskRef) {
        if task.affinity != Affinity::Stealable || self.runtime.is_single() {
            let task = Ready::Task(task.into_raw());
            self.ready.borrow_mut().push_back(task);
            return;
        }
        let backlog = self.shared.offered.len() > 0;
        if let Err(node) = self.shared.offered.push(task.into_node()) {
            // SAFETY: refused, so the reference is ours again.
            let task = Ready::Task(unsafe { TaskRef::from_node(node) }.into_raw());
            self.ready.borrow_mut().push_back(task);
        }
        if backlog {
            self.call_thief();
        }
    }

    // ---- the loop -----------------------------------------------------------------------------

    /// Runs coroutines until `done`.
    pub(super) fn run_until(&self, done: impl Fn() -> bool) {
        loop {
            if self.round(BATCH, &done) {
                return;
            }
            self.look_at_driver(None);
        }
    }

    /// Takes the mail and runs at most so many coroutines. True as soon as `done` is: whoever comes
    /// next might hold the worker for ever, and the end must have begun by then.
    fn round(&self, batch: u32, done: impl Fn() -> bool) -> bool {
        self.beat();
        self.take_mail();
        self.left.set(batch);
        while self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            match self.next() {
                Some(Ready::Task(task)) => self.run(task),
                Some(Ready::Seed(seed, wake, _)) => self.run_seed(seed, wake),
                None => break,
            }
            if done() {
                return true;
            }
        }
        done()
    }

    fn take_mail(&self) {
        if self.shared.has_mail() {
            for message in self.shared.mail() {
                self.receive(message);
            }
        }
    }

    fn receive(&self, message: Message) {
        match message {
            Message::Posted(posted) => {
                // SAFETY: the function only uses the worker while it runs here.
                let this = unsafe { &*std::ptr::from_ref(self) };
                contain(move || (posted.function)(this));
            }
            Message::Parcel(delivery) => contain(move || delivery.deliver()),
            Message::Task(task) if task.owner.load(Ordering::Relaxed).is_null() => {
                if task.affinity == Affinity::Placed {
                    self.shared.arrived();
                }
                self.enqueue(task);
            }
            Message::Task(task) => {
                let ours = std::ptr::eq(task.owner.load(Ordering::Relaxed), self.shared);
                if ours {
                    task.notice.taken();
                    self.unpark_with(task);
                }
            }
        }
    }

    /// Who runs next: mostly started coroutines first, every fourth time unstarted ones.
    #[inline]
    fn next(&self) -> Option<Ready> {
        if self.runtime.is_single() {
            return self.ready.borrow_mut().pop_front();
        }
        let turn = self.turns.get().wrapping_add(1);
        self.turns.set(turn);
        let started = || self.ready.borrow_mut().pop_front();
        let unstarted = || {
            let task = self.shared.steal()?;
            if self.shared.offered.len() > 0 {
                self.call_thief();
            }
            Some(Ready::Task(task.into_raw()))
        };
        if turn.is_multiple_of(4) {
            unstarted().or_else(started)
        } else {
            started().or_else(unstarted)
        }
    }

    #[inline(always)]
    fn run(&self, task: NonNull<Task>) {
        // SAFETY: queued, so alive.
        let header = unsafe { task.as_ref() };
        if header.status.get() == Status::Unstarted {
            // SAFETY: an unstarted entry owns its reference.
            let owned = unsafe { TaskRef::from_raw(task) };
            if self.is_too_late(&owned) {
                return self.abandon(owned, Failure::Cancelled);
            }
            if let Err((owned, error)) = self.start(owned) {
                return self.starve(owned, false, error);
            }
        }
        self.resume(task);
    }

    #[inline(always)]
    fn resume(&self, task: NonNull<Task>) {
        // SAFETY: started and not ended, so alive.
        let header = unsafe { task.as_ref() };
        header.status.set(Status::Running);
        self.budget.set(BUDGET);
        self.beat();
        self.call_hook(Switch::In, task);
        self.current.set(Some(task));
        self.shared.note_running(&header.info);
        // SAFETY: started, suspended and on its own thread: nobody else touches the switch.
        let switch = unsafe { (*header.switch.get()).as_mut() }.expect("a started coroutine");
        let ended = switch.resume(None).as_return().is_some();
        // It may be another coroutine now than it was (see `succession`).
        // SAFETY: as above.
        let header = unsafe { task.as_ref() };
        self.shared.note_stopped();
        self.current.set(None);
        self.call_hook(Switch::Out, task);
        if ended {
            self.finish(header);
        }
    }

    /// Calls the user's hook while no coroutine is current: it runs on the worker's own stack, from
    /// where a wait could not switch. Its panic must not unwind the worker, whose coroutines may
    /// borrow from the caller of `run`.
    fn call_hook(&self, switch: Switch, task: NonNull<Task>) {
        if let Some(hook) = &self.runtime.on_switch {
            // SAFETY: `live` owns a reference, which is borrowed for the clone only.
            let borrowed = std::mem::ManuallyDrop::new(unsafe { TaskRef::from_raw(task) });
            let thread = crate::thread::Thread::of(TaskRef::clone(&borrowed));
            contain(|| hook(switch, &thread));
        }
    }

    /// Gives an unstarted coroutine a stack.
    fn start(&self, task: TaskRef) -> Result<(), (TaskRef, io::Error)> {
        let info = &task.info;
        // SAFETY: the name is the task's, which `live` keeps until the coroutine has returned.
        let occupant = unsafe { Occupant::spawned(info.id, info.name.as_deref(), info.spawned_at) };
        let own = std::ptr::eq(task.class, self.runtime.class);
        let stack = if own {
            self.stacks.borrow_mut().take(occupant)
        } else {
            task.class.take(occupant)
        };
        let stack = match stack {
            Ok(stack) => stack,
            Err(error) => return Err((task, error)),
        };
        let (pointer, place) = (task.as_ptr(), stack.place());
        let switch = super::task::Switch::with_stack(stack, move |out, _| {
            // SAFETY: `live` keeps the task alive while it runs.
            unsafe { pointer.as_ref() }.switch_out.set(out);
            // SAFETY: on the coroutine's own stack, once for each closure.
            while unsafe { TaskRef::run(pointer) && Worker::succeed(pointer, place) } {}
        });
        // SAFETY: unstarted, and this is its owner's thread from now on.
        // There is none yet, so that nothing is to be dropped.
        unsafe { task.switch.get().write(Some(switch)) };
        task.owner.store(
            std::ptr::from_ref(self.shared).cast_mut(),
            Ordering::Release,
        );
        // Pairs with the fence in `cancel`: either it sees the owner or this sees the flag. Without
        // another reference there is nobody to cancel it.
        if !task.is_only() {
            fence(Ordering::SeqCst);
        }
        if self.stopping.get() {
            task.cancelled.store(true, Ordering::Relaxed);
        }
        let live = self.live.borrow_mut().insert(task);
        // SAFETY: alive: it has just gone into `live`.
        unsafe { pointer.as_ref() }.live.set(live);
        Ok(())
    }

    fn finish(&self, header: &Task) {
        header.status.set(Status::Finished);
        // SAFETY: the coroutine has returned; nobody else touches the switch.
        let switch = unsafe { (*header.switch.get()).take() }.expect("a started coroutine");
        self.stacks.borrow_mut().put(switch.into_stack());
        let task = self.live.borrow_mut().remove(header.live.get());
        if task.affinity == Affinity::Placed {
            self.shared.add_placed(-1);
        }
        if !self.starved.borrow().is_empty() {
            self.feed_one(task.class);
        }
        drop(task.spare.take());
        // SAFETY: once, on the owner's thread, after the coroutine has left its result.
        unsafe { task.complete() };
    }

    /// Ends a coroutine that never ran.
    fn abandon(&self, task: TaskRef, failure: Failure) {
        if task.affinity == Affinity::Placed {
            self.shared.add_placed(-1);
        }
        task.status.set(Status::Finished);
        // SAFETY: unstarted, on its holder's thread; completed once.
        unsafe {
            task.fail(failure);
            task.complete();
        }
    }

    /// Polls the driver if somebody is ready, else sleeps in it until `bound`. Leaves it alone when
    /// mail has come right after another look.
    fn look_at_driver(&self, bound: Option<Instant>) {
        let busy = !self.ready.borrow().is_empty()
            || self.shared.offered.len() > 0
            || !self.woken.borrow().is_empty();
        if busy || self.stacks.borrow_mut().trim_some() {
            self.poll(Some(self.coarse_now()));
        } else {
            match self.await_mail() {
                Mail::Came { look: false } => return,
                Mail::Came { look: true } => self.poll(Some(self.coarse_now())),
                Mail::None => self.sleep(self.starved.borrow().bound(bound)),
            }
        }
        self.handle_woken();
        if self.starved.borrow().is_due(self.coarse_now()) {
            self.retry_starved();
        }
    }

    fn poll(&self, bound: Option<Instant>) {
        let mut woken = self.woken.borrow_mut();
        if let Err(error) = self.driver.borrow_mut().wait(bound, &mut woken) {
            // epoll_wait fails only for a wrong argument: nothing could ever be woken again.
            eprintln!("tarae: waiting for events failed: {error}");
            std::process::abort();
        }
    }

    fn sleep(&self, bound: Option<Instant>) {
        let sleepers = &self.runtime.sleepers;
        let single = self.runtime.is_single();
        if !single {
            sleepers.fetch_add(1, Ordering::Relaxed);
        }
        let bound = if !self.shared.begin_sleep() || (!single && self.rob_somebody()) {
            Some(self.coarse_now())
        } else {
            bound
        };
        let quiet = bound.is_none() && self.is_quiet();
        let bound = if quiet { self.enter_quiet() } else { bound };
        self.shared.pulse.rest();
        self.learn_from(|| self.poll(bound));
        self.beat();
        if quiet {
            self.runtime.standstill.leave();
        }
        self.shared.end_sleep();
        if !single {
            sleepers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Acts on what the driver handed out: coroutines first, so that no callback ever meets one
    /// whose wait has left the driver but whose wake-up still lies here.
    fn handle_woken(&self) {
        let mut batch = self.woken.take();
        let mut foreign = self.foreign.take();
        while !batch.is_empty() {
            for woken in batch.drain(..) {
                match woken.waiter {
                    Waiter::Coroutine(task) => self.wake_parked(task, woken.wake),
                    Waiter::Spawn(seed) => {
                        self.sow(seed, woken.wake, Near::of(woken.place, woken.source));
                    }
                    _ => foreign.push(woken),
                }
            }
            foreign.drain(..).for_each(|woken| self.call(woken));
            // A callback may have dropped sources others wait for.
            batch.append(&mut self.woken.borrow_mut());
        }
        *self.woken.borrow_mut() = batch;
        *self.foreign.borrow_mut() = foreign;
    }

    fn wake_parked(&self, task: NonNull<Task>, wake: Wake) {
        // SAFETY: a parked coroutine is alive.
        let task = unsafe { task.as_ref() };
        task.wait.set(NONE);
        if task.status.get() == Status::ParkedForToken {
            task.park.end();
        }
        self.make_ready(task, wake);
    }

    /// Calls what is not this crate's.
    fn call(&self, woken: Woken<Waiter>) {
        match woken.waiter {
            Waiter::Coroutine(_) | Waiter::Spawn(_) => unreachable!("woken by `handle_woken`"),
            Waiter::Waker(waker) => contain(move || waker.wake()),
            Waiter::Callback(mut callback) => contain(move || {
                let stays = callback(woken.wake);
                if let (true, Wake::Ready, Some(place)) = (stays, woken.wake, woken.place) {
                    let waiter = Waiter::Callback(callback);
                    let refused = self.driver.borrow_mut().poll_ready(place, waiter, None);
                    if let Err(Waiter::Callback(mut callback)) = refused {
                        callback(Wake::Cancelled);
                    }
                }
            }),
        }
    }

    /// A registration has lost its source: free its slot.
    pub(super) fn release(&self, slot: u32, generation: u32) {
        let mut woken = Vec::new();
        self.driver
            .borrow_mut()
            .release(slot, generation, &mut woken);
        // Whoever waited is told by the loop, not from here: a callback may be what released it.
        self.woken.borrow_mut().append(&mut woken);
    }
}
