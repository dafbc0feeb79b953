//! Faults that a sanitizer must find in coroutines, or else its silence about the tests says
//! nothing. A program of its own, not among those that `cargo test` runs: `cargo xtask soak` starts
//! it once for each fault and demands that it fails. Without a sanitizer it does what the fault is
//! not.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::{Arc, Barrier};

fn main() {
    let fault = std::env::args().nth(1).unwrap_or_default();
    let body: fn() = match fault.as_str() {
        "none" => none,
        "use-after-free" => use_after_free,
        "beyond-a-local" => beyond_a_local,
        "race" => race,
        other => panic!("no fault is called `{other}`"),
    };
    tarae::Builder::new().workers(2).run(body).unwrap();
    println!("{fault}: not found");
}

/// What the others do, without the fault: a sanitizer that reports this one reports everything.
fn none() {
    let on_heap = Box::new(7u8);
    let [before, after] = [0, 1].map(|_| {
        tarae::yield_now();
        black_box(*on_heap)
    });
    assert_eq!(before, after);
    increment_on_both_workers(true);
}

/// A read of freed memory, from a coroutine's stack and after a switch.
fn use_after_free() {
    let on_heap = Box::into_raw(Box::new(7u8));
    tarae::yield_now();
    // SAFETY: valid, and freed once.
    drop(unsafe { Box::from_raw(on_heap) });
    tarae::yield_now();
    // SAFETY: none, that is the fault: it is freed.
    black_box(unsafe { on_heap.read_volatile() });
}

/// A read past the end of a local on a coroutine's stack, which is memory like any other to whoever
/// does not know of the stack.
fn beyond_a_local() {
    let local = black_box([7u8; 24]);
    tarae::yield_now();
    let past = black_box(local.as_ptr()).wrapping_add(black_box(24));
    // SAFETY: none, that is the fault: the array ends before it.
    black_box(unsafe { past.read_volatile() });
    black_box(&local);
}

/// Two coroutines on two workers add to the same plain number.
fn race() {
    increment_on_both_workers(false);
}

struct Number(UnsafeCell<u64>);

// SAFETY: none for the fault, which is that nothing keeps the threads apart; with `in_turn` the
// second one comes after the first one's barrier.
unsafe impl Sync for Number {}

fn increment_on_both_workers(in_turn: bool) {
    let number = Arc::new(Number(UnsafeCell::new(0)));
    // Blocks its worker, so the two are never on the same.
    let (here, there) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let add = |second: bool| {
        let (number, here, there) = (number.clone(), here.clone(), there.clone());
        move || {
            let index = tarae::inspect::worker_index();
            here.wait();
            if second && in_turn {
                there.wait();
            }
            // SAFETY: see above.
            unsafe { *number.0.get() += 1 };
            if !second && in_turn {
                there.wait();
            }
            index
        }
    };
    let both = [tarae::spawn(add(false)), tarae::spawn(add(true))];
    let [first, second] = both.map(|coroutine| coroutine.join().unwrap());
    assert_ne!(first, second, "on the same worker");
}
