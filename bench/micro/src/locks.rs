//! Mutexes: uncontended, and from hand to hand between two tasks of one worker.
//!
//! Called by `main` for the peers whose mutex parks tasks, and for std's, which is what a mutex
//! costs at least. It must never measure a lock that another thread wants too: that is `wake`.

use crate::peers::{OURS, Peer, Run};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Locks and unlocks what nobody else wants, inside a task.
pub(crate) fn uncontended(peer: &Peer) -> Option<Run> {
    match peer.name {
        OURS => Some(ours_uncontended),
        "tokio current_thread" => Some(tokio_uncontended),
        "std threads" => Some(std_uncontended),
        _ => None,
    }
}

/// Two tasks lock in turns; each lets the other ask before it unlocks. One lock is one time.
pub(crate) fn handed_over(peer: &Peer) -> Option<Run> {
    match peer.name {
        OURS => Some(ours_handed_over),
        "tokio current_thread" => Some(tokio_handed_over),
        _ => None,
    }
}

/// The clock around a loop.
fn times(times: u32, mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..times).for_each(|_| f());
    start.elapsed()
}

fn ours(run: impl FnOnce() -> Duration) -> Duration {
    let runtime = tarae::Builder::new().workers(1);
    runtime.run(run).expect("a runtime")
}

fn tokio(future: impl Future<Output = Duration>) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn std_uncontended(count: u32) -> Duration {
    let lock = std::sync::Mutex::new(0);
    times(count, || *black_box(&lock).lock().expect("no panic") += 1)
}

fn ours_uncontended(count: u32) -> Duration {
    ours(|| {
        let lock = tarae::sync::Mutex::new(0);
        times(count, || *black_box(&lock).lock().expect("no panic") += 1)
    })
}

fn tokio_uncontended(count: u32) -> Duration {
    tokio(async {
        let lock = tokio::sync::Mutex::new(0);
        let start = Instant::now();
        for _ in 0..count {
            *black_box(&lock).lock().await += 1;
        }
        start.elapsed()
    })
}

fn ours_handed_over(count: u32) -> Duration {
    ours(|| {
        let lock = Arc::new(tarae::sync::Mutex::new(0));
        let theirs = Arc::clone(&lock);
        let turn = move |lock: &tarae::sync::Mutex<u32>| {
            for _ in 0..count / 2 {
                let mut value = lock.lock().expect("no panic");
                *value += 1;
                tarae::yield_now();
            }
        };
        let start = Instant::now();
        let other = tarae::spawn(move || turn(&theirs));
        turn(&lock);
        other.join().expect("no panic");
        start.elapsed()
    })
}

fn tokio_handed_over(count: u32) -> Duration {
    async fn turn(lock: Arc<tokio::sync::Mutex<u32>>, count: u32) {
        for _ in 0..count / 2 {
            let mut value = lock.lock().await;
            *value += 1;
            tokio::task::yield_now().await;
        }
    }
    tokio(async move {
        let lock = Arc::new(tokio::sync::Mutex::new(0));
        let start = Instant::now();
        let other = tokio::spawn(turn(Arc::clone(&lock), count));
        turn(lock, count).await;
        other.await.expect("no panic");
        start.elapsed()
    })
}
