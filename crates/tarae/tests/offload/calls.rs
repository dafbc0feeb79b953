//! What a call does: borrows, gives results and panics, lets others go on; on every kind of thread.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tarae::inspect::{State, WaitReason};
use tarae::offload::Pool;
use tarae::{offload, try_offload};

use crate::support::{Gate, guarded, run_on, until};

const POOLS: [(Pool, &str); 3] = [
    (Pool::Cpu, "tarae-cpu-"),
    (Pool::Blocking, "tarae-blocking-"),
    (Pool::Dns, "tarae-dns-"),
];

/// Runs a test in a coroutine, on a plain thread and in a job.
fn everywhere(name: &'static str, test: fn()) {
    guarded(name, || {
        run_on(1, test);
        run_on(2, test);
        std::thread::spawn(test).join().expect("on a plain thread");
        offload(test).expect("in a job");
    });
}

#[test]
fn a_job_borrows_from_the_callers_stack() {
    everywhere("borrowing", || {
        let text = String::from("borrowed");
        let mut numbers = [1, 2, 3];
        let (length, sum) = offload(|| {
            numbers.iter_mut().for_each(|n| *n *= 10);
            (text.len(), numbers.iter().sum::<i32>())
        })
        .unwrap();
        assert_eq!(
            (length, sum, numbers, &*text),
            (8, 60, [10, 20, 30], "borrowed")
        );
    });
}

#[test]
fn results_of_every_size_come_back() {
    everywhere("results", || {
        offload(|| ()).unwrap();
        assert_eq!(try_offload(|| [7u64; 100]).unwrap(), [7; 100]);
        assert_eq!(offload::cpu(|| vec![1, 2]).unwrap(), [1, 2]);
        assert_eq!(offload::blocking(|| "text").unwrap(), "text");
        let error = offload(|| "x".parse::<u8>()).unwrap().unwrap_err();
        assert!(error.to_string().contains("invalid digit"));
    });
}

#[test]
fn a_job_runs_on_a_thread_of_its_pool() {
    guarded("thread names", || {
        for (pool, prefix) in POOLS {
            let name = || std::thread::current().name().map(str::to_owned);
            let in_coroutine = run_on(1, || pool.run(name).unwrap().unwrap());
            let plain = pool.try_run(name).unwrap().unwrap();
            for name in [in_coroutine, plain] {
                assert!(name.starts_with(prefix), "{name}");
            }
        }
    });
}

/// The closure, its captures and its result are dropped once each, whatever happens.
#[test]
fn nothing_is_dropped_twice_or_not_at_all() {
    guarded("drops", || {
        let count = Arc::new(());
        run_on(1, || {
            let (captured, returned) = (Arc::clone(&count), Arc::clone(&count));
            drop(offload(move || {
                drop(captured);
                returned
            }));
            assert_eq!(Arc::strong_count(&count), 1);
            let captured = Arc::clone(&count);
            let failed = panic::catch_unwind(AssertUnwindSafe(|| {
                offload(move || -> () {
                    let _captured = captured;
                    panic::resume_unwind(Box::new("silent"));
                })
            }));
            assert!(failed.is_err());
            assert_eq!(Arc::strong_count(&count), 1);
        });
    });
}

#[test]
fn a_panic_goes_on_in_the_caller() {
    everywhere("panics", || {
        let caught = panic::catch_unwind(|| {
            offload(|| -> u8 { panic::resume_unwind(Box::new(String::from("from the job"))) })
        });
        let payload = caught.unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "from the job");
        // The pool's thread goes on.
        assert_eq!(offload(|| 1).unwrap(), 1);
    });
}

#[test]
fn a_panic_ends_the_coroutine_and_nothing_else() {
    guarded("contained panics", || {
        run_on(1, || {
            let jobs: Vec<_> = (0..4)
                .map(|n| {
                    tarae::spawn(move || {
                        offload(move || match n % 2 {
                            0 => n,
                            _ => panic::resume_unwind(Box::new(n)),
                        })
                        .unwrap()
                    })
                })
                .collect();
            let ends: Vec<_> = jobs.into_iter().map(|job| job.join().ok()).collect();
            assert_eq!(ends, [Some(0), None, Some(2), None]);
        });
    });
}

/// A call in a pool's thread runs on that thread, whichever pool is asked.
#[test]
fn a_nested_call_runs_in_place() {
    guarded("nested calls", || {
        run_on(1, || {
            for (pool, _) in POOLS {
                let id = || std::thread::current().id();
                let (outer, inner, deepest) = pool
                    .run(|| {
                        let (inner, deepest) =
                            offload::cpu(|| (id(), offload(id).unwrap())).unwrap();
                        (id(), inner, deepest)
                    })
                    .unwrap();
                assert_eq!((outer, outer), (inner, deepest));
                assert_ne!(outer, id());
            }
        });
    });
}

/// A runtime started in a job works, and what it offloads runs right there.
#[test]
fn a_runtime_in_a_job() {
    guarded("a runtime in a job", || {
        let ids = offload(|| {
            let id = || std::thread::current().id();
            run_on(1, || {
                (
                    id(),
                    tarae::spawn(move || offload(id).unwrap()).join().unwrap(),
                )
            })
        });
        let (outer, inner) = ids.unwrap();
        assert_eq!(outer, inner);
    });
}

/// One worker: the others of its coroutines run while one waits for a job, and the job ends only
/// when they have.
#[test]
fn others_go_on_meanwhile() {
    guarded("others go on", || {
        run_on(1, || {
            let gate = Arc::new(Gate::default());
            let steps = Arc::new(AtomicUsize::new(0));
            let (theirs, count) = (Arc::clone(&gate), Arc::clone(&steps));
            let caller = tarae::spawn(move || {
                // Not `Send`, and kept on the stack over the wait.
                let local = Rc::new(Cell::new(1));
                let seen = offload(|| {
                    theirs.pass();
                    count.load(SeqCst)
                });
                local.set(local.get() + 1);
                (seen.unwrap(), local.get())
            });
            until(|| gate.arrived() == 1);
            let all = tarae::inspect::coroutines(std::time::Duration::from_secs(5));
            let waits = |c: &&tarae::inspect::Coroutine| c.waits_for == WaitReason::Offload;
            let waiting = all.iter().find(waits).expect("the caller is listed");
            assert_eq!(waiting.state, State::Parked);
            for _ in 0..100 {
                let count = Arc::clone(&steps);
                tarae::spawn(move || count.fetch_add(1, SeqCst))
                    .join()
                    .unwrap();
            }
            assert!(!caller.is_finished());
            gate.open();
            assert_eq!(caller.join().unwrap(), (100, 2));
        });
    });
}

/// Stray unparks, before and meanwhile, neither end the wait nor are lost to `park`.
#[test]
fn unparks_do_not_end_the_wait() {
    guarded("stray unparks", || {
        run_on(1, || {
            let gate = Gate::default();
            let me = tarae::current();
            me.unpark();
            let rung = AtomicUsize::new(0);
            let value = offload(|| {
                for _ in 0..1_000 {
                    me.unpark();
                    rung.fetch_add(1, SeqCst);
                }
                gate.open();
                gate.pass();
                rung.load(SeqCst)
            });
            assert_eq!(value.unwrap(), 1_000);
            tarae::thread::park();
        });
    });
}
