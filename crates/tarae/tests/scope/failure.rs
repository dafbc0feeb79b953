//! Scopes that go wrong: the first error or panic is what they give, and the rest is cancelled.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::support::{SetOnDrop, guarded, panic_of, panic_quietly, run_on, until, until_cancelled};

/// The first panic cancels siblings and body, and goes on in the caller when all have ended.
#[test]
fn the_first_panic_cancels_and_goes_on() {
    guarded("a panic", || {
        for workers in [1, 2] {
            run_on(workers, || {
                let (parked, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let text = panic_of(|| {
                    tarae::scope(|s| {
                        for _ in 0..4 {
                            s.spawn(|| {
                                parked.fetch_add(1, SeqCst);
                                until_cancelled();
                                ended.fetch_add(1, SeqCst);
                            });
                        }
                        s.spawn(|| {
                            until(|| parked.load(SeqCst) == 4);
                            panic_quietly("first");
                        });
                        until_cancelled();
                        assert!(s.is_cancelled());
                        ended.fetch_add(1, SeqCst);
                        panic_quietly("second");
                    })
                });
                assert_eq!((text.as_str(), ended.into_inner()), ("first", 5));
                // The caller itself is not cancelled.
                assert!(!tarae::thread::is_cancelled());
            });
        }
    });
}

#[test]
fn a_panic_of_the_body_waits_for_children() {
    guarded("a panic of the body", || {
        run_on(2, || {
            let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
            let text = panic_of(|| {
                tarae::scope(|s| {
                    s.spawn(|| {
                        let _ended = SetOnDrop(&ended);
                        begun.store(true, SeqCst);
                        until_cancelled();
                        (0..100).for_each(|_| tarae::yield_now());
                    });
                    until(|| begun.load(SeqCst));
                    panic_quietly("body")
                })
            });
            assert!(ended.load(SeqCst), "not before the child");
            assert_eq!(text, "body");
        });
    });
}

/// The handle of a child that panicked tells so; the scope gives the panic.
#[test]
fn joining_a_panic_tells_of_it() {
    guarded("joining a panic", || {
        run_on(1, || {
            let text = panic_of(|| {
                tarae::scope(|s| {
                    let child = s.spawn(|| panic_quietly("mine"));
                    until(|| child.is_finished());
                    let error = child.join().unwrap_err();
                    assert!(error.is_panic() && error.to_string().contains("mine"));
                })
            });
            assert_eq!(text, "mine");
        });
    });
}

/// Children that have not begun never do.
#[test]
fn a_cancelled_scope_starts_nobody() {
    guarded("not begun", || {
        run_on(1, || {
            let ran = AtomicUsize::new(0);
            let dropped = AtomicBool::new(false);
            let last = tarae::scope(|s| {
                let canary = SetOnDrop(&dropped);
                let first = s.spawn(|| {
                    let _canary = canary;
                    ran.fetch_add(1, SeqCst)
                });
                s.cancel();
                let late = s.spawn(|| ran.fetch_add(1, SeqCst));
                until(|| first.is_finished() && late.is_finished());
                // The body is cancelled too, but these have ended.
                assert!(late.join().unwrap_err().is_cancelled());
                first.join().unwrap_err().is_cancelled()
            });
            assert!(last && dropped.load(SeqCst));
            assert_eq!(ran.into_inner(), 0);
        });
    });
}

/// A single child is cancelled by its handle; its siblings go on.
#[test]
fn a_handle_cancels_its_child_only() {
    guarded("one child", || {
        run_on(2, || {
            let go = AtomicBool::new(false);
            let value = tarae::scope(|s| {
                let (one, other) = (
                    s.spawn(until_cancelled),
                    s.spawn(|| {
                        until(|| go.load(SeqCst));
                        !tarae::thread::is_cancelled()
                    }),
                );
                one.cancel();
                match one.join() {
                    Ok(()) => {}
                    Err(error) => assert!(error.is_cancelled(), "it had not begun"),
                }
                go.store(true, SeqCst);
                other.join().unwrap()
            });
            assert!(value);
        });
    });
}

#[test]
fn the_first_error_is_given() {
    guarded("errors", || {
        for workers in [1, 2] {
            run_on(workers, || {
                let parked = AtomicUsize::new(0);
                let names = ["a", "b", "c"];
                let result: Result<(), &str> = tarae::try_scope(|s| {
                    for _ in 0..3 {
                        s.spawn(|| {
                            parked.fetch_add(1, SeqCst);
                            until_cancelled();
                            Err::<(), _>("late")
                        });
                    }
                    // The error borrows from around the scope, as it may.
                    let failing = s.spawn(|| {
                        until(|| parked.load(SeqCst) == 3);
                        Err::<(), _>(names[1])
                    });
                    until(|| failing.is_finished());
                    assert!(failing.join().unwrap_err().is_failed());
                    until_cancelled();
                    Err("the body, later")
                });
                assert_eq!(result, Err("b"));
            });
        }
    });
}

/// Errors of any type, with lifetimes or without, beside children that borrow; a child that spawns.
#[test]
fn errors_of_any_type() {
    fn fails(frame: &mut u8) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        *frame += 1;
        Err("boxed".into())
    }
    guarded("boxed errors", || {
        run_on(2, || {
            let (mut frame, mut other) = (0, 0);
            let result = tarae::try_scope(|s| {
                let (frame, other) = (&mut frame, &mut other);
                s.spawn(move || {
                    *other += 1;
                    s.spawn(move || fails(frame)).join()?;
                    Ok(())
                });
                until_cancelled();
                Ok(())
            });
            assert_eq!(result.unwrap_err().to_string(), "boxed");
            assert_eq!((frame, other), (1, 1));
        });
    });
}

#[test]
fn fallible_scopes_give_values_and_panics_too() {
    guarded("fallible scopes", || {
        run_on(1, || {
            let value: Result<i32, ()> = tarae::try_scope(|s| {
                let (one, two) = (s.spawn(|| Ok(1)), s.spawn_local(|| Ok(2)));
                Ok(one.join().unwrap() + two.join().unwrap())
            });
            assert_eq!(value, Ok(3));
            let body: Result<(), &str> = tarae::try_scope(|s| {
                s.spawn(|| {
                    until_cancelled();
                    Ok(())
                });
                Err("body")
            });
            assert_eq!(body, Err("body"));
            let text = panic_of(|| {
                tarae::try_scope(|s| {
                    s.spawn::<_, ()>(|| panic_quietly("panic"));
                    until_cancelled();
                    Err::<(), _>("an error")
                })
            });
            assert_eq!(text, "panic");
        });
    });
}

/// Destructors that panic, of closures and of values that nobody takes, count as their child's
/// panic; the scope ends all the same.
#[test]
fn destructors_that_panic_are_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_quietly("bomb");
        }
    }
    guarded("bombs", || {
        run_on(1, || {
            let text = panic_of(|| tarae::scope(|s| drop(s.spawn(|| Bomb))));
            assert_eq!(text, "bomb");
            let text = panic_of(|| {
                tarae::scope(|s| {
                    let bomb = Bomb;
                    s.spawn(move || std::mem::forget(bomb));
                    s.cancel();
                })
            });
            assert_eq!(text, "bomb");
        });
    });
}

/// Cancelling the coroutine that opened a scope cancels its children at once, whatever it is doing,
/// and the scope's end is waited for all the same.
#[test]
fn cancelling_the_parent_cancels_its_children() {
    guarded("the parent", || {
        for workers in [1, 2] {
            run_on(workers, || {
                static DEEP: AtomicUsize = AtomicUsize::new(0);
                DEEP.store(0, SeqCst);
                let lock = tarae::sync::Arc::new(tarae::sync::Mutex::new(()));
                let held = lock.lock().unwrap();
                let theirs = tarae::sync::Arc::clone(&lock);
                let parent = tarae::spawn(move || {
                    let mut canary = [0u8; 256];
                    tarae::scope(|s| {
                        s.spawn(|| {
                            // A grandchild, two scopes below.
                            tarae::scope(|s| {
                                s.spawn(|| {
                                    DEEP.fetch_add(1, SeqCst);
                                    until_cancelled();
                                    DEEP.fetch_add(10, SeqCst);
                                });
                            });
                            canary.fill(1);
                        });
                        // Not cancelled itself: `lock` cannot be.
                        drop(theirs.lock());
                    });
                    canary.iter().all(|byte| *byte == 1)
                });
                until(|| DEEP.load(SeqCst) == 1);
                parent.cancel();
                until(|| DEEP.load(SeqCst) == 11);
                assert!(!parent.is_finished());
                drop(held);
                assert!(parent.join().unwrap());
            });
        }
    });
}

/// The end of the runtime cancels scopes; they end within the grace.
#[test]
fn the_end_of_the_runtime_ends_scopes() {
    guarded("the end", || {
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        run_on(2, || {
            let begun = std::sync::Arc::new(AtomicUsize::new(0));
            let theirs = std::sync::Arc::clone(&begun);
            tarae::spawn(move || {
                tarae::scope(|s| {
                    for _ in 0..20 {
                        s.spawn(|| {
                            theirs.fetch_add(1, SeqCst);
                            until_cancelled();
                        });
                    }
                });
                ENDED.fetch_add(1, SeqCst);
            });
            until(|| begun.load(SeqCst) == 20);
        });
        assert_eq!(ENDED.load(SeqCst), 1);
    });
}
