//! What the search for deadlocks asks a worker.
//!
//! Called by `sched::deadlock` and `sched::standstill`, and by the loop before it sleeps. It
//! wakes nobody but for a report.

use std::time::Instant;

use super::Worker;
use crate::sched::frames::{Known, Listed};
use crate::sched::standstill::{self, Found};
use crate::sched::task::{Task, TaskRef};

impl Worker {
    /// The running coroutine, if one runs. Valid as long as the frames that asked.
    #[inline]
    pub(in crate::sched) fn running(&self) -> Option<&'static Task> {
        // SAFETY: alive while it runs, and so while any frame of its own that asks.
        self.current.get().map(|task| unsafe { task.as_ref() })
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The coroutine started here under that index, if it still has that id.
    pub(in crate::sched) fn started(&self, slot: u32, id: u64) -> Option<TaskRef> {
        let live = self.live.borrow();
        live.get(slot).filter(|task| task.info.id == id).cloned()
    }

    /// Whether only other coroutines or threads could give it something to do. Never in a simulated
    /// run, which sees for itself that nothing can go on.
    pub(super) fn is_quiet(&self) -> bool {
        self.world.is_none()
            && !self.stopping.get()
            && !self.shared.is_lent()
            && !self.driver.borrow().has_waits()
    }

    /// About to sleep until somebody else does something. Reports it if nobody ever will; gives
    /// when to look again.
    pub(super) fn enter_quiet(&self) -> Option<Instant> {
        let all = &self.runtime.workers;
        match self.runtime.standstill.enter(all) {
            Found::Life => None,
            Found::Others => self.coarse_now().checked_add(standstill::AGAIN),
            Found::Standstill => {
                standstill::report(all);
                None
            }
        }
    }

    /// Its coroutines, all of which wait, as text with their stacks; for `standstill`.
    pub(in crate::sched) fn describe_started(&self) -> String {
        let mut known = Known::default();
        let describe = |task: &TaskRef| {
            let stack = known.symbolised_waiting(&self.calls(task));
            format!("  {}{}\n", super::ending::describe(task), Listed(&stack))
        };
        self.all_started().iter().map(describe).collect()
    }
}
