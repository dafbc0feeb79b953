//! The models of `sync`: permits (mutex, lock of readers and writers, semaphore), signals
//! (condition, notification), the gate of what is done once, the rounds of a barrier.
//!
//! A wait here is the runtime's (`sync::wait`): park, collect, and on another end withdraw. Giving
//! up is a withdrawal at once: any moment of it is among the interleavings. A waiter that is left
//! asleep is a deadlock, which `loom` reports.

use super::thread;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::parker::Parker;
use crate::gate::{Begun, Gate};
use crate::permits::{ALL, Entered, Grant, Permits};
use crate::queue::Wakes;
use crate::round::{Arrived, Round};
use crate::signal::{Signal, Told};

type Waiter = Arc<Parker>;

fn wake(wakes: Wakes<Waiter>) {
    wakes.into_iter().for_each(|waiter| waiter.unpark());
}

/// What `sync::wait` does.
fn give(permits: &Permits<Waiter>, count: u64) {
    if !permits.try_give(count) {
        wake(permits.give_in_line(count));
    }
}

fn model(preemptions: Option<usize>, f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.check(f);
}

/// Takes permits, waiting for them, or giving up at any moment.
fn acquire(permits: &Permits<Waiter>, count: u64, gives_up: bool) -> Option<Grant> {
    if permits.try_take(count).is_ok() {
        return Some(Grant::Taken);
    }
    let parker = Waiter::default();
    match permits.enter(count, Arc::clone(&parker)) {
        Entered::Done(grant) => Some(grant),
        Entered::InLine(ticket) if gives_up => {
            let (grant, wakes) = permits.withdraw(ticket);
            wake(wakes);
            grant
        }
        Entered::InLine(ticket) => loop {
            parker.park();
            if let Some(grant) = permits.collect(&ticket) {
                return Some(grant);
            }
        },
    }
}

/// A lock and what it protects: `loom` fails when two accesses are not ordered.
struct Locked {
    permits: Permits<Waiter>,
    value: UnsafeCell<u32>,
}

// SAFETY: the protocol under test orders the accesses.
unsafe impl Sync for Locked {}

fn locked(permits: u64) -> Arc<Locked> {
    Arc::new(Locked {
        permits: Permits::new(permits),
        value: UnsafeCell::new(0),
    })
}

impl Locked {
    fn write(&self, permits: u64, gives_up: bool) -> bool {
        if acquire(&self.permits, permits, gives_up).is_none() {
            return false;
        }
        // SAFETY: under the lock.
        self.value.with_mut(|value| unsafe { *value += 1 });
        give(&self.permits, permits);
        true
    }

    fn read(&self) -> u32 {
        acquire(&self.permits, 1, false);
        // SAFETY: under the lock.
        let value = self.value.with(|value| unsafe { *value });
        give(&self.permits, 1);
        value
    }
}

/// Three lock a mutex: nobody is left asleep, and what one wrote the next one sees.
#[test]
fn mutex_excludes_and_leaves_nobody_asleep() {
    model(Some(2), || {
        let lock = locked(1);
        let threads = [(); 2].map(|()| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.write(1, false))
        });
        lock.write(1, false);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(lock.read(), 3);
    });
}

/// One of those who wait gives up while the lock is on its way to it: it gets it or the next does.
#[test]
fn mutex_is_not_lost_with_one_that_gives_up() {
    model(Some(2), || {
        let lock = locked(1);
        let [patient, impatient] = [false, true].map(|gives_up| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.write(1, gives_up))
        });
        lock.write(1, false);
        patient.join().unwrap();
        let got = impatient.join().unwrap();
        assert_eq!(lock.read(), 2 + u32::from(got));
        assert_eq!(lock.permits.free(), 1);
    });
}

/// A reader, a writer that may give up, and another writer.
#[test]
fn rwlock_lets_in_readers_or_one_writer() {
    model(Some(2), || {
        let lock = locked(ALL);
        let reader = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.read())
        };
        let writer = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.write(ALL, true))
        };
        lock.write(ALL, false);
        let (read, wrote) = (reader.join().unwrap(), writer.join().unwrap());
        assert!(read <= 2);
        assert_eq!(lock.read(), 1 + u32::from(wrote));
        assert_eq!(lock.permits.free(), ALL);
    });
}

/// A large request that gives up must let the small one behind it through.
#[test]
fn semaphore_serves_those_behind_one_that_leaves() {
    model(Some(3), || {
        let permits = Arc::new(Permits::<Waiter>::new(1));
        let large = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || acquire(&permits, 2, true))
        };
        assert_eq!(acquire(&permits, 1, false), Some(Grant::Taken));
        assert_eq!(large.join().unwrap(), None);
        give(&permits, 1);
        assert_eq!(permits.free(), 1);
    });
}

/// New permits come while one waits and the semaphore is closed: it is told one of the two.
#[test]
fn semaphore_close_ends_every_wait() {
    model(Some(3), || {
        let permits = Arc::new(Permits::<Waiter>::new(0));
        let giver = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || give(&permits, 1))
        };
        let closer = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || wake(permits.close()))
        };
        let grant = acquire(&permits, 1, false).unwrap();
        giver.join().unwrap();
        closer.join().unwrap();
        assert_eq!(permits.free(), u64::from(grant == Grant::Closed));
        assert!(permits.is_closed());
    });
}

/// The condition's protocol: enter, let go of the lock, wait; against change, notify. No
/// notification is missed.
#[test]
fn signal_is_not_missed() {
    model(None, || {
        let signal = Arc::new(Signal::<Waiter>::new());
        let ready = Arc::new(AtomicBool::new(false));
        let (theirs, change) = (Arc::clone(&signal), Arc::clone(&ready));
        let notifier = thread::spawn(move || {
            change.store(true, Ordering::Relaxed);
            if let Some(waiter) = theirs.tell_one(false) {
                waiter.unpark();
            }
        });
        let parker = Waiter::default();
        let ticket = signal.enter(Arc::clone(&parker)).unwrap();
        if ready.load(Ordering::Relaxed) {
            signal.withdraw(ticket);
        } else {
            while signal.collect(&ticket).is_none() {
                parker.park();
            }
            assert!(ready.load(Ordering::Relaxed));
        }
        notifier.join().unwrap();
    });
}

/// Two wait, one of them gives up, one notification comes: whoever is told by it alone, it is one.
#[test]
fn signal_reaches_one_of_two() {
    model(Some(3), || {
        let signal = Arc::new(Signal::<Waiter>::new());
        let patient = Waiter::default();
        let impatient = signal.enter(Waiter::default()).unwrap();
        let ticket = signal.enter(Arc::clone(&patient)).unwrap();
        let notifier = {
            let signal = Arc::clone(&signal);
            thread::spawn(move || signal.tell_one(true).map(|waiter| waiter.unpark()))
        };
        let told = signal.withdraw(impatient);
        notifier.join().unwrap();
        let other = signal.collect(&ticket);
        assert_eq!(
            usize::from(told.is_some()) + usize::from(other.is_some()),
            1
        );
        assert!(told.is_none_or(|told| told == Told::Alone));
    });
}

/// A permit is kept when nobody waits, and reaches the one who comes in that moment.
#[test]
fn signal_keeps_one_permit() {
    model(None, || {
        let signal = Arc::new(Signal::<Waiter>::new());
        let theirs = Arc::clone(&signal);
        let notifier = thread::spawn(move || {
            if let Some(waiter) = theirs.tell_one(true) {
                waiter.unpark();
            }
        });
        let parker = Waiter::default();
        if let Some(ticket) = signal.enter(Arc::clone(&parker)) {
            while signal.collect(&ticket).is_none() {
                parker.park();
            }
        }
        notifier.join().unwrap();
        assert!(signal.enter(parker).is_some(), "there was one permit");
    });
}

/// What `Once` does.
fn once(gate: &Gate<Waiter>, run: impl Fn() -> bool) -> bool {
    let parker = Waiter::default();
    loop {
        match gate.begin(true, true, || Arc::clone(&parker)) {
            Begun::Done => return false,
            Begun::Run { .. } => {
                let done = run();
                wake(gate.finish(done));
                return done;
            }
            Begun::Poisoned => unreachable!("ignored"),
            Begun::Wait(ticket) => {
                while gate.collect(&ticket).is_none() {
                    parker.park();
                }
            }
        }
    }
}

/// Two come: one does it, and both see what it did.
#[test]
fn gate_runs_once_and_all_see_it() {
    model(None, || {
        let gate = Arc::new(Gate::<Waiter>::new());
        let value = Arc::new(AtomicUsize::new(0));
        let both = move || {
            let ran = once(&gate, || {
                value.store(value.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                true
            });
            assert_eq!(value.load(Ordering::Relaxed), 1);
            ran
        };
        let other = thread::spawn(both.clone());
        let ran = both();
        assert!(ran != other.join().unwrap());
    });
}

/// The first try fails, the second does it; one that waits without doing it is told in the end.
#[test]
fn gate_goes_on_after_a_failure() {
    model(Some(3), || {
        let gate = Arc::new(Gate::<Waiter>::new());
        let theirs = Arc::clone(&gate);
        let trying = thread::spawn(move || {
            assert!(!once(&theirs, || false), "it failed");
            assert!(once(&theirs, || true));
        });
        let parker = Waiter::default();
        while let Begun::Wait(ticket) = gate.begin(false, true, || Arc::clone(&parker)) {
            while gate.collect(&ticket).is_none() {
                parker.park();
            }
        }
        assert!(gate.is_done());
        trying.join().unwrap();
    });
}

/// Three come to a barrier for two, one of them gives up: there is one leader for each pair, and
/// no party is counted twice.
#[test]
fn round_counts_whom_it_lets_go() {
    model(Some(2), || {
        let round = Arc::new(Round::<Waiter>::new());
        let patient = {
            let round = Arc::clone(&round);
            move || {
                let parker = Waiter::default();
                let (arrived, wakes) = round.arrive(2, Arc::clone(&parker));
                wake(wakes);
                if let Arrived::Early(ticket) = arrived {
                    while round.collect(&ticket).is_none() {
                        parker.park();
                    }
                }
            }
        };
        let one = thread::spawn(patient.clone());
        let other = {
            let round = Arc::clone(&round);
            thread::spawn(move || {
                let (arrived, wakes) = round.arrive(2, Waiter::default());
                wake(wakes);
                match arrived {
                    Arrived::Last => true,
                    Arrived::Early(ticket) => round.withdraw(ticket).is_some(),
                }
            })
        };
        // If the impatient one took part, a patient one needs another partner.
        if other.join().unwrap() {
            one.join().unwrap();
        } else {
            patient();
            one.join().unwrap();
        }
        let (arrived, _) = round.arrive(2, Waiter::default());
        assert!(matches!(arrived, Arrived::Early(_)), "nobody is left over");
    });
}
