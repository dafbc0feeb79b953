//! Round trips through two channels, ours beside those of others: `micro channels`.
//!
//! Called by `main`. In one worker: two tasks answer each other. Across: each on a thread or worker
//! of its own. Everybody takes turns in every round; a figure is the median over the rounds.

use std::hint::black_box;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tarae::inspect::worker_index;
use tarae::sync::mpmc;

const TIMES_INSIDE: u32 = 200_000;
const TIMES_ACROSS: u32 = 10_000;

/// A name and what it does so many times.
type Peer = (&'static str, fn(u32) -> Duration);

const INSIDE: &[Peer] = &[
    ("tarae, unbounded", |times| ours_inside(times, None)),
    ("tarae, bounded 1", |times| ours_inside(times, Some(1))),
    ("tarae, rendezvous", |times| ours_inside(times, Some(0))),
    ("tokio current_thread", tokio_inside),
    ("may (1 worker)", may_inside),
];

const ACROSS: &[Peer] = &[
    ("tarae, 2 workers", ours_across),
    ("crossbeam, threads", crossbeam_across),
    ("flume, threads", flume_across),
    ("tokio, 2 current_thread", tokio_apart),
    // These may keep both tasks on one of their threads: then this is no trip across.
    ("tokio multi_thread (2)", tokio_across),
    ("may (2 workers)", may_across),
];

/// Measures and prints; `median` is over the rounds.
pub(crate) fn run(rounds: usize, print: impl Fn(&[&str], &[Vec<f64>])) {
    let tables = [
        ("one worker", INSIDE, TIMES_INSIDE),
        ("across", ACROSS, TIMES_ACROSS),
    ];
    for (what, peers, times) in tables {
        println!("\nchannels: round trip through two channels, {what}, ns");
        let mut figures = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for ((_, run), figures) in peers.iter().zip(&mut figures) {
                figures.push(run(times).as_nanos() as f64 / f64::from(times));
            }
        }
        let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
        print(&names, &figures);
    }
}

fn pair(capacity: Option<usize>) -> (mpmc::Sender<u32>, mpmc::Receiver<u32>) {
    capacity.map_or_else(mpmc::channel, mpmc::sync_channel)
}

fn clock(times: u32, mut turn: impl FnMut(u32)) -> Duration {
    // The first turn waits for the other side to start.
    turn(0);
    let start = Instant::now();
    (0..times).for_each(|number| turn(black_box(number)));
    start.elapsed()
}

fn ours_inside(times: u32, capacity: Option<usize>) -> Duration {
    let run = || {
        let ((ask, asked), (answer, answered)) = (pair(capacity), pair(capacity));
        tarae::spawn(move || asked.iter().try_for_each(|number| answer.send(number)));
        clock(times, |number| {
            ask.send(number).expect("it listens");
            answered.recv().expect("it answers");
        })
    };
    let runtime = tarae::Builder::new().workers(1);
    runtime.run(run).expect("a runtime")
}

fn ours_across(times: u32) -> Duration {
    let run = || {
        let here = worker_index();
        let ((ask, asked), (answer, answered)) = (pair(None), pair(None));
        let there = Arc::new(AtomicBool::new(false));
        // The second of two that wait to begin calls the other worker, which takes one of them.
        for _ in 0..2 {
            let (asked, answer, there) = (asked.clone(), answer.clone(), there.clone());
            tarae::spawn(move || {
                if worker_index() != here && !there.swap(true, Ordering::SeqCst) {
                    let _ = asked.iter().try_for_each(|number| answer.send(number));
                }
            });
        }
        while !there.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        clock(times, |number| {
            ask.send(number).expect("it listens");
            answered.recv().expect("it answers");
        })
    };
    let runtime = tarae::Builder::new().workers(2);
    runtime.run(run).expect("a runtime")
}

/// `spawn` is given the task that answers.
async fn tokio_trips(times: u32, spawn: impl FnOnce(Answering)) -> Duration {
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (answer, mut answered) = tokio::sync::mpsc::unbounded_channel();
    spawn(Box::pin(async move {
        while let Some(number) = asked.recv().await {
            if answer.send(number).is_err() {
                break;
            }
        }
    }));
    ask.send(0).expect("it listens");
    answered.recv().await.expect("it answers");
    let start = Instant::now();
    for number in 0..times {
        ask.send(number).expect("it listens");
        black_box(answered.recv().await.expect("it answers"));
    }
    start.elapsed()
}

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

fn tokio_alone() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime")
}

fn tokio_inside(times: u32) -> Duration {
    tokio_alone().block_on(tokio_trips(times, |task| drop(tokio::spawn(task))))
}

/// A runtime on each of two threads, so that no scheduler can bring the two tasks together.
fn tokio_apart(times: u32) -> Duration {
    let apart = |task| drop(std::thread::spawn(move || tokio_alone().block_on(task)));
    tokio_alone().block_on(tokio_trips(times, apart))
}

fn tokio_across(times: u32) -> Duration {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).build().expect("a runtime");
    let trips = tokio_trips(times, |task| drop(tokio::spawn(task)));
    let trips = runtime.spawn(trips);
    runtime.block_on(trips).expect("no panic")
}

fn may_inside(times: u32) -> Duration {
    may_trips(times, 1)
}

/// The number of its workers is fixed for the life of the process: this needs one of its own.
fn may_across(times: u32) -> Duration {
    let own = std::env::current_exe().expect("our own path");
    let mut child = Command::new(own);
    let output = child.args(["--may-across", &times.to_string()]).output();
    let output = output.expect("our own program starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    Duration::from_nanos(printed.trim().parse().expect("a figure"))
}

/// The child's part: prints the nanoseconds of all trips.
pub(crate) fn print_may_across(times: &str) {
    let times = times.parse().expect("a number");
    println!("{}", may_trips(times, 2).as_nanos());
}

fn may_trips(times: u32, workers: usize) -> Duration {
    may::config().set_workers(workers);
    let run = may::go!(move || {
        let (ask, asked) = may::sync::mpsc::channel();
        let (answer, answered) = may::sync::mpsc::channel();
        may::go!(move || asked.iter().try_for_each(|number: u32| answer.send(number)));
        clock(times, |number| {
            ask.send(number).expect("it listens");
            answered.recv().expect("it answers");
        })
    });
    run.join().expect("no panic")
}

fn crossbeam_across(times: u32) -> Duration {
    let (ask, asked) = crossbeam_channel::unbounded();
    let (answer, answered) = crossbeam_channel::unbounded();
    std::thread::spawn(move || asked.iter().try_for_each(|number: u32| answer.send(number)));
    clock(times, |number| {
        ask.send(number).expect("it listens");
        answered.recv().expect("it answers");
    })
}

fn flume_across(times: u32) -> Duration {
    let (ask, asked) = flume::unbounded();
    let (answer, answered) = flume::unbounded();
    std::thread::spawn(move || asked.iter().try_for_each(|number: u32| answer.send(number)));
    clock(times, |number| {
        ask.send(number).expect("it listens");
        answered.recv().expect("it answers");
    })
}
