//! Very many parked coroutines at once: a hundred thousand on default settings, a million in soak.
//!
//! Guards that a stack costs no mapping of its own, that what it costs in memory and page tables is
//! what the documentation says, and that every one of them comes back.

use crate::support::{
    Gate, alone, has_guard_advice, mappings, memory, parked_and_starved, soak, until,
};

/// What each of them costs, in bytes.
struct Cost {
    resident: usize,
    page_tables: usize,
}

/// Parks so many, looks, and lets them go; each must give back its own number.
fn park(count: usize, builder: tarae::Builder) -> Cost {
    let body = || {
        let before = (memory("VmRSS:"), memory("VmPTE:"), mappings().len());
        let gate = Gate::default();
        let handles: Vec<_> = (0..count).map(|n| gate.spawn(move || n)).collect();
        gate.until_arrived(count);
        // The last to arrive may not have parked yet.
        until(|| parked_and_starved() == (count, 0));
        let cost = Cost {
            resident: (memory("VmRSS:") - before.0) / count,
            page_tables: (memory("VmPTE:") - before.1) / count,
        };
        if has_guard_advice() {
            let more = mappings().len() - before.2;
            assert!(more < 1_000, "{more} mappings more for {count} coroutines");
        }
        gate.open(&handles);
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
        assert_eq!(gate.through(), count);
        cost
    };
    let cost = builder.run(body).unwrap();
    let Cost {
        resident,
        page_tables,
    } = cost;
    println!("{count} parked: {resident} bytes resident and {page_tables} of page tables each");
    cost
}

/// So many as a test of every change affords, or a million.
fn many(in_ci: usize) -> usize {
    match (has_guard_advice(), soak()) {
        (true, true) => 1_000_000,
        (true, false) => in_ci,
        // Each takes two mappings then.
        (false, _) => in_ci.min(30_000),
    }
}

/// All of the default settings: workers, stack size, limits of the kernel.
#[test]
fn on_default_settings() {
    alone("scale::on_default_settings", || {
        let cost = park(many(100_000), tarae::Builder::new());
        // Debug builds may touch one page more.
        let pages = if cfg!(debug_assertions) { 2 } else { 1 };
        assert!(cost.resident <= pages * 4_096 + 1_024, "{}", cost.resident);
        // One page of them maps 2 MiB, and stacks are 576 KiB apart.
        assert!(cost.page_tables <= 1_300, "{}", cost.page_tables);
    });
}

/// The setting for a million where page tables count: the smallest stacks there are.
#[test]
fn on_the_smallest_stacks() {
    alone("scale::on_the_smallest_stacks", || {
        let smallest = tarae::Builder::new().stack_size(64 * 1024);
        let cost = park(many(20_000), smallest);
        // 128 KiB apart.
        assert!(cost.page_tables <= 320, "{}", cost.page_tables);
    });
}
