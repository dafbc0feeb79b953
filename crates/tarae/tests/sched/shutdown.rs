//! The end of a runtime: what is cancelled, what is waited for, what is named, what is given back.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream, Wake, park_until_readable};
use tarae::{Builder, Cancelled, RunError};

use crate::support::{Counted, counter, guard, held, isolated, run_on};

const HOUR: Duration = Duration::from_secs(3600);

fn short_grace(workers: usize) -> Builder {
    Builder::new()
        .workers(workers)
        .grace(Duration::from_millis(100))
}

/// Spawns a coroutine that has begun when this returns, and runs `wait` in it after that.
fn begun(wait: impl FnOnce() + Send + 'static) {
    let begun = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&begun);
    tarae::spawn(move || {
        theirs.store(true, SeqCst);
        wait();
    });
    crate::support::until(|| begun.load(SeqCst));
}

/// A wait's name, and the wait: true if it ended as cancelled.
type Wait = (&'static str, fn() -> bool);

/// Guards the cancellation of every kind of wait: each coroutine ends by itself, with its locals
/// dropped, long before the grace (an hour) is over.
#[test]
fn every_wait_is_cancelled_and_locals_are_dropped() {
    let _guard = guard("cancellation of waits");
    let dropped = counter();
    let outcomes: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let log = Arc::clone(&outcomes);
    let result = Builder::new().workers(2).grace(HOUR).run(move || {
        let waits: [Wait; 7] = [
            ("sleep", || {
                tarae::time::sleep(HOUR);
                true
            }),
            ("park", || {
                tarae::thread::park();
                true
            }),
            ("accept", || {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                Cancelled::is(&listener.accept().unwrap_err())
            }),
            ("read", || {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                Cancelled::is(&stream.read(&mut [0; 8]).unwrap_err())
            }),
            ("receive", || {
                let (_sender, receiver) = tarae::sync::mpsc::channel::<()>();
                receiver.recv().unwrap_err().is_cancelled()
            }),
            ("join", || {
                let other = tarae::spawn(|| tarae::time::sleep(HOUR));
                tarae::yield_now();
                // The other one is cancelled too; whichever end comes first is right.
                match other.join() {
                    Ok(()) => true,
                    Err(error) => error.is_cancelled(),
                }
            }),
            ("future", || {
                tarae::block_on(std::future::pending::<()>()) == Err(Cancelled)
            }),
        ];
        for (name, wait) in waits {
            let log = Arc::clone(&log);
            begun(move || {
                let _local = Counted(dropped);
                assert!(wait(), "{name}");
                log.lock().unwrap().push(name);
            });
        }
        tarae::time::sleep(Duration::from_millis(5));
    });
    result.unwrap();
    assert_eq!(dropped.load(SeqCst), 7);
    let mut outcomes = outcomes.lock().unwrap().clone();
    outcomes.sort_unstable();
    let want = [
        "accept", "future", "join", "park", "read", "receive", "sleep",
    ];
    assert_eq!(outcomes, want);
}

#[track_caller]
fn check_straggler(result: Result<(), RunError>, name: &str) {
    let error = result.unwrap_err();
    assert!(!error.is_nested());
    assert_eq!(error.stragglers().len(), 1, "{error}");
    let text = error.to_string();
    assert!(text.contains(name), "{text}");
    assert!(text.contains("shutdown.rs:"), "the spawn site: {text}");
}

/// What ignores its cancellation is named, its stack is never unwound, and `run` comes back: a
/// cancelled wait must let others run, or the loop would hold its worker for ever.
#[test]
fn who_ignores_cancellation_is_named_and_left() {
    let loops: [(&'static str, fn()); 6] = [
        ("sleeper", || tarae::time::sleep(HOUR)),
        ("yielder", tarae::yield_now),
        ("parker", tarae::thread::park),
        ("reader", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _ = listener.accept();
        }),
        ("receiver", || {
            let (_sender, receiver) = tarae::sync::mpsc::channel::<()>();
            let _ = receiver.recv();
        }),
        ("catcher", || {
            let payload = std::panic::catch_unwind(|| {
                tarae::time::sleep(HOUR);
                std::panic::resume_unwind(Box::new("again"));
            });
            assert!(payload.is_err());
        }),
    ];
    for workers in [1, 2] {
        for (name, wait) in loops {
            let _guard = guard(name);
            let dropped = counter();
            let result = short_grace(workers).run(move || {
                let begun = Arc::new(AtomicBool::new(false));
                let theirs = Arc::clone(&begun);
                let body = move || {
                    let _local = Counted(dropped);
                    theirs.store(true, SeqCst);
                    loop {
                        wait();
                    }
                };
                let builder = tarae::thread::Builder::new().name(name.into());
                builder.spawn(body).unwrap();
                crate::support::until(|| begun.load(SeqCst));
            });
            check_straggler(result, name);
            assert_eq!(dropped.load(SeqCst), 0, "{name}: unwound by force");
        }
    }
}

/// One straggler must not take from the others the chance to end by themselves.
#[test]
fn the_others_end_beside_a_straggler() {
    let _guard = guard("others beside a straggler");
    let dropped = counter();
    let result = short_grace(1).run(move || {
        begun(|| {
            loop {
                tarae::time::sleep(HOUR);
            }
        });
        for _ in 0..50 {
            begun(move || {
                let _local = Counted(dropped);
                tarae::time::sleep(HOUR);
                (0..20).for_each(|_| tarae::yield_now());
            });
        }
    });
    assert_eq!(result.unwrap_err().stragglers().len(), 1);
    assert_eq!(dropped.load(SeqCst), 50);
}

/// A worker that never comes back (not even to its loop) is reported by worker 0, which does not
/// wait for it longer than the grace.
#[test]
fn a_worker_that_never_yields_is_reported() {
    let _guard = guard("a worker that never yields");
    let release = Arc::new(AtomicBool::new(false));
    let (theirs, began) = (Arc::clone(&release), Arc::new(AtomicUsize::new(0)));
    let result = short_grace(2).run(move || {
        let main_thread = std::thread::current().id();
        while began.load(SeqCst) == 0 {
            let (release, began) = (Arc::clone(&theirs), Arc::clone(&began));
            // Only on the other worker: on this one it would end nothing but the test.
            tarae::spawn(move || {
                if std::thread::current().id() != main_thread && began.fetch_add(1, SeqCst) == 0 {
                    while !release.load(SeqCst) {
                        std::hint::spin_loop();
                    }
                }
            });
            tarae::spawn(|| ());
            // Holds this worker a little, so that a thief comes.
            std::thread::sleep(Duration::from_millis(1));
            tarae::yield_now();
        }
    });
    release.store(true, SeqCst);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("worker 1"), "{text}");
}

/// What has not begun when the end is noticed (after the present batch) never runs, and whoever
/// joins it is told: every one of a thousand is accounted for, its closure dropped once.
#[test]
fn the_unstarted_never_run_and_their_join_says_so() {
    let _guard = guard("unstarted coroutines at the end");
    for (workers, local) in [(1, false), (1, true), (2, true)] {
        let (ran, dropped) = (counter(), counter());
        let joiner = run_on(workers, move || {
            let (sender, receiver) = std::sync::mpsc::channel::<tarae::thread::JoinHandle<()>>();
            for _ in 0..1_000 {
                let counted = Counted(dropped);
                let body = move || {
                    ran.fetch_add(1, SeqCst);
                    drop(counted);
                };
                let handle = if local {
                    tarae::spawn_local(body)
                } else {
                    tarae::spawn(body)
                };
                sender.send(handle).unwrap();
            }
            // No yield from here on: none of them can have begun.
            std::thread::spawn(move || {
                let ends = receiver.iter().map(|handle| match handle.join() {
                    Ok(()) => 0,
                    Err(error) => {
                        assert!(error.is_cancelled() && !error.is_panic(), "{error}");
                        1
                    }
                });
                ends.sum::<usize>()
            })
        });
        let cancelled = joiner.join().unwrap();
        assert_eq!(ran.load(SeqCst) + cancelled, 1_000);
        assert!(
            ran.load(SeqCst) < 64,
            "the end is noticed after a batch at most"
        );
        assert_eq!(dropped.load(SeqCst), 1_000);
    }
}

/// Idle states own no coroutine, so the end has to make one for each: it is called with
/// `Cancelled`, exactly once.
#[test]
fn idle_states_are_called_with_cancelled() {
    let _guard = guard("idle states at the end");
    for workers in [1, 2] {
        let wakes: Arc<Mutex<Vec<Wake>>> = Arc::default();
        let log = Arc::clone(&wakes);
        let clients = run_on(workers, move || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            for _ in 0..20 {
                clients.push(std::net::TcpStream::connect(address).unwrap());
                let (stream, _) = listener.accept().unwrap();
                let log = Arc::clone(&log);
                park_until_readable(stream, None, move |_stream, wake| {
                    log.lock().unwrap().push(wake);
                });
            }
            clients
        });
        assert_eq!(*wakes.lock().unwrap(), vec![Wake::Cancelled; 20]);
        for mut client in clients {
            assert_eq!(
                client.read(&mut [0; 8]).unwrap(),
                0,
                "its stream was dropped"
            );
        }
    }
}

#[test]
fn a_panic_of_main_comes_out_of_run_after_the_rest_has_ended() {
    let _guard = guard("a panic of main");
    let dropped = counter();
    let outcome = std::panic::catch_unwind(move || {
        run_on(2, move || {
            begun(move || {
                let _local = Counted(dropped);
                tarae::time::sleep(HOUR);
            });
            std::panic::resume_unwind(Box::new(17));
        })
    });
    assert_eq!(*outcome.unwrap_err().downcast::<i32>().unwrap(), 17);
    assert_eq!(dropped.load(SeqCst), 1);
}

/// The longest grace there is must not overflow the clock.
#[test]
fn an_endless_grace_is_no_overflow() {
    let _guard = guard("an endless grace");
    let dropped = counter();
    let result = Builder::new().workers(2).grace(Duration::MAX).run(move || {
        begun(move || {
            let _local = Counted(dropped);
            tarae::time::sleep(HOUR);
        });
        7
    });
    assert_eq!(result.unwrap(), 7);
    assert_eq!(dropped.load(SeqCst), 1);
}

/// Guards the recycling of what a worker holds: epoll, eventfd, thread.
#[test]
fn two_hundred_runs_leak_nothing() {
    isolated("shutdown::two_hundred_runs_leak_nothing", || {
        let once = || {
            run_on(3, || {
                begun(|| tarae::time::sleep(HOUR));
                let handles: Vec<_> = (0..20).map(|n| tarae::spawn(move || n)).collect();
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap())
                    .sum::<i32>()
            })
        };
        assert_eq!(once(), 190);
        let before = held();
        for _ in 0..200 {
            assert_eq!(once(), 190);
        }
        // A joined thread may stand in the list for a moment longer.
        while held().threads > before.threads {
            std::thread::yield_now();
        }
        assert_eq!(held(), before);
    });
}

#[test]
fn runtimes_of_many_threads_do_not_disturb_each_other() {
    let _guard = guard("many runtimes at once");
    let threads: Vec<_> = (0..8u64)
        .map(|n| {
            std::thread::spawn(move || {
                for round in 0..10 {
                    let sum = run_on(1 + (n as usize + round) % 2, move || {
                        let handles: Vec<_> = (0..50)
                            .map(|i| {
                                tarae::spawn(move || {
                                    tarae::time::sleep(Duration::from_millis(i % 3));
                                    n * i
                                })
                            })
                            .collect();
                        handles
                            .into_iter()
                            .map(|handle| handle.join().unwrap())
                            .sum::<u64>()
                    });
                    assert_eq!(sum, n * 1225);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}
