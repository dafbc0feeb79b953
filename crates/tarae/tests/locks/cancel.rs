//! What is cancelled and what is not, and that nothing goes astray with one that leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::sync::{
    Barrier, Condvar, Mutex, Notify, Once, OnceLock, RwLock, Semaphore, WaitError, WaitGroup,
};
use tarae::time::Instant;

use crate::support::{guarded, run_on};

/// What each primitive is when a wait for it cannot end by itself.
struct Stuck {
    mutex: Mutex<()>,
    rwlock: RwLock<()>,
    condvar: Condvar,
    semaphore: Semaphore,
    barrier: Barrier,
    once: Once,
    cell: OnceLock<()>,
    /// Somebody who stays, until it is taken.
    group: std::sync::Mutex<Option<WaitGroup>>,
    notify: Notify,
}

impl Stuck {
    fn group(&self) -> WaitGroup {
        self.group.lock().unwrap().clone().expect("not taken yet")
    }
}

type Wait = fn(&Stuck, Option<Instant>) -> Result<(), WaitError>;

/// Each wait that can be cancelled.
const WAITS: &[(&str, Wait)] = &[
    ("lock", |s, at| s.mutex.lock_cancellable(at).map(drop)),
    ("read", |s, at| s.rwlock.read_cancellable(at).map(drop)),
    ("write", |s, at| s.rwlock.write_cancellable(at).map(drop)),
    ("condition", |s, at| {
        let own = Mutex::new(());
        let waited = s
            .condvar
            .wait_cancellable(own.lock().unwrap(), at)
            .map(drop);
        assert!(own.try_lock().is_ok(), "the lock is free after an error");
        waited
    }),
    ("condition, while", |s, at| {
        let own = Mutex::new(());
        let guard = own.lock().unwrap();
        s.condvar
            .wait_while_cancellable(guard, |()| true, at)
            .map(drop)
    }),
    ("barrier", |s, at| s.barrier.wait_cancellable(at).map(drop)),
    ("call_once", |s, at| {
        s.once
            .call_once_cancellable(|| unreachable!("somebody is at it"), at)
    }),
    ("once", |s, at| s.once.wait_cancellable(at)),
    ("get_or_init", |s, at| {
        s.cell
            .get_or_init_cancellable(|| unreachable!("somebody is at it"), at)
            .map(drop)
    }),
    ("cell", |s, at| s.cell.wait_cancellable(at).map(drop)),
    ("group", |s, at| s.group().wait_cancellable(at)),
    ("notify", |s, at| match at {
        Some(at) => s.notify.notified().wait_until(at),
        None => s.notify.notified().wait(),
    }),
];

/// Runs `test` while nobody can get anything.
fn with_stuck(test: impl FnOnce(&Arc<Stuck>)) {
    let stuck = Arc::new(Stuck {
        mutex: Mutex::new(()),
        rwlock: RwLock::new(()),
        condvar: Condvar::new(),
        semaphore: Semaphore::new(0),
        barrier: Barrier::new(2),
        once: Once::new(),
        cell: OnceLock::new(),
        group: std::sync::Mutex::new(Some(WaitGroup::new())),
        notify: Notify::new(),
    });
    let end = Arc::new(Notify::new());
    let (theirs, ended) = (Arc::clone(&stuck), Arc::clone(&end));
    let holder = tarae::spawn(move || {
        let _locked = (theirs.mutex.lock().unwrap(), theirs.rwlock.write().unwrap());
        theirs.once.call_once(|| {
            theirs.cell.get_or_init(|| ended.notified().wait().unwrap());
        });
    });
    while stuck.mutex.try_lock().is_ok() {
        tarae::yield_now();
    }
    test(&stuck);
    end.notify_one();
    holder.join().unwrap();
    drop((stuck.mutex.lock().unwrap(), stuck.rwlock.write().unwrap()));
    assert!(stuck.once.is_completed() && stuck.cell.get().is_some());
}

#[test]
fn every_twin_has_a_deadline() {
    guarded("deadlines", || {
        run_on(1, || {
            with_stuck(|stuck| {
                for (name, wait) in WAITS {
                    let soon = Instant::now() + Duration::from_millis(1);
                    let error = wait(stuck, Some(soon)).expect_err(name);
                    assert!(error.is_timeout() && !error.is_cancelled(), "{name}");
                }
                let soon = Instant::now() + Duration::from_millis(1);
                assert!(
                    stuck
                        .semaphore
                        .acquire_until(soon)
                        .unwrap_err()
                        .is_timeout()
                );
                // A plain thread has deadlines too.
                let theirs = Arc::clone(stuck);
                std::thread::spawn(move || {
                    for (name, wait) in WAITS {
                        let soon = Instant::now() + Duration::from_millis(1);
                        assert!(wait(&theirs, Some(soon)).expect_err(name).is_timeout());
                    }
                })
                .join()
                .unwrap();
            });
        });
    });
}

#[test]
fn every_twin_is_cancelled() {
    guarded("cancellation", || {
        run_on(1, || {
            with_stuck(|stuck| {
                for (name, wait) in WAITS {
                    let theirs = Arc::clone(stuck);
                    let waiter = tarae::spawn(move || wait(&theirs, None));
                    tarae::yield_now();
                    assert!(!waiter.is_finished(), "{name} did not wait");
                    waiter.cancel();
                    let error = waiter.join().unwrap().expect_err(name);
                    assert!(error.is_cancelled() && !error.is_timeout(), "{name}");
                }
                let theirs = Arc::clone(stuck);
                let waiter = tarae::spawn(move || theirs.semaphore.acquire().map(drop));
                tarae::yield_now();
                waiter.cancel();
                assert!(waiter.join().unwrap().unwrap_err().is_cancelled());
            });
        });
    });
}

/// The calls without an error to give go on waiting.
#[test]
fn calls_without_errors_are_not_cancelled() {
    type Call = fn(&Stuck);
    const CALLS: &[(&str, Call)] = &[
        ("lock", |s| drop(s.mutex.lock().unwrap())),
        ("read", |s| drop(s.rwlock.read().unwrap())),
        ("write", |s| drop(s.rwlock.write().unwrap())),
        ("condition", |s| {
            let own = Mutex::new(());
            drop(s.condvar.wait(own.lock().unwrap()).unwrap());
        }),
        ("call_once", |s| {
            s.once.call_once(|| unreachable!("somebody is at it"))
        }),
        ("once", |s| s.once.wait()),
        ("get_or_init", |s| {
            s.cell.get_or_init(|| unreachable!("somebody is at it"));
        }),
        ("cell", |s| {
            s.cell.wait();
        }),
        ("barrier", |s| {
            s.barrier.wait();
        }),
        ("group", |s| s.group().wait()),
    ];
    guarded("calls without errors", || {
        run_on(1, || {
            let mut waiters = Vec::new();
            with_stuck(|stuck| {
                for (name, call) in CALLS {
                    let theirs = Arc::clone(stuck);
                    waiters.push((name, tarae::spawn(move || call(&theirs))));
                }
                tarae::yield_now();
                waiters.iter().for_each(|(_, waiter)| waiter.cancel());
                (0..10).for_each(|_| tarae::yield_now());
                for (name, waiter) in &waiters {
                    assert!(!waiter.is_finished(), "{name} was cancelled");
                }
                stuck.condvar.notify_all();
                stuck.barrier.wait();
                drop(stuck.group.lock().unwrap().take());
            });
            for (name, waiter) in waiters {
                waiter.join().expect(name);
            }
        });
    });
}

/// A notification and a cancellation in the same moment, in either order: it reaches one of the two
/// who wait, whatever becomes of the other.
#[test]
fn a_notification_is_not_lost_with_one_that_is_cancelled() {
    guarded("notified and cancelled", || {
        run_on(1, || {
            for notify_first in [true, false] {
                let shared = Arc::new((Mutex::new(()), Condvar::new(), AtomicUsize::new(0)));
                let waiter = || {
                    let shared = Arc::clone(&shared);
                    let handle = tarae::spawn(move || {
                        let guard = shared.0.lock().unwrap();
                        if shared.1.wait_cancellable(guard, None).is_ok() {
                            shared.2.fetch_add(1, SeqCst);
                        }
                    });
                    tarae::yield_now();
                    handle
                };
                let (first, second) = (waiter(), waiter());
                if notify_first {
                    shared.1.notify_one();
                    first.cancel();
                } else {
                    first.cancel();
                    shared.1.notify_one();
                }
                first.join().unwrap();
                tarae::yield_now();
                assert_eq!(shared.2.load(SeqCst), 1, "notified first: {notify_first}");
                second.cancel();
                second.join().unwrap();
            }
        });
    });
}

/// Dropped without waiting, or told in the moment it gives up: the next one is told.
#[test]
fn a_notified_that_leaves_passes_it_on() {
    guarded("notify passed on", || {
        run_on(1, || {
            let notify = Arc::new(Notify::new());
            let first = notify.notified();
            let second = notify.notified();
            notify.notify_one();
            drop(first);
            second.wait().unwrap();
            // A permit that was taken and not used stays.
            notify.notify_one();
            drop(notify.notified());
            notify.notified().wait().unwrap();
            // `notify_waiters` leaves nothing behind.
            let told = notify.notified();
            notify.notify_waiters();
            drop(told);
            let soon = Instant::now() + Duration::from_millis(1);
            assert!(notify.notified().wait_until(soon).unwrap_err().is_timeout());
        });
    });
}

/// A large request at the head of the line gives up: those behind it go on.
#[test]
fn those_behind_one_that_leaves_are_served() {
    guarded("behind one that leaves", || {
        run_on(1, || {
            let semaphore = Arc::new(Semaphore::new(1));
            let (large, small) = (Arc::clone(&semaphore), Arc::clone(&semaphore));
            let large = tarae::spawn(move || large.acquire_many(2).map(drop));
            tarae::yield_now();
            let small = tarae::spawn(move || small.acquire().map(drop));
            tarae::yield_now();
            assert!(!small.is_finished(), "nobody passes");
            large.cancel();
            assert!(large.join().unwrap().unwrap_err().is_cancelled());
            small.join().unwrap().unwrap();
            assert_eq!(semaphore.available_permits(), 1);
        });
    });
}

/// A party that leaves a barrier is not counted.
#[test]
fn a_barrier_waits_for_another_in_place_of_one_that_leaves() {
    guarded("barrier left", || {
        run_on(1, || {
            let barrier = Arc::new(Barrier::new(2));
            let soon = Instant::now() + Duration::from_millis(1);
            assert!(barrier.wait_cancellable(soon).unwrap_err().is_timeout());
            let theirs = Arc::clone(&barrier);
            let first = tarae::spawn(move || theirs.wait().is_leader());
            tarae::yield_now();
            assert!(!first.is_finished(), "one is not two");
            assert!(barrier.wait().is_leader());
            assert!(!first.join().unwrap());
        });
    });
}
