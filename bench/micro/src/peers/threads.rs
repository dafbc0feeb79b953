//! Threads of the operating system: what everything else is cheaper than.
//!
//! One of the peers. Must never pin its threads: users do not either.

use super::{Peer, Turns, turns};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const PEER: Peer = Peer {
    name: "std threads",
    switch: None,
    yields: None,
    spawn: Some(spawn),
    wake: Some(wake),
    // A thread is its own worker.
    cross: Some(wake),
    offload: None,
    park: Some(park),
    threads: true,
};

fn spawn(times: u32) -> Duration {
    let start = Instant::now();
    for number in 0..times {
        black_box(
            thread::spawn(move || black_box(number))
                .join()
                .expect("no panic"),
        );
    }
    start.elapsed()
}

fn wake(times: u32) -> Duration {
    let shared = Arc::new(Turns::new());
    let there = shared.clone();
    let task = thread::spawn(move || {
        for number in turns(times) {
            while !there.is_due(number) {
                thread::park();
            }
            there.answer(number);
        }
    });
    let time = shared.drive(times, || task.thread().unpark());
    task.join().expect("no panic");
    time
}

fn park(count: usize, ready: &dyn Fn(), done: &dyn Fn()) {
    let parked = Arc::new(AtomicUsize::new(0));
    ready();
    for _ in 0..count {
        let parked = parked.clone();
        thread::spawn(move || {
            parked.fetch_add(1, Ordering::Relaxed);
            loop {
                thread::park();
            }
        });
    }
    while parked.load(Ordering::Relaxed) < count {
        thread::yield_now();
    }
    done();
}
