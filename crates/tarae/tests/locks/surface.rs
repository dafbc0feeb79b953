//! The rest of the surface: poison, `try_`, closing, what std's types have and ours must.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tarae::sync::{
    LazyLock, Mutex, Notify, Once, OnceLock, RwLock, RwLockWriteGuard, Semaphore, TryLockError,
};

use crate::support::{guarded, run_on};

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

fn quietly<T>() -> T {
    std::panic::resume_unwind(Box::new(()))
}

#[test]
fn a_writer_poisons_and_a_reader_does_not() {
    let lock = RwLock::new(1);
    assert!(panics(|| {
        let _read = lock.read().unwrap();
        quietly()
    }));
    assert!(!lock.is_poisoned());
    assert!(panics(|| {
        *lock.write().unwrap() = 2;
        let _written = lock.write().unwrap();
        quietly()
    }));
    assert!(lock.is_poisoned());
    assert_eq!(*lock.read().unwrap_err().into_inner(), 2);
    assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
    assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
    lock.clear_poison();
    let writer = lock.try_write().unwrap();
    assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    let reader = RwLockWriteGuard::downgrade(writer);
    assert_eq!(*reader + *lock.try_read().unwrap(), 4);
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    drop(reader);
    let mut lock = lock;
    *lock.get_mut().unwrap() += 1;
    assert_eq!(lock.into_inner().unwrap(), 3);
    assert_eq!(format!("{:?}", RwLock::from(5).read().unwrap()), "5");
}

#[test]
fn a_panic_poisons_once() {
    let once = Once::new();
    assert!(panics(|| once.call_once(quietly)));
    assert!(!once.is_completed());
    assert!(panics(|| once.call_once(|| ())), "poisoned");
    assert!(panics(|| once.wait()), "poisoned");
    once.call_once_force(|state| assert!(state.is_poisoned()));
    assert!(once.is_completed());
    once.wait();
    once.call_once(|| unreachable!("done"));
}

/// Those who wait for an initialiser that panics go on: one of them is next.
#[test]
fn a_cell_stays_empty_after_a_panic() {
    guarded("an initialiser that panics", || {
        run_on(2, || {
            let cell = Arc::new(OnceLock::new());
            let theirs = Arc::clone(&cell);
            let bad = tarae::spawn(move || {
                *theirs.get_or_init(|| {
                    tarae::yield_now();
                    quietly()
                })
            });
            let waiting = Arc::clone(&cell);
            let waiter = tarae::spawn(move || *waiting.wait());
            while cell.set(7) != Ok(()) {}
            let failed = bad.join();
            assert!(failed.is_err() || failed.is_ok_and(|value| value == 7));
            assert_eq!(waiter.join().unwrap(), 7);
            assert_eq!(cell.set(8), Err(8));
            let mut cell = Arc::into_inner(cell).unwrap();
            assert_eq!(cell.clone(), OnceLock::from(7));
            *cell.get_mut().unwrap() += 1;
            assert_eq!(cell.take(), Some(8));
            assert_eq!(cell.get(), None);
            assert_eq!(*cell.get_or_init(|| 9), 9);
            assert_eq!(cell.into_inner(), Some(9));
        });
    });
}

#[test]
fn a_lazy_value_is_poisoned_for_good() {
    let lazy: LazyLock<u8> = LazyLock::new(quietly);
    assert!(panics(|| assert_eq!(*lazy, 1)));
    assert!(panics(|| assert_eq!(*lazy, 1)), "still");
    assert_eq!(*LazyLock::<u8>::default(), 0);
    assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
}

#[test]
fn a_semaphore_grows_shrinks_and_closes() {
    guarded("closing", || {
        run_on(2, || {
            let semaphore = Arc::new(Semaphore::new(1));
            semaphore.try_acquire().unwrap().forget();
            assert_eq!(semaphore.available_permits(), 0);
            semaphore.add_permits(2);
            let held = semaphore.acquire_many(2).unwrap();
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    let semaphore = Arc::clone(&semaphore);
                    tarae::spawn(move || semaphore.acquire().map(drop))
                })
                .collect();
            let theirs = Arc::clone(&semaphore);
            let thread = std::thread::spawn(move || theirs.acquire().map(drop));
            semaphore.close();
            for waiter in waiters {
                assert!(waiter.join().unwrap().unwrap_err().is_closed());
            }
            assert!(thread.join().unwrap().unwrap_err().is_closed());
            drop(held);
            assert_eq!(semaphore.available_permits(), 2);
            assert!(semaphore.try_acquire().unwrap_err().is_closed());
            assert!(panics(|| semaphore.add_permits(Semaphore::MAX_PERMITS)));
        });
    });
}

#[test]
fn at_most_one_permit_of_a_notify_is_kept() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    notify.notified().wait().unwrap();
    let none = tarae::time::Instant::now();
    assert!(notify.notified().wait_until(none).unwrap_err().is_timeout());
}

#[test]
fn statics_and_unsized_values() {
    static LOCK: Mutex<u8> = Mutex::new(1);
    static RW: RwLock<u8> = RwLock::new(1);
    static PERMITS: Semaphore = Semaphore::new(1);
    assert_eq!(*LOCK.lock().unwrap() + *RW.read().unwrap(), 2);
    assert_eq!(PERMITS.acquire().unwrap().num_permits(), 1);
    let lock: Arc<Mutex<dyn Send + Sync>> = Arc::new(Mutex::new(1));
    drop(lock.lock().unwrap());
    assert_eq!(format!("{}", LOCK.lock().unwrap()), "1");
}
