//! Order, capacity, hand-off: what goes through a channel, and to whom.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::inspect::WaitReason;
use tarae::sync::{broadcast, mpmc, oneshot, watch};

use crate::support::{guard, run_on, until_waiting};

/// Receivers that wait are served in the order in which they came, each with one message.
#[test]
fn receivers_are_served_in_turn() {
    let _guard = guard("receivers in turn");
    for capacity in [0, 1, 100] {
        run_on(1, || {
            let (sender, receiver) = mpmc::sync_channel(capacity);
            let log = Arc::new(Mutex::new(Vec::new()));
            let mut handles = Vec::new();
            for n in 0..10 {
                let (receiver, log) = (receiver.clone(), Arc::clone(&log));
                handles.push(tarae::spawn(move || {
                    let message = receiver.recv().unwrap();
                    log.lock().unwrap().push((n, message));
                }));
                until_waiting(WaitReason::Channel, n + 1);
            }
            (0..10).for_each(|n| sender.send(n).unwrap());
            // Nobody who asks now may be faster than those who waited.
            assert!(receiver.try_recv().is_err(), "overtaken");
            handles.into_iter().for_each(|one| one.join().unwrap());
            let want: Vec<_> = (0..10).map(|n| (n, n)).collect();
            assert_eq!(*log.lock().unwrap(), want);
        });
    }
}

/// Senders that wait for room get it in the order in which they came.
#[test]
fn senders_are_served_in_turn() {
    let _guard = guard("senders in turn");
    for capacity in [0, 1, 3] {
        run_on(1, || {
            let (sender, receiver) = mpmc::sync_channel(capacity);
            (0..capacity).for_each(|n| sender.send(n).unwrap());
            assert!(sender.is_full() && sender.len() == capacity);
            for n in capacity..capacity + 10 {
                let sender = sender.clone();
                tarae::spawn(move || sender.send(n).unwrap());
                until_waiting(WaitReason::Channel, n + 1 - capacity);
            }
            drop(sender);
            let got: Vec<_> = receiver.iter().collect();
            assert_eq!(got, (0..capacity + 10).collect::<Vec<_>>());
        });
    }
}

/// A rendezvous: nothing is sent before it is received.
#[test]
fn a_rendezvous_needs_both() {
    let _guard = guard("rendezvous");
    run_on(1, || {
        let (sender, receiver) = mpmc::sync_channel(0);
        assert_eq!(sender.try_send(1), Err(mpmc::TrySendError::Full(1)));
        assert!(receiver.try_recv().is_err());
        assert_eq!((sender.capacity(), sender.len()), (Some(0), 0));
        assert!(sender.is_full() && sender.is_empty());
        let sending = tarae::spawn(move || sender.send(2).unwrap());
        until_waiting(WaitReason::Channel, 1);
        assert!(!sending.is_finished());
        assert_eq!(receiver.try_recv(), Ok(2));
        sending.join().unwrap();
    });
}

/// Every kind of pair: coroutine or thread on either side, every capacity.
#[test]
fn everybody_can_talk_to_everybody() {
    let _guard = guard("pairs");
    const COUNT: u32 = 2_000;
    for capacity in [0, 1, 7, usize::MAX] {
        run_on(2, || {
            for threads in [[false, true], [true, false], [true, true], [false, false]] {
                let (sender, receiver) = mpmc::sync_channel(capacity);
                let send = move || (0..COUNT).for_each(|n| sender.send(n).unwrap());
                let receive = move || receiver.iter().eq(0..COUNT);
                let thread = threads[0].then(|| std::thread::spawn(send.clone()));
                let sending = (!threads[0]).then(|| tarae::spawn(send));
                if threads[1] {
                    let receiving = std::thread::spawn(receive);
                    sending.into_iter().for_each(|one| one.join().unwrap());
                    assert!(receiving.join().unwrap());
                } else {
                    assert!(tarae::spawn(receive).join().unwrap());
                    sending.into_iter().for_each(|one| one.join().unwrap());
                }
                thread.into_iter().for_each(|one| one.join().unwrap());
            }
        });
    }
}

#[test]
fn broadcast_reaches_everybody_and_tells_laggards() {
    let _guard = guard("broadcast");
    run_on(2, || {
        let (sender, receiver) = broadcast::channel(4);
        let followers: Vec<_> = (0..5)
            .map(|_| {
                let receiver = receiver.clone();
                tarae::spawn(move || {
                    let (mut sum, mut missed) = (0u64, 0);
                    loop {
                        match receiver.recv() {
                            Ok(n) => sum += n,
                            Err(error) if error.is_disconnected() => return (sum, missed),
                            Err(error) => missed += error.missed().unwrap(),
                        }
                        assert!(sum <= 5_050);
                    }
                })
            })
            .collect();
        for n in 1..=100u64 {
            assert_eq!(sender.send(n).unwrap(), 6);
            if n % 3 == 0 {
                tarae::yield_now();
            }
        }
        assert_eq!(receiver.try_recv().unwrap_err().missed(), Some(96));
        let rest: Vec<_> = (0..4).map(|_| receiver.try_recv().unwrap()).collect();
        assert_eq!(rest, [97, 98, 99, 100]);
        assert!(receiver.try_recv().unwrap_err().is_empty());
        drop(sender);
        for follower in followers {
            let (sum, missed) = follower.join().unwrap();
            assert!(missed > 0 || sum == 5_050);
        }
        assert!(receiver.recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn broadcast_lets_go_of_what_everybody_has() {
    let (sender, receiver) = broadcast::channel(8);
    let other = receiver.clone();
    let message = Arc::new(());
    sender.send(Arc::clone(&message)).unwrap();
    sender.send(Arc::clone(&message)).unwrap();
    drop(receiver.recv().unwrap());
    assert_eq!(Arc::strong_count(&message), 3);
    drop(other.recv().unwrap());
    assert_eq!(
        Arc::strong_count(&message),
        2,
        "kept though everybody has it"
    );
    drop(receiver);
    drop(other);
    assert_eq!(
        Arc::strong_count(&message),
        1,
        "kept though nobody can have it"
    );
    assert!(sender.send(message).is_err());
}

#[test]
fn a_watch_shows_the_latest() {
    let _guard = guard("watch");
    run_on(2, || {
        let (sender, receiver) = watch::channel(0);
        assert!(!receiver.has_changed());
        let other = receiver.clone();
        let follower = tarae::spawn(move || {
            let mut last = 0;
            while other.changed().is_ok() {
                let now = *other.borrow();
                assert!(now >= last, "went back");
                last = now;
            }
            last
        });
        let held = receiver.borrow();
        (1..=1_000).for_each(|n| sender.send(n).unwrap());
        assert_eq!((*held, *receiver.borrow()), (0, 1_000));
        assert!(receiver.has_changed());
        assert_eq!(*receiver.borrow_and_update(), 1_000);
        assert!(!receiver.has_changed());
        let timeout = receiver.changed_timeout(Duration::from_millis(1));
        assert!(timeout.unwrap_err().is_timeout());
        assert_eq!(*receiver.wait_for(|n| *n == 1_000).unwrap(), 1_000);
        drop(sender);
        assert_eq!(
            follower.join().unwrap(),
            1_000,
            "the last one is never missed"
        );
        assert!(receiver.changed().unwrap_err().is_disconnected());
    });
}

#[test]
fn a_oneshot_carries_one() {
    let (sender, receiver) = oneshot::channel();
    assert!(receiver.try_recv().is_err());
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    assert!(receiver.recv().unwrap_err().is_disconnected());
    let (sender, receiver) = oneshot::channel();
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(2), Err(2));
}
