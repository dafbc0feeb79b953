//! The report: who, where it was spawned, how large the stack is, what helps. Then SIGABRT.

use std::panic::Location;

use tarae::thread::Builder;
use tarae::{Coroutine, Yielder};

use crate::support::{end_of, frame, recurse, recurse_by_large_frames};

const SPAWNED_HINT: &str = "give it more with `tarae::thread::Builder::stack_size`, \
     or all of them with `tarae::Builder::stack_size`; only touched pages cost memory";
const BARE_HINT: &str = "give it more with `tarae::Coroutine::with_stack_size`; \
     only touched pages cost memory";

/// Takes the number out of `coroutine N (…`.
fn without_id(line: &str) -> String {
    let rest = line
        .strip_prefix("coroutine ")
        .unwrap_or_else(|| panic!("{line}"));
    let (id, rest) = rest.split_once(' ').unwrap();
    assert!(id.parse::<u64>().unwrap() > 0);
    rest.to_owned()
}

/// Checks that a report's first line says where in this file somebody was made, and gives the line
/// without that. `code` is what stands there.
#[track_caller]
fn without_site(line: &str, code: &str) -> String {
    let (before, rest) = line.split_once(Location::caller().file()).unwrap();
    let (numbers, after) = rest.split_once(", ").unwrap();
    let numbers: Vec<usize> = numbers.split(':').flat_map(str::parse).collect();
    let [line, column] = numbers[..] else {
        panic!("no line and column: {line}");
    };
    let source = include_str!("report.rs").lines().nth(line - 1).unwrap();
    assert!(source[column - 1..].starts_with(code), "{source}, {column}");
    format!("{before}HERE, {after}")
}

fn on_one_worker(body: impl FnOnce()) {
    tarae::Builder::new().workers(1).run(body).unwrap();
}

#[test]
fn an_unnamed_coroutine() {
    let end = end_of("report::an_unnamed_coroutine", || {
        on_one_worker(|| drop(tarae::spawn(|| recurse(0)).join()));
    });
    let report = end.report();
    let line = without_id(&without_site(report[0], "tarae::spawn(|| recurse"));
    assert_eq!(
        line,
        "(unnamed), spawned at HERE, has overflowed its stack of 512 KiB; aborting"
    );
    assert_eq!(report[1], SPAWNED_HINT);
}

#[test]
fn a_named_coroutine_with_a_stack_size() {
    let end = end_of("report::a_named_coroutine_with_a_stack_size", || {
        on_one_worker(|| {
            let builder = Builder::new().name("타래 indexer".into());
            let coroutine = builder.stack_size(1 << 20).spawn(|| {
                // It does have that much.
                assert_eq!(frame::<900_000>(), 1);
                recurse(0)
            });
            drop(coroutine.unwrap().join());
        });
    });
    let report = end.report();
    let line = without_id(&without_site(report[0], "spawn(|| {"));
    assert_eq!(
        line,
        "(타래 indexer), spawned at HERE, has overflowed its stack of 1024 KiB; aborting"
    );
    assert_eq!(report[1], SPAWNED_HINT);
}

/// One that has taken the place of another on its stack, without a switch in between.
#[test]
fn a_successor() {
    use std::io::Write;
    use tarae::net::park_until_readable;
    use tarae::os::unix::net::UnixStream;

    let end = end_of("report::a_successor", || {
        on_one_worker(|| {
            let sockets = [(); 2].map(|()| UnixStream::pair().unwrap());
            let [(first, mut one), (second, mut other)] = sockets;
            let serve: fn(UnixStream, _) = |_, _| ();
            park_until_readable(first, None, serve);
            let serve: fn(UnixStream, _) = |_, _| assert_eq!(recurse(0), 0);
            park_until_readable(second, None, serve);
            one.write_all(b"x").unwrap();
            other.write_all(b"x").unwrap();
            tarae::time::sleep(std::time::Duration::from_secs(60));
        });
    });
    let line = without_id(&without_site(end.report()[0], "park_until_readable(second"));
    assert!(line.starts_with("(unnamed), spawned at HERE, "), "{line}");
}

/// The runtime's first coroutine, on the thread that called `run`.
#[test]
fn the_main_coroutine() {
    let end = end_of("report::the_main_coroutine", || {
        on_one_worker(|| assert_eq!(recurse(0), 0));
    });
    let line = without_id(end.report()[0]);
    assert!(line.starts_with("(main), spawned at "), "{line}");
    assert!(line.contains(" of 512 KiB"), "{line}");
}

#[test]
fn the_size_is_the_runtimes() {
    let end = end_of("report::the_size_is_the_runtimes", || {
        let builder = tarae::Builder::new().workers(1).stack_size(100_000);
        let _ = builder.run(|| tarae::spawn(|| recurse(0)).join());
    });
    // Rounded up to whole pages.
    let line = without_id(end.report()[0]);
    assert!(line.contains(" of 100 KiB"), "{line}");
}

/// Worker 0 holds still, so that whatever is started is started by worker 1, on its own thread.
#[test]
fn on_another_worker() {
    let end = end_of("report::on_another_worker", || {
        let _ = tarae::Builder::new().workers(2).run(|| {
            let first = std::thread::current().id();
            // More than one, since a thief is called only for what cannot be started at once.
            for _ in 0..4 {
                let builder = Builder::new().name("stolen".into());
                let coroutine = builder.spawn(move || {
                    assert_ne!(std::thread::current().id(), first);
                    recurse(0)
                });
                drop(coroutine);
            }
            // Blocks the whole worker; the process ends meanwhile.
            loop {
                std::thread::park();
            }
        });
    });
    let line = without_id(end.report()[0]);
    assert!(line.starts_with("(stolen), spawned at "), "{line}");
}

/// A stack that was used before names who lives on it now.
#[test]
fn on_a_stack_used_before() {
    let end = end_of("report::on_a_stack_used_before", || {
        on_one_worker(|| {
            for n in 0..10 {
                let builder = Builder::new().name(format!("early {n}"));
                builder.spawn(tarae::yield_now).unwrap().join().unwrap();
            }
            let builder = Builder::new().name("late".into());
            drop(builder.spawn(|| recurse(0)).unwrap().join());
        });
    });
    let line = without_id(end.report()[0]);
    assert!(line.starts_with("(late), spawned at "), "{line}");
}

/// Of several that are suspended, the one that runs is named.
#[test]
fn after_a_wait_among_others() {
    let end = end_of("report::after_a_wait_among_others", || {
        on_one_worker(|| {
            for n in 0..5 {
                let builder = Builder::new().name(format!("number {n}"));
                let coroutine = builder.spawn(move || {
                    for _ in 0..=n {
                        tarae::yield_now();
                    }
                    if n == 3 {
                        recurse(0)
                    } else {
                        {
                            tarae::thread::park();
                            0
                        }
                    }
                });
                drop(coroutine);
            }
            tarae::thread::park();
        });
    });
    let line = without_id(end.report()[0]);
    assert!(line.starts_with("(number 3), spawned at "), "{line}");
}

#[test]
fn by_one_frame_of_100_kib() {
    let end = end_of("report::by_one_frame_of_100_kib", || {
        on_one_worker(|| {
            let builder = Builder::new().stack_size(64 * 1024);
            let coroutine = builder.spawn(frame::<{ 100 * 1024 }>).unwrap();
            drop(coroutine.join());
        });
    });
    let line = without_id(end.report()[0]);
    assert!(line.contains(" of 64 KiB"), "{line}");
}

/// Larger than stack and guard together: Rust's code touches every page on the way down.
#[test]
fn by_one_frame_of_a_megabyte() {
    let end = end_of("report::by_one_frame_of_a_megabyte", || {
        on_one_worker(|| drop(tarae::spawn(frame::<{ 1 << 20 }>).join()));
    });
    end.report();
}

#[test]
fn by_recursion_with_large_frames() {
    let end = end_of("report::by_recursion_with_large_frames", || {
        on_one_worker(|| drop(tarae::spawn(|| recurse_by_large_frames(0)).join()));
    });
    end.report();
}

/// In the middle of a panic's message, with std's locks held.
#[test]
fn while_formatting_under_a_lock() {
    struct Deep;
    impl std::fmt::Display for Deep {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", Deep)
        }
    }
    let end = end_of("report::while_formatting_under_a_lock", || {
        on_one_worker(|| drop(tarae::spawn(|| eprint!("{Deep}")).join()));
    });
    end.report();
}

#[test]
fn a_bare_coroutine() {
    let end = end_of("report::a_bare_coroutine", || {
        let mut bare: Coroutine<u8, u64> = Coroutine::new(|y: &Yielder<u8>| {
            y.pause(1);
            recurse(0)
        });
        bare.resume();
        bare.resume();
    });
    let report = end.report();
    assert_eq!(
        without_site(report[0], "Coroutine::new(|y"),
        "a bare coroutine, made at HERE, has overflowed its stack of 512 KiB; aborting"
    );
    assert_eq!(report[1], BARE_HINT);
}

/// On a thread that is no worker and was never told of anything.
#[test]
fn a_bare_coroutine_with_a_stack_size_on_a_plain_thread() {
    let name = "report::a_bare_coroutine_with_a_stack_size_on_a_plain_thread";
    let end = end_of(name, || {
        let thread = std::thread::spawn(|| {
            let body = |_: &Yielder<()>| recurse(0);
            Coroutine::<(), u64>::with_stack_size(512 * 1024, body)
                .unwrap()
                .resume();
        });
        let _ = thread.join();
    });
    let line = end.report()[0].to_owned();
    assert!(line.starts_with("a bare coroutine, made at "), "{line}");
    assert!(line.contains(" of 512 KiB"), "{line}");
}

/// A bare coroutine that a spawned one resumes: it is the bare one's stack.
#[test]
fn a_bare_coroutine_in_a_spawned_one() {
    let end = end_of("report::a_bare_coroutine_in_a_spawned_one", || {
        on_one_worker(|| {
            let mut bare: Coroutine<(), u64> = Coroutine::new(|_| recurse(0));
            bare.resume();
        });
    });
    assert!(end.report()[0].starts_with("a bare coroutine, made at "));
}
