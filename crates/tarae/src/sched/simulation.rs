//! All workers of a simulated run, on one thread: whose turn it is, and the virtual clock.
//!
//! Called by `sim`. The order of turns is drawn from the run's seed; the clock moves when nobody
//! has anything to do, straight to the next thing that happens. Nothing here may ask the system for
//! the time or for anything else that differs from run to run.
//!
//! Invariant: a run leaves no coroutine that could ever run again. When nothing can happen any
//! more, `main` too is cancelled; if even that does not end it, its stack is leaked like that of
//! every other straggler, so what it has borrowed is never looked at again.

use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::deadlock;
use super::handle::{JoinError, JoinHandle};
use super::runtime::{Builder, Switch};
use super::task::{Blueprint, contain};
use super::worker::Worker;
use crate::driver::Wake;
use crate::driver::sim::World;

/// Turns at one point in time after which the run is taken for one that never waits.
const TURNS_MAX: u32 = 50_000;
/// The same at the end, when what is left has been asked to stop: it could do all this in no time.
const LAST_TURNS_MAX: u32 = 20_000;

/// Why a run did not end by the return of `main`.
#[derive(Debug)]
pub(crate) enum Stuck {
    /// It was called inside a runtime or a bare coroutine.
    Nested,
    Start(io::Error),
    /// Nothing can happen any more; what waits, in words.
    Deadlock(Vec<String>),
    /// Coroutines run and run, and none ever waits for time to pass.
    Livelock(Vec<String>),
    /// Coroutines that would not end.
    Stragglers(Vec<String>),
}

struct Run<'a> {
    world: &'a World,
    workers: &'a [Worker],
    /// Turns that may follow until the clock must have moved.
    turns: u32,
    turns_max: u32,
}

enum Moved {
    Yes,
    Deadlock,
    Livelock,
}

/// Runs `main` as the first coroutine of `count` workers.
pub(crate) fn run<T>(
    world: &Arc<World>,
    builder: Builder,
    count: usize,
    site: &'static Location<'static>,
    main: impl FnOnce() -> T,
) -> Result<Result<T, JoinError>, Stuck> {
    if Worker::current().is_some() || crate::coroutine::is_inside() {
        return Err(Stuck::Nested);
    }
    let builder = builder.workers(count).on_switch(|switch, thread| {
        if let Some(worker) = Worker::current() {
            thread.note_switch(worker, switch == Switch::In);
        }
    });
    let runtime = Arc::new(builder.build().map_err(Stuck::Start)?);
    let workers: Vec<Worker> = (0..count)
        .map(|index| Worker::simulated(index, &runtime, world))
        .collect::<io::Result<_>>()
        .map_err(Stuck::Start)?;
    let blueprint = Blueprint::of_main(site, runtime.class).with_body(|_: Wake| main());
    // SAFETY: it stays on this thread, and nothing runs it after this function has returned: it has
    // ended then, or its frames are leaked. So neither `main` nor its result need `Send` or
    // `'static`.
    let (task, handle) = unsafe { JoinHandle::new(blueprint) };
    let mut run = Run {
        world,
        workers: &workers,
        turns: TURNS_MAX,
        turns_max: TURNS_MAX,
    };
    let (stuck, stragglers) = workers[0].enter(|| {
        workers[0].note_spawn(&task);
        workers[0].enqueue(task);
        let stuck = run.until(|| handle.is_finished());
        world.note(format_args!("the end begins"));
        let stragglers = run.end(world.tick_after(runtime.deadline()));
        for (worker, left) in workers.iter().zip(&stragglers) {
            runtime.report(worker, left.clone());
        }
        (stuck, stragglers.concat())
    });
    // Callbacks and states that were put aside too late are dropped with them.
    contain(move || drop(workers));
    deadlock::await_reports();
    stuck?;
    if !stragglers.is_empty() {
        return Err(Stuck::Stragglers(stragglers));
    }
    Ok(handle.join())
}

impl Run<'_> {
    fn until(&mut self, done: impl Fn() -> bool) -> Result<(), Stuck> {
        while !done() {
            match self.move_on(None) {
                Moved::Yes => {}
                Moved::Deadlock => return Err(Stuck::Deadlock(self.describe())),
                Moved::Livelock => return Err(Stuck::Livelock(self.describe())),
            }
        }
        Ok(())
    }

    /// Cancels everything and lets it run on, until `deadline` at most. Gives what would not end,
    /// for each worker.
    fn end(&mut self, deadline: u64) -> Vec<Vec<String>> {
        self.workers.iter().for_each(Worker::begin_ending);
        (self.turns, self.turns_max) = (LAST_TURNS_MAX, LAST_TURNS_MAX);
        let late = |world: &World| world.tick_after(world.now()) >= deadline;
        while !self.workers.iter().all(Worker::has_ended) && !late(self.world) {
            match self.move_on(Some(deadline)) {
                Moved::Yes => {}
                // Nothing but what ignores its cancellation is left.
                Moved::Deadlock | Moved::Livelock => break,
            }
        }
        self.workers.iter().map(Worker::end).collect()
    }

    /// A turn of somebody who has something to do or, if nobody has, a step of the clock.
    fn move_on(&mut self, bound: Option<u64>) -> Moved {
        let offers = self.workers.iter().any(Worker::has_offers);
        let busy: Vec<&Worker> = self
            .workers
            .iter()
            .filter(|worker| worker.has_work(offers))
            .collect();
        if !busy.is_empty() {
            self.turns -= 1;
            if self.turns == 0 {
                return Moved::Livelock;
            }
            busy[self.world.below(busy.len())].turn(self.world);
            return Moved::Yes;
        }
        let timers = self.workers.iter().filter_map(Worker::next_timer);
        let next = timers.chain(self.world.next_arrival()).chain(bound).min();
        match next {
            Some(next) => {
                self.turns = self.turns_max;
                self.world.advance(next);
                Moved::Yes
            }
            None => Moved::Deadlock,
        }
    }

    fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for worker in self.workers {
            worker.describe_all(self.world, &mut lines);
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }
}
