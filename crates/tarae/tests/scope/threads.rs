//! Scopes, tokens and deadlines on plain threads.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use tarae::cancel::{CancelToken, timeout};
use tarae::net::{TcpListener, TcpStream};
use tarae::{Cancelled, thread};

use crate::support::{
    FAR, SOON, alone, guarded, panic_of, panic_quietly, run_on, until, until_cancelled,
};

/// Runs `test` on a plain thread while a runtime runs beside it.
fn beside_a_runtime(test: impl FnOnce() + Send) {
    run_on(2, || {
        std::thread::scope(|s| {
            let plain = s.spawn(test);
            until(|| plain.is_finished());
            plain.join().unwrap();
        });
    });
}

#[test]
fn a_plain_thread_opens_scopes() {
    guarded("a plain thread's scope", || {
        beside_a_runtime(|| {
            let mut numbers = vec![1, 2, 3];
            let sum = tarae::scope(|s| {
                let handles: Vec<_> = numbers
                    .iter_mut()
                    .map(|n| {
                        s.spawn(move || {
                            assert!(tarae::inspect::worker_index().is_some());
                            *n *= 10;
                            *n
                        })
                    })
                    .collect();
                handles
                    .into_iter()
                    .map(|one| one.join().unwrap())
                    .sum::<i32>()
            });
            assert_eq!((sum, numbers), (60, vec![10, 20, 30]));
            let text = panic_of(|| {
                tarae::scope(|s| {
                    s.spawn(until_cancelled);
                    s.spawn(|| panic_quietly("child"));
                })
            });
            assert_eq!(text, "child");
        });
    });
}

/// Without a runtime a spawn panics, with a clear text, and the scope ends.
#[test]
fn without_a_runtime_a_spawn_panics() {
    alone("threads::without_a_runtime_a_spawn_panics", || {
        let text = panic_of(|| tarae::scope(|s| drop(s.spawn(|| ()))));
        assert!(text.contains("no runtime is running"), "{text}");
        let text = panic_of(|| tarae::scope(|s| drop(s.spawn_local(|| ()))));
        assert!(text.contains("no runtime is running"), "{text}");
        assert_eq!(tarae::scope(|_| 7), 7);
    });
}

/// A token ends each kind of wait of a plain thread, the kernel's included, and only those inside.
#[test]
fn a_token_ends_the_waits_of_a_plain_thread() {
    let waits: [fn(); 6] = [
        || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            assert!(Cancelled::is(&listener.accept().unwrap_err()));
        },
        || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert!(Cancelled::is(&stream.read(&mut [0]).unwrap_err()));
        },
        || thread::sleep(FAR),
        || {
            let (_sender, receiver) = tarae::sync::mpsc::channel::<()>();
            assert!(receiver.recv().unwrap_err().is_cancelled());
        },
        || until(thread::is_cancelled),
        || assert!(timeout(FAR, until_cancelled).is_ok()),
    ];
    guarded("a token on a thread", || {
        for wait in waits {
            let token = CancelToken::new();
            std::thread::scope(|s| {
                let (begun, begins) = mpsc::channel();
                let token = &token;
                let inside = s.spawn(move || {
                    token.run(|| {
                        begun.send(()).unwrap();
                        wait();
                    });
                    assert!(!thread::is_cancelled());
                    assert!(timeout(SOON, || thread::sleep(FAR)).is_err());
                });
                begins.recv().unwrap();
                token.cancel();
                inside.join().unwrap();
            });
        }
    });
}

/// A token reaches the children of a plain thread's scope while the thread itself is busy.
#[test]
fn a_token_reaches_the_children_of_a_thread() {
    guarded("a thread's children", || {
        let token = CancelToken::new();
        let ended = AtomicUsize::new(0);
        beside_a_runtime(|| {
            token.run(|| {
                tarae::scope(|s| {
                    let begun = AtomicUsize::new(0);
                    let begun = &*Box::leak(Box::new(begun));
                    for _ in 0..3 {
                        s.spawn(|| {
                            begun.fetch_add(1, SeqCst);
                            until_cancelled();
                            ended.fetch_add(1, SeqCst);
                        });
                    }
                    until(|| begun.load(SeqCst) == 3);
                    token.cancel();
                    // Never a wait of ours.
                    while ended.load(SeqCst) < 3 {
                        std::thread::yield_now();
                    }
                });
            });
        });
    });
}

/// A job stands where its caller does: it sees deadline, token and cancellation, in its waits too.
#[test]
fn a_job_stands_where_its_caller_does() {
    guarded("a job", || {
        run_on(1, || {
            let token = CancelToken::new();
            let (begun, theirs) = (Arc::new(AtomicBool::new(false)), token.clone());
            let told = Arc::clone(&begun);
            let handle = tarae::spawn(move || {
                theirs.run(|| {
                    tarae::offload(|| {
                        assert!(!thread::is_cancelled());
                        told.store(true, SeqCst);
                        while !thread::is_cancelled() {
                            std::thread::yield_now();
                        }
                        let (_sender, receiver) = tarae::sync::mpsc::channel::<()>();
                        receiver.recv().unwrap_err().is_cancelled()
                    })
                })
            });
            until(|| begun.load(SeqCst));
            token.cancel();
            assert!(handle.join().unwrap().unwrap());
            let timed = timeout(FAR, || {
                tarae::offload(|| tarae::cancel::current_deadline().is_some()).unwrap()
            });
            assert!(timed.unwrap());
            // The pool's thread is its own again.
            assert!(!tarae::offload(thread::is_cancelled).unwrap());
            assert_eq!(
                tarae::offload(tarae::cancel::current_deadline).unwrap(),
                None
            );
        });
    });
}
