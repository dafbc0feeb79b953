//! Timers: never early, in order, once; cancelled ones never.

use std::cell::RefCell;
use std::rc::Rc;

use tarae::event::{EventLoop, SourceId};
use tarae::time::{Duration, Instant};

use crate::support::{Log, guarded};

/// Numbers below what it is called with.
fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

#[test]
fn ten_thousand_with_cancellations() {
    guarded("ten_thousand_with_cancellations", || {
        const COUNT: usize = 10_000;
        let events = EventLoop::new().unwrap();
        let mut roll = dice(0x2545_f491_4f6c_dd1d);
        let start = Instant::now();
        let log = Log::new();
        // Whom each cancels when it expires: often one that is due in the same moment.
        let all: Rc<RefCell<Vec<SourceId>>> = Rc::default();
        let cancelled: Rc<RefCell<Vec<bool>>> = Rc::new(RefCell::new(vec![false; COUNT]));
        let deadlines: Vec<Instant> = (0..COUNT)
            .map(|number| {
                let deadline = start + Duration::from_micros(roll(150_000));
                let victim = roll(COUNT as u64 * 2) as usize;
                let (log, known, gone) = (log.clone(), Rc::clone(&all), Rc::clone(&cancelled));
                let id = events.at(deadline, move |events| {
                    assert!(Instant::now() >= deadline, "early");
                    log.note(number);
                    let victim_id = known.borrow().get(victim).copied();
                    if victim_id.is_some_and(|id| events.remove(id)) {
                        gone.borrow_mut()[victim] = true;
                    }
                });
                all.borrow_mut().push(id);
                deadline
            })
            .collect();
        for number in 0..COUNT {
            if roll(3) == 0 {
                let id = all.borrow()[number];
                assert!(events.remove(id));
                assert!(!events.remove(id));
                cancelled.borrow_mut()[number] = true;
            }
        }
        events.run().unwrap();
        let expired = log.take();
        let in_order =
            |pair: &[usize]| (deadlines[pair[0]], pair[0]) <= (deadlines[pair[1]], pair[1]);
        assert!(
            expired.windows(2).all(in_order),
            "in the order of their deadlines"
        );
        let mut expected = vec![0; COUNT];
        expired.iter().for_each(|number| expected[*number] += 1);
        for (number, count) in expected.into_iter().enumerate() {
            assert_eq!(
                count,
                u32::from(!cancelled.borrow()[number]),
                "timer {number}"
            );
        }
    });
}

#[test]
fn who_is_due_in_the_same_batch_can_still_be_cancelled_or_moved() {
    guarded(
        "who_is_due_in_the_same_batch_can_still_be_cancelled_or_moved",
        || {
            let events = EventLoop::new().unwrap();
            let log = Log::new();
            let now = Instant::now();
            let ids: Rc<RefCell<Vec<SourceId>>> = Rc::default();
            let (calls, known) = (log.clone(), Rc::clone(&ids));
            events.at(now, move |events| {
                calls.note("first");
                let known = known.borrow();
                assert!(events.remove(known[0]));
                assert!(events.reset(known[1], Instant::now() + Duration::from_secs(3600)));
                assert!(!events.reset(known[0], Instant::now()));
            });
            for what in ["cancelled", "moved", "third"] {
                let calls = log.clone();
                ids.borrow_mut()
                    .push(events.at(now, move |_| calls.note(what)));
            }
            while log.len() == 0 {
                events.run_once(None).unwrap();
            }
            assert_eq!(
                log.take(),
                ["first", "third"],
                "of equal ones the oldest first"
            );
            let moved = ids.borrow()[1];
            assert!(events.reset(moved, Instant::now()));
            while log.len() == 0 {
                events.run_once(None).unwrap();
            }
            assert_eq!(log.take(), ["moved"]);
            assert!(!events.reset(moved, Instant::now()), "it has expired");
            events.run().unwrap();
        },
    );
}

#[test]
fn a_far_timer_does_not_keep_a_near_one_waiting() {
    guarded("a_far_timer_does_not_keep_a_near_one_waiting", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let far = events.after(Duration::MAX, |_| unreachable!());
        // The first look sets the kernel's timer, for the one in 150 ms.
        for millis in [150, 120, 1] {
            let calls = log.clone();
            events.after(Duration::from_millis(millis), move |events| {
                calls.note(millis);
                if millis == 150 {
                    assert!(events.remove(far));
                }
            });
        }
        events.run().unwrap();
        assert_eq!(log.take(), [1, 120, 150]);
    });
}

#[test]
fn a_timer_that_repeats_leaves_out_what_was_missed() {
    guarded("a_timer_that_repeats_leaves_out_what_was_missed", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let calls = log.clone();
        let start = Instant::now();
        let period = Duration::from_millis(2);
        events.every(period, move |events| {
            calls.note(start.elapsed());
            if calls.len() == 1 {
                std::thread::sleep(period * 10);
            }
            if calls.len() == 4 {
                events.remove_current();
            }
        });
        events.run().unwrap();
        let ticks = log.take();
        assert_eq!(ticks.len(), 4);
        assert!(
            ticks[1] >= period * 11,
            "not before the first one's handler is over"
        );
        // The second tells of all that was missed; had they been made up for, the third and fourth
        // would have come with it.
        assert!(ticks[3] >= period * 13, "{ticks:?}");
    });
}

#[test]
#[should_panic(expected = "longer than zero")]
fn a_period_of_nothing_is_refused() {
    EventLoop::new().unwrap().every(Duration::ZERO, |_| ());
}
