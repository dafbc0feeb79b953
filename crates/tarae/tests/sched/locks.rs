//! `sync`: the mutex and the channel, between coroutines of two workers and plain threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::sync::{Mutex, TryLockError, mpsc};

use crate::support::{Counted, counter, guard, run_on, until};

/// A million lock–unlock pairs by 2 plain threads and 8 coroutines on 2 workers: the count is exact
/// only under mutual exclusion, and comes about only if no wake-up is lost.
#[test]
fn a_million_locks_are_exact() {
    let _guard = guard("a million locks");
    const EACH: usize = 100_000;
    let inside = Arc::new(AtomicUsize::new(0));
    let total = Arc::new(Mutex::new(0usize));
    let work = |yields: bool| {
        let (inside, total) = (Arc::clone(&inside), Arc::clone(&total));
        move || {
            for n in 0..EACH {
                let mut total = total.lock().unwrap();
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "two inside");
                *total += 1;
                if yields && n % 500 == 0 {
                    // Held across a suspension.
                    tarae::yield_now();
                }
                inside.fetch_sub(1, SeqCst);
            }
        }
    };
    run_on(2, || {
        let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(work(false))).collect();
        let coroutines: Vec<_> = (0..8).map(|_| tarae::spawn(work(true))).collect();
        coroutines
            .into_iter()
            .for_each(|coroutine| coroutine.join().unwrap());
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(*total.lock().unwrap(), 10 * EACH);
}

/// Held across a sleep, with everybody else parked behind it, on both workers and a plain thread.
#[test]
fn a_lock_held_across_a_wait_parks_the_others() {
    let _guard = guard("a lock held across a wait");
    run_on(2, || {
        let log = Arc::new(Mutex::new(Vec::new()));
        for round in 0..20 {
            let held = log.lock().unwrap();
            let others: Vec<_> = (0..10)
                .map(|n| {
                    let log = Arc::clone(&log);
                    tarae::spawn(move || log.lock().unwrap().push(n))
                })
                .collect();
            let theirs = Arc::clone(&log);
            let thread = std::thread::spawn(move || theirs.lock().unwrap().push(10));
            tarae::time::sleep(Duration::from_millis(1));
            assert_eq!(held.len(), round * 11, "somebody got in");
            drop(held);
            others.into_iter().for_each(|other| other.join().unwrap());
            thread.join().unwrap();
            assert_eq!(log.lock().unwrap().len(), (round + 1) * 11);
        }
    });
}

/// On one worker those who wait get the lock in the order in which they asked.
#[test]
fn waiters_are_served_first_come_first_served() {
    let _guard = guard("order of lock waiters");
    run_on(1, || {
        let log = Arc::new(Mutex::new(Vec::new()));
        let held = log.lock().unwrap();
        let others: Vec<_> = (0..50)
            .map(|n| {
                let log = Arc::clone(&log);
                tarae::spawn(move || log.lock().unwrap().push(n))
            })
            .collect();
        tarae::yield_now();
        drop(held);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*log.lock().unwrap(), (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn a_panic_poisons_and_the_rest_of_the_surface() {
    let _guard = guard("poisoning");
    run_on(2, || {
        let lock = Arc::new(Mutex::new(1));
        let theirs = Arc::clone(&lock);
        let bad = tarae::spawn(move || {
            let mut value = theirs.lock().unwrap();
            *value = 2;
            tarae::yield_now();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(bad.join().unwrap_err().is_panic());
        assert!(lock.is_poisoned());
        assert_eq!(*lock.lock().unwrap_err().into_inner(), 2);
        assert!(matches!(lock.try_lock(), Err(TryLockError::Poisoned(_))));
        lock.clear_poison();
        let held = lock.try_lock().unwrap();
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        assert_eq!(format!("{held:?}"), "2");
        drop(held);
        let mut lock = Arc::into_inner(lock).unwrap();
        *lock.get_mut().unwrap() += 1;
        assert_eq!(lock.into_inner().unwrap(), 3);
        assert_eq!(Mutex::<u8>::default().into_inner().unwrap(), 0);
        assert_eq!(*Mutex::from("x").lock().unwrap(), "x");
    });
}

/// A lock is not cancelled: at the end of the runtime whoever waits for it still gets it, as long
/// as its holder lets go.
#[test]
fn waiting_for_a_lock_outlasts_the_end() {
    let _guard = guard("locks at the end");
    let total = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&total);
    run_on(1, move || {
        for _ in 0..10 {
            let total = Arc::clone(&theirs);
            let begun = Arc::new(AtomicBool::new(false));
            let mark = Arc::clone(&begun);
            tarae::spawn(move || {
                mark.store(true, SeqCst);
                let mut total = total.lock().unwrap();
                // Cancelled by the end of main, with the others waiting behind this one.
                tarae::time::sleep(Duration::from_secs(3_600));
                *total += 1;
            });
            until(|| begun.load(SeqCst));
        }
    });
    assert_eq!(*total.lock().unwrap(), 10);
}

/// Messages of one sender arrive in order, all of them, from coroutines of both workers and plain
/// threads, whether the receiver is a coroutine or a plain thread.
#[test]
fn messages_keep_their_senders_order() {
    let _guard = guard("order of messages");
    const EACH: u64 = 20_000;
    let (sender, receiver) = mpsc::channel::<(u64, u64)>();
    let check = |receiver: &mpsc::Receiver<(u64, u64)>| {
        let mut next: HashMap<u64, u64> = HashMap::new();
        for (who, n) in receiver.iter() {
            let want = next.entry(who).or_default();
            assert_eq!(n, *want, "of sender {who}");
            *want += 1;
        }
        assert_eq!(next.len(), 6);
        assert!(next.values().all(|count| *count == EACH));
    };
    let send = |who: u64, sender: mpsc::Sender<(u64, u64)>| {
        move || {
            for n in 0..EACH {
                sender.send((who, n)).unwrap();
                if n % 1_000 == 0 {
                    tarae::yield_now();
                }
            }
        }
    };
    run_on(2, || {
        for who in 0..4 {
            tarae::spawn(send(who, sender.clone()));
        }
        let threads: Vec<_> = (4..6)
            .map(|who| std::thread::spawn(send(who, sender.clone())))
            .collect();
        drop(sender);
        check(&receiver);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());

        let (sender, receiver) = mpsc::channel();
        let receiving = std::thread::spawn(move || check(&receiver));
        let sending: Vec<_> = (0..6)
            .map(|who| tarae::spawn(send(who, sender.clone())))
            .collect();
        drop(sender);
        sending.into_iter().for_each(|one| one.join().unwrap());
        receiving.join().unwrap();
    });
}

#[test]
fn a_channel_reports_each_kind_of_end() {
    let _guard = guard("ends of a channel");
    run_on(2, || {
        let (sender, receiver) = mpsc::channel();
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty));
        assert!(
            receiver
                .recv_timeout(Duration::from_millis(1))
                .unwrap_err()
                .is_timeout()
        );
        assert!(
            receiver
                .recv_timeout(Duration::ZERO)
                .unwrap_err()
                .is_timeout()
        );
        sender.send(1).unwrap();
        let clone = sender.clone();
        drop(sender);
        clone.send(2).unwrap();
        assert_eq!(
            receiver.recv_timeout(Duration::ZERO),
            Ok(1),
            "what is there counts"
        );
        // Disconnected while the receiver waits.
        let dropping = tarae::spawn(move || {
            tarae::time::sleep(Duration::from_millis(1));
            drop(clone);
        });
        assert_eq!(receiver.recv(), Ok(2));
        let error = receiver.recv().unwrap_err();
        assert!(error.is_disconnected() && !error.is_timeout() && !error.is_cancelled());
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert_eq!(receiver.into_iter().count(), 0);
        dropping.join().unwrap();

        let (sender, receiver) = mpsc::channel();
        drop(receiver);
        assert_eq!(sender.send(5).unwrap_err().0, 5, "the message comes back");
    });
}

/// Every message is dropped once: received, left in the channel, or refused; also when its
/// destructor uses the channel itself.
#[test]
fn messages_are_dropped_once() {
    let _guard = guard("dropped messages");
    let dropped = counter();
    run_on(2, || {
        let (sender, receiver) = mpsc::channel();
        (0..100).for_each(|_| sender.send(Counted(dropped)).unwrap());
        (0..10).for_each(|_| drop(receiver.recv().unwrap()));
        assert_eq!(dropped.load(SeqCst), 10);
        drop(receiver);
        assert_eq!(dropped.load(SeqCst), 100);
        drop(sender.send(Counted(dropped)));
        assert_eq!(dropped.load(SeqCst), 101);

        /// Uses its own channel while it is dropped with it: a lock still held would hang.
        struct Uses(mpsc::Sender<Option<Uses>>, &'static AtomicUsize);
        impl Drop for Uses {
            fn drop(&mut self) {
                assert!(self.0.send(None).is_err(), "the receiver is gone");
                self.1.fetch_add(1, SeqCst);
            }
        }
        let (sender, receiver) = mpsc::channel();
        let message = Uses(sender.clone(), dropped);
        assert!(sender.send(Some(message)).is_ok());
        drop(receiver);
        assert_eq!(dropped.load(SeqCst), 102);
    });
}
