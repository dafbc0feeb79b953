//! Who waits is served in turn: counts and order, never time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tarae::sync::{Mutex, RwLock, Semaphore};

use crate::support::{guarded, run_on, until};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<String>>>);

impl Log {
    fn add(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }

    /// Says when it is in and, after a suspension, when it is out.
    fn stay<G>(&self, name: &str, inside: G) {
        self.add(&format!("+{name}"));
        tarae::yield_now();
        self.add(&format!("-{name}"));
        drop(inside);
    }
}

/// One that locks again as soon as it has let go gets in between never: on one worker it holds the
/// lock whenever the other asks, so the other is next, each time.
#[test]
fn a_greedy_relocker_starves_nobody() {
    const TIMES: usize = 1_000;
    guarded("a greedy relocker", || {
        run_on(1, || {
            let lock = Arc::new(Mutex::new(0usize));
            let (theirs, done) = (Arc::clone(&lock), Arc::new(AtomicBool::new(false)));
            let end = Arc::clone(&done);
            let greedy = tarae::spawn(move || {
                while !end.load(SeqCst) {
                    let mut taken = theirs.lock().unwrap();
                    *taken += 1;
                    tarae::yield_now();
                }
            });
            until(|| lock.try_lock().is_err());
            for _ in 0..TIMES {
                drop(lock.lock().unwrap());
            }
            done.store(true, SeqCst);
            greedy.join().unwrap();
            let taken = *lock.lock().unwrap();
            assert!(taken <= TIMES + 2, "{taken} times in between {TIMES}");
        });
    });
}

/// The same between threads: all that can be counted is that everybody gets through while the
/// greedy ones never stop.
#[test]
fn greedy_threads_starve_no_coroutine() {
    guarded("greedy threads", || {
        let lock = Arc::new(Mutex::new(()));
        let done = Arc::new(AtomicBool::new(false));
        let greedy: Vec<_> = (0..2)
            .map(|_| {
                let (lock, done) = (Arc::clone(&lock), Arc::clone(&done));
                std::thread::spawn(move || {
                    while !done.load(SeqCst) {
                        drop(lock.lock().unwrap());
                    }
                })
            })
            .collect();
        run_on(2, || {
            let victims: Vec<_> = (0..4)
                .map(|_| {
                    let lock = Arc::clone(&lock);
                    tarae::spawn(move || (0..200).for_each(|_| drop(lock.lock().unwrap())))
                })
                .collect();
            for victim in victims {
                victim.join().unwrap();
            }
        });
        done.store(true, SeqCst);
        for thread in greedy {
            thread.join().unwrap();
        }
    });
}

/// Readers that stand together go in together; a writer waits for those before it, and those after
/// it wait for the writer.
#[test]
fn readers_and_writers_take_turns() {
    guarded("readers and writers", || {
        run_on(1, || {
            let (lock, log) = (Arc::new(RwLock::new(())), Log::default());
            let held = lock.read().unwrap();
            let mut askers = Vec::new();
            for name in ["w1", "r1", "r2", "w2", "r3"] {
                let (lock, log) = (Arc::clone(&lock), log.clone());
                askers.push(tarae::spawn(move || {
                    if name.starts_with('w') {
                        log.stay(name, lock.write().unwrap());
                    } else {
                        log.stay(name, lock.read().unwrap());
                    }
                }));
            }
            tarae::yield_now();
            assert_eq!(log.text(), "", "a writer waits, and so do those behind it");
            assert!(lock.try_read().is_err(), "nobody passes");
            drop(held);
            for asker in askers {
                asker.join().unwrap();
            }
            assert_eq!(log.text(), "+w1 -w1 +r1 +r2 -r1 -r2 +w2 -w2 +r3 -r3");
        });
    });
}

/// A large request is served in its turn, though smaller ones that came later could have been.
#[test]
fn a_large_request_is_not_passed() {
    guarded("a large request", || {
        run_on(1, || {
            let (semaphore, log) = (Arc::new(Semaphore::new(2)), Log::default());
            let held = semaphore.acquire().unwrap();
            let mut askers = Vec::new();
            for (name, count) in [("2", 2), ("1", 1), ("1'", 1)] {
                let (semaphore, log) = (Arc::clone(&semaphore), log.clone());
                askers.push(tarae::spawn(move || {
                    log.stay(name, semaphore.acquire_many(count).unwrap());
                }));
            }
            tarae::yield_now();
            assert_eq!(semaphore.available_permits(), 1);
            assert!(semaphore.try_acquire().unwrap_err().is_no_permits());
            drop(held);
            for asker in askers {
                asker.join().unwrap();
            }
            assert_eq!(log.text(), "+2 -2 +1 +1' -1 -1'");
        });
    });
}

/// What is notified goes to the one who has waited longest.
#[test]
fn notifications_go_in_turn() {
    guarded("notifications in turn", || {
        run_on(1, || {
            let pair = Arc::new((Mutex::new(()), tarae::sync::Condvar::new()));
            let woken = Arc::new(AtomicUsize::new(0));
            let waiters: Vec<_> = (0..10)
                .map(|number| {
                    let (pair, woken) = (Arc::clone(&pair), Arc::clone(&woken));
                    tarae::spawn(move || {
                        drop(pair.1.wait(pair.0.lock().unwrap()).unwrap());
                        assert_eq!(woken.fetch_add(1, SeqCst), number);
                    })
                })
                .collect();
            tarae::yield_now();
            for number in 1..=10 {
                pair.1.notify_one();
                until(|| woken.load(SeqCst) == number);
            }
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    });
}
