//! Coroutine-locals: each has its own, until its end, on its worker.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tarae::inspect::worker_index;

use crate::support::{guarded, panic_quietly, run_on, until, until_cancelled};

static MADE: AtomicUsize = AtomicUsize::new(0);

tarae::coroutine_local! {
    static NUMBER: Cell<u32> = const { Cell::new(1) };
    static LAZY: usize = MADE.fetch_add(1, SeqCst);
    /// Documented, and visible.
    pub(crate) static NAMES: RefCell<Vec<String>> = RefCell::new(vec!["first".into()])
}

#[test]
fn each_coroutine_has_its_own() {
    guarded("own values", || {
        NUMBER.set(99);
        run_on(2, || {
            assert_eq!(NUMBER.get(), 1, "not the thread's");
            let handles: Vec<_> = (0..100)
                .map(|n| {
                    tarae::spawn(move || {
                        NUMBER.set(n);
                        NAMES.with_borrow_mut(|names| names.push(n.to_string()));
                        (0..10).for_each(|_| tarae::yield_now());
                        assert_eq!(NAMES.replace(Vec::new()), ["first", &n.to_string()]);
                        NUMBER.replace(0) == n && NUMBER.take() == 0
                    })
                })
                .collect();
            assert!(handles.into_iter().all(|one| one.join().unwrap()));
            assert_eq!(NUMBER.get(), 1);
            let before = MADE.load(SeqCst);
            assert_eq!(LAZY.with(|n| *n), LAZY.with(|n| *n));
            assert_eq!(MADE.load(SeqCst), before + 1, "made once, at its first use");
        });
        assert_eq!(NUMBER.get(), 99, "the thread's again");
        std::thread::spawn(|| assert_eq!(NUMBER.get(), 1))
            .join()
            .unwrap();
    });
}

static DROPPED: Mutex<Vec<(&str, Option<usize>)>> = Mutex::new(Vec::new());

struct Noted(&'static str);

impl Drop for Noted {
    fn drop(&mut self) {
        // The one made first is there while the others go; those that are gone say so.
        let first = FIRST.try_with(|_| ()).is_ok();
        let text = if first { self.0 } else { "the first" };
        if self.0 == "bomb" {
            DROPPED.lock().unwrap().push(("bomb", worker_index()));
            panic_quietly("in a destructor");
        }
        assert!(UNUSED.try_with(|_| ()).is_err(), "none is made at the end");
        DROPPED.lock().unwrap().push((text, worker_index()));
    }
}

tarae::coroutine_local! {
    static FIRST: Noted = Noted("first");
    static SECOND: Noted = Noted("second");
    static BOMB: Noted = Noted("bomb");
    static UNUSED: u8 = 0;
}

/// In the reverse order, on the coroutine's worker, before its handle says that it has ended; also
/// after a panic and a cancellation, also if one of them panics.
#[test]
fn values_go_with_their_coroutine() {
    guarded("destruction", || {
        run_on(1, || {
            for end in 0..3 {
                let handle = tarae::spawn(move || {
                    FIRST.with(|_| ());
                    BOMB.with(|_| ());
                    SECOND.with(|_| ());
                    match end {
                        0 => {}
                        1 => panic_quietly("the coroutine"),
                        _ => until_cancelled(),
                    }
                });
                tarae::yield_now();
                handle.cancel();
                let _ = handle.join();
                let want = ["second", "bomb", "the first"].map(|name| (name, Some(0)));
                assert_eq!(*DROPPED.lock().unwrap(), want, "end {end}");
                DROPPED.lock().unwrap().clear();
            }
        });
    });
}

#[derive(Clone)]
struct Copied(u32);

tarae::coroutine_local! {
    static INHERITED: RefCell<Copied> = RefCell::new(Copied(0));
}

#[test]
fn children_inherit_on_request() {
    guarded("inheritance", || {
        run_on(2, || {
            INHERITED.set(Copied(1));
            NUMBER.set(5);
            tarae::scope(|s| {
                let before = s.spawn(inherited);
                assert_eq!(before.join().unwrap(), 0);
                s.inherit(&INHERITED).inherit(&NUMBER);
                let child = s.spawn(|| {
                    let (own, number) = (inherited(), NUMBER.get());
                    INHERITED.set(Copied(2));
                    // From where it is spawned, which is the child.
                    let grandchild = s.spawn(inherited);
                    (own, number, grandchild.join().unwrap())
                });
                assert_eq!(child.join().unwrap(), (1, 5, 2));
                assert_eq!(inherited(), 1, "a copy");
                let local = s.spawn_local(|| NUMBER.get());
                assert_eq!(local.join().unwrap(), 5);
            });
        });
    });
}

fn inherited() -> u32 {
    INHERITED.with_borrow(|copied| copied.0)
}

/// An initialiser and a value that use other keys, and a value in use across waits.
#[test]
fn keys_may_use_each_other() {
    tarae::coroutine_local! {
        static SUM: u32 = NUMBER.get() + 1;
    }
    guarded("keys", || {
        run_on(1, || {
            let other = tarae::spawn(|| SUM.with(|sum| *sum));
            SUM.with(|sum| {
                until(|| other.is_finished());
                NUMBER.set(9);
                assert_eq!(*sum, 2);
            });
            assert_eq!(other.join().unwrap(), 2);
        });
    });
}
