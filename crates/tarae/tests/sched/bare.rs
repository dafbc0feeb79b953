//! The bare `Coroutine`: no runtime, no scheduler; alone, nested, and inside spawned coroutines.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tarae::{Coroutine, Resumed};

use crate::support::{Counted, counter, guard, run_on};

#[test]
fn values_come_in_order_and_then_the_result() {
    let mut count = Coroutine::new(|y| {
        (0..1_000u64).for_each(|n| y.pause(n));
        "over".to_owned()
    });
    assert!(!count.is_finished());
    for n in 0..1_000 {
        assert_eq!(count.resume(), Resumed::Paused(n));
    }
    assert!(!count.is_finished());
    assert_eq!(count.resume(), Resumed::Finished("over".to_owned()));
    assert!(count.is_finished());
    let again = catch_unwind(AssertUnwindSafe(|| count.resume()));
    let text = *again.unwrap_err().downcast::<&str>().unwrap();
    assert!(text.contains("a finished coroutine was resumed"), "{text}");
}

#[test]
fn dropping_unwinds_what_was_begun_and_drops_what_was_not() {
    let dropped = counter();
    let make = || {
        let captured = Counted(dropped);
        Coroutine::<(), ()>::new(move |y| {
            let _captured = captured;
            let _local = Counted(dropped);
            y.pause(());
            unreachable!("it is dropped there");
        })
    };
    drop(make());
    assert_eq!(dropped.load(SeqCst), 1, "never begun: only the closure");
    let mut paused = make();
    paused.resume();
    drop(paused);
    assert_eq!(dropped.load(SeqCst), 3);
    assert!(!std::thread::panicking());
}

/// A coroutine that catches the unwinding of its drop, and pauses again, is unwound again until it
/// returns.
#[test]
fn a_drop_cannot_be_refused() {
    let _guard = guard("a drop that is caught");
    let caught = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&caught);
    let mut stubborn = Coroutine::<(), ()>::new(move |y| {
        for _ in 0..10 {
            if catch_unwind(AssertUnwindSafe(|| y.pause(()))).is_err() {
                theirs.set(theirs.get() + 1);
            }
        }
    });
    stubborn.resume();
    drop(stubborn);
    assert_eq!(caught.get(), 10);
    // Its stack is whole again.
    assert_eq!(
        Coroutine::<(), _>::new(|_| 7).resume(),
        Resumed::Finished(7)
    );
}

#[test]
fn a_panic_goes_on_in_the_caller() {
    let dropped = counter();
    let mut bad = Coroutine::<u8, ()>::new(move |y| {
        let _local = Counted(dropped);
        y.pause(1);
        std::panic::resume_unwind(Box::new(17));
    });
    assert_eq!(bad.resume(), Resumed::Paused(1));
    let payload = catch_unwind(AssertUnwindSafe(|| bad.resume())).unwrap_err();
    assert_eq!(*payload.downcast::<i32>().unwrap(), 17);
    assert_eq!(dropped.load(SeqCst), 1);
    assert!(bad.is_finished());
    assert!(catch_unwind(AssertUnwindSafe(|| bad.resume())).is_err());
}

#[test]
fn coroutines_nest() {
    fn nest(depth: u32) -> Coroutine<u32, u32> {
        Coroutine::new(move |y| {
            let mut sum = depth;
            if depth > 0 {
                let mut inner = nest(depth - 1);
                while let Resumed::Paused(n) = inner.resume() {
                    y.pause(n);
                    sum += n;
                }
            }
            y.pause(depth);
            sum
        })
    }
    let mut outer = nest(20);
    let mut seen = Vec::new();
    while let Resumed::Paused(n) = outer.resume() {
        seen.push(n);
    }
    assert_eq!(seen, (0..=20).collect::<Vec<_>>());
    // Half way through, dropped: all twenty stacks are unwound.
    let mut outer = nest(20);
    for _ in 0..10 {
        let _paused = outer.resume();
    }
}

#[test]
fn ten_thousand_at_once() {
    let mut all: Vec<_> = (0..10_000usize)
        .map(|n| {
            Coroutine::<usize, usize>::new(move |y| {
                let kept = n * 2;
                y.pause(n);
                kept
            })
        })
        .collect();
    for (n, coroutine) in all.iter_mut().enumerate() {
        assert_eq!(coroutine.resume(), Resumed::Paused(n));
    }
    for (n, coroutine) in all.iter_mut().enumerate().rev() {
        if n % 2 == 0 {
            assert_eq!(coroutine.resume(), Resumed::Finished(n * 2));
        }
    }
}

/// A wait inside a bare coroutine parks the spawned one around it, from the inner stack; the worker
/// runs others meanwhile, which do the same.
#[test]
fn a_wait_in_a_bare_coroutine_parks_the_spawned_one() {
    let _guard = guard("waits in bare coroutines");
    run_on(2, || {
        let handles: Vec<_> = (0..20)
            .map(|_| {
                tarae::spawn(|| {
                    let (outside, inside) = (tarae::current().id(), Rc::new(Cell::new(0)));
                    let theirs = Rc::clone(&inside);
                    let mut bare = Coroutine::<u32, ()>::new(move |y| {
                        for n in 0..20 {
                            assert_eq!(tarae::current().id(), outside);
                            tarae::time::sleep(Duration::from_micros(100));
                            tarae::yield_now();
                            tarae::spawn(tarae::yield_now).join().unwrap();
                            theirs.set(theirs.get() + 1);
                            y.pause(n);
                        }
                    });
                    while let Resumed::Paused(n) = bare.resume() {
                        assert_eq!(inside.get(), n + 1);
                        tarae::yield_now();
                    }
                    inside.get()
                })
            })
            .collect();
        assert!(
            handles
                .into_iter()
                .all(|handle| handle.join().unwrap() == 20)
        );
    });
}

/// One bare coroutine, resumed by several spawned ones in turn: each wait in it parks whoever
/// resumed it just then.
#[test]
fn a_bare_coroutine_may_be_handed_around() {
    let _guard = guard("a bare coroutine handed around");
    run_on(1, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let bare = Coroutine::<(), ()>::new(move |y| {
            loop {
                let who = tarae::current().id();
                tarae::time::sleep(Duration::from_micros(100));
                assert_eq!(tarae::current().id(), who);
                theirs.borrow_mut().push(who);
                y.pause(());
            }
        });
        let shared = Rc::new(RefCell::new(Some(bare)));
        let mut ids = Vec::new();
        for _ in 0..5 {
            let shared = Rc::clone(&shared);
            let user = tarae::spawn_local(move || {
                let mut bare = shared.borrow_mut().take().unwrap();
                bare.resume();
                *shared.borrow_mut() = Some(bare);
            });
            ids.push(user.thread().id());
            user.join().unwrap();
        }
        assert_eq!(*log.borrow(), ids);
    });
}

/// Cancelled at the end of the runtime while parked in a bare coroutine: the frames of both stacks
/// return.
#[test]
fn the_end_reaches_into_bare_coroutines() {
    let _guard = guard("the end of nested coroutines");
    let dropped = counter();
    run_on(1, move || {
        tarae::spawn(move || {
            let _outer = Counted(dropped);
            Coroutine::<(), ()>::new(move |_| {
                let _inner = Counted(dropped);
                tarae::time::sleep(Duration::from_secs(3_600));
            })
            .resume();
        });
        tarae::yield_now();
    });
    assert_eq!(dropped.load(SeqCst), 2);
}

/// A pause must never carry a worker's frames away from under it: `run` could borrow the handle of
/// the coroutine around it, since its closure need not be `'static`. So it is refused there.
#[test]
fn a_runtime_inside_a_bare_coroutine_is_an_error() {
    let _guard = guard("a runtime in a bare coroutine");
    thread_local! {
        static SLOT: RefCell<Option<Coroutine>> = const { RefCell::new(None) };
    }
    let mut outer = Coroutine::<(), ()>::new(|y| {
        let main = || {
            tarae::spawn_local(|| drop(SLOT.take()));
            y.pause(());
        };
        let error = tarae::Builder::new().workers(1).run(main).unwrap_err();
        assert!(error.is_nested(), "{error}");
    });
    let first = outer.resume();
    SLOT.set(Some(outer));
    // Had `run` gone on, this thread would be taken for the paused `main` here.
    tarae::time::sleep(Duration::from_millis(1));
    assert_eq!(first, Resumed::Finished(()));
    // Outside of it the thread may run one again.
    assert_eq!(run_on(1, || 7), 7);
}
