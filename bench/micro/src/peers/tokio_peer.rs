//! `tokio`, on one thread and on two: stackless tasks.
//!
//! Two of the peers. Each measurement runs in a spawned task where the runtime has several
//! threads, for the thread that calls `block_on` is none of its workers.

use super::{Peer, Turns, turns};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

pub(super) const CURRENT_THREAD: Peer = Peer {
    name: "tokio current_thread",
    switch: None,
    yields: Some(|times| current_thread().block_on(yields(times))),
    spawn: Some(|times| current_thread().block_on(spawn(times))),
    wake: Some(|times| wake(current_thread(), times)),
    cross: None,
    offload: Some(|times| current_thread().block_on(offload(times))),
    park: Some(|count, ready, done| park(current_thread(), count, ready, done)),
    threads: false,
};

pub(super) const MULTI_THREAD: Peer = Peer {
    name: "tokio multi_thread (2)",
    switch: None,
    yields: Some(|times| on_worker(yields(times))),
    spawn: Some(|times| on_worker(spawn(times))),
    wake: Some(|times| wake(multi_thread(), times)),
    cross: None,
    offload: Some(|times| on_worker(offload(times))),
    park: Some(|count, ready, done| park(multi_thread(), count, ready, done)),
    threads: false,
};

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime")
}

fn on_worker(future: impl Future<Output = Duration> + Send + 'static) -> Duration {
    let runtime = multi_thread();
    runtime.block_on(runtime.spawn(future)).expect("no panic")
}

async fn yields(times: u32) -> Duration {
    let other = tokio::spawn(async move {
        for _ in 0..times / 2 {
            tokio::task::yield_now().await;
        }
    });
    let start = Instant::now();
    for _ in 0..times / 2 {
        tokio::task::yield_now().await;
    }
    other.await.expect("no panic");
    start.elapsed()
}

async fn spawn(times: u32) -> Duration {
    let start = Instant::now();
    for number in 0..times {
        black_box(
            tokio::spawn(async move { black_box(number) })
                .await
                .expect("no panic"),
        );
    }
    start.elapsed()
}

fn wake(runtime: Runtime, times: u32) -> Duration {
    let shared = Arc::new((Turns::new(), Notify::new()));
    let there = shared.clone();
    let task = async move {
        for number in turns(times) {
            while !there.0.is_due(number) {
                there.1.notified().await;
            }
            there.0.answer(number);
        }
    };
    let thread = std::thread::spawn(move || {
        runtime
            .block_on(async { tokio::spawn(task).await })
            .expect("no panic");
    });
    let time = shared.0.drive(times, || shared.1.notify_one());
    thread.join().expect("no panic");
    time
}

async fn offload(times: u32) -> Duration {
    let run = |number| tokio::task::spawn_blocking(move || black_box(number));
    black_box(run(0).await.expect("no panic"));
    let start = Instant::now();
    for number in 0..times {
        black_box(run(number).await.expect("no panic"));
    }
    start.elapsed()
}

fn park(runtime: Runtime, count: usize, ready: &dyn Fn(), done: &dyn Fn()) {
    let parked = Arc::new((AtomicUsize::new(0), Notify::new()));
    runtime.block_on(async {
        ready();
        for _ in 0..count {
            let parked = parked.clone();
            drop(tokio::spawn(async move {
                parked.0.fetch_add(1, Ordering::Relaxed);
                parked.1.notified().await;
            }));
        }
        while parked.0.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
        done();
    });
}
