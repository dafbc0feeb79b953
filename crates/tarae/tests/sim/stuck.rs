//! Runs that do not end well: what they say, and that whatever can end still does.

use std::io::Read;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream, park_until_readable};
use tarae::sim::{Builder, run};
use tarae::sync::{Mutex, mpsc};
use tarae::thread;
use tarae::time::sleep;

use crate::seeds;

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.into())
}

#[test]
fn a_deadlock_names_everybody_and_what_they_wait_for() {
    seeds(10, |seed| {
        let dropped = Arc::new(AtomicU32::new(0));
        struct Count(Arc<AtomicU32>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let error = run(seed, || {
            let counted = Count(Arc::clone(&dropped));
            let (sender, receiver) = mpsc::channel::<()>();
            let listener = TcpListener::bind("127.0.0.1:9").unwrap();
            let client = TcpStream::connect("127.0.0.1:9").unwrap();
            let (server, _) = listener.accept().unwrap();
            let acceptor = named("acceptor")
                .spawn(move || listener.accept().map(drop))
                .unwrap();
            named("reader")
                .spawn(move || (&client).read(&mut [0]))
                .unwrap();
            park_until_readable(server, None, |_, _| ());
            named("receiver").spawn(move || receiver.recv()).unwrap();
            named("joiner")
                .spawn(move || drop(acceptor.join()))
                .unwrap()
                .join()
                .unwrap();
            drop((counted, sender));
        })
        .unwrap_err();
        assert!(error.is_deadlock() && error.seed() == seed, "{error}");
        let text = error.to_string();
        let wanted = [
            format!("seed {seed}: deadlock"),
            "repeat".into(),
            "coroutine 0 (main), spawned at crates/tarae/tests/sim/stuck.rs:".into(),
            "waits for the end of coroutine 4".into(),
            "coroutine 1 (acceptor), ".into(),
            "waits for socket 1 (on 127.0.0.1:9) to be readable".into(),
            "coroutine 2 (reader), ".into(),
            "waits for socket 2 (127.0.0.1:49152 to 127.0.0.1:9) to be readable".into(),
            "what was put aside at crates/tarae/tests/sim/stuck.rs:".into(),
            "waits for socket 3 (127.0.0.1:9 to 127.0.0.1:49152) to be readable".into(),
            "coroutine 3 (receiver), ".into(),
            "waits for a channel".into(),
            "coroutine 4 (joiner), ".into(),
            "waits for the end of coroutine 1".into(),
        ];
        for wanted in wanted {
            assert!(text.contains(&wanted), "no `{wanted}` in:\n{text}");
        }
        assert_eq!(error.coroutines().len(), 6, "{text}");
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            1,
            "main was cancelled and has unwound"
        );
        assert!(error.trace().as_str().contains("the end begins"));
    });
}

#[test]
fn a_deadlock_on_locks_is_told_although_nobody_can_be_cancelled() {
    let error = run(3, || {
        let locks = Arc::new((Mutex::new(1), Mutex::new(2)));
        let theirs = Arc::clone(&locks);
        named("other")
            .spawn(move || {
                let _second = theirs.1.lock().unwrap();
                sleep(Duration::from_secs(1));
                let _first = theirs.0.lock().unwrap();
            })
            .unwrap();
        let _first = locks.0.lock().unwrap();
        sleep(Duration::from_secs(1));
        let _second = locks.1.lock().unwrap();
        unreachable!("it waits for ever");
    })
    .unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    assert!(
        error
            .coroutines()
            .iter()
            .all(|line| line.contains("a lock")),
        "{error}"
    );
    // The next run on this thread is as good as any.
    assert_eq!(
        run(3, || tarae::spawn(|| 5).join().unwrap()).unwrap().value,
        5
    );
}

#[test]
fn a_program_that_never_waits_is_told_too() {
    let error = Builder::new(1)
        .run(|| {
            named("spinner")
                .spawn(|| {
                    while !thread::is_cancelled() {
                        tarae::yield_now();
                    }
                })
                .unwrap();
            sleep(Duration::from_secs(1));
        })
        .unwrap_err();
    assert!(error.is_livelock(), "{error}");
    assert!(error.to_string().contains("(spinner)"), "{error}");
}

#[test]
fn who_ignores_the_end_is_named_and_the_grace_is_virtual() {
    let cleaned = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&cleaned);
    let error = Builder::new(1)
        .grace(Duration::from_secs(3600))
        .run(move || {
            named("stubborn")
                .spawn(|| {
                    loop {
                        sleep(Duration::from_secs(1));
                    }
                })
                .unwrap();
            let lock = Arc::new(Mutex::new(()));
            let held = Arc::clone(&lock);
            named("holder")
                .spawn(move || {
                    let _guard = held.lock().unwrap();
                    loop {
                        thread::park();
                    }
                })
                .unwrap();
            // The holder holds it by then.
            sleep(Duration::from_millis(1));
            named("waiter").spawn(move || drop(lock.lock())).unwrap();
            named("good")
                .spawn(move || {
                    sleep(Duration::from_secs(7200));
                    theirs.store(thread::is_cancelled(), Ordering::Relaxed);
                })
                .unwrap();
            sleep(Duration::from_secs(1));
        })
        .unwrap_err();
    assert!(!error.is_deadlock() && !error.is_livelock(), "{error}");
    assert_eq!(error.coroutines().len(), 3, "{error}");
    assert!(!error.to_string().contains("good"), "{error}");
    assert!(
        cleaned.load(Ordering::Relaxed),
        "it ended early, and in order"
    );
}

#[test]
fn the_end_waits_in_virtual_time_for_those_who_tidy_up() {
    let report = run(1, || {
        tarae::spawn(|| {
            thread::park();
            // Sleeping is over for who is cancelled; another coroutine's time is not.
            let other = tarae::spawn(|| ());
            assert!(other.join().is_err());
        });
        sleep(Duration::from_secs(1));
    });
    assert_eq!(report.unwrap().elapsed, Duration::from_secs(1));
}

#[test]
fn a_panic_goes_on_and_its_seed_is_printed() {
    const CHILD: &str = "TARAE_TEST_SIM_CHILD";
    if std::env::var_os(CHILD).is_some() {
        drop(run(4711, || panic!("of main")));
        return;
    }
    let name = "stuck::a_panic_goes_on_and_its_seed_is_printed";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "the panic of main goes on");
    for wanted in [
        "of main",
        "seed 4711",
        "to repeat it",
        "0.000 worker 0 coroutine 0 ends",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
}

#[inline(never)]
fn wait_for_orders(orders: &mpsc::Receiver<()>) {
    assert!(orders.recv().is_err());
}

/// Looking at stacks works there too, and with one seed the run stays the same.
#[test]
fn stacks_are_shown_and_the_trace_is_the_same() {
    let dumped = |seed| {
        let report = run(seed, || {
            let (sender, orders) = mpsc::channel();
            let shop = named("shop").spawn(move || wait_for_orders(&orders));
            sleep(Duration::from_secs(1));
            let mut all = tarae::inspect::dump(Duration::from_secs(1));
            all.retain(|one| one.coroutine.name.as_deref() == Some("shop"));
            drop(sender);
            shop.unwrap().join().unwrap();
            all[0].stack[0].function.clone().unwrap()
        });
        report.unwrap()
    };
    seeds(10, |seed| {
        let (first, second) = (dumped(seed), dumped(seed));
        assert!(first.value.ends_with("wait_for_orders"), "{}", first.value);
        assert_eq!(first, second);
    });
}
