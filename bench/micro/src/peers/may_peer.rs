//! `may`: stackful coroutines that may change threads at any suspension.
//!
//! One of the peers. Its runtime is one for the whole process, with one worker here, as ours.

use super::{Peer, Turns, turns};
use may::coroutine::{self, JoinHandle};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(super) const PEER: Peer = Peer {
    name: "may",
    switch: None,
    yields: Some(|times| inside(move || yields(times))),
    spawn: Some(|times| inside(move || spawn(times))),
    wake: Some(wake),
    cross: None,
    offload: None,
    park: Some(park),
    threads: false,
};

/// Runs a measurement in a coroutine.
fn inside(run: impl FnOnce() -> Duration + Send + 'static) -> Duration {
    may::config().set_workers(1);
    may::go!(run).join().expect("no panic")
}

fn yields(times: u32) -> Duration {
    let other = may::go!(move || (0..times / 2).for_each(|_| coroutine::yield_now()));
    let start = Instant::now();
    (0..times / 2).for_each(|_| coroutine::yield_now());
    other.join().expect("no panic");
    start.elapsed()
}

fn spawn(times: u32) -> Duration {
    let start = Instant::now();
    for number in 0..times {
        let task: JoinHandle<u32> = may::go!(move || black_box(number));
        black_box(task.join().expect("no panic"));
    }
    start.elapsed()
}

fn wake(times: u32) -> Duration {
    may::config().set_workers(1);
    let shared = Arc::new(Turns::new());
    let there = shared.clone();
    let task = may::go!(move || {
        for number in turns(times) {
            while !there.is_due(number) {
                coroutine::park();
            }
            there.answer(number);
        }
    });
    let time = shared.drive(times, || task.coroutine().unpark());
    task.join().expect("no panic");
    time
}

fn park(count: usize, ready: &dyn Fn(), done: &dyn Fn()) {
    may::config().set_workers(1);
    let parked = Arc::new(AtomicUsize::new(0));
    may::go!(|| ()).join().expect("no panic");
    ready();
    for _ in 0..count {
        let parked = parked.clone();
        may::go!(move || {
            parked.fetch_add(1, Ordering::Relaxed);
            loop {
                coroutine::park();
            }
        });
    }
    while parked.load(Ordering::Relaxed) < count {
        std::thread::yield_now();
    }
    done();
}
