//! The models of offloaded jobs: complete × cancel × wait. Each says what must hold in every
//! interleaving.
//!
//! The "frame" is a cell that the job writes while it runs and that the owner writes once it was
//! told that the job is out: `loom` fails if the two are not ordered. The record's own cells are
//! taken by the owner in the same way, so a late touch by a pool's thread is noticed.

use std::ptr::NonNull;

use super::thread;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};

use super::parker::Parker;
use crate::record::{Queue, Record};

/// The owner's frame: the record and what the job borrows.
struct Frame {
    record: Record<Arc<Parker>>,
    borrowed: UnsafeCell<u32>,
}

/// A pointer that goes to the pool's thread, as the queue's do.
#[derive(Clone, Copy)]
struct Job(NonNull<Frame>);

// SAFETY: the protocol under test says who may touch what.
unsafe impl Send for Job {}

struct Pool {
    queue: Mutex<Queue<Arc<Parker>>>,
    ran: AtomicUsize,
}

impl Pool {
    fn new() -> Arc<Pool> {
        Arc::new(Pool {
            queue: Mutex::new(Queue::new()),
            ran: AtomicUsize::new(0),
        })
    }

    /// What a pool's thread does with one job, if there is one.
    fn serve(&self) {
        let popped = self.queue.lock().unwrap().pop();
        let Some(record) = popped else { return };
        let frame = record.cast::<Frame>();
        self.ran.fetch_add(1, Ordering::Relaxed);
        // SAFETY: popped here: the frame is ours to use until `complete`.
        unsafe { (*frame.as_ptr()).borrowed.with_mut(|value| *value += 1) };
        // SAFETY: as above, once.
        let waiter = unsafe {
            frame.as_ref().record.with_waiter(|_| ());
            Record::complete(record)
        };
        waiter.unpark();
    }
}

fn frame(parker: &Arc<Parker>) -> Job {
    let frame = Frame {
        record: Record::new(Some(Arc::clone(parker))),
        borrowed: UnsafeCell::new(0),
    };
    Job(NonNull::from(Box::leak(Box::new(frame))))
}

impl Job {
    fn record(self) -> NonNull<Record<Arc<Parker>>> {
        // SAFETY: alive; `Frame`'s address stays valid.
        let record = unsafe { &raw const (*self.0.as_ptr()).record };
        assert_eq!(record.addr(), self.0.as_ptr().addr(), "it comes first");
        self.0.cast()
    }

    /// The owner leaves: it uses the frame and frees it. Gives what the job left.
    fn leave(self) -> u32 {
        // SAFETY: the protocol has said that the job is out.
        let frame = unsafe { Box::from_raw(self.0.as_ptr()) };
        // Each of these fails if another thread's access is not ordered before it.
        // SAFETY: as above, by the owner.
        unsafe {
            frame.record.with_waiter(|_| ());
            Queue::new().push(NonNull::from(&frame.record));
        }
        // SAFETY: as above.
        frame
            .borrowed
            .with_mut(|value| unsafe { std::mem::replace(&mut *value, 99) })
    }
}

/// A pool's thread against an owner that waits: the owner is woken, and sees what the job wrote.
#[test]
fn offload_waiter_is_always_woken() {
    loom::model(|| {
        let (pool, parker) = (Pool::new(), Arc::new(Parker::default()));
        let job = frame(&parker);
        // SAFETY: alive until `leave`.
        unsafe { pool.queue.lock().unwrap().push(job.record()) };
        let theirs = Arc::clone(&pool);
        let server = thread::spawn(move || theirs.serve());
        // SAFETY: alive until `leave`.
        while !unsafe { job.record().as_ref() }.is_done() {
            parker.park();
        }
        assert_eq!(job.leave(), 1, "the job's work is seen");
        server.join().unwrap();
    });
}

/// The owner is cancelled at any moment: either the job is withdrawn and never runs, or it runs
/// once and is waited for.
#[test]
fn offload_has_one_outcome() {
    loom::model(|| {
        let (pool, parker) = (Pool::new(), Arc::new(Parker::default()));
        let job = frame(&parker);
        // SAFETY: alive until `leave`.
        unsafe { pool.queue.lock().unwrap().push(job.record()) };
        let theirs = Arc::clone(&pool);
        let server = thread::spawn(move || theirs.serve());
        // SAFETY: by the owner, to the queue it was pushed to.
        let withdrawn = unsafe { pool.queue.lock().unwrap().withdraw(job.record()) };
        // SAFETY: alive until `leave`.
        while !withdrawn && !unsafe { job.record().as_ref() }.is_done() {
            parker.park();
        }
        assert_eq!(job.leave(), u32::from(!withdrawn));
        server.join().unwrap();
        assert_eq!(
            pool.ran.load(Ordering::Relaxed),
            usize::from(!withdrawn),
            "withdrawn: {withdrawn}"
        );
    });
}

/// Two owners and two pool threads; one owner withdraws from the middle of things. Nobody's job is
/// lost or run twice, and no record is touched after its owner has left.
#[test]
fn offload_jobs_do_not_touch_each_other() {
    let mut model = loom::model::Builder::new();
    // Three threads around two locks have too many interleavings to try them all.
    model.preemption_bound = Some(3);
    model.check(|| {
        let pool = Pool::new();
        let parkers = [(); 2].map(|()| Arc::new(Parker::default()));
        let jobs = [frame(&parkers[0]), frame(&parkers[1])];
        for job in jobs {
            // SAFETY: alive until `leave`.
            unsafe { pool.queue.lock().unwrap().push(job.record()) };
        }
        let servers = [(); 2].map(|()| {
            let theirs = Arc::clone(&pool);
            thread::spawn(move || theirs.serve())
        });
        // SAFETY: by the owner, to the queue it was pushed to.
        let withdrawn = unsafe { pool.queue.lock().unwrap().withdraw(jobs[0].record()) };
        let mut ran = 0;
        for ((job, parker), out) in jobs.iter().zip(&parkers).zip([withdrawn, false]) {
            // SAFETY: alive until `leave`.
            while !out && !unsafe { job.record().as_ref() }.is_done() {
                parker.park();
            }
            ran += job.leave();
        }
        assert_eq!(ran, 2 - u32::from(withdrawn));
        servers
            .into_iter()
            .for_each(|server| server.join().unwrap());
        assert_eq!(pool.queue.lock().unwrap().len(), 0);
    });
}

/// The checker notices a pool's thread that tells first and takes the waiter afterwards.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_record_touched_after_the_telling_is_caught() {
    loom::model(|| {
        let told = Arc::new(AtomicUsize::new(0));
        let place = Arc::new(UnsafeCell::new(Some(1)));
        let (theirs, taken) = (Arc::clone(&told), Arc::clone(&place));
        let server = thread::spawn(move || {
            theirs.store(1, Ordering::Release);
            // SAFETY: it is not; that is the point.
            taken.with_mut(|place| unsafe { (*place).take() })
        });
        if told.load(Ordering::Acquire) == 1 {
            // SAFETY: the owner takes its frame back.
            place.with_mut(|place| unsafe { *place = None });
        }
        server.join().unwrap();
    });
}
