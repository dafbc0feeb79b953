//! Signals of the process, raised by the process itself. In a process of their own: a handler is
//! installed for good.

use std::sync::Arc;

use rustix::process::{Signal as Raised, getpid, kill_process};
use tarae::signal::{Signal, Signals};

use super::support::{alone, look, spawn_named, until_parked};

/// Every set that asked gets the signal; one that asked for others does not. The signals come close
/// upon one another: one let in while the handler of another runs would need room for its frame on
/// the thread's alternate stack, where there is none (a segmentation fault).
fn all_sets_are_told() {
    for _ in 0..400 {
        let first = Signals::new(&[Signal::USER1]).unwrap();
        let second = Signals::new(&[Signal::USER1, Signal::USER2]).unwrap();
        let other = Signals::new(&[Signal::HANGUP]).unwrap();
        let waiter = tarae::spawn(move || (first.wait().unwrap(), first));
        tarae::yield_now();
        kill_process(getpid(), Raised::USR1).unwrap();
        assert_eq!(second.wait().unwrap(), Signal::USER1);
        let (signal, first) = waiter.join().unwrap();
        assert_eq!(signal, Signal::USER1);
        kill_process(getpid(), Raised::USR2).unwrap();
        assert_eq!(second.wait().unwrap(), Signal::USER2);
        // What came first here shows that nothing else had come.
        kill_process(getpid(), Raised::HUP).unwrap();
        assert_eq!(other.wait().unwrap(), Signal::HANGUP);
        kill_process(getpid(), Raised::USR1).unwrap();
        let thread = std::thread::spawn(move || first.wait().unwrap());
        assert_eq!(thread.join().unwrap(), Signal::USER1);
        // The handler may still be going through the sets: the next ones must not find it there.
        assert_eq!(second.wait().unwrap(), Signal::USER1);
    }
}

/// Two signals come before anybody looks: whoever waits, each is given once, to somebody.
fn two_waiters_share_a_set() {
    for round in 0..50 {
        let signals = Arc::new(Signals::new(&[Signal::USER1, Signal::USER2]).unwrap());
        let names = ["left", "right"].map(|side| format!("{side} {round}"));
        let waiters = names.each_ref().map(|name| {
            let signals = Arc::clone(&signals);
            spawn_named(name, move || signals.wait().unwrap())
        });
        names.iter().for_each(|name| until_parked(name));
        kill_process(getpid(), Raised::USR1).unwrap();
        kill_process(getpid(), Raised::USR2).unwrap();
        let mut told = waiters.map(|waiter| waiter.join().unwrap().number());
        told.sort();
        assert_eq!(told, [Signal::USER1.number(), Signal::USER2.number()]);
    }
}

#[test]
fn every_set_is_told() {
    alone("signals::every_set_is_told", || {
        for workers in [1, 2] {
            let builder = tarae::Builder::new().workers(workers);
            builder.run(all_sets_are_told).unwrap();
        }
    });
}

#[test]
fn every_signal_is_given_once() {
    alone("signals::every_signal_is_given_once", || {
        let builder = tarae::Builder::new().workers(1);
        builder.run(two_waiters_share_a_set).unwrap();
    });
}

/// Sixteen sets at most; a place given back is free again, with nothing left in it, and a signal
/// that nobody waits for any more does not end the process.
#[test]
fn places_are_given_back() {
    alone("signals::places_are_given_back", || {
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                for _ in 0..3 {
                    let sets: Vec<_> = (0..16)
                        .map(|_| Signals::new(&[Signal::USER1]).unwrap())
                        .collect();
                    assert!(Signals::new(&[Signal::USER1]).is_err());
                    kill_process(getpid(), Raised::USR1).unwrap();
                    for set in &sets {
                        assert_eq!(set.wait().unwrap(), Signal::USER1);
                    }
                    kill_process(getpid(), Raised::USR1).unwrap();
                    assert_eq!(sets[15].wait().unwrap(), Signal::USER1);
                    drop(sets);
                    kill_process(getpid(), Raised::USR1).unwrap();
                    let fresh = Signals::new(&[Signal::USER2]).unwrap();
                    let waiter = tarae::spawn(move || fresh.wait().unwrap());
                    look();
                    assert!(!waiter.is_finished());
                    kill_process(getpid(), Raised::USR2).unwrap();
                    assert_eq!(waiter.join().unwrap(), Signal::USER2);
                }
            })
            .unwrap();
    });
}

/// The runtime's end ends the wait, as any other.
#[test]
fn a_wait_for_a_signal_is_cancelled() {
    alone("signals::a_wait_for_a_signal_is_cancelled", || {
        let (told, telling) = std::sync::mpsc::channel();
        tarae::Builder::new()
            .workers(2)
            .run(|| {
                spawn_named("waiter", move || {
                    let signals = Signals::new(&[Signal::TERMINATE]).unwrap();
                    told.send(signals.wait().is_err_and(|e| tarae::Cancelled::is(&e)))
                        .unwrap();
                });
                until_parked("waiter");
            })
            .unwrap();
        assert_eq!(telling.recv(), Ok(true));
    });
}
