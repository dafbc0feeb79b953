//! Tokens and shields: who is cancelled by what, and what comes after.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tarae::cancel::{CancelToken, shield, timeout};
use tarae::thread::is_cancelled;

use crate::support::{FAR, guarded, run_on, until, until_cancelled};

#[test]
fn a_token_cancels_what_is_inside_and_no_longer() {
    guarded("a token", || {
        for workers in [1, 2] {
            run_on(workers, || {
                let token = CancelToken::new();
                let inside = Arc::new(AtomicUsize::new(0));
                let handles: Vec<_> = (0..10)
                    .map(|_| {
                        let (token, inside) = (token.clone(), Arc::clone(&inside));
                        tarae::spawn(move || {
                            token.run(|| {
                                inside.fetch_add(1, SeqCst);
                                until_cancelled();
                            });
                            // Outside again, waits are waits.
                            tarae::thread::sleep(std::time::Duration::from_millis(1));
                            !is_cancelled()
                        })
                    })
                    .collect();
                until(|| inside.load(SeqCst) == 10);
                assert!(!token.is_cancelled());
                token.cancel();
                token.cancel();
                assert!(handles.into_iter().all(|one| one.join().unwrap()));
                assert!(token.run(is_cancelled), "a cancelled one cancels at once");
            });
        }
    });
}

/// Tokens inside tokens: either cancels, from outside and from inside.
#[test]
fn tokens_nest_and_have_children() {
    guarded("nested tokens", || {
        run_on(2, || {
            for which in 0..4 {
                let (outer, inner) = (CancelToken::new(), CancelToken::new());
                let (parent, begun) = (CancelToken::new(), Arc::new(AtomicBool::new(false)));
                let child = parent.child().child();
                let theirs = (outer.clone(), inner.clone(), Arc::clone(&begun));
                let leaf = child.clone();
                let handle = tarae::spawn(move || {
                    let (outer, inner, begun) = theirs;
                    outer.run(|| {
                        let after = inner.run(|| {
                            leaf.run(|| {
                                begun.store(true, SeqCst);
                                until_cancelled();
                            });
                            is_cancelled()
                        });
                        (after, is_cancelled())
                    })
                });
                until(|| begun.load(SeqCst));
                [&outer, &inner, &parent, &child][which].cancel();
                let want = [(true, true), (true, false), (false, false), (false, false)];
                assert_eq!(handle.join().unwrap(), want[which], "token {which}");
                assert_eq!(parent.is_cancelled(), which == 2);
            }
        });
    });
}

/// A child of a token that is gone, and a thousand generations.
#[test]
fn families_of_tokens_are_cheap_to_lose() {
    let first = CancelToken::new();
    let mut line = vec![first.child()];
    for _ in 0..100_000 {
        line.push(line.last().unwrap().child());
    }
    first.cancel();
    assert!(line.iter().all(CancelToken::is_cancelled));
    let orphan = CancelToken::new().child();
    assert!(!orphan.is_cancelled());
    orphan.cancel();
    assert!(orphan.is_cancelled() && orphan.child().is_cancelled());
}

/// The scope's children are cancelled by the token around the scope, also when the one who opened
/// it is busy.
#[test]
fn a_token_reaches_into_scopes() {
    guarded("a token around a scope", || {
        run_on(2, || {
            let token = CancelToken::new();
            let (parked, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            token.run(|| {
                tarae::scope(|s| {
                    for _ in 0..5 {
                        s.spawn(|| {
                            tarae::scope(|s| {
                                s.spawn(|| {
                                    parked.fetch_add(1, SeqCst);
                                    until_cancelled();
                                });
                            });
                            ended.fetch_add(1, SeqCst);
                        });
                    }
                    until(|| parked.load(SeqCst) == 5);
                    token.cancel();
                    // No wait that could be cancelled: yields only.
                    until(|| ended.load(SeqCst) == 5);
                });
            });
        });
    });
}

/// Inside, nothing from outside is seen; what came meanwhile is met afterwards.
#[test]
fn a_shield_holds_and_then_delivers() {
    guarded("a shield", || {
        run_on(2, || {
            let log = Arc::new(Mutex::new(Vec::new()));
            let (theirs, phase) = (Arc::clone(&log), Arc::new(AtomicUsize::new(0)));
            let their_phase = Arc::clone(&phase);
            let handle = tarae::spawn(move || {
                let say = |text| theirs.lock().unwrap().push(text);
                let now = tarae::time::Instant::now();
                let late = tarae::deadline(now, || {
                    shield(|| {
                        their_phase.store(1, SeqCst);
                        until(|| their_phase.load(SeqCst) == 2);
                        assert!(!is_cancelled());
                        assert_eq!(tarae::cancel::current_deadline(), None);
                        // A wait that the cancellation and the deadline would both end.
                        let (sender, receiver) = tarae::sync::mpsc::channel();
                        tarae::scope(|s| {
                            s.spawn(move || sender.send("shielded").unwrap());
                            say(receiver.recv().unwrap());
                        });
                        let inner = CancelToken::new();
                        inner.cancel();
                        inner.run(until_cancelled);
                        let short = std::time::Duration::from_millis(1);
                        timeout(short, tarae::thread::park).unwrap_err();
                    });
                    say(if is_cancelled() { "delivered" } else { "lost" });
                    tarae::time::sleep(FAR);
                });
                // The cancellation came first: the deadline has ended nothing.
                assert!(late.is_ok());
                assert!(shield(|| !is_cancelled()) && is_cancelled());
            });
            until(|| phase.load(SeqCst) == 1);
            handle.cancel();
            phase.store(2, SeqCst);
            handle.join().unwrap();
            assert_eq!(*log.lock().unwrap(), ["shielded", "delivered"]);
        });
    });
}

/// A scope inside a shield is shielded, and one around it is not.
#[test]
fn shields_and_scopes() {
    guarded("shields and scopes", || {
        run_on(1, || {
            let (inside, outside) = (AtomicBool::new(false), AtomicBool::new(false));
            let (inside, outside): (&'static _, &'static _) =
                (Box::leak(Box::new(inside)), Box::leak(Box::new(outside)));
            let handle = tarae::spawn(move || {
                tarae::scope(|s| {
                    s.spawn(|| {
                        until_cancelled();
                        outside.store(true, SeqCst);
                    });
                    shield(|| {
                        tarae::scope(|s| {
                            s.spawn(|| {
                                until(|| outside.load(SeqCst));
                                (0..100).for_each(|_| tarae::yield_now());
                                inside.store(!is_cancelled(), SeqCst);
                            });
                        });
                    });
                });
            });
            (0..10).for_each(|_| tarae::yield_now());
            handle.cancel();
            handle.join().unwrap();
            assert!(
                inside.load(SeqCst),
                "the child in the shield is not cancelled"
            );
        });
    });
}

/// What is entered inside a scope is not what its children stand inside of; a spawned coroutine
/// stands inside of nothing.
#[test]
fn children_stand_where_their_scope_does() {
    guarded("where children stand", || {
        run_on(1, || {
            let token = CancelToken::new();
            token.cancel();
            tarae::scope(|s| {
                let child = token.run(|| s.spawn(is_cancelled));
                assert!(!child.join().unwrap());
            });
            let free = token.run(|| tarae::spawn(is_cancelled));
            assert!(!free.join().unwrap());
        });
    });
}

/// Resumed by somebody else, a bare coroutine takes nothing along that it did not enter, and leaves
/// nothing behind in the end.
#[test]
fn a_bare_coroutine_carries_its_deadline_away() {
    guarded("a bare coroutine", || {
        run_on(1, || {
            let mut bare = tarae::Coroutine::new(|y: &tarae::Yielder<()>| {
                timeout(FAR, || y.pause(())).is_ok()
            });
            let current = tarae::cancel::current_deadline;
            timeout(FAR, || {
                bare.resume();
                assert_ne!(current(), None);
            })
            .unwrap();
            assert_eq!(current(), None, "left with what is around it");
            tarae::scope(|s| {
                s.spawn_local(|| {
                    let ended = bare.resume();
                    assert_eq!(ended, tarae::Resumed::Finished(true));
                    assert_eq!(current(), None);
                });
            });
            // Forgotten inside: in force for whoever resumed it, and harmless.
            let forgotten = tarae::spawn(move || {
                let mut bare = tarae::Coroutine::new(|y: &tarae::Yielder<()>| {
                    timeout(FAR, || y.pause(())).is_ok()
                });
                bare.resume();
                std::mem::forget(bare);
                current().is_some()
            });
            assert!(forgotten.join().unwrap());
        });
    });
}
