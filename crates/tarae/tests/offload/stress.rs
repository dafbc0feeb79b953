//! Many jobs at once, from coroutines of two workers and from plain threads.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tarae::offload::{Builder, Pool, stats};

use crate::support::{alone, until};

const JOBS: usize = 100_000;
const PLAIN: usize = 4;
const COROUTINES: usize = 64;

/// Every result is the caller's own, each job runs once, and the queue is empty in the end.
#[test]
fn every_job_gives_its_own_result() {
    alone("stress::every_job_gives_its_own_result", || {
        static RAN: AtomicUsize = AtomicUsize::new(0);
        let threads = Builder::new(Pool::Blocking).threads(4).queue(16);
        threads.apply().unwrap();
        let plain: Vec<_> = (0..PLAIN)
            .map(|thread| std::thread::spawn(move || calls(thread << 32, JOBS / 8, &RAN)))
            .collect();
        let runtime = tarae::Builder::new().workers(2);
        let ran = runtime.run(|| {
            let each = JOBS / 2 / COROUTINES;
            let callers: Vec<_> = (0..COROUTINES)
                .map(|n| tarae::spawn(move || calls((n + PLAIN) << 32, each, &RAN)))
                .collect();
            callers
                .into_iter()
                .map(|one| one.join().unwrap())
                .sum::<usize>()
        });
        let ran = ran.unwrap()
            + plain
                .into_iter()
                .map(|one| one.join().unwrap())
                .sum::<usize>();
        assert_eq!(RAN.load(SeqCst), ran);
        assert!(
            ran > JOBS * 99 / 100,
            "{ran}: rounding loses less than that"
        );
        until(|| stats().blocking.running == 0);
        assert_eq!((stats().blocking.queued, stats().blocking.waiting), (0, 0));
        assert!(stats().blocking.threads <= 4);
    });
}

/// So many calls, each with a value of its own in and out by the caller's stack. Gives how many.
fn calls(base: usize, count: usize, ran: &AtomicUsize) -> usize {
    for n in base..base + count {
        let input = [n, !n];
        let mut output = 0;
        let twice = tarae::offload(|| {
            ran.fetch_add(1, SeqCst);
            output = input[0] ^ input[1];
            n * 2
        });
        assert_eq!((twice.unwrap(), output), (n * 2, usize::MAX));
    }
    count
}

/// Cancelled at random moments: each job runs exactly if its caller was given a result.
#[test]
fn cancellation_at_any_moment_has_one_outcome() {
    alone("stress::cancellation_at_any_moment_has_one_outcome", || {
        Builder::new(Pool::Cpu).threads(2).apply().unwrap();
        let ran = AtomicUsize::new(0);
        let ran: &'static AtomicUsize = Box::leak(Box::new(ran));
        let runtime = tarae::Builder::new().workers(2);
        let given = runtime.run(|| {
            let mut given = 0;
            for round in 0..200 {
                let call = move || tarae::offload::cpu(|| ran.fetch_add(1, SeqCst)).is_ok();
                let callers: Vec<_> = (0..20).map(|_| tarae::spawn(call)).collect();
                (0..round % 7).for_each(|_| tarae::yield_now());
                callers.iter().step_by(2).for_each(|caller| caller.cancel());
                // One that had not even started says so when joined.
                given += callers
                    .into_iter()
                    .filter_map(|one| one.join().ok())
                    .filter(|&ok| ok)
                    .count();
            }
            given
        });
        let given = given.unwrap();
        assert_eq!(ran.load(SeqCst), given);
        assert!(
            given >= 200 * 10,
            "only every second one is cancelled: {given}"
        );
    });
}
