//! The table's rows of `sync`: a call waits for what somebody else does a little later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tarae::sync::{AcquireError, WaitGroup};
use tarae::sync::{Barrier, Condvar, Mutex, Notify, Once, OnceLock, RwLock, Semaphore, WaitError};
use tarae::time::Instant;

use crate::support::{FAR, until};
use crate::table::{Case, Cut, predicates};

/// A wait that can be cut short, and is: nobody ends it otherwise.
fn short<T>(result: Result<T, WaitError>) -> &'static str {
    match result {
        Err(error) => predicates(error.is_cancelled(), error.is_timeout()),
        Ok(_) => "goes on",
    }
}

fn refused<T>(result: Result<T, AcquireError>) -> &'static str {
    match result {
        Err(error) => predicates(error.is_cancelled(), error.is_timeout()),
        Ok(_) => "goes on",
    }
}

fn far() -> Instant {
    Instant::now() + FAR
}

/// A wait that is not cut short: it lasts until `release`, which comes when the wait has been cut
/// short long since, and again and again until it has ended.
fn endless<S: Send + Sync + 'static>(
    cut: Cut,
    state: S,
    release: fn(&S),
    call: impl FnOnce(&S),
) -> &'static str {
    let shared = Arc::new((state, AtomicBool::new(false), AtomicBool::new(false)));
    let theirs = Arc::clone(&shared);
    let releaser = tarae::spawn(move || {
        let (state, released, ended) = &*theirs;
        tarae::time::sleep(2 * crate::support::SOON);
        (0..100).for_each(|_| tarae::yield_now());
        released.store(true, SeqCst);
        release(state);
        while !ended.load(SeqCst) {
            release(state);
            tarae::yield_now();
        }
    });
    let report = cut.run(|| {
        call(&shared.0);
        match shared.1.load(SeqCst) {
            true => "goes on",
            false => "returns early",
        }
    });
    shared.2.store(true, SeqCst);
    releaser.join().unwrap();
    report
}

/// As `endless`, for what somebody holds while `hold` runs its argument.
fn held<S: Send + Sync + 'static>(
    cut: Cut,
    state: S,
    hold: fn(&S, &dyn Fn()),
    call: impl FnOnce(&S),
) -> &'static str {
    let shared = Arc::new((state, AtomicBool::new(false), AtomicBool::new(false)));
    let theirs = Arc::clone(&shared);
    let holder = tarae::spawn(move || {
        let (state, holds, released) = &*theirs;
        hold(state, &|| {
            holds.store(true, SeqCst);
            tarae::time::sleep(2 * crate::support::SOON);
            released.store(true, SeqCst);
        });
    });
    until(|| shared.1.load(SeqCst));
    let report = cut.run(|| {
        call(&shared.0);
        match shared.2.load(SeqCst) {
            true => "goes on",
            false => "returns early",
        }
    });
    holder.join().unwrap();
    report
}

fn hold_lock(lock: &RwLock<()>, while_held: &dyn Fn()) {
    let _guard = lock.write().unwrap();
    while_held();
}

type Condition = (Mutex<bool>, Condvar);

fn condition() -> Condition {
    (Mutex::new(false), Condvar::new())
}

fn satisfy(state: &Condition) {
    *state.0.lock().unwrap() = true;
    state.1.notify_all();
}

fn wait_group(cut: Cut) -> &'static str {
    let group = WaitGroup::new();
    let member = std::sync::Mutex::new(Some(group.clone()));
    endless(
        cut,
        member,
        |member| drop(member.lock().unwrap().take()),
        |_| group.wait(),
    )
}

#[rustfmt::skip]
pub(crate) const CASES: &[(&str, Case)] = &[
    ("Mutex::lock_cancellable", |cut| {
        let lock = Mutex::new(());
        let _held = lock.lock().unwrap();
        short(cut.run(|| lock.lock_cancellable(None)))
    }),
    ("RwLock::read", |cut| held(cut, RwLock::new(()), hold_lock, |l| drop(l.read()))),
    ("RwLock::write", |cut| held(cut, RwLock::new(()), hold_lock, |l| drop(l.write()))),
    ("RwLock::read_cancellable", |cut| {
        let lock = RwLock::new(());
        let _held = lock.write().unwrap();
        short(cut.run(|| lock.read_cancellable(None)))
    }),
    ("RwLock::write_cancellable", |cut| {
        let lock = RwLock::new(());
        let _held = lock.read().unwrap();
        short(cut.run(|| lock.write_cancellable(None)))
    }),
    ("Condvar::wait", |cut| endless(cut, condition(), satisfy, |(lock, condition)| {
        let guard = lock.lock().unwrap();
        drop(condition.wait(guard));
    })),
    ("Condvar::wait_while", |cut| endless(cut, condition(), satisfy, |(lock, condition)| {
        drop(condition.wait_while(lock.lock().unwrap(), |met| !*met));
    })),
    ("Condvar::wait_timeout", |cut| endless(cut, condition(), satisfy, |(lock, condition)| {
        drop(condition.wait_timeout(lock.lock().unwrap(), FAR));
    })),
    ("Condvar::wait_timeout_while", |cut| endless(cut, condition(), satisfy, |(lock, c)| {
        drop(c.wait_timeout_while(lock.lock().unwrap(), FAR, |met| !*met));
    })),
    ("Condvar::wait_cancellable", |cut| {
        let (lock, condition) = condition();
        short(cut.run(|| condition.wait_cancellable(lock.lock().unwrap(), None)))
    }),
    ("Condvar::wait_while_cancellable", |cut| {
        let (lock, condition) = condition();
        let wait = || condition.wait_while_cancellable(lock.lock().unwrap(), |met| !*met, None);
        short(cut.run(wait))
    }),
    ("Semaphore::acquire", |cut| {
        let semaphore = Semaphore::new(0);
        refused(cut.run(|| semaphore.acquire()))
    }),
    ("Semaphore::acquire_until", |cut| {
        let semaphore = Semaphore::new(0);
        refused(cut.run(|| semaphore.acquire_until(far())))
    }),
    ("Semaphore::acquire_many", |cut| {
        let semaphore = Semaphore::new(1);
        refused(cut.run(|| semaphore.acquire_many(2)))
    }),
    ("Semaphore::acquire_many_until", |cut| {
        let semaphore = Semaphore::new(1);
        refused(cut.run(|| semaphore.acquire_many_until(2, far())))
    }),
    ("Barrier::wait", |cut| {
        let here = AtomicBool::new(false);
        let state = (Barrier::new(2), here);
        endless(cut, state, |(barrier, here)| {
            if !here.swap(true, SeqCst) {
                barrier.wait();
            }
        }, |(barrier, _)| { barrier.wait(); })
    }),
    ("Barrier::wait_cancellable", |cut| {
        let barrier = Barrier::new(2);
        short(cut.run(|| barrier.wait_cancellable(None)))
    }),
    ("Once::call_once", |cut| held(cut, Once::new(), |o, f| o.call_once(f), |o| {
        o.call_once(|| ());
    })),
    ("Once::call_once_force", |cut| held(cut, Once::new(), |once, f| once.call_once(f), |once| {
        once.call_once_force(|_| ());
    })),
    ("Once::wait", |cut| endless(cut, Once::new(), |o| o.call_once(|| ()), |o| o.wait())),
    ("Once::wait_force", |cut| endless(cut, Once::new(), |o| o.call_once(|| ()), |o| {
        o.wait_force();
    })),
    ("Once::call_once_cancellable", |cut| once_busy(|once| {
        short(cut.run(|| once.call_once_cancellable(|| (), None)))
    })),
    ("Once::wait_cancellable", |cut| {
        let once = Once::new();
        short(cut.run(|| once.wait_cancellable(None)))
    }),
    ("OnceLock::get_or_init", |cut| held(cut, OnceLock::new(), |o, f| { o.get_or_init(f); }, |o| {
        o.get_or_init(|| ());
    })),
    ("OnceLock::wait", |cut| endless(cut, OnceLock::new(), |o| o.set(()).unwrap_or(()), |o| {
        o.wait();
    })),
    ("OnceLock::get_or_init_cancellable", |cut| {
        let lock = OnceLock::new();
        busy(|while_busy| { lock.get_or_init(while_busy); }, || {
            short(cut.run(|| lock.get_or_init_cancellable(|| (), None)))
        })
    }),
    ("OnceLock::wait_cancellable", |cut| {
        let lock = OnceLock::<()>::new();
        short(cut.run(|| lock.wait_cancellable(None)))
    }),
    ("WaitGroup::wait", wait_group),
    ("WaitGroup::wait_cancellable", |cut| {
        let group = WaitGroup::new();
        let _member = group.clone();
        short(cut.run(|| group.wait_cancellable(None)))
    }),
    ("Notified::wait", |cut| {
        let notify = Notify::new();
        short(cut.run(|| notify.notified().wait()))
    }),
    ("Notified::wait_until", |cut| {
        let notify = Notify::new();
        short(cut.run(|| notify.notified().wait_until(far())))
    }),
];

/// Calls `then` while somebody is inside what `enter` has called.
fn busy<T>(enter: impl FnOnce(&dyn Fn()) + Send, then: impl FnOnce() -> T) -> T {
    let (inside, leave) = (AtomicBool::new(false), AtomicBool::new(false));
    tarae::scope(|s| {
        s.spawn(|| {
            enter(&|| {
                inside.store(true, SeqCst);
                until(|| leave.load(SeqCst));
            });
        });
        until(|| inside.load(SeqCst));
        let value = then();
        leave.store(true, SeqCst);
        value
    })
}

fn once_busy(then: impl FnOnce(&Once) -> &'static str) -> &'static str {
    let once = Once::new();
    busy(|while_busy| once.call_once(while_busy), || then(&once))
}
