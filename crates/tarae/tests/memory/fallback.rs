//! Guards by protection, where the kernel refuses guard advice: before Linux 6.13, and where memory
//! is locked. What an overflow does then is shown in the tests of overflows.

use std::hint::black_box;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::Resource;
use tarae::Coroutine;

use crate::support::{
    Gate, alone, has_guard_advice, idle_until, kernel, limit, mappings_max, memory,
    parked_and_starved, protected_guards, run, until,
};

/// Touches more than a trimmed stack keeps.
#[inline(never)]
fn deep() -> u8 {
    black_box([1u8; 100 * 1024])[black_box(50_000)]
}

/// Has so many go deep and park, all at once, and end.
fn burst(count: usize) {
    let gate = Gate::default();
    let handles: Vec<_> = (0..count).map(|_| gate.spawn(deep)).collect();
    gate.until_arrived(count);
    gate.open(&handles);
    for handle in handles {
        assert_eq!(handle.join().unwrap(), 1);
    }
}

/// Each stack's guard is there, and stays there when the stack is used again or trimmed.
fn guards_stay() {
    run(|| {
        burst(300);
        let guards = protected_guards();
        assert!(guards >= 300, "{guards} guards");
        let resident = memory("VmRSS:");
        // Idle, so that what is in excess of 64 is trimmed: each had touched 100 KiB.
        idle_until(|| memory("VmRSS:") + 15 * 1024 * 1024 < resident);
        assert_eq!(protected_guards(), guards);
        burst(300);
        assert_eq!(
            protected_guards(),
            guards,
            "no stack was made anew, no guard lost"
        );
    });
}

#[test]
fn guards_stay_on_a_kernel_without_guard_advice() {
    alone(
        "fallback::guards_stay_on_a_kernel_without_guard_advice",
        || {
            kernel::without_guard_advice();
            guards_stay();
        },
    );
}

/// The counter-check: the guards that are counted above are there because the advice was refused.
#[test]
fn guard_advice_takes_no_mappings() {
    alone("fallback::guard_advice_takes_no_mappings", || {
        let before = protected_guards();
        run(|| burst(300));
        let more = protected_guards() - before;
        assert!(
            if has_guard_advice() {
                more == 0
            } else {
                more >= 300
            },
            "{more} more"
        );
    });
}

/// Locked memory refuses guard advice on every kernel. (Who may not lock so much gets an error, see
/// `limits`.)
#[test]
fn guards_stay_where_memory_is_locked() {
    alone("fallback::guards_stay_where_memory_is_locked", || {
        limit(Resource::Memlock, None);
        mlockall(MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).unwrap();
        run(|| {
            burst(10);
            assert!(protected_guards() >= 10, "{} guards", protected_guards());
        });
    });
}

/// At the limit, coroutines wait for stacks, whoever joins one is told why, and the process goes on
/// as before: it can allocate and start threads.
#[test]
fn the_limit_is_an_error_that_names_it() {
    alone("fallback::the_limit_is_an_error_that_names_it", || {
        kernel::without_guard_advice();
        let max = (mappings_max() - 1_024) / 2;
        run(|| {
            let gate = Gate::default();
            let handles: Vec<_> = (0..max + 50).map(|n| gate.spawn(move || n)).collect();
            // One stack is this coroutine's.
            gate.until_arrived(max - 1);
            until(|| parked_and_starved() == (max - 1, 51));

            let error = tarae::spawn(|| ()).join().unwrap_err();
            assert!(error.is_no_stack() && !error.is_cancelled() && !error.is_panic());
            let text = error.to_string();
            for word in ["`vm.max_map_count`", &max.to_string(), "Linux < 6.13"] {
                assert!(text.contains(word), "{text}");
            }
            let bare = Coroutine::<(), ()>::try_new(|_| ()).unwrap_err();
            assert!(text.ends_with(&bare.to_string()), "{bare}");
            assert_eq!(
                std::thread::spawn(|| black_box(vec![1u8; 8 << 20])[7])
                    .join()
                    .unwrap(),
                1
            );

            gate.open(&handles);
            for (n, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), n);
            }
        });
    });
}
