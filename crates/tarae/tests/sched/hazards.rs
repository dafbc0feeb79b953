//! What pinning and the end of a runtime do not cure, each shown as `docs/soundness.md` states it:
//! what goes wrong, and what stays safe.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tarae::net::TcpListener;
use tarae::{Builder, Cancelled, inspect, offload};

use crate::stragglers::elsewhere;
use crate::support::{Counted, counter, guard, isolated, run_on, until};

const HOUR: Duration = Duration::from_secs(3600);

/// Calls a function in its drop.
struct InDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for InDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Unwinds through a destructor that runs `f`; gives the payload's number.
fn unwind_through(f: impl FnMut() + Send + 'static) -> i32 {
    let handle = tarae::spawn(move || {
        let _in_drop = InDrop(f);
        resume_unwind(Box::new(17));
    });
    *handle.join().unwrap_err().into_panic().downcast().unwrap()
}

/// A wait's name, and the wait: true if it was refused.
type Refused = (&'static str, fn() -> bool);

/// While a panic unwinds a coroutine, every wait that can be cancelled is refused at once: nobody
/// else runs in between, so nobody takes the panic for their own.
#[test]
fn waits_are_refused_while_a_panic_unwinds() {
    let _guard = guard("waiting while unwinding");
    let waits: [Refused; 8] = [
        ("asking", tarae::thread::is_cancelled),
        ("sleep", || {
            tarae::time::sleep(HOUR);
            true
        }),
        ("park", || {
            tarae::thread::park();
            true
        }),
        ("yield", || {
            tarae::yield_now();
            true
        }),
        ("accept", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Cancelled::is(&listener.accept().unwrap_err())
        }),
        ("receive", || {
            let (_sender, receiver) = tarae::sync::mpsc::channel::<()>();
            receiver.recv().unwrap_err().is_cancelled()
        }),
        ("join", || {
            let other = tarae::spawn(|| ());
            other.join().unwrap_err().is_cancelled()
        }),
        ("offload", || offload(|| ()).unwrap_err().is_cancelled()),
    ];
    run_on(1, move || {
        let (switches, panicking) = (counter(), counter());
        let watcher = tarae::spawn(move || {
            while !tarae::thread::is_cancelled() {
                switches.fetch_add(1, SeqCst);
                panicking.fetch_add(usize::from(std::thread::panicking()), SeqCst);
                tarae::yield_now();
            }
        });
        for (name, wait) in waits {
            let refused = unwind_through(move || {
                assert!(std::thread::panicking());
                let before = switches.load(SeqCst);
                assert!(wait(), "{name} was not refused");
                assert_eq!(switches.load(SeqCst), before, "{name} let others run");
            });
            assert_eq!(refused, 17);
        }
        watcher.cancel();
        watcher.join().unwrap();
        assert!(switches.load(SeqCst) > 0);
        assert_eq!(panicking.load(SeqCst), 0);
    });
}

/// What succeeds without a wait succeeds while unwinding too.
#[test]
fn what_needs_no_wait_works_while_a_panic_unwinds() {
    let _guard = guard("no wait while unwinding");
    run_on(1, || {
        let (sender, receiver) = tarae::sync::mpsc::channel();
        let lock = Arc::new(tarae::sync::Mutex::new(0));
        let theirs = Arc::clone(&lock);
        unwind_through(move || {
            *theirs.lock().unwrap() += 1;
            sender.send("said in a destructor").unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), "said in a destructor");
        assert_eq!(*lock.lock().unwrap(), 1);
    });
}

/// A wait that cannot be cancelled is made: the lock's holder, on the same worker, goes on. What is
/// not cured: meanwhile `panicking` is true for everybody on the thread, so the holder of a std
/// lock who releases it then poisons it.
#[test]
fn a_lock_is_waited_for_while_a_panic_unwinds() {
    let _guard = guard("a lock while unwinding");
    run_on(1, || {
        let order = Rc::new(RefCell::new(Vec::new()));
        let lock = Rc::new(tarae::sync::Mutex::new(()));
        let plain = Rc::new(Mutex::new(()));
        let held = (lock.lock().unwrap(), plain.lock().unwrap());
        let (theirs, log) = (Rc::clone(&lock), Rc::clone(&order));
        let unwinding = tarae::spawn_local(move || {
            let _in_drop = InDrop(move || {
                log.borrow_mut().push("waits");
                drop(
                    theirs
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner()),
                );
                log.borrow_mut().push("has it");
            });
            resume_unwind(Box::new(17));
        });
        while order.borrow().is_empty() {
            tarae::yield_now();
        }
        assert!(
            std::thread::panicking(),
            "another coroutine's panic is seen"
        );
        // Waits of those who do not unwind are not refused.
        assert!(!tarae::thread::is_cancelled());
        tarae::time::sleep(Duration::from_millis(1));
        order.borrow_mut().push("releases");
        drop(held);
        assert!(unwinding.join().unwrap_err().is_panic());
        assert_eq!(*order.borrow(), ["waits", "releases", "has it"]);
        assert!(plain.is_poisoned() && !std::thread::panicking());
    });
}

/// A coroutine left behind in the middle of its unwinding is a straggler like any other. What is
/// not cured: the thread that called `run` counts as panicking from then on.
#[test]
fn a_straggler_may_be_unwinding() {
    isolated("hazards::a_straggler_may_be_unwinding", || {
        let _guard = guard("an unwinding straggler");
        let grace = Duration::from_millis(50);
        let result = Builder::new().workers(1).grace(grace).run(|| {
            let lock: &'static tarae::sync::Mutex<()> = Box::leak(Box::default());
            std::mem::forget(lock.lock().unwrap());
            tarae::spawn(|| {
                let _in_drop = InDrop(|| drop(lock.lock()));
                resume_unwind(Box::new(17));
            });
            tarae::yield_now();
        });
        assert_eq!(result.unwrap_err().stragglers().len(), 1);
        assert!(std::thread::panicking());
        // The next runtime knows that this panic is none of its own.
        run_on(1, || {
            assert!(!tarae::thread::is_cancelled());
            assert_eq!(tarae::spawn(|| 7).join().unwrap(), 7);
        });
    });
}

/// A guard that blocks its thread, held across a wait, stops its worker when another coroutine of
/// the worker wants it; the other workers go on.
#[test]
fn a_blocking_guard_across_a_wait_stops_its_worker() {
    isolated(
        "hazards::a_blocking_guard_across_a_wait_stops_its_worker",
        || {
            let _guard = guard("a worker stopped by a guard");
            run_on(2, || {
                let (wanted, released) = (counter(), counter());
                elsewhere(move || {
                    let lock: &'static Mutex<()> = Box::leak(Box::default());
                    tarae::spawn_local(move || {
                        let held = lock.lock().unwrap();
                        tarae::yield_now();
                        tarae::yield_now();
                        released.store(1, SeqCst);
                        drop(held);
                    });
                    tarae::spawn_local(move || {
                        wanted.store(1, SeqCst);
                        drop(lock.lock());
                    });
                });
                until(|| wanted.load(SeqCst) == 1);
                for _ in 0..20 {
                    let found = inspect::coroutines(Duration::from_millis(20));
                    assert!(found.iter().all(|coroutine| coroutine.worker == 0));
                    tarae::time::sleep(Duration::from_millis(1));
                }
                assert_eq!(released.load(SeqCst), 0);
                // The worker never comes back: neither would `run` in time.
                std::process::exit(0);
            });
        },
    );
}

/// The same, held by a lock of this crate: the worker goes on, and so does the holder.
#[test]
fn a_parking_guard_across_a_wait_stops_nobody() {
    let _guard = guard("a lock of this crate across a wait");
    run_on(1, || {
        let lock = Rc::new(tarae::sync::Mutex::new(Vec::new()));
        let theirs = Rc::clone(&lock);
        let holder = tarae::spawn_local(move || {
            let mut held = theirs.lock().unwrap();
            tarae::yield_now();
            held.push("first");
        });
        tarae::yield_now();
        lock.lock().unwrap().push("second");
        holder.join().unwrap();
        assert_eq!(*lock.lock().unwrap(), ["first", "second"]);
    });
}

/// A `RefCell` that stays borrowed over a wait refuses the others, by a panic of theirs: its flag
/// is exact, whoever looks at it, for they are all on one thread.
#[test]
fn a_borrow_across_a_wait_refuses_the_others() {
    thread_local! {
        static SHARED: RefCell<u32> = const { RefCell::new(0) };
    }
    let _guard = guard("a borrow across a wait");
    run_on(1, || {
        let asked = Rc::new(Cell::new(false));
        let asks = Rc::clone(&asked);
        let holder = tarae::spawn_local(move || {
            SHARED.with_borrow_mut(|value| {
                while !asked.get() {
                    tarae::yield_now();
                }
                *value += 1;
            });
        });
        tarae::yield_now();
        let other = tarae::spawn_local(|| SHARED.try_with(|shared| shared.try_borrow().is_err()));
        assert!(other.join().unwrap().unwrap(), "lent twice");
        asks.set(true);
        holder.join().unwrap();
        assert_eq!(SHARED.take(), 1);
    });
}

thread_local! {
    /// What a library that scopes a thread-local keeps: a pointer, here the number of a frame.
    static SCOPED: Cell<usize> = const { Cell::new(0) };
}

/// As such libraries have it: set for the time of a call, then what was there before.
fn scoped(frame: usize, f: impl FnOnce()) {
    let before = SCOPED.replace(frame);
    let _restore = InDrop(|| SCOPED.set(before));
    f();
}

/// Two coroutines in such scopes at once end in the wrong order: one sees the other's value, and
/// what is left in the end is the value of a frame that has returned. With a pointer in place of
/// the number, the next one to use it reads freed memory.
#[test]
fn scopes_of_a_thread_local_do_not_nest() {
    let _guard = guard("scopes of a thread-local");
    run_on(1, || {
        let first = tarae::spawn_local(|| {
            scoped(1, || {
                tarae::yield_now();
                assert_eq!(SCOPED.get(), 2, "the other's");
            });
        });
        let second = tarae::spawn_local(|| {
            scoped(2, || {
                tarae::yield_now();
                assert_eq!(
                    SCOPED.get(),
                    0,
                    "nobody's: the first has put back what it found"
                );
            });
        });
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(
            SCOPED.get(),
            1,
            "left behind by the first, which has returned"
        );
        SCOPED.set(0);
    });
}

/// A frame that was leaked has lent a thread-local of the thread that called `run` to a scoped
/// thread of std: nobody knows of that loan, so the destructor does not wait for it.
#[test]
fn a_loan_that_nobody_knows_of_is_not_waited_for() {
    struct Local(Cell<Option<Arc<AtomicBool>>>);
    impl Drop for Local {
        fn drop(&mut self) {
            if let Some(dropped) = self.0.take() {
                dropped.store(true, SeqCst);
            }
        }
    }
    thread_local! {
        static LOCAL: Local = const { Local(Cell::new(None)) };
    }
    let _guard = guard("a loan that nobody knows of");
    let dropped = Arc::new(AtomicBool::new(false));
    let (theirs, release) = (Arc::clone(&dropped), Arc::new(AtomicBool::new(false)));
    let (released, inside) = (Arc::clone(&release), Arc::new(AtomicUsize::new(0)));
    let borrowers = Arc::clone(&inside);
    let thread = std::thread::spawn(move || {
        let stays = Arc::clone(&inside);
        let result = Builder::new()
            .workers(1)
            .grace(Duration::ZERO)
            .run(move || {
                tarae::spawn(move || {
                    LOCAL.with(|local| {
                        local.0.set(Some(theirs));
                        std::thread::scope(|scope| {
                            // It could borrow `local`, were that `Sync`; it only stays as long.
                            scope.spawn(|| {
                                stays.store(1, SeqCst);
                                while !released.load(SeqCst) {
                                    std::thread::yield_now();
                                }
                                stays.store(2, SeqCst);
                            });
                            loop {
                                tarae::time::sleep(HOUR);
                            }
                        });
                    });
                });
                until(|| inside.load(SeqCst) == 1);
            });
        assert_eq!(result.unwrap_err().stragglers().len(), 1);
    });
    thread.join().unwrap();
    assert!(dropped.load(SeqCst), "the thread has ended");
    assert_eq!(borrowers.load(SeqCst), 1, "and the loan has not");
    release.store(true, SeqCst);
    while borrowers.load(SeqCst) == 1 {
        std::thread::yield_now();
    }
}

/// A handle that is forgotten keeps the result for ever and changes nothing else: the coroutine
/// runs, ends, and gives its stack back.
#[test]
fn a_forgotten_handle_leaks_the_result_alone() {
    let _guard = guard("a forgotten handle");
    let (local, result) = (counter(), counter());
    run_on(1, move || {
        std::mem::forget(tarae::spawn_local(move || {
            let _local = Counted(local);
            (Rc::new(0), Counted(result))
        }));
        tarae::yield_now();
        assert_eq!((local.load(SeqCst), result.load(SeqCst)), (1, 0));
    });
    assert_eq!(result.load(SeqCst), 0);
}

/// What a leaked frame owns is never dropped, and its memory never used again: a thread that
/// borrows from the frame finds it as it was, whatever runs afterwards.
#[test]
fn a_leaked_frame_stays_as_it_is() {
    let _guard = guard("a leaked frame");
    let owned = counter();
    let (ask, asked) = mpsc::channel::<()>();
    let (answer, answers) = mpsc::channel();
    let begun = Arc::new(AtomicBool::new(false));
    let result = Builder::new()
        .workers(1)
        .grace(Duration::ZERO)
        .run(move || {
            let theirs = Arc::clone(&begun);
            tarae::spawn(move || {
                let _owned = Counted(owned);
                let frame = std::hint::black_box([0x5Au8; 8_192]);
                let lent = &frame;
                std::thread::scope(move |scope| {
                    scope.spawn(move || {
                        theirs.store(true, SeqCst);
                        asked.recv().unwrap();
                        answer.send(lent.iter().all(|&byte| byte == 0x5A)).unwrap();
                    });
                    loop {
                        tarae::time::sleep(HOUR);
                    }
                });
            });
            until(|| begun.load(SeqCst));
        });
    assert_eq!(result.unwrap_err().stragglers().len(), 1);
    run_on(2, || {
        let dirty = || {
            let bytes = std::hint::black_box([0xA5u8; 65_536]);
            tarae::yield_now();
            assert!(bytes.iter().all(|&byte| byte == 0xA5));
        };
        let all: Vec<_> = (0..100).map(|_| tarae::spawn(dirty)).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    ask.send(()).unwrap();
    assert!(answers.recv().unwrap(), "the frame was written over");
    assert_eq!(owned.load(SeqCst), 0);
}
