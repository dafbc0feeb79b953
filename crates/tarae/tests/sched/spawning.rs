//! Spawning and joining: values, panics, results nobody wants, identities.

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use tarae::thread::{Builder, JoinHandle};

use crate::support::{Counted, counter, guard, isolated, run_on, until};

#[test]
fn join_gives_the_value_or_the_panic() {
    let _guard = guard("join");
    for workers in [1, 2] {
        run_on(workers, || {
            let values: Vec<_> = (0..500u64).map(|n| tarae::spawn(move || n * n)).collect();
            let panics: Vec<_> = (0..50u64)
                .map(|n| tarae::spawn(move || std::panic::resume_unwind(Box::new(n)) as ()))
                .collect();
            for (n, handle) in (0..).zip(values) {
                assert_eq!(handle.join().unwrap(), n * n);
            }
            for (n, handle) in (0..).zip(panics) {
                let error = handle.join().unwrap_err();
                assert!(error.is_panic() && !error.is_cancelled());
                assert_eq!(*error.into_panic().downcast::<u64>().unwrap(), n);
            }
            let error = tarae::spawn(|| panic!("the reason {}", 7))
                .join()
                .unwrap_err();
            assert!(error.to_string().contains("the reason 7"), "{error}");
        });
    }
}

/// Guards the rule by which exactly one side disposes of a result: the handle is dropped before
/// the start, during the run, and after the end.
#[test]
fn a_detached_result_is_dropped_once() {
    let _guard = guard("detached results");
    for workers in [1, 2] {
        let dropped = counter();
        run_on(workers, move || {
            for round in 0..300 {
                let running = Arc::new(AtomicUsize::new(0));
                let theirs = Arc::clone(&running);
                let handle = tarae::spawn(move || {
                    theirs.store(1, SeqCst);
                    tarae::yield_now();
                    Counted(dropped)
                });
                match round % 3 {
                    0 => drop(handle),
                    1 => {
                        until(|| running.load(SeqCst) == 1);
                        drop(handle);
                    }
                    _ => {
                        until(|| handle.is_finished());
                        assert!(Arc::into_inner(running).is_some(), "the closure is gone");
                        drop(handle);
                    }
                }
            }
            until(|| dropped.load(SeqCst) == 300);
        });
        assert_eq!(dropped.load(SeqCst), 300);
    }
}

/// A value that must be dropped on the thread it was made on.
struct Homesick {
    home: ThreadId,
    strays: &'static AtomicUsize,
    dropped: &'static AtomicUsize,
    _not_send: Rc<()>,
}

impl Homesick {
    fn new(strays: &'static AtomicUsize, dropped: &'static AtomicUsize) -> Homesick {
        let home = std::thread::current().id();
        Homesick {
            home,
            strays,
            dropped,
            _not_send: Rc::new(()),
        }
    }
}

impl Drop for Homesick {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, SeqCst);
        if std::thread::current().id() != self.home {
            self.strays.fetch_add(1, SeqCst);
        }
    }
}

/// Closures and results that are not `Send` stay at home whatever becomes of the coroutine, even
/// when another thread holds the last reference to it.
#[test]
fn what_is_not_send_never_leaves_its_thread() {
    let _guard = guard("spawn_local");
    let (strays, dropped) = (counter(), counter());
    let kept: Arc<Mutex<Vec<tarae::thread::Thread>>> = Arc::default();
    let keep = Arc::clone(&kept);
    run_on(2, move || {
        let local = move |round: usize| {
            let captured = Homesick::new(strays, dropped);
            let handle = tarae::spawn_local(move || {
                let result = Homesick::new(strays, dropped);
                drop(captured);
                if round % 5 == 4 {
                    std::panic::resume_unwind(Box::new(()));
                }
                tarae::yield_now();
                result
            });
            keep.lock().unwrap().push(handle.thread());
            handle
        };
        for round in 0..100 {
            let handle = local(round);
            match round % 4 {
                0 => drop(handle),
                1 => drop(handle.join()),
                2 => {
                    until(|| handle.is_finished());
                    drop(handle);
                }
                _ => drop(tarae::spawn_local(move || drop(handle.join()))),
            }
        }
        // From within coroutines of the other worker, too.
        let spread: Vec<_> = (0..50)
            .map(|_| {
                tarae::spawn(move || {
                    std::thread::yield_now();
                    let own = Homesick::new(strays, dropped);
                    let handle = tarae::spawn_local(move || own);
                    drop(handle.join());
                })
            })
            .collect();
        spread.into_iter().for_each(|handle| handle.join().unwrap());
        until(|| dropped.load(SeqCst) == 250);
    });
    std::thread::spawn(move || kept.lock().unwrap().clear())
        .join()
        .unwrap();
    assert_eq!((strays.load(SeqCst), dropped.load(SeqCst)), (0, 250));
}

struct Bomb(&'static AtomicUsize);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("in a destructor");
    }
}

/// Results are dropped on the worker's own stack; a panic there must end nothing.
#[test]
fn a_panic_while_a_result_is_dropped_is_contained() {
    let _guard = guard("panicking destructors");
    let dropped = counter();
    let sum = run_on(2, move || {
        for _ in 0..20 {
            drop(tarae::spawn(move || Bomb(dropped)));
            // The closure of one that never gets a stack, or never runs, is dropped there as well.
            let bomb = Bomb(dropped);
            drop(tarae::spawn(move || {
                drop(catch_unwind(AssertUnwindSafe(move || drop(bomb))))
            }));
        }
        until(|| dropped.load(SeqCst) == 40);
        (0..10)
            .map(|n| tarae::spawn(move || n).join().unwrap())
            .sum::<i32>()
    });
    assert_eq!(sum, 45);
    // At the end too: never started, dropped by the worker.
    run_on(1, move || {
        for _ in 0..100 {
            let bomb = Bomb(dropped);
            drop(tarae::spawn(move || std::mem::forget(bomb)));
        }
    });
    assert!(dropped.load(SeqCst) > 40);
}

/// Others go on beside a panic: on the same worker, in the middle of their own waits.
#[test]
fn a_panic_ends_its_coroutine_and_nothing_else() {
    let _guard = guard("panics beside others");
    run_on(1, || {
        let (sender, receiver) = tarae::sync::mpsc::channel();
        let others: Vec<_> = (0..20)
            .map(|n| {
                let sender = sender.clone();
                tarae::spawn(move || {
                    for _ in 0..50 {
                        tarae::yield_now();
                    }
                    sender.send(n).unwrap();
                })
            })
            .collect();
        let bad: Vec<_> = (0..20)
            .map(|n| {
                tarae::spawn(move || {
                    (0..n).for_each(|_| tarae::yield_now());
                    std::panic::resume_unwind(Box::new(n)) as ()
                })
            })
            .collect();
        assert!(
            bad.into_iter()
                .all(|handle| handle.join().unwrap_err().is_panic())
        );
        others.into_iter().for_each(|handle| handle.join().unwrap());
        drop(sender);
        assert_eq!(receiver.iter().count(), 20);
        assert!(!std::thread::panicking());
    });
}

/// Joins from a plain thread, from the other worker and from the same one, racing with the end.
#[test]
fn join_works_from_everywhere() {
    let _guard = guard("join from everywhere");
    run_on(2, || {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let handles: Vec<JoinHandle<u64>> = (0..500)
                    .map(|n| {
                        tarae::spawn(move || {
                            (0..n % 3).for_each(|_| tarae::yield_now());
                            n
                        })
                    })
                    .collect();
                std::thread::spawn(move || {
                    handles
                        .into_iter()
                        .map(|handle| handle.join().unwrap())
                        .sum::<u64>()
                })
            })
            .collect();
        let relays: Vec<_> = (0..500u64)
            .map(|n| {
                let inner = tarae::spawn(move || {
                    tarae::yield_now();
                    n
                });
                tarae::spawn(move || inner.join().unwrap())
            })
            .collect();
        assert_eq!(
            relays
                .into_iter()
                .map(|relay| relay.join().unwrap())
                .sum::<u64>(),
            124_750
        );
        until(|| threads.iter().all(|thread| thread.is_finished()));
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 124_750);
        }
    });
}

#[test]
fn a_coroutine_that_joins_itself_panics() {
    let _guard = guard("self-join");
    run_on(1, || {
        let slot: Rc<Cell<Option<JoinHandle<()>>>> = Rc::default();
        let theirs = Rc::clone(&slot);
        let handle = tarae::spawn_local(move || {
            let own = theirs.take().unwrap();
            let payload = catch_unwind(AssertUnwindSafe(|| own.join())).unwrap_err();
            let text = *payload.downcast::<&'static str>().unwrap();
            assert!(text.contains("cannot join itself"), "{text}");
            theirs.set(None);
        });
        let watched = handle.thread();
        slot.set(Some(handle));
        let all = || tarae::inspect::coroutines(std::time::Duration::from_secs(60));
        while all()
            .iter()
            .any(|one| format!("coroutine {}", one.id.unwrap_or(0)) == watched.id().to_string())
        {
            tarae::yield_now();
        }
    });
}

#[test]
fn plain_threads_spawn_on_the_running_runtime() {
    // In a process of its own: here other tests' runtimes run too.
    isolated(
        "spawning::plain_threads_spawn_on_the_running_runtime",
        || {
            let payload = catch_unwind(|| drop(tarae::spawn(|| ()))).unwrap_err();
            let text = payload.downcast::<String>().map(|text| *text);
            let text = text.unwrap_or_else(|other| other.downcast::<&str>().unwrap().to_string());
            assert!(
                text.contains("no runtime is running here: spawn inside `tarae::run`"),
                "{text}"
            );
            assert!(catch_unwind(|| drop(tarae::spawn_local(|| ()))).is_err());
            assert!(Builder::new().spawn(|| ()).is_err());
            assert!(Builder::new().spawn_local(|| ()).is_err());

            run_on(2, || {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        std::thread::spawn(|| {
                            assert!(
                                Builder::new().spawn_local(|| ()).is_err(),
                                "no worker's thread"
                            );
                            (0..200u64)
                                .map(|n| {
                                    tarae::spawn(move || {
                                        assert!(tarae::current().spawned_at().is_some());
                                        n
                                    })
                                })
                                .map(|handle| handle.join().unwrap())
                                .sum::<u64>()
                        })
                    })
                    .collect();
                until(|| threads.iter().all(|thread| thread.is_finished()));
                for thread in threads {
                    assert_eq!(thread.join().unwrap(), 19_900);
                }
            });
            assert!(Builder::new().spawn(|| ()).is_err(), "it has ended");
        },
    );
}

#[test]
fn a_runtime_inside_a_runtime_is_an_error() {
    let _guard = guard("nested runtimes");
    run_on(1, || {
        let error = tarae::run(|| panic!("runs in vain")).unwrap_err();
        assert!(error.is_nested() && error.stragglers().is_empty());
        assert!(error.to_string().contains("inside a runtime"), "{error}");
        let error = std::io::Error::from(error);
        assert!(error.to_string().contains("inside a runtime"), "{error}");
    });
}

#[test]
fn a_coroutine_has_a_name_an_id_and_a_spawn_site() {
    let _guard = guard("identities");
    run_on(2, || {
        let line = line!() + 1;
        let handle = tarae::spawn(tarae::current);
        let site = handle.thread().spawned_at().unwrap();
        assert_eq!((site.file(), site.line()), (file!(), line));
        let itself = handle.join().unwrap();
        assert_eq!(itself.spawned_at().unwrap().line(), line);
        assert_eq!(itself.name(), None);

        let builder = Builder::new().name("한 이름".into());
        let line = line!() + 1;
        let named = builder.spawn(tarae::current).unwrap();
        let named = named.join().unwrap();
        assert_eq!(named.name(), Some("한 이름"));
        assert_eq!(named.spawned_at().unwrap().line(), line);

        let line = line!() + 1;
        let local = tarae::spawn_local(tarae::current);
        let local = local.join().unwrap();
        assert_eq!(local.spawned_at().unwrap().line(), line);

        let handles: Vec<_> = (0..300)
            .map(|_| tarae::spawn(|| tarae::spawn(|| tarae::current().id()).join().unwrap()))
            .collect();
        let mut ids: HashSet<_> = handles.iter().map(|handle| handle.thread().id()).collect();
        ids.extend(handles.into_iter().map(|handle| handle.join().unwrap()));
        ids.extend([tarae::current().id(), itself.id(), named.id(), local.id()]);
        assert_eq!(ids.len(), 604, "ids are unique");
    });
    let site = tarae::Builder::new()
        .run(|| tarae::current().spawned_at().unwrap())
        .unwrap();
    assert_eq!(site.file(), file!());
}

/// A size of its own is what the coroutine gets; one that cannot be had is an error of its join,
/// and nobody else notices.
#[test]
fn a_stack_size_of_its_own() {
    let _guard = guard("stack sizes");
    run_on(1, || {
        let large = Builder::new().stack_size(16 * 1024 * 1024);
        let deep = || std::hint::black_box([1u8; 4 * 1024 * 1024]).len();
        assert_eq!(large.spawn(deep).unwrap().join().unwrap(), 4 * 1024 * 1024);
        let small = Builder::new().stack_size(1);
        let room = || std::hint::black_box([1u8; 16 * 1024]).len();
        assert_eq!(small.spawn(room).unwrap().join().unwrap(), 16 * 1024);
        for _ in 0..200 {
            let absurd = Builder::new().stack_size(usize::MAX);
            // With overcommit even this can be had; what matters is that one of both happens.
            match absurd.spawn(|| 7).unwrap().join() {
                Ok(value) => assert_eq!(value, 7),
                Err(error) => {
                    assert!(!error.is_panic() && !error.is_cancelled());
                    assert!(error.to_string().contains("raise"), "{error}");
                }
            }
        }
        assert_eq!(tarae::spawn(|| 8).join().unwrap(), 8);
    });
}
