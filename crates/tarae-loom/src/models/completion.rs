//! The models of completions: complete × check × register × drop × cancel. Each says what must hold
//! in every interleaving: the result is delivered exactly once, or dropped exactly once, and
//! nothing is leaked.
//!
//! A result holds a counted reference that `loom` watches, so that a leak is noticed, and says to
//! whom it went. Places that two threads touch without order are noticed by `loom`'s cells.

use super::thread;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};

use super::parker::Parker;
use crate::join::Joiner;
use crate::state::State;

/// How often results were delivered, and how often dropped.
#[derive(Default)]
struct Seen {
    delivered: AtomicUsize,
    dropped: AtomicUsize,
}

/// A result. Dropping it counts, however that comes about.
struct Value(Arc<Seen>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

enum Reaction {
    Wake(Arc<Parker>),
    Function,
}

/// A completion, and the one cell that says who completes it: a canceller, or who does the work.
struct Call {
    state: State<Value, Reaction>,
    work: Mutex<Option<()>>,
    seen: Arc<Seen>,
    /// What was handed over to a thread of its own, as to the service thread.
    handed_over: Mutex<bool>,
}

impl Call {
    fn new() -> Arc<Call> {
        Arc::new(Call {
            state: State::new(),
            work: Mutex::new(Some(())),
            seen: Arc::new(Seen::default()),
            handed_over: Mutex::new(false),
        })
    }

    /// Whoever has taken the work completes. `is_home`: functions are called here.
    fn finish(&self, is_home: bool) {
        if self.work.lock().unwrap().take().is_none() {
            return;
        }
        let value = Value(Arc::clone(&self.seen));
        // SAFETY: one alone has the work.
        match unsafe { self.state.complete(value) } {
            Joiner::Absent => {}
            // SAFETY: detached, so the result is ours.
            Joiner::Detached => drop(unsafe { self.state.take() }.expect("it is there")),
            Joiner::Waiting(Reaction::Wake(parker)) => parker.unpark(),
            Joiner::Waiting(function) => {
                // SAFETY: given to us by `complete`.
                unsafe { self.state.keep(function) };
                if is_home {
                    self.carry_out();
                } else {
                    *self.handed_over.lock().unwrap() = true;
                }
            }
        }
    }

    /// Calls the function with the result.
    fn carry_out(&self) {
        // SAFETY: by whoever is to carry it out.
        let (function, value) = unsafe { (self.state.reclaim(), self.state.take()) };
        assert!(matches!(function, Some(Reaction::Function)));
        drop(value.expect("it is there"));
        self.seen.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// The handle leaves a function and goes.
    fn on_complete(&self) {
        // SAFETY: by the handle, which is not used after this.
        if !unsafe { self.state.react_last(Reaction::Function) } {
            *self.handed_over.lock().unwrap() = true;
        }
    }

    /// The service thread, when all others are through.
    fn serve(&self) {
        if std::mem::take(&mut *self.handed_over.lock().unwrap()) {
            self.carry_out();
        }
    }

    /// The handle checks, once.
    fn check(&self) -> bool {
        if !self.state.is_complete() {
            return false;
        }
        // SAFETY: by the handle, which has left nothing; once.
        drop(unsafe { self.state.take() }.expect("it is there"));
        self.seen.delivered.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The handle goes, with nothing left.
    fn detach(&self) {
        if !self.state.detach() {
            // SAFETY: complete, so it is the handle's.
            drop(unsafe { self.state.take() }.expect("it is there"));
        }
    }

    fn delivered(&self) -> usize {
        assert_eq!(
            self.seen.dropped.load(Ordering::Relaxed),
            1,
            "one result, which is gone"
        );
        self.seen.delivered.load(Ordering::Relaxed)
    }
}

fn completer(call: &Arc<Call>, is_home: bool) -> thread::JoinHandle<()> {
    let theirs = Arc::clone(call);
    thread::spawn(move || theirs.finish(is_home))
}

#[test]
fn completion_is_checked_or_dropped_once() {
    loom::model(|| {
        let call = Call::new();
        let completer = completer(&call, true);
        let found = call.check();
        if !found {
            call.detach();
        }
        completer.join().unwrap();
        assert_eq!(call.delivered(), usize::from(found));
    });
}

#[test]
fn completion_calls_its_function_once() {
    loom::model(|| {
        let call = Call::new();
        let completer = completer(&call, true);
        call.on_complete();
        completer.join().unwrap();
        call.serve();
        assert_eq!(call.delivered(), 1);
    });
}

/// Cancelled while it completes, with a function left meanwhile: one of the two completes, and the
/// function is called once, never by the canceller.
#[test]
fn completion_of_a_cancelled_call_comes_once() {
    loom::model(|| {
        let call = Call::new();
        let (completer, canceller) = (completer(&call, true), completer(&call, false));
        call.on_complete();
        completer.join().unwrap();
        canceller.join().unwrap();
        call.serve();
        assert_eq!(call.delivered(), 1);
    });
}

/// What was kept by the completing side is carried out by a third thread at any moment.
#[test]
fn completion_is_handed_over_whole() {
    loom::model(|| {
        let call = Call::new();
        let completer = completer(&call, false);
        let theirs = Arc::clone(&call);
        let server = thread::spawn(move || theirs.serve());
        call.on_complete();
        completer.join().unwrap();
        server.join().unwrap();
        call.serve();
        assert_eq!(call.delivered(), 1);
    });
}

/// Whoever waits is woken, and finds the result.
#[test]
fn completion_wakes_who_waits() {
    loom::model(|| {
        let (call, parker) = (Call::new(), Arc::new(Parker::default()));
        let completer = completer(&call, true);
        // SAFETY: by the handle, which has left nothing.
        if unsafe { call.state.react(Reaction::Wake(Arc::clone(&parker))) } {
            while !call.state.is_complete() {
                parker.park();
            }
        }
        assert!(call.check());
        completer.join().unwrap();
        assert_eq!(call.delivered(), 1);
    });
}

/// A wait is given up, and the handle checks, leaves a function, or goes.
#[test]
fn completion_outlives_a_wait_given_up() {
    for then in 0..3 {
        loom::model(move || {
            let (call, parker) = (Call::new(), Arc::new(Parker::default()));
            let completer = completer(&call, true);
            // SAFETY: by the handle, which has left nothing.
            if unsafe { call.state.react(Reaction::Wake(parker)) } {
                // SAFETY: left just now.
                unsafe { call.state.withdraw() };
            }
            let found = match then {
                0 => call.check(),
                1 => {
                    call.on_complete();
                    true
                }
                _ => false,
            };
            if !found {
                call.detach();
            }
            completer.join().unwrap();
            call.serve();
            assert_eq!(call.delivered(), usize::from(found));
        });
    }
}

/// The checker notices a handle that takes the result when it has left a function.
#[test]
#[should_panic(expected = "it is there")]
fn a_result_wanted_twice_is_caught() {
    loom::model(|| {
        let call = Call::new();
        let completer = completer(&call, true);
        call.on_complete();
        call.check();
        completer.join().unwrap();
        call.serve();
    });
}
