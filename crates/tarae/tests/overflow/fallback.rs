//! Overflows where guards are made by protection, and on stacks that were trimmed: the same report.

use std::hint::black_box;
use std::time::Duration;

use tarae::thread::{self, Builder};

use crate::support::{end_of, frame, kernel, recurse};

/// Overflows the stack that was used first of many, after it was trimmed.
fn overflow_a_trimmed_stack() {
    tarae::Builder::new()
        .workers(1)
        .run(|| {
            let deep = |_| tarae::spawn(|| (black_box(frame::<100_000>()), thread::yield_now()));
            let first: Vec<_> = (0..200).map(deep).collect();
            for one in first {
                one.join().unwrap();
            }
            let deep_bytes = 200 * 100_000;
            let resident = resident_bytes();
            while resident_bytes() + deep_bytes / 2 > resident {
                thread::sleep(Duration::from_millis(5));
            }
            // The most recently used ones are taken first, so the last of these gets a trimmed one.
            let parked: Vec<_> = (0..199).map(|_| tarae::spawn(thread::park)).collect();
            let last = Builder::new().name("last".into());
            drop(last.spawn(|| recurse(0)).unwrap().join());
            drop(parked);
        })
        .unwrap();
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = statm.split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4_096
}

#[track_caller]
fn reported(end: &crate::support::End) {
    let line = end.report()[0].to_owned();
    assert!(line.contains("(last), spawned at "), "{line}");
}

#[test]
fn a_trimmed_stack() {
    reported(&end_of(
        "fallback::a_trimmed_stack",
        overflow_a_trimmed_stack,
    ));
}

#[test]
fn a_trimmed_stack_guarded_by_protection() {
    let name = "fallback::a_trimmed_stack_guarded_by_protection";
    reported(&end_of(name, || {
        kernel::without_guard_advice();
        overflow_a_trimmed_stack();
    }));
}

#[test]
fn a_new_stack_guarded_by_protection() {
    let name = "fallback::a_new_stack_guarded_by_protection";
    reported(&end_of(name, || {
        kernel::without_guard_advice();
        let last = || Builder::new().name("last".into()).spawn(|| recurse(0));
        let _ = tarae::Builder::new()
            .workers(1)
            .run(|| last().unwrap().join());
    }));
}
