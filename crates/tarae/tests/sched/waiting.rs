//! Time and tokens: sleeping, intervals, parking and unparking.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::time::{Instant, interval, sleep, sleep_until};

use crate::support::{guard, run_on, until};

/// Guards the order of deadlines across all levels that a test can wait for, and that none is
/// early, whatever the order in which they were asked for.
#[test]
fn sleepers_wake_in_the_order_of_their_deadlines_and_never_early() {
    let _guard = guard("order of sleepers");
    let table: [u64; 12] = [70, 3, 0, 65, 1, 130, 64, 2, 63, 127, 10, 128];
    let woken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let log = Arc::clone(&woken);
    run_on(1, move || {
        let start = Instant::now() + Duration::from_millis(5);
        let handles: Vec<_> = table
            .map(|millis| {
                let log = Arc::clone(&log);
                tarae::spawn(move || {
                    let deadline = start + Duration::from_millis(millis);
                    sleep_until(deadline);
                    assert!(Instant::now() >= deadline, "{millis} ms: early");
                    log.lock().unwrap().push(millis);
                })
            })
            .into();
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
    });
    let woken = woken.lock().unwrap();
    // All twelve were asked for before the first was due, each on a tick of its own: however late
    // the worker looks at the clock, it hands them out by deadline.
    let mut sorted = table;
    sorted.sort_unstable();
    assert_eq!(*woken, sorted);
}

/// A hundred deadlines, asked for in reverse: whoever has woken, its deadline lies in the past.
#[test]
fn a_later_deadline_is_not_served_before_an_earlier_one_has_passed() {
    let _guard = guard("deadlines against the clock");
    run_on(1, || {
        let start = Instant::now();
        let latest = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..100u64)
            .rev()
            .map(|millis| {
                let latest = Arc::clone(&latest);
                tarae::spawn(move || {
                    sleep_until(start + Duration::from_millis(millis));
                    latest.fetch_max(millis, SeqCst);
                    // Whoever has woken so far had a deadline that lies in the past now.
                    let passed = start.elapsed().as_millis() as u64;
                    assert!(latest.load(SeqCst) <= passed, "early");
                })
            })
            .collect();
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        assert_eq!(latest.load(SeqCst), 99);
    });
}

#[test]
fn ten_thousand_sleepers_all_wake() {
    let _guard = guard("ten thousand sleepers");
    let woken = run_on(2, || {
        let handles: Vec<_> = (0..10_000u64)
            .map(|n| {
                tarae::spawn(move || {
                    let asked = Duration::from_micros(n * 7_919 % 50_000);
                    let start = Instant::now();
                    sleep(asked);
                    u64::from(start.elapsed() >= asked)
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum::<u64>()
    });
    assert_eq!(woken, 10_000);
}

/// A sleep of nothing, and one whose deadline has passed, let others run: they must not hold the
/// worker when looped.
#[test]
fn a_sleep_of_nothing_yields() {
    let _guard = guard("sleep of nothing");
    let waits: [fn(); 3] = [
        || sleep(Duration::ZERO),
        || sleep_until(Instant::now()),
        || sleep(Duration::from_nanos(1)),
    ];
    for wait in waits {
        run_on(1, move || {
            let done = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&done);
            tarae::spawn(move || theirs.store(true, SeqCst));
            while !done.load(SeqCst) {
                wait();
            }
        });
    }
}

#[test]
fn an_interval_counts_from_its_start_and_skips_what_was_missed() {
    let _guard = guard("interval");
    run_on(1, || {
        let before = Instant::now();
        let period = Duration::from_millis(3);
        let mut ticks = interval(period);
        assert_eq!(ticks.period(), period);
        let after = Instant::now();
        let first = ticks.tick();
        assert!(first >= before + period && first <= after + period);
        let mut last = first;
        for round in 0..10 {
            if round == 5 {
                std::thread::sleep(Duration::from_millis(20));
            }
            let due = ticks.tick();
            assert!(due <= Instant::now(), "early");
            let nanos = due.duration_since(first).as_nanos();
            assert_eq!(nanos % period.as_nanos(), 0, "a multiple of the period");
            assert!(due > last);
            last = due;
        }
    });
    assert!(std::panic::catch_unwind(|| interval(Duration::ZERO)).is_err());
}

/// The wait that ended otherwise takes its deadline with it: afterwards nothing is left that could
/// wake the coroutine out of another wait.
#[test]
fn the_deadline_of_a_wait_that_ended_wakes_nobody() {
    let _guard = guard("cancelled deadlines");
    run_on(1, || {
        let (sender, receiver) = tarae::sync::mpsc::channel();
        for round in 0..200 {
            let sender = sender.clone();
            tarae::spawn(move || sender.send(round).unwrap());
            // The message comes first, the deadline (a tick or two away) is withdrawn.
            let _ = receiver
                .recv_timeout(Duration::from_millis(1))
                .map(|got| assert_eq!(got, round))
                .map_err(|_| receiver.recv().unwrap());
        }
        // Any deadline left over would end this wait before its own.
        let start = Instant::now();
        let asked = Duration::from_millis(20);
        assert!(receiver.recv_timeout(asked).unwrap_err().is_timeout());
        assert!(start.elapsed() >= asked);
        sleep(asked);
        assert!(start.elapsed() >= asked * 2);
    });
}

/// The token: kept when nobody parks, one only, used up by the next park.
#[test]
fn an_unpark_is_a_token() {
    let _guard = guard("tokens");
    for workers in [1, 2] {
        run_on(workers, || {
            tarae::current().unpark();
            tarae::current().unpark();
            tarae::thread::park();
            // A park may return without cause, but not again and again: tokens are used up.
            let start = Instant::now();
            (0..3).for_each(|_| tarae::thread::park_timeout(Duration::from_millis(5)));
            assert!(
                start.elapsed() >= Duration::from_millis(5),
                "endless tokens"
            );

            let parked = tarae::spawn(|| {
                tarae::thread::park();
                7
            });
            until(|| {
                let all = tarae::inspect::coroutines(Duration::from_secs(60));
                all.iter()
                    .any(|one| one.waits_for == tarae::inspect::WaitReason::Park)
            });
            assert!(!parked.is_finished());
            parked.thread().unpark();
            assert_eq!(parked.join().unwrap(), 7);

            // Before its start, and after its end.
            let unstarted = tarae::spawn_local(tarae::thread::park);
            let thread = unstarted.thread();
            thread.unpark();
            unstarted.join().unwrap();
            thread.unpark();
        });
    }
}

/// A million unparks from two plain threads and a coroutine race with parks: the last one of each
/// round is always seen (a lost one hangs), and what was written before it is seen too.
#[test]
fn a_million_racing_unparks_lose_nothing() {
    let _guard = guard("racing unparks");
    const EACH: u64 = 333_334;
    for workers in [1, 2] {
        run_on(workers, || {
            let sent = Arc::new(AtomicU64::new(0));
            let me = tarae::current();
            let unparking = |sent: Arc<AtomicU64>, me: tarae::thread::Thread, coroutine: bool| {
                move || {
                    for n in 0..EACH {
                        sent.fetch_add(1, SeqCst);
                        me.unpark();
                        if coroutine && n % 64 == 0 {
                            tarae::yield_now();
                        }
                    }
                }
            };
            let threads: Vec<_> = (0..2)
                .map(|_| std::thread::spawn(unparking(Arc::clone(&sent), me.clone(), false)))
                .collect();
            let local = tarae::spawn(unparking(Arc::clone(&sent), me, true));
            let mut seen = 0;
            while seen < 3 * EACH {
                tarae::thread::park();
                seen = sent.load(SeqCst);
            }
            local.join().unwrap();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }
}

/// Two coroutines of different workers hand a turn to and fro: each park has exactly one unpark,
/// so that a single lost one hangs.
#[test]
fn ping_pong_between_workers_and_threads() {
    let _guard = guard("ping-pong");
    const ROUNDS: usize = 20_000;
    run_on(2, || {
        let turn = Arc::new(AtomicUsize::new(0));
        let me = tarae::current();
        let here = std::thread::current().id();
        let theirs = Arc::clone(&turn);
        let play = move || {
            for round in 0..ROUNDS {
                while theirs.load(SeqCst) != 2 * round + 1 {
                    tarae::thread::park();
                }
                theirs.store(2 * round + 2, SeqCst);
                me.unpark();
            }
            std::thread::current().id()
        };
        let thread = std::thread::spawn(play.clone());
        serve(&turn, || thread.thread().unpark());
        assert_ne!(thread.join().unwrap(), here);

        turn.store(0, SeqCst);
        // Two, so that a thief comes; whichever worker they begin on, they stay there.
        let other = tarae::spawn(play);
        tarae::spawn(|| ());
        until(|| tarae::inspect::coroutines(Duration::from_secs(60)).len() == 2);
        let thread = other.thread();
        serve(&turn, || thread.unpark());
        other.join().unwrap();
    });

    fn serve(turn: &AtomicUsize, unpark: impl Fn()) {
        for round in 0..ROUNDS {
            turn.store(2 * round + 1, SeqCst);
            unpark();
            while turn.load(SeqCst) != 2 * round + 2 {
                tarae::thread::park();
            }
        }
    }
}

/// On a plain thread the same calls block the thread.
#[test]
fn plain_threads_wait_too() {
    let _guard = guard("waits of plain threads");
    let start = Instant::now();
    sleep(Duration::from_millis(2));
    tarae::thread::park_timeout(Duration::from_millis(2));
    assert!(start.elapsed() >= Duration::from_millis(2));
    tarae::current().unpark();
    tarae::thread::park();
    tarae::yield_now();
    assert_eq!(tarae::block_on(async { 7 }), Ok(7));
    assert!(tarae::current().spawned_at().is_none());
}

/// A future that wakes itself while it is polled: the token must be kept until the park after it.
#[test]
fn a_future_may_wake_itself() {
    let _guard = guard("a future that wakes itself");
    let count = || {
        let mut left = 1_000;
        tarae::block_on(std::future::poll_fn(move |context| {
            if left == 0 {
                return std::task::Poll::Ready(7);
            }
            left -= 1;
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        }))
    };
    assert_eq!(count(), Ok(7));
    for workers in [1, 2] {
        assert_eq!(
            run_on(workers, || tarae::spawn(count).join().unwrap()),
            Ok(7)
        );
    }
}
