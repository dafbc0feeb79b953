//! Scopes that go well: borrowing, values, nesting, limits, and what is forgotten.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tarae::inspect::worker_index;

use crate::support::{SetOnDrop, guarded, run_on, until};

#[test]
fn children_borrow_and_give_values() {
    guarded("borrowing", || {
        for workers in [1, 2] {
            run_on(workers, || {
                let text = String::from("to be or not to be");
                let mut lengths = vec![0; 6];
                let total: usize = tarae::scope(|s| {
                    let handles: Vec<_> = text
                        .split(' ')
                        .zip(&mut lengths)
                        .map(|(word, length)| {
                            s.spawn(move || {
                                tarae::yield_now();
                                *length = word.len();
                                *length
                            })
                        })
                        .collect();
                    handles.into_iter().map(|one| one.join().unwrap()).sum()
                });
                assert_eq!((total, lengths), (13, vec![2, 2, 2, 3, 2, 2]));
            });
        }
    });
}

/// Nobody joins, handles are dropped or forgotten: the scope waits all the same, and values are
/// dropped before it ends unless their handle was forgotten.
#[test]
fn the_scope_waits_for_whoever_is_not_joined() {
    guarded("not joined", || {
        run_on(2, || {
            let flags: [AtomicBool; 3] = Default::default();
            let ended = AtomicUsize::new(0);
            tarae::scope(|s| {
                let mut handles = flags.iter().enumerate().map(|(n, flag)| {
                    let ended = &ended;
                    s.spawn(move || {
                        // The one that is joined is long gone when the others end.
                        let turns = if n == 2 { 1 } else { 5_000 };
                        (0..turns).for_each(|_| tarae::yield_now());
                        ended.fetch_add(1, SeqCst);
                        SetOnDrop(flag)
                    })
                });
                drop(handles.next());
                std::mem::forget(handles.next());
                let last = handles.next().unwrap();
                assert!(!last.join().unwrap().0.load(SeqCst));
            });
            assert_eq!(ended.load(SeqCst), 3);
            assert_eq!(flags.map(AtomicBool::into_inner), [true, false, true]);
        });
    });
}

/// A handle that is forgotten while its child waits to be woken by what comes after.
#[test]
fn forgetting_a_scopes_handles_leaves_nothing_behind() {
    guarded("forgotten", || {
        run_on(1, || {
            let mut frame = [7u64; 64];
            let go = AtomicBool::new(false);
            tarae::scope(|s| {
                for chunk in frame.chunks_mut(8) {
                    let go = &go;
                    std::mem::forget(s.spawn(move || {
                        until(|| go.load(SeqCst));
                        chunk.iter_mut().for_each(|n| *n += 1);
                    }));
                }
                go.store(true, SeqCst);
            });
            assert_eq!(frame, [8; 64]);
        });
    });
}

#[test]
fn children_have_children_and_scopes_nest() {
    fn sum(numbers: &[u32]) -> u32 {
        match numbers {
            [] => 0,
            [one] => *one,
            _ => tarae::scope(|s| {
                let (left, right) = numbers.split_at(numbers.len() / 2);
                let left = s.spawn(|| sum(left));
                sum(right) + left.join().unwrap()
            }),
        }
    }
    guarded("nesting", || {
        let numbers: Vec<u32> = (0..500).collect();
        run_on(2, || assert_eq!(sum(&numbers), 124_750));
        run_on(2, || {
            let made = AtomicUsize::new(0);
            tarae::scope(|s| {
                // A child's child may outlive the child: it is the scope's.
                s.spawn(|| {
                    for _ in 0..10 {
                        s.spawn(|| {
                            tarae::yield_now();
                            s.spawn(|| made.fetch_add(1, SeqCst));
                        });
                    }
                });
            });
            assert_eq!(made.into_inner(), 10);
        });
    });
}

#[test]
fn local_children_stay_and_need_not_be_send() {
    guarded("local children", || {
        run_on(2, || {
            let here = worker_index();
            let seen = RefCell::new(Vec::new());
            let count = Rc::new(Cell::new(0));
            tarae::scope(|s| {
                for n in 0..5 {
                    let (seen, count) = (&seen, Rc::clone(&count));
                    let handle = s.spawn_local(move || {
                        assert_eq!(worker_index(), here);
                        seen.borrow_mut().push(n);
                        tarae::yield_now();
                        count.set(count.get() + 1);
                        count
                    });
                    if n == 4 {
                        assert!(handle.join().unwrap().get() > 0);
                    }
                }
            });
            assert_eq!((seen.into_inner(), count.get()), (vec![0, 1, 2, 3, 4], 5));
        });
    });
}

/// Never more than the limit, in turn, and raising it lets those in who wait.
#[test]
fn a_limit_bounds_those_who_run() {
    guarded("limits", || {
        for workers in [1, 2] {
            run_on(workers, || {
                let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let order = tarae::sync::Mutex::new(Vec::new());
                tarae::scope(|s| {
                    s.limit(3);
                    for n in 0..100 {
                        let (running, most, order) = (&running, &most, &order);
                        s.spawn(move || {
                            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                            order.lock().unwrap().push(n);
                            (0..n % 7).for_each(|_| tarae::yield_now());
                            running.fetch_sub(1, SeqCst);
                        });
                        assert!(running.load(SeqCst) <= 3);
                    }
                });
                // On one worker, they all begin before the first has ended.
                let most = most.into_inner();
                assert!(most == 3 || (workers == 2 && most < 3), "{most}");
                assert_eq!(order.into_inner().unwrap().len(), 100);
            });
        }
        run_on(1, || {
            let (spawned, go) = (AtomicUsize::new(0), AtomicBool::new(false));
            tarae::scope(|s| {
                s.limit(1);
                // Another coroutine spawns, and waits for room until the limit is raised.
                let spawner = || {
                    for _ in 0..3 {
                        s.spawn(|| until(|| go.load(SeqCst)));
                        spawned.fetch_add(1, SeqCst);
                    }
                };
                tarae::scope(|inner| {
                    inner.spawn_local(spawner);
                    until(|| spawned.load(SeqCst) == 1);
                    (0..100).for_each(|_| tarae::yield_now());
                    assert_eq!(spawned.load(SeqCst), 1);
                    s.limit(2);
                    until(|| spawned.load(SeqCst) == 2);
                    (0..100).for_each(|_| tarae::yield_now());
                    assert_eq!(spawned.load(SeqCst), 2);
                    go.store(true, SeqCst);
                });
                assert_eq!(spawned.load(SeqCst), 3);
            });
        });
    });
}

#[test]
#[should_panic(expected = "room for one child")]
fn a_limit_of_none_is_refused() {
    tarae::scope(|s| {
        s.limit(0);
    });
}

/// A hundred thousand children leave nothing behind in the scope.
#[test]
fn a_long_scope_does_not_grow() {
    guarded("many children", || {
        run_on(2, || {
            let count = AtomicUsize::new(0);
            tarae::scope(|s| {
                s.limit(50);
                (0..100_000).for_each(|_| drop(s.spawn(|| count.fetch_add(1, SeqCst))));
            });
            assert_eq!(count.into_inner(), 100_000);
        });
    });
}
