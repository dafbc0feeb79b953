//! Ours, with one worker.
//!
//! One of the peers, through the public API and nothing else.

use super::{Peer, Turns, turns};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tarae::inspect::worker_index;
use tarae::{Builder, Coroutine, thread};

pub(super) const PEER: Peer = Peer {
    name: super::OURS,
    switch: Some(switch),
    yields: Some(|times| inside(|| yields(times))),
    spawn: Some(|times| inside(|| spawn(times))),
    wake: Some(|times| inside(|| wake(times))),
    cross: Some(|times| {
        Builder::new()
            .workers(2)
            .run(|| cross(times))
            .expect("a runtime")
    }),
    offload: Some(|times| inside(|| offload(times))),
    park: Some(park),
    threads: false,
};

/// Runs a measurement in a coroutine.
fn inside<T>(run: impl FnOnce() -> T) -> T {
    Builder::new().workers(1).run(run).expect("a runtime")
}

fn switch(times: u32) -> Duration {
    let mut coroutine = Coroutine::new(move |yielder| {
        for _ in 0..times {
            yielder.pause(());
        }
    });
    let start = Instant::now();
    for _ in 0..times {
        black_box(coroutine.resume());
    }
    let time = start.elapsed();
    coroutine.resume();
    time
}

fn yields(times: u32) -> Duration {
    let other = thread::spawn(move || (0..times / 2).for_each(|_| thread::yield_now()));
    let start = Instant::now();
    (0..times / 2).for_each(|_| thread::yield_now());
    other.join().expect("no panic");
    start.elapsed()
}

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

/// The thread is a plain one beside the worker.
fn wake(times: u32) -> Duration {
    let task = thread::current();
    let (sender, receiver) = std::sync::mpsc::channel();
    let driver = std::thread::spawn(move || {
        let shared = Arc::new(Turns::new());
        sender.send(shared.clone()).expect("the task waits");
        shared.drive(times, || task.unpark())
    });
    // The worker may block here: nothing else runs on it yet.
    let shared = receiver.recv().expect("the thread sends");
    for number in turns(times) {
        while !shared.is_due(number) {
            thread::park();
        }
        shared.answer(number);
    }
    driver.join().expect("no panic")
}

/// Two coroutines, one on each worker, unpark each other.
fn cross(times: u32) -> Duration {
    let turn = Arc::new(AtomicU32::new(0));
    let there = Arc::new(AtomicBool::new(false));
    let (first, here) = (thread::current(), worker_index());
    // The second of two waiting coroutines calls the other worker, which takes one of them.
    let partners = [0, 1].map(|_| {
        let (turn, there, first) = (turn.clone(), there.clone(), first.clone());
        thread::spawn(move || {
            if worker_index() == here || there.swap(true, Ordering::SeqCst) {
                return;
            }
            for number in (1..=2 * times).step_by(2) {
                while turn.load(Ordering::Acquire) != number {
                    thread::park();
                }
                turn.store(number + 1, Ordering::Release);
                first.unpark();
            }
        })
    });
    while !there.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    let start = Instant::now();
    for number in (1..=2 * times).step_by(2) {
        turn.store(number, Ordering::Release);
        partners
            .iter()
            .for_each(|partner| partner.thread().unpark());
        while turn.load(Ordering::Acquire) != number + 1 {
            thread::park();
        }
    }
    let time = start.elapsed();
    partners
        .into_iter()
        .for_each(|partner| partner.join().expect("no panic"));
    time
}

fn offload(times: u32) -> Duration {
    // The pool's threads are there before the clock starts, as tokio's are.
    black_box(tarae::offload(|| 0).expect("not cancelled"));
    let start = Instant::now();
    for number in 0..times {
        black_box(tarae::offload(|| black_box(number)).expect("not cancelled"));
    }
    start.elapsed()
}

fn park(count: usize, ready: &dyn Fn(), done: &dyn Fn()) {
    inside(|| {
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
    });
}
