//! A worker of a simulated run: one turn of its loop at a time, and what it writes down.
//!
//! Called by `sched::simulation`, on the one thread that all workers of such a run share. It goes
//! through the loop's own functions; nothing here decides who runs but the length of a batch.

use std::io;
use std::sync::Arc;

use super::{BATCH, CURRENT, Runtime, Shared, Worker};
use crate::driver::Backend;
use crate::driver::sim::{Sim, World};
use crate::driver::timers::Tick;
use crate::sched::WaitReason;
use crate::sched::seed::Seed;
use crate::sched::task::{Status, Task};

impl Worker {
    /// The worker with this index.
    pub(in crate::sched) fn simulated(
        index: usize,
        runtime: &Arc<Runtime>,
        world: &Arc<World>,
    ) -> io::Result<Worker> {
        let shared: &'static Shared = runtime.workers[index];
        let driver = Backend::Sim(Sim::new(Arc::clone(world), index));
        Worker::on(shared, Arc::clone(runtime), driver, Some(Arc::clone(world)))
    }

    /// The simulated run it belongs to.
    pub(crate) fn world(&self) -> Option<&Arc<World>> {
        self.world.as_ref()
    }

    /// Makes this the thread's worker in place of another of the same run, between two coroutines.
    fn take_over(&self) {
        CURRENT.set(self);
    }

    /// One turn of the loop: some coroutines, then a look at the driver, which does not wait.
    pub(in crate::sched) fn turn(&self, world: &World) {
        self.take_over();
        // Mostly one, so that the workers' steps mingle as those of threads do.
        let batch = match world.below(4) {
            0 => 1 + world.below(BATCH as usize) as u32,
            _ => 1,
        };
        self.round(batch, || false);
        if self.stopping.get() {
            self.cancel_waits();
        }
        self.look_at_driver(None);
    }

    /// Whether a turn would do something. `offers`: somebody has coroutines to be taken.
    pub(in crate::sched) fn has_work(&self, offers: bool) -> bool {
        offers
            || self.shared.has_mail()
            || !self.ready.borrow().is_empty()
            || !self.woken.borrow().is_empty()
            || self.sim(Sim::has_news)
    }

    /// Whether it has unstarted coroutines that any worker may take.
    pub(in crate::sched) fn has_offers(&self) -> bool {
        self.shared.offered.len() > 0
    }

    /// The tick until which no wait of its coroutines ends by itself.
    pub(in crate::sched) fn next_timer(&self) -> Option<Tick> {
        self.sim(Sim::next_timer)
    }

    fn sim<R>(&self, f: impl FnOnce(&Sim<crate::sched::Waiter>) -> R) -> R {
        match &*self.driver.borrow() {
            Backend::Sim(driver) => f(driver),
            Backend::Epoll(_) => unreachable!("called for workers of a simulated run only"),
        }
    }

    /// Asks everything here to end.
    pub(in crate::sched) fn begin_ending(&self) {
        self.take_over();
        self.cancel_all();
        self.cancel_waits();
    }

    /// Whether everything here has ended.
    pub(in crate::sched) fn has_ended(&self) -> bool {
        self.is_idle() && !self.shared.has_mail() && !self.has_offers()
    }

    /// Gives the coroutines that would not end.
    pub(in crate::sched) fn end(&self) -> Vec<String> {
        self.take_over();
        self.leave()
    }

    /// What does not run and what it waits for, in words.
    pub(in crate::sched) fn describe_all(&self, world: &World, lines: &mut Vec<(usize, String)>) {
        self.for_each(|task| {
            let (number, name, site) =
                (world.number(task.info.id), name(task), task.info.spawned_at);
            let what = doing(task, world);
            let line = format!("coroutine {number}{name}, spawned at {site}, {what}");
            lines.push((number, line));
        });
        self.for_each_seed(|seed, fd| {
            let socket = fd.map(|fd| world.describe(fd.unsigned_abs()));
            let what = socket.map_or("is ready".into(), |socket| {
                format!("waits for {socket} to be readable")
            });
            lines.push((
                usize::MAX,
                format!("what was put aside at {}, {what}", seed.spawned_at()),
            ));
        });
    }

    /// Writes down what happens to a coroutine; only in a simulated run.
    #[inline]
    pub(super) fn note(&self, task: &Task, what: &str) {
        if let Some(world) = &self.world {
            self.note_in(world, task, what);
        }
    }

    #[cold]
    fn note_in(&self, world: &World, task: &Task, what: &str) {
        let number = world.number(task.info.id);
        let wake = task.wake.get();
        world.note(format_args!(
            "worker {} coroutine {number} {what}: {wake:?}",
            self.index
        ));
    }

    /// Writes down what happens to what was put aside.
    #[inline]
    pub(in crate::sched) fn note_seed(&self, seed: &Seed, what: &str) {
        if let Some(world) = &self.world {
            let (index, site) = (self.index, seed.spawned_at());
            world.note(format_args!("worker {index} the rest of {site} {what}"));
        }
    }

    /// Writes down that a coroutine was made.
    #[inline]
    pub(in crate::sched) fn note_spawn(&self, task: &Task) {
        if let Some(world) = &self.world {
            let (number, name, site) =
                (world.number(task.info.id), name(task), task.info.spawned_at);
            let text = format_args!(
                "worker {} spawns coroutine {number}{name} at {site}",
                self.index
            );
            world.note(text);
        }
    }

    /// Writes down a switch.
    pub(crate) fn note_switch(&self, task: &Task, runs: bool) {
        if let Some(world) = &self.world {
            let (number, index) = (world.number(task.info.id), self.index);
            if runs {
                world.note(format_args!("worker {index} runs coroutine {number}"));
            } else {
                let what = doing(task, world);
                world.note(format_args!("worker {index} coroutine {number} {what}"));
            }
        }
    }
}

fn name(task: &Task) -> String {
    task.info
        .name
        .as_deref()
        .map_or(String::new(), |name| format!(" ({name})"))
}

/// What a coroutine that does not run is at.
fn doing(task: &Task, world: &World) -> String {
    let wait = match task.reason.get() {
        WaitReason::None => match task.status.get() {
            Status::Unstarted => return "has not begun".into(),
            Status::Running | Status::Finished => return "ends".into(),
            _ => return "is ready".into(),
        },
        WaitReason::Join(id) => format!("the end of coroutine {}", world.number(id)),
        WaitReason::Readable(fd) => format!("{} to be readable", world.describe(fd.unsigned_abs())),
        WaitReason::Writable(fd) => format!("{} to be writable", world.describe(fd.unsigned_abs())),
        reason => reason.to_string(),
    };
    format!("waits for {wait}")
}
