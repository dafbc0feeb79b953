//! Cancellation and the end of a runtime: what has not begun is taken back, what has is waited for.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::Cancelled;
use tarae::offload::{Builder, Pool, stats};

use crate::support::{Gate, alone, guarded, run_on, until};

/// One thread, held by a job: the next one queues until its coroutine is cancelled, and never runs.
#[test]
fn what_has_not_begun_is_taken_back() {
    alone("cancel::what_has_not_begun_is_taken_back", || {
        Builder::new(Pool::Cpu).threads(1).apply().unwrap();
        run_on(1, || {
            let gate = Arc::new(Gate::default());
            let theirs = Arc::clone(&gate);
            let holder = tarae::spawn(move || Pool::Cpu.run(|| theirs.pass()));
            until(|| gate.arrived() == 1);
            let dropped = Arc::new(());
            let waiters: Vec<_> = (0..3)
                .map(|n| {
                    let captured = Arc::clone(&dropped);
                    tarae::spawn(move || {
                        Pool::Cpu.run(move || {
                            let _captured = captured;
                            n
                        })
                    })
                })
                .collect();
            until(|| stats().cpu.queued == 3);
            // From the middle of the queue.
            waiters[1].cancel();
            until(|| waiters[1].is_finished());
            assert_eq!(stats().cpu.queued, 2);
            assert_eq!(Arc::strong_count(&dropped), 3);
            assert!(!holder.is_finished());
            gate.open();
            holder.join().unwrap().unwrap();
            let ends: Vec<_> = waiters.into_iter().map(|one| one.join().unwrap()).collect();
            let numbers: Vec<_> = ends.iter().map(|end| end.as_ref().ok()).collect();
            assert_eq!(numbers, [Some(&0), None, Some(&2)]);
            let error = ends.into_iter().nth(1).unwrap().unwrap_err();
            assert!(error.is_cancelled() && !error.is_full(), "{error}");
            assert!(Cancelled::is(&std::io::Error::from(error)));
        });
    });
}

/// A job that has begun sees the cancellation, is waited for, and its result is given; the next
/// call of the coroutine is refused.
#[test]
fn what_has_begun_is_asked_and_waited_for() {
    guarded("cancelling a job that runs", || {
        run_on(1, || {
            let (begun, goes_on) = (Arc::new(AtomicBool::new(false)), Arc::new(Gate::default()));
            let (theirs, gate) = (Arc::clone(&begun), Arc::clone(&goes_on));
            let caller = tarae::spawn(move || {
                let mut borrowed = 0;
                let result = tarae::offload(|| {
                    assert!(!tarae::thread::is_cancelled());
                    theirs.store(true, SeqCst);
                    while !tarae::thread::is_cancelled() {
                        std::thread::yield_now();
                    }
                    // Cancelled, and still nobody has left the frame.
                    gate.pass();
                    borrowed += 1;
                    assert!(tarae::offload(tarae::thread::is_cancelled).unwrap());
                    "done"
                });
                let refused = tarae::offload(|| unreachable!("cancelled")).unwrap_err();
                assert!(refused.is_cancelled());
                (result.unwrap(), borrowed)
            });
            until(|| begun.load(SeqCst));
            caller.cancel();
            until(|| goes_on.arrived() == 1);
            (0..1_000).for_each(|_| tarae::yield_now());
            assert!(!caller.is_finished());
            caller.thread().unpark();
            goes_on.open();
            assert_eq!(caller.join().unwrap(), ("done", 1));
        });
        assert!(
            !tarae::offload(tarae::thread::is_cancelled).unwrap(),
            "a plain thread's"
        );
    });
}

/// A loop that ignores its cancellation must let others run.
#[test]
fn refused_calls_let_others_run() {
    guarded("refused calls", || {
        let result = tarae::Builder::new()
            .workers(1)
            .grace(Duration::from_millis(50))
            .run(|| {
                tarae::spawn(|| {
                    loop {
                        let _ = tarae::offload(|| ());
                    }
                });
                tarae::yield_now();
            });
        assert_eq!(result.unwrap_err().stragglers().len(), 1);
    });
}

/// The runtime ends within its grace while a job runs that looks at `is_cancelled`.
#[test]
fn the_end_waits_for_a_job_within_the_grace() {
    guarded("a job at the end", || {
        let ended = Arc::new(AtomicUsize::new(0));
        let (begun, theirs) = (Arc::new(AtomicBool::new(false)), Arc::clone(&ended));
        let runtime = tarae::Builder::new()
            .workers(2)
            .grace(Duration::from_secs(3600));
        let result = runtime.run(move || {
            let told = Arc::clone(&begun);
            tarae::spawn(move || {
                let result = tarae::offload(|| {
                    told.store(true, SeqCst);
                    while !tarae::thread::is_cancelled() {
                        std::thread::yield_now();
                    }
                });
                theirs.fetch_add(usize::from(result.is_ok()), SeqCst);
            });
            until(|| begun.load(SeqCst));
        });
        result.unwrap();
        assert_eq!(ended.load(SeqCst), 1);
    });
}

/// A job that goes on beyond the grace: its coroutine is named and left, its frame stays, and the
/// job may use it as long as it likes.
#[test]
fn a_job_beyond_the_grace_keeps_its_frame() {
    for workers in [1, 2] {
        guarded("a job beyond the grace", move || {
            let (gate, seen) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
            // A thread of its own, since its end waits for the job's.
            let (theirs, sum) = (Arc::clone(&gate), Arc::clone(&seen));
            let (told, tells) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                told.send(run_with_straggler(workers, theirs, sum)).unwrap();
            });
            let stragglers = tells.recv().unwrap();
            assert_eq!(stragglers.len(), 1, "{stragglers:?}");
            assert!(stragglers[0].contains("straggler"), "{stragglers:?}");
            assert!(stragglers[0].contains("an offloaded job"), "{stragglers:?}");
            // Others use stacks meanwhile; none of them is that one's.
            run_on(2, || {
                let all: Vec<_> = (0..100).map(|_| tarae::spawn(dirty_the_stack)).collect();
                all.into_iter().for_each(|one| one.join().unwrap());
            });
            assert_eq!(seen.load(SeqCst), 0);
            gate.open();
            thread.join().unwrap();
            until(|| seen.load(SeqCst) > 0);
            assert_eq!(seen.load(SeqCst), 4_096 * 7);
        });
    }
}

fn run_with_straggler(workers: usize, gate: Arc<Gate>, sum: Arc<AtomicUsize>) -> Vec<String> {
    let runtime = tarae::Builder::new().workers(workers);
    let result = runtime.grace(Duration::from_millis(50)).run(move || {
        let theirs = Arc::clone(&gate);
        let builder = tarae::thread::Builder::new().name("straggler".into());
        let body = move || {
            let frame = [7u8; 4_096];
            let _ = tarae::offload(|| {
                theirs.pass();
                let total: usize = frame.iter().map(|&byte| usize::from(byte)).sum();
                sum.store(total, SeqCst);
            });
            unreachable!("its runtime has ended");
        };
        builder.spawn(body).unwrap();
        until(|| gate.arrived() == 1);
    });
    result.unwrap_err().stragglers().to_vec()
}

fn dirty_the_stack() {
    let bytes = std::hint::black_box([0xA5u8; 16_384]);
    tarae::yield_now();
    assert!(bytes.iter().all(|&byte| byte == 0xA5));
}

/// A thread-local lent to a job by a frame that is left behind outlives the job, although the
/// thread ends before: its end waits.
#[test]
fn a_lent_thread_local_outlives_the_job() {
    guarded("a lent thread-local", || {
        /// Counts its own drop.
        struct Local(AtomicUsize, Cell<Option<Arc<AtomicUsize>>>);
        impl Drop for Local {
            fn drop(&mut self) {
                self.0.store(0, SeqCst);
                self.1.take().unwrap().store(1, SeqCst);
            }
        }
        thread_local! {
            static LOCAL: Local = const { Local(AtomicUsize::new(42), Cell::new(None)) };
        }
        let (gate, dropped, seen) = (
            Arc::new(Gate::default()),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (left, leaves) = std::sync::mpsc::channel();
        let (theirs, drops, reads) = (gate.clone(), dropped.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tarae::Builder::new().workers(1);
            let result = runtime.grace(Duration::from_millis(50)).run(move || {
                let job = Arc::clone(&theirs);
                tarae::spawn(move || {
                    LOCAL.with(|local| {
                        local.1.set(Some(drops));
                        let value = &local.0;
                        let _ = tarae::offload(|| {
                            job.pass();
                            reads.store(value.load(SeqCst), SeqCst);
                        });
                    });
                });
                until(|| theirs.arrived() == 1);
            });
            left.send(()).unwrap();
            result
        });
        // The thread has left `run` and comes to its end; it must not get past it. However long it
        // takes to come there, the job reads 42 below.
        leaves.recv().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(dropped.load(SeqCst), 0, "dropped while a job borrows it");
        gate.open();
        assert_eq!(thread.join().unwrap().unwrap_err().stragglers().len(), 1);
        assert_eq!((seen.load(SeqCst), dropped.load(SeqCst)), (42, 1));
    });
}
