//! Coroutines that are made when their wait is over, and those of them that take the place of the
//! one that has just ended: its memory, its stack.
//!
//! Called by the worker's loop and, for the latter, on a coroutine's own stack, when its closure
//! has returned. A server makes a coroutine for each request, and mostly the next connection's is
//! in the queue already when one has been answered. Going on with it at once leaves out two
//! switches, and the taking down and setting up of all that would be the same. To everybody else
//! they are two coroutines: two ids, two spawn sites, nothing of the one to be seen by the other.
//!
//! It must never run what the loop would not have run next, nor more of it: each counts for the
//! batch. Whatever the loop does between two coroutines because somebody looks on or waits (a hook,
//! a simulated run's trace, a coroutine without a stack, the end) is left to the loop.

use std::collections::VecDeque;
use std::ptr::NonNull;

use super::{BUDGET, Ready, Worker};
use crate::driver::slab::NONE;
use crate::driver::{Place as Waited, Source, Wake};
use crate::sched::seed::Seed;
use crate::sched::task::{Affinity, Task};
use crate::stack::overflow::{Occupant, Place};
use crate::sys;

/// Where a connection's socket lies, for a prefetch and nothing else: it may be gone.
#[derive(Clone, Copy)]
pub(in crate::sched) struct Near {
    slot: u32,
    source: *const Source,
}

impl Near {
    pub(in crate::sched) const NOTHING: Near = Near {
        slot: NONE,
        source: std::ptr::null(),
    };

    pub(super) fn of(place: Option<Waited>, source: *const Source) -> Near {
        Near {
            slot: place.map_or(NONE, |place| place.slot),
            source,
        }
    }
}

impl Worker {
    /// Makes a coroutine and runs it: even while the worker stops, for its closure is to be told.
    pub(super) fn run_seed(&self, seed: Seed, wake: Wake) {
        self.fetch_next(&self.ready.borrow());
        let owned = seed.grow(self.runtime.class);
        owned.wake.set(wake);
        self.note_spawn(&owned);
        let task = owned.as_ptr();
        match self.start(owned) {
            Ok(()) => self.resume(task),
            Err((owned, error)) => self.starve(owned, true, error),
        }
    }

    /// Makes the coroutine that has ended on this stack into the next one, if that is one to be
    /// made and nothing else is to be done first.
    ///
    /// # Safety
    /// On the coroutine's own stack, whose top is `place`; its closure has left nothing that would
    /// have to be dropped.
    pub(super) unsafe fn succeed(task: NonNull<Task>, place: Place) -> bool {
        let worker = Worker::current().expect("a coroutine runs on a worker");
        // SAFETY: it runs, so it is alive; the borrow ends before it is written to.
        let Some((seed, wake)) = worker.successor(unsafe { task.as_ref() }) else {
            return false;
        };
        worker.left.set(worker.left.get() - 1);
        worker.budget.set(BUDGET);
        worker.beat();
        #[cfg(test)]
        worker.successions.set(worker.successions.get() + 1);
        // SAFETY: the caller's promise; `successor` has looked at the rest.
        unsafe { seed.succeed(task, worker.runtime.class, wake) };
        // SAFETY: alive, and written to no more.
        let info = &unsafe { task.as_ref() }.info;
        // SAFETY: this stack's; there is no name.
        unsafe { place.occupy(Occupant::spawned(info.id, None, info.spawned_at)) };
        worker.shared.note_running(info);
        true
    }

    /// Has the processor fetch what the next connection in the queue will look at. Not earlier: by
    /// the time the system calls of others are through, it would be gone again.
    #[inline]
    pub(super) fn fetch_next(&self, ready: &VecDeque<Ready>) {
        if let Some(Ready::Seed(seed, _, near)) = ready.front() {
            seed.prefetch();
            Source::prefetch(near.source);
            self.driver.borrow().prefetch(near.slot);
        }
        if let Some(after) = ready.get(1) {
            sys::prefetch(after);
        }
    }

    /// What the loop would run next, if that can take the place of `ended`.
    fn successor(&self, ended: &Task) -> Option<(Seed, Wake)> {
        let runtime = &self.runtime;
        let is_watched = runtime.on_switch.is_some() || self.world.is_some();
        let is_ending = self.stopping.get() || runtime.is_stopping();
        let turn = self.turns.get().wrapping_add(1);
        if self.left.get() == 0
            || is_watched
            || is_ending
            || !std::ptr::eq(ended.class, runtime.class)
            || !self.starved.borrow().is_empty()
            || turn.is_multiple_of(4) && !runtime.is_single()
        {
            return None;
        }
        drop(ended.spare.take());
        let mut ready = self.ready.borrow_mut();
        if !matches!(ready.front(), Some(Ready::Seed(seed, ..)) if seed.can_succeed(ended)) {
            return None;
        }
        let Some(Ready::Seed(seed, wake, _)) = ready.pop_front() else {
            return None;
        };
        self.fetch_next(&ready);
        self.turns.set(turn);
        if ended.affinity == Affinity::Placed {
            self.shared.add_placed(-1);
        }
        Some((seed, wake))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdStream;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::{Sender, channel};

    use super::super::BATCH;
    use super::*;
    use crate::net::{AsSocket, BorrowedSocket, park_until_readable};
    use crate::os::unix::net::UnixStream;
    use crate::sync::{Semaphore, mpsc};
    use crate::thread::{self, Thread, ThreadId};

    type Body = fn(&Shown);

    /// What the bodies of a test share.
    #[derive(Clone)]
    struct Shown {
        ids: Sender<ThreadId>,
        kept: Sender<Thread>,
        turn: Arc<Semaphore>,
    }

    impl Shown {
        fn note(&self) {
            self.ids.send(thread::current().id()).unwrap();
        }
    }

    struct Connection {
        stream: UnixStream,
        body: Body,
        shown: Shown,
        _all: mpsc::Sender<()>,
    }

    impl AsSocket for Connection {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            self.stream.as_socket()
        }
    }

    fn serve(connection: Connection, wake: Wake) {
        assert_eq!(wake, Wake::Ready);
        (connection.body)(&connection.shown);
    }

    struct Ran {
        /// How many took the place of another.
        successions: u32,
        ids: Vec<ThreadId>,
        kept: Vec<Thread>,
    }

    /// Runs the bodies, one after the other, in coroutines of connections that become readable at
    /// once.
    fn run(bodies: &[Body]) -> Ran {
        let ((ids, all_ids), (kept, all_kept)) = (channel(), channel());
        let turn = Arc::new(Semaphore::new(0));
        let shown = Shown { ids, kept, turn };
        let work = move || {
            let (all, ended) = mpsc::channel();
            let connect = |body: &Body| {
                let (stream, peer) = StdStream::pair().unwrap();
                let connection = Connection {
                    stream: UnixStream::from_std(stream).unwrap(),
                    body: *body,
                    shown: shown.clone(),
                    _all: all.clone(),
                };
                park_until_readable(connection, None, serve);
                peer
            };
            let peers: Vec<_> = bodies.iter().map(connect).collect();
            for mut peer in &peers {
                peer.write_all(b"x").unwrap();
            }
            drop((all, shown));
            assert!(ended.recv().is_err(), "nothing is sent");
            Worker::current().unwrap().successions.get()
        };
        Ran {
            successions: crate::Builder::new().workers(1).run(work).unwrap(),
            ids: all_ids.iter().collect(),
            kept: all_kept.iter().collect(),
        }
    }

    fn distinct(ids: &[ThreadId]) -> usize {
        let set: std::collections::HashSet<_> = ids.iter().collect();
        set.len()
    }

    #[test]
    fn each_of_a_batch_is_a_coroutine_of_its_own() {
        let bodies = [Shown::note as Body; 200];
        let ran = run(&bodies);
        assert_eq!(distinct(&ran.ids), 200);
        // The loop begins each batch, and looks at the driver after it.
        assert_eq!(ran.successions, 200 - 200_u32.div_ceil(BATCH));
    }

    #[test]
    fn one_that_somebody_knows_stays_who_it_is() {
        let keep: Body = |shown| {
            shown.note();
            shown.kept.send(thread::current()).unwrap();
        };
        let ran = run(&[keep, Shown::note, Shown::note]);
        assert_eq!((ran.successions, distinct(&ran.ids)), (1, 3));
        assert_eq!(ran.kept[0].id(), ran.ids[0]);
        ran.kept[0].unpark();
    }

    /// What one leaves in its header is not met by the next.
    #[test]
    fn nothing_is_left_behind() {
        let litter: Body = |shown| {
            let task = Worker::current().unwrap().task();
            task.unparked.store(true, Ordering::Relaxed);
            task.cancelled.store(true, Ordering::Relaxed);
            task.accepted.set(true);
            task.waits.set(7);
            assert!(!task.park.unpark());
            shown.note();
        };
        let look: Body = |shown| {
            let task = Worker::current().unwrap().task();
            assert!(!task.unparked.load(Ordering::Relaxed));
            assert!(!task.is_cancelled() && !task.accepted.get() && task.waits.get() == 0);
            assert!(task.park.begin(), "no token is there");
            task.park.end();
            shown.note();
        };
        let ran = run(&[litter, look]);
        assert_eq!((ran.successions, ran.ids.len()), (1, 2));
    }

    #[test]
    fn what_would_be_met_is_left_to_the_loop() {
        crate::coroutine_local! {
            static LOCAL: std::cell::Cell<u32> = std::cell::Cell::new(0);
        }
        let local: Body = |shown| {
            assert_eq!(LOCAL.with(|local| local.replace(1)), 0);
            shown.note();
        };
        let locked: Body = |shown| {
            std::mem::forget(Box::leak(Box::new(crate::sync::Mutex::new(()))).lock());
            shown.note();
        };
        let panics: Body = |shown| {
            shown.note();
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        for body in [local, locked, panics] {
            let ran = run(&[body, body, Shown::note]);
            assert_eq!((ran.successions, distinct(&ran.ids)), (0, 3));
        }
    }

    #[test]
    fn one_that_waits_is_passed_by_the_others() {
        let wait: Body = |shown| {
            let before = thread::current().id();
            shown.turn.acquire().unwrap().forget();
            assert_eq!(thread::current().id(), before);
            shown.note();
        };
        let wake: Body = |shown| {
            shown.note();
            shown.turn.add_permits(1);
        };
        let ran = run(&[Shown::note, wait, Shown::note, wake]);
        // The loop goes on after the one that waits, and ends that one.
        assert_eq!((ran.successions, distinct(&ran.ids)), (2, 4));
    }
}
