//! Coroutines that wait for each other in a circle are reported, once; others never are. Reports
//! belong to the process, so each test has one of its own.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::inspect::{self, WaitReason, worker_index};
use tarae::net::{TcpListener, TcpStream};
use tarae::sync::{Mutex, Notify, RwLock};
use tarae::thread::{Builder, JoinHandle};
use tarae::time::Instant;

use crate::support::{alone, alone_saying, run_on, until};

/// Runs on so many workers; the coroutines that are stuck in the end are left behind.
fn run_stuck(workers: usize, main: impl FnOnce()) {
    let runtime = tarae::Builder::new().workers(workers);
    let error = runtime.grace(Duration::from_millis(10)).run(main);
    assert!(!error.unwrap_err().stragglers().is_empty());
}

fn named<T: 'static>(name: &str, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn_local(f).unwrap()
}

/// Has `job` run by a coroutine of that worker.
fn on_worker(worker: usize, name: &'static str, job: impl FnOnce() + Send + 'static) {
    if worker_index() == Some(worker) {
        named(name, job);
        return;
    }
    let job = Arc::new(std::sync::Mutex::new(Some(job)));
    while job.lock().unwrap().is_some() {
        for _ in 0..4 {
            let job = Arc::clone(&job);
            tarae::spawn(move || {
                if worker_index() == Some(worker)
                    && let Some(job) = job.lock().unwrap().take()
                {
                    named(name, job);
                }
            });
        }
        // While this worker is blocked the other one takes what has not begun.
        std::thread::sleep(Duration::from_millis(1));
        tarae::yield_now();
    }
}

/// The names of each cycle's members, and what they wait for.
fn found() -> Vec<Vec<(String, WaitReason)>> {
    let members = |cycle: inspect::Deadlock| {
        let member = |one: inspect::Deadlocked| (one.name.unwrap_or_default(), one.waits_for);
        cycle.members.into_iter().map(member).collect()
    };
    inspect::deadlocks().into_iter().map(members).collect()
}

fn lock(name: &str) -> (String, WaitReason) {
    (name.to_owned(), WaitReason::Lock)
}

/// Locks both, the second when `turn` has come to it.
fn lock_both(
    first: &Arc<Mutex<()>>,
    second: &Arc<Mutex<()>>,
    turn: &Arc<AtomicUsize>,
) -> impl FnOnce() + Send + 'static {
    let (first, second, turn) = (Arc::clone(first), Arc::clone(second), Arc::clone(turn));
    move || {
        let _first = first.lock().unwrap();
        turn.fetch_add(1, SeqCst);
        until(|| turn.load(SeqCst) == 2);
        let _second = second.lock().unwrap();
    }
}

/// While an accept loop goes on serving, before the report and after it.
#[test]
fn deadlock_of_two_locks() {
    let said = alone_saying("deadlock::deadlock_of_two_locks", || {
        run_stuck(1, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            tarae::spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.write_all(b"served");
                }
            });
            let served = || {
                let mut answer = String::new();
                TcpStream::connect(address)
                    .unwrap()
                    .read_to_string(&mut answer)
                    .unwrap();
                assert_eq!(answer, "served");
            };
            served();
            let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
            let turn = Arc::default();
            let _left = named("left", lock_both(&a, &b, &turn));
            let _right = named("right", lock_both(&b, &a, &turn));
            until(|| !found().is_empty());
            (0..3).for_each(|_| served());
            // A third one that waits for them is no cycle of its own.
            let third = Arc::clone(&a);
            let _third = named("third", move || drop(third.lock().unwrap()));
            (0..500).for_each(|_| tarae::yield_now());
            assert_eq!(found(), [[lock("left"), lock("right")]]);
        });
    });
    let Some(said) = said else { return };
    assert_eq!(
        said.matches("tarae: deadlock: 2 coroutines").count(),
        1,
        "{said}"
    );
    for name in ["(left), spawned at", "(right), spawned at", "deadlock.rs:"] {
        assert!(said.contains(name), "{name} is not in: {said}");
    }
}

#[test]
fn deadlock_with_oneself() {
    alone("deadlock::deadlock_with_oneself", || {
        run_stuck(1, || {
            let lock_once = Arc::new(Mutex::new(()));
            let _selfish = named("selfish", move || {
                let _held = lock_once.lock().unwrap();
                drop(lock_once.lock());
            });
            until(|| !found().is_empty());
            assert_eq!(found(), [[lock("selfish")]]);
        });
    });
}

/// Each on its worker: the walk goes through both inboxes. Many times, since both may be about to
/// park at the same moment.
#[test]
fn deadlock_across_workers() {
    const TIMES: usize = 20;
    alone("deadlock::deadlock_across_workers", || {
        run_stuck(2, || {
            for time in 1..=TIMES {
                let (a, b) = (Arc::new(RwLock::new(())), Arc::new(Mutex::new(())));
                let turn = Arc::new(AtomicUsize::new(0));
                let (first, second, here) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&turn));
                on_worker(0, "writer", move || {
                    let _first = first.write().unwrap();
                    here.fetch_add(1, SeqCst);
                    until(|| here.load(SeqCst) == 2);
                    drop(second.lock());
                });
                on_worker(1, "locker", move || {
                    let _second = b.lock().unwrap();
                    turn.fetch_add(1, SeqCst);
                    until(|| turn.load(SeqCst) == 2);
                    drop(a.read());
                });
                until(|| found().len() == time);
            }
            for mut cycle in found() {
                cycle.sort_by(|one, other| one.0.cmp(&other.0));
                assert_eq!(cycle, [lock("locker"), lock("writer")]);
            }
        });
    });
}

/// The names on the stack take longer to find than is left of the runtime.
#[test]
fn deadlock_right_before_the_end() {
    let said = alone_saying("deadlock::deadlock_right_before_the_end", || {
        run_stuck(1, || {
            let lock = Arc::new(Mutex::new(()));
            let theirs = Arc::clone(&lock);
            let _selfish = named("selfish", move || {
                let _held = theirs.lock().unwrap();
                ship(&theirs);
            });
            until(|| lock.try_lock().is_err());
            // More than one round of the worker's loop, so that the walk ends.
            (0..500).for_each(|_| tarae::yield_now());
        });
    });
    let Some(said) = said else { return };
    assert!(said.contains("ship\n             at "), "{said}");
}

#[inline(never)]
fn ship(stock: &Mutex<()>) {
    drop(stock.lock());
}

#[inline(never)]
fn restock(orders: &Mutex<()>) {
    // Not the very same code as `ship`, which could be made one.
    assert!(orders.lock().is_ok());
}

/// The functions that called `lock` are on top, on two workers, in the list and in the report.
#[test]
fn deadlock_has_the_stacks() {
    let said = alone_saying("deadlock::deadlock_has_the_stacks", || {
        run_stuck(2, || {
            let (orders, stock) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
            let turn = Arc::new(AtomicUsize::new(0));
            let theirs = (Arc::clone(&orders), Arc::clone(&stock), Arc::clone(&turn));
            on_worker(0, "shipper", move || {
                let _orders = theirs.0.lock().unwrap();
                theirs.2.fetch_add(1, SeqCst);
                until(|| theirs.2.load(SeqCst) == 2);
                ship(&theirs.1);
            });
            on_worker(1, "restocker", move || {
                let _stock = stock.lock().unwrap();
                turn.fetch_add(1, SeqCst);
                until(|| turn.load(SeqCst) == 2);
                restock(&orders);
            });
            until(|| !found().is_empty());
            for member in &inspect::deadlocks()[0].members {
                let function = match member.name.as_deref() {
                    Some("shipper") => "ship",
                    _ => "restock",
                };
                let innermost = member.stack[0].function.as_deref().unwrap();
                // Where only lines are known, it has no module.
                assert_eq!(innermost.rsplit("::").next(), Some(function), "{member:?}");
            }
        });
    });
    let Some(said) = said else { return };
    let report = &said[said.find("tarae: deadlock: 2 coroutines").unwrap()..];
    let at = |text: &str| {
        report
            .find(text)
            .unwrap_or_else(|| panic!("no `{text}` in: {said}"))
    };
    let mut parts = [
        (at("(shipper), spawned at"), at("ship\n             at ")),
        (
            at("(restocker), spawned at"),
            at("restock\n             at "),
        ),
    ];
    parts.sort_unstable();
    let [(first, its), (second, theirs)] = parts;
    assert!(first < its && its < second && second < theirs, "{said}");
}

/// One waits for a lock of the second, which waits for the end of the third, which waits for a lock
/// of the first. Whoever is the last to wait, it is found. (The end of `main` cancels the join, so
/// that nobody is left behind.)
#[test]
fn deadlock_of_three_with_a_join() {
    alone("deadlock::deadlock_of_three_with_a_join", || {
        run_on(1, || {
            for last in 0..3 {
                let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
                let turn = Arc::new(AtomicUsize::new(0));
                // Waits until it is its turn; the last one's comes when the others are parked.
                let wait = move |turn: &AtomicUsize, number: usize| {
                    turn.fetch_add(1, SeqCst);
                    until(|| turn.load(SeqCst) >= 3);
                    if number == last {
                        (0..10).for_each(|_| tarae::yield_now());
                    }
                };
                let (own, other, now) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&turn));
                named("one", move || {
                    let _own = own.lock().unwrap();
                    wait(&now, 0);
                    drop(other.lock());
                });
                let (theirs, now) = (Arc::clone(&a), Arc::clone(&turn));
                let third = named("three", move || {
                    wait(&now, 2);
                    drop(theirs.lock());
                });
                named("two", move || {
                    let _own = b.lock().unwrap();
                    wait(&turn, 1);
                    drop(third.join());
                });
                until(|| found().len() == last + 1);
            }
            for cycle in found() {
                let names: Vec<&str> = cycle.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["one", "two", "three"]);
                assert!(matches!(cycle[1].1, WaitReason::Join(_)));
            }
        });
    });
}

/// A hundred hold a lock each and wait for the next one's; the last lets go.
#[test]
fn a_chain_is_no_cycle() {
    alone("deadlock::a_chain_is_no_cycle", || {
        run_on(2, || {
            let locks: Vec<_> = (0..=100).map(|_| Arc::new(Mutex::new(()))).collect();
            let end = Arc::new(Notify::new());
            let (last, told) = (Arc::clone(&locks[100]), Arc::clone(&end));
            let holder = tarae::spawn(move || {
                let _last = last.lock().unwrap();
                told.notified().wait().unwrap();
            });
            until(|| locks[100].try_lock().is_err());
            let links: Vec<_> = (0..100)
                .rev()
                .map(|n| {
                    let (own, next) = (Arc::clone(&locks[n]), Arc::clone(&locks[n + 1]));
                    let link = tarae::spawn(move || {
                        let _own = own.lock().unwrap();
                        drop(next.lock().unwrap());
                    });
                    until(|| locks[n].try_lock().is_err());
                    link
                })
                .collect();
            (0..100).for_each(|_| tarae::yield_now());
            end.notify_one();
            for link in links {
                link.join().unwrap();
            }
            holder.join().unwrap();
            assert_eq!(found(), Vec::<Vec<_>>::new());
        });
    });
}

/// One of the two can give up: with a deadline, or because it can be cancelled.
#[test]
fn a_cycle_that_can_end_is_not_reported() {
    alone("deadlock::a_cycle_that_can_end_is_not_reported", || {
        run_on(1, || {
            for cancels in [false, true] {
                let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
                let turn = Arc::default();
                let patient = named("patient", lock_both(&a, &b, &turn));
                let impatient = named("impatient", move || {
                    let _own = b.lock().unwrap();
                    turn.fetch_add(1, SeqCst);
                    until(|| turn.load(SeqCst) == 2);
                    let soon = Instant::now() + Duration::from_millis(20);
                    let waited = a.lock_cancellable((!cancels).then_some(soon));
                    waited.map(drop).unwrap_err()
                });
                if cancels {
                    // More than one round of the worker's loop, so that walks end.
                    (0..500).for_each(|_| tarae::yield_now());
                    impatient.cancel();
                }
                let error = impatient.join().unwrap();
                assert!(error.is_cancelled() == cancels);
                patient.join().unwrap();
            }
            assert_eq!(found(), Vec::<Vec<_>>::new());
        });
    });
}

/// One waits for another's end and gives up; only then the other waits for a lock of the first. The
/// walk that the first wait began comes to the other one after that, and finds a cycle that was
/// never there at any time.
#[test]
fn a_cycle_that_never_stood_is_not_reported() {
    alone("deadlock::a_cycle_that_never_stood_is_not_reported", || {
        run_stuck(2, || {
            let lock = Arc::new(Mutex::new(()));
            let (give, given) = std::sync::mpsc::channel();
            let (open, opened) = std::sync::mpsc::channel::<()>();
            let theirs = Arc::clone(&lock);
            on_worker(1, "starter", move || {
                let other = named("other", move || {
                    // Holds its worker: no walk gets there before it has parked.
                    opened.recv().unwrap();
                    drop(theirs.lock());
                });
                give.send(other).unwrap();
            });
            let other = given.recv().unwrap();
            let (turn, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let (now, told) = (Arc::clone(&turn), Arc::clone(&enough));
            let first = named("first", move || {
                let _own = lock.lock().unwrap();
                now.store(1, SeqCst);
                assert!(other.join().unwrap_err().is_cancelled());
                now.store(2, SeqCst);
                tarae::shield(|| told.notified().wait()).unwrap();
            });
            // On this worker, so it is parked when this is seen.
            until(|| turn.load(SeqCst) == 1);
            first.cancel();
            until(|| turn.load(SeqCst) == 2);
            open.send(()).unwrap();
            // What is found later on the same worker has been looked at later.
            on_worker(1, "selfish", || {
                let lock = Mutex::new(());
                let _held = lock.lock().unwrap();
                drop(lock.lock());
            });
            until(|| !found().is_empty());
            assert_eq!(found(), [[self::lock("selfish")]]);
            enough.notify_one();
            first.join().unwrap();
        });
    });
}

/// Nested locks in one order, joins in between, on two workers: contended all the time, and never a
/// cycle.
#[test]
fn contention_is_no_deadlock() {
    const EACH: usize = 10_000;
    alone("deadlock::contention_is_no_deadlock", || {
        run_on(2, || {
            let locks: Arc<[Mutex<usize>; 3]> = Arc::default();
            let parties: Vec<_> = (0..6)
                .map(|party| {
                    let locks = Arc::clone(&locks);
                    tarae::spawn(move || {
                        for n in 0..EACH {
                            let mut outer = locks[n % 2].lock().unwrap();
                            *outer += 1;
                            let mut inner = locks[2].lock().unwrap();
                            *inner += 1;
                            if n % 50 == party {
                                tarae::yield_now();
                            }
                            drop(inner);
                            if n % 500 == party {
                                // The outer lock is held over a join.
                                let theirs = Arc::clone(&locks);
                                let nested = move || *theirs[2].lock().unwrap();
                                assert!(tarae::spawn(nested).join().unwrap() > 0);
                            }
                        }
                    })
                })
                .collect();
            for party in parties {
                party.join().unwrap();
            }
            assert_eq!(*locks[2].lock().unwrap(), 6 * EACH);
            assert_eq!(found(), Vec::<Vec<_>>::new());
        });
    });
}
