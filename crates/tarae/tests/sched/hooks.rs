//! The switch hook, and the attributes `#[tarae::main]` and `#[tarae::test]`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use tarae::Switch;

use crate::support::{guard, run_on};

type Event = (ThreadId, Switch, tarae::thread::ThreadId, Option<String>);

/// Guards the pairing of the hook's calls: removing either call, or naming the wrong coroutine,
/// breaks the alternation or the pairs.
#[test]
fn in_and_out_alternate_on_each_worker_and_name_the_same_coroutine() {
    let _guard = guard("switch hook");
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let log = Arc::clone(&events);
    let builder = tarae::Builder::new()
        .workers(2)
        .on_switch(move |switch, who| {
            let name = who.name().map(str::to_owned);
            let event = (std::thread::current().id(), switch, who.id(), name);
            log.lock().unwrap().push(event);
        });
    builder
        .run(|| {
            let handles: Vec<_> = (0..20)
                .map(|n| {
                    let builder = tarae::thread::Builder::new().name(format!("c{n}"));
                    let body = || {
                        tarae::yield_now();
                        tarae::time::sleep(Duration::from_millis(1));
                        tarae::current().id()
                    };
                    builder.spawn(body).unwrap()
                })
                .collect();
            for handle in handles {
                let id = handle.thread().id();
                assert_eq!(handle.join().unwrap(), id);
            }
        })
        .unwrap();
    let events = events.lock().unwrap();
    let mut open: HashMap<ThreadId, tarae::thread::ThreadId> = HashMap::new();
    let mut switches: HashMap<String, usize> = HashMap::new();
    for (thread, switch, id, name) in events.iter() {
        match switch {
            Switch::In => {
                assert_eq!(open.insert(*thread, *id), None, "two in one coroutine");
                *switches.entry(name.clone().unwrap()).or_default() += 1;
            }
            Switch::Out => assert_eq!(open.remove(thread), Some(*id), "out of another one"),
            other => panic!("{other:?}"),
        }
    }
    assert!(open.is_empty(), "every In has its Out");
    for n in 0..20 {
        assert_eq!(switches[&format!("c{n}")], 3, "start, yield, sleep");
    }
}

/// A hook runs on the worker's own stack: a wait in it must never be taken for one of the
/// coroutine's, which has nowhere to switch from. It blocks the thread instead.
#[test]
fn a_hook_that_waits_blocks_its_thread_and_nothing_worse() {
    let _guard = guard("a hook that waits");
    let builder = tarae::Builder::new().workers(1).on_switch(|_, _| {
        tarae::time::sleep(Duration::from_micros(10));
        tarae::yield_now();
        drop(tarae::sync::Mutex::new(1).lock());
        assert_eq!(
            tarae::current().spawned_at(),
            None,
            "no coroutine calls this"
        );
    });
    let sum = builder.run(|| {
        let parts: Vec<_> = (0..10)
            .map(|n| {
                tarae::spawn(move || {
                    tarae::yield_now();
                    n
                })
            })
            .collect();
        parts
            .into_iter()
            .map(|part| part.join().unwrap())
            .sum::<i32>()
    });
    assert_eq!(sum.unwrap(), 45);
}

/// A panic in the hook must not unwind the worker: its coroutines' frames may borrow from the
/// caller of `run`.
#[test]
fn a_panicking_hook_ends_nothing() {
    let _guard = guard("a hook that panics");
    let local = [1, 2, 3];
    let builder = tarae::Builder::new().workers(1).on_switch(|switch, who| {
        if switch == Switch::Out && who.name() == Some("main") {
            panic!("in the hook");
        }
    });
    let sum = builder.run(|| {
        tarae::time::sleep(Duration::from_millis(1));
        local.iter().sum::<i32>()
    });
    assert_eq!(sum.unwrap(), 6);
}

#[tarae::test]
fn the_test_attribute_runs_its_body_in_a_coroutine() {
    assert_eq!(tarae::current().name(), Some("main"));
    assert!(tarae::current().spawned_at().is_some());
}

#[tarae::test(workers = 2, stack_size = 8 * 1024 * 1024, grace = Duration::from_secs(1))]
fn the_attribute_takes_the_builders_settings() -> Result<(), std::io::Error> {
    // More than the default stack holds, so `stack_size` must have come through.
    let deep = std::hint::black_box([1u8; 600 * 1024]);
    let second = tarae::spawn(|| {
        let deep = std::hint::black_box([1u8; 600 * 1024]);
        deep.iter().map(|&one| usize::from(one)).sum::<usize>()
    });
    assert_eq!(deep.len(), second.join().unwrap());
    Ok(())
}

#[tarae::main(workers = 2)]
fn attributed_main(// No parameters, but a comment.
) -> Result<u32, String> {
    Ok(tarae::spawn(|| 40)
        .join()
        .map_err(|error| error.to_string())?
        + 2)
}

#[tarae::main]
fn plain_attributed_main() {
    assert_eq!(tarae::current().name(), Some("main"));
}

#[test]
fn the_main_attribute_keeps_result_and_settings() {
    assert_eq!(attributed_main(), Ok(42));
    plain_attributed_main();
    assert!(run_on(1, || tarae::run(|| ())).unwrap_err().is_nested());
}
