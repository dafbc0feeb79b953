//! The lock of the channels, and the word that decides between the branches of a select.

use super::thread;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::choice::Choice;
use crate::spin::Spin;

/// Two threads change the value in two steps each: nobody sees another's first step alone.
#[test]
fn the_lock_is_held_by_one() {
    loom::model(|| {
        let lock = Arc::new(Spin::new((0, 0)));
        let work = |lock: &Spin<(u32, u32)>| {
            lock.with(|pair| {
                assert_eq!(pair.0, pair.1, "between the steps of another");
                pair.0 += 1;
                pair.1 += 1;
            });
        };
        let theirs = Arc::clone(&lock);
        let other = thread::spawn(move || work(&theirs));
        work(&lock);
        other.join().unwrap();
        assert_eq!(lock.with(|pair| *pair), (2, 2));
    });
}

/// Two branches become ready while a select goes to wait: it takes one of them, and only one was
/// claimed; what was written before the claim is seen.
#[test]
fn a_select_takes_the_one_that_claimed_it() {
    let mut model = loom::model::Builder::new();
    // As in the models of parking: nearly every known bug needs at most three forced switches.
    model.preemption_bound = Some(3);
    model.check(|| {
        let choice = Arc::new(Choice::new());
        let things: Arc<[AtomicUsize; 2]> = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let others: Vec<_> = (0..2u32)
            .map(|branch| {
                let (choice, things) = (Arc::clone(&choice), Arc::clone(&things));
                thread::spawn(move || {
                    things[branch as usize].store(1, Ordering::Relaxed);
                    choice.claim(branch)
                })
            })
            .collect();
        let armed = choice.arm();
        let claimed = armed && choice.is_claimed();
        let winner = if armed { choice.end() } else { None };
        assert!(!claimed || winner.is_some(), "a claim was forgotten");
        if let Some(branch) = winner {
            let thing = things[branch as usize].load(Ordering::Relaxed);
            assert_eq!(thing, 1, "claimed before it was there");
        }
        let claims: Vec<bool> = others.into_iter().map(|one| one.join().unwrap()).collect();
        let want = |branch| winner == Some(branch);
        assert_eq!(claims, [want(0), want(1)]);
    });
}

/// Something comes while the select looks around and finds nothing: it does not go to wait.
#[test]
fn a_select_never_waits_beside_something() {
    loom::model(|| {
        let choice = Arc::new(Choice::new());
        let there = Arc::new(Spin::new(false));
        let claimed = Arc::new(AtomicBool::new(false));
        let (theirs, thing, mark) = (
            Arc::clone(&choice),
            Arc::clone(&there),
            Arc::clone(&claimed),
        );
        let other = thread::spawn(move || {
            thing.with(|there| *there = true);
            mark.store(theirs.claim(0), Ordering::Relaxed);
        });
        let found = there.with(|there| *there);
        let waits = !found && choice.arm();
        other.join().unwrap();
        assert!(
            !waits || claimed.load(Ordering::Relaxed),
            "nobody will wake it"
        );
    });
}
