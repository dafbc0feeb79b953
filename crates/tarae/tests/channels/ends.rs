//! How a wait ends otherwise: disconnection, time-out, cancellation; and what becomes of messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::inspect::WaitReason;
use tarae::sync::{mpmc, mpsc};

use crate::support::{guard, run_on, until_waiting};

#[test]
fn a_send_that_ends_gives_its_message_back() {
    let _guard = guard("sends that end");
    for capacity in [0, 1] {
        run_on(2, || {
            let (sender, receiver) = mpmc::sync_channel(capacity);
            (0..capacity).for_each(|n| sender.send(n).unwrap());
            let error = sender
                .send_timeout(7, Duration::from_millis(1))
                .unwrap_err();
            assert!(error.is_timeout() && error.0 == 7);

            let theirs = sender.clone();
            let sending = tarae::spawn(move || theirs.send(8).unwrap_err());
            until_waiting(WaitReason::Channel, 1);
            sending.cancel();
            let error = sending.join().unwrap();
            assert!(error.is_cancelled() && error.into_inner() == 8);

            let theirs = sender.clone();
            let sending = tarae::spawn(move || theirs.send(9).unwrap_err());
            until_waiting(WaitReason::Channel, 1);
            drop(receiver);
            let error = sending.join().unwrap();
            assert!(error.is_disconnected() && error.0 == 9);
            assert!(matches!(
                sender.try_send(1),
                Err(mpmc::TrySendError::Disconnected(1))
            ));
        });
    }
}

/// Cancelled when the message has been handed over but the receiver has not run yet.
#[test]
fn a_message_handed_over_outlives_the_cancellation() {
    let _guard = guard("handed over");
    for capacity in [0, 1, usize::MAX] {
        run_on(1, || {
            let (sender, receiver) = mpmc::sync_channel(capacity);
            let receiving = tarae::spawn(move || receiver.recv());
            until_waiting(WaitReason::Channel, 1);
            sender.try_send(5).unwrap();
            receiving.cancel();
            assert_eq!(receiving.join().unwrap(), Ok(5));
        });
    }
}

#[test]
fn receivers_are_told_why() {
    let _guard = guard("receivers are told");
    run_on(2, || {
        let (sender, receiver) = mpmc::channel::<()>();
        let theirs = receiver.clone();
        let receiving = tarae::spawn(move || theirs.recv().unwrap_err());
        until_waiting(WaitReason::Channel, 1);
        receiving.cancel();
        assert!(receiving.join().unwrap().is_cancelled());
        let error = receiver.recv_timeout(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error, mpmc::RecvTimeoutError::Timeout);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                tarae::spawn(move || receiver.recv().unwrap_err())
            })
            .collect();
        until_waiting(WaitReason::Channel, 3);
        drop(sender);
        for one in waiting {
            assert!(one.join().unwrap().is_disconnected());
        }
        assert_eq!(receiver.try_recv(), Err(mpmc::TryRecvError::Disconnected));
    });
}

/// A message whose destructor panics takes nothing else with it.
#[test]
fn a_panic_of_one_message_leaves_the_others() {
    struct Bad(Arc<AtomicUsize>, bool);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
            if self.1 {
                std::panic::resume_unwind(Box::new(()));
            }
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpmc::channel();
    (0..10).for_each(|n| assert!(sender.send(Bad(Arc::clone(&dropped), n == 3)).is_ok()));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
    assert_eq!(dropped.load(SeqCst), 10);
    assert!(
        sender
            .send(Bad(Arc::clone(&dropped), false))
            .unwrap_err()
            .is_disconnected()
    );
    assert_eq!(dropped.load(SeqCst), 11);
}

#[test]
fn the_surface_of_mpsc() {
    let (sender, receiver) = mpsc::sync_channel(2);
    let clone = sender.clone();
    clone.try_send(1).unwrap();
    sender.send_timeout(2, Duration::ZERO).unwrap();
    assert_eq!(sender.try_send(3), Err(mpsc::TrySendError::Full(3)));
    assert_eq!((&receiver).into_iter().next(), Some(1));
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2]);
    let soon = tarae::time::Instant::now();
    assert!(receiver.recv_deadline(soon).unwrap_err().is_timeout());
    drop((sender, clone));
    assert_eq!(receiver.into_iter().next(), None);
}
