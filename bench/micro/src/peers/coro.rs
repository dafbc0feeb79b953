//! `corosensei` alone: what our coroutines are made of, so nothing of ours can be faster.
//!
//! One of the peers. It has no scheduler, hence only two measurements; it must never get one.

use super::Peer;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use std::hint::black_box;
use std::time::{Duration, Instant};

pub(super) const PEER: Peer = Peer {
    name: "corosensei alone",
    switch: Some(switch),
    yields: None,
    spawn: Some(spawn),
    wake: None,
    cross: None,
    offload: None,
    park: None,
    threads: false,
};

fn switch(times: u32) -> Duration {
    let mut coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
        for _ in 0..times {
            yielder.suspend(());
        }
    });
    let start = Instant::now();
    for _ in 0..times {
        black_box(coroutine.resume(()));
    }
    let time = start.elapsed();
    coroutine.resume(());
    time
}

/// With a stack that is used again and again.
fn spawn(times: u32) -> Duration {
    let mut stack = DefaultStack::default();
    let start = Instant::now();
    for number in 0..times {
        let body = move |_: &_, ()| black_box(number);
        let mut coroutine = Coroutine::<(), (), u32, _>::with_stack(stack, body);
        match coroutine.resume(()) {
            CoroutineResult::Return(value) => black_box(value),
            CoroutineResult::Yield(()) => unreachable!("it never yields"),
        };
        stack = coroutine.into_stack();
    }
    start.elapsed()
}
