//! The stacks of parked coroutines: which calls they show, and that those who are looked at go on
//! as if nobody had.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::inspect::{Dump, State, WaitReason, dump, worker_index};
use tarae::net::{TcpListener, TcpStream, park_until_readable};
use tarae::sync::Notify;
use tarae::thread::{Builder, JoinHandle};

use crate::support::guard;

const PATIENCE: Duration = Duration::from_secs(60);

/// What came before the innermost call, so that each level has locals to lose.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Trail([u64; 4]);

/// Waits at the bottom of so many calls of itself. Gives what it has counted on the way back.
#[inline(never)]
fn descend(depth: u64, bottom: &dyn Fn()) -> u64 {
    let trail = black_box(Trail([depth, depth + 1, depth + 2, depth + 3]));
    let below = match depth {
        1 => {
            bottom();
            0
        }
        _ => descend(depth - 1, bottom),
    };
    assert_eq!(
        black_box(trail),
        Trail([depth, depth + 1, depth + 2, depth + 3])
    );
    below + trail.0[0]
}

fn named<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(f).unwrap()
}

fn find<'a>(all: &'a [Dump], name: &str) -> &'a Dump {
    let is = |one: &&Dump| one.coroutine.name.as_deref() == Some(name);
    all.iter().find(is).unwrap()
}

fn functions(one: &Dump) -> Vec<&str> {
    let name = |frame: &'_ tarae::inspect::Frame| frame.function.is_some();
    assert!(one.stack.iter().all(name), "{one:?}");
    one.stack
        .iter()
        .filter_map(|frame| frame.function.as_deref())
        .collect()
}

fn count(functions: &[&str], of: &str) -> usize {
    // Where only lines are known, they have no modules.
    let is = |name: &&&str| name.rsplit("::").next() == Some(of);
    functions.iter().filter(is).count()
}

/// Yields until so many have come to where they wait.
fn until_parked(arrived: &AtomicUsize, count: usize) {
    while arrived.load(SeqCst) < count {
        tarae::yield_now();
    }
    // The last one counts just before it parks.
    let parked = || {
        let all = tarae::inspect::coroutines(PATIENCE);
        all.iter().filter(|one| one.state == State::Parked).count()
    };
    // The one that asks is parked meanwhile.
    while parked() < count + 1 {
        tarae::yield_now();
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_stack_shows_each_call_from_the_wait_to_the_entry() {
    const DEPTH: usize = 100;
    let _guard = guard("a deep dump");
    tarae::Builder::new()
        .workers(1)
        .run(|| {
            let (arrived, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let (here, told) = (Arc::clone(&arrived), Arc::clone(&end));
            let first_line = line!() + 1;
            let deep = named("deep", move || {
                descend(DEPTH as u64, &|| {
                    here.fetch_add(1, SeqCst);
                    told.notified().wait().unwrap();
                })
            });
            until_parked(&arrived, 1);
            let (client, server) = pair();
            park_until_readable(server, None, |_, _| ());
            let all = dump(PATIENCE);
            let deep_one = find(&all, "deep");
            let calls = functions(deep_one);
            assert_eq!(count(&calls[1..=DEPTH], "descend"), DEPTH, "{calls:#?}");
            // The closure that waits is on top, the one that was spawned is the last.
            assert_eq!(calls.len(), DEPTH + 2, "{calls:#?}");
            let lines = [&deep_one.stack[0], &deep_one.stack[DEPTH + 1]].map(|frame| {
                assert!(frame.file.as_ref().unwrap().ends_with("sched/dumps.rs"));
                frame.line.unwrap()
            });
            assert_eq!(lines, [first_line + 3, first_line + 1]);
            assert_eq!(deep_one.coroutine.state, State::Parked);
            // The one that asks is waiting itself.
            let asker = find(&all, "main");
            assert!(matches!(asker.coroutine.waits_for, WaitReason::Park));
            assert_eq!(asker.stack.len(), 1, "{asker:?}");
            // What has no stack yet is in the list all the same.
            let idle = |one: &&Dump| one.coroutine.state == State::Idle;
            assert!(all.iter().find(idle).unwrap().stack.is_empty());
            end.notify_one();
            assert_eq!(deep.join().unwrap(), (1..=DEPTH as u64).sum::<u64>());
            drop(client);
        })
        .unwrap();
}

/// Goes down until hardly anything is left of the stack, and waits there.
#[inline(never)]
fn fill_stack(bottom_of_room: usize, wait: &dyn Fn()) -> u64 {
    let here = black_box([7u64; 8]);
    let address = std::ptr::from_ref(&here) as usize;
    let below = if address - bottom_of_room < 4 * 1024 {
        wait();
        0
    } else {
        fill_stack(bottom_of_room, wait)
    };
    below + black_box(here)[0]
}

/// Being looked at takes no room: only registers are asked for.
#[test]
fn a_stack_that_is_nearly_full_is_shown_too() {
    const BYTES: usize = 128 * 1024;
    let _guard = guard("a dump of a full stack");
    tarae::Builder::new()
        .workers(1)
        .run(|| {
            let arrived = Arc::new(AtomicUsize::new(0));
            let theirs = Arc::clone(&arrived);
            let builder = Builder::new().name("full".into()).stack_size(BYTES);
            let full = builder.spawn(move || {
                let top = black_box(0u64);
                // What the coroutine stands on above this is less than the four kilobytes left.
                let bottom = std::ptr::from_ref(&top) as usize - BYTES + 2 * 1024;
                fill_stack(bottom, &|| {
                    theirs.fetch_add(1, SeqCst);
                    tarae::thread::park();
                })
            });
            let full = full.unwrap();
            until_parked(&arrived, 1);
            for _ in 0..10 {
                let all = dump(PATIENCE);
                let calls = functions(find(&all, "full"));
                assert!(calls.len() > 100, "{calls:#?}");
                assert_eq!(count(&calls[1..100], "fill_stack"), 99, "{calls:#?}");
            }
            full.thread().unpark();
            assert_eq!(full.join().unwrap() % 7, 0);
        })
        .unwrap();
}

/// In waits of all kinds, on two workers, asked by both, thousands of times.
#[test]
fn who_is_looked_at_goes_on_as_before() {
    const EACH: u64 = 40;
    const TIMES: usize = 10_000 / EACH as usize;
    let _guard = guard("many dumps");
    tarae::Builder::new()
        .workers(2)
        .run(|| {
            let (arrived, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let parked: Vec<_> = (1..=EACH)
                .map(|depth| {
                    let (arrived, end) = (Arc::clone(&arrived), Arc::clone(&end));
                    named("parked", move || {
                        let numbers: Vec<u64> = (0..depth).collect();
                        let at = worker_index();
                        let wait = || {
                            arrived.fetch_add(1, SeqCst);
                            end.notified().wait().unwrap();
                        };
                        let sum = descend(depth, &wait);
                        assert_eq!(worker_index(), at);
                        sum + numbers.iter().sum::<u64>()
                    })
                })
                .collect();
            until_parked(&arrived, EACH as usize);
            let looks = |times: usize| {
                for _ in 0..times {
                    let all = dump(PATIENCE);
                    let parked = all.iter().filter(|one| {
                        let name = one.coroutine.name.as_deref();
                        name == Some("parked")
                    });
                    let depths = parked.map(|one| count(&functions(one), "descend") as u64);
                    let mut depths: Vec<u64> = depths.collect();
                    depths.sort_unstable();
                    assert!(depths.iter().copied().eq(1..=EACH), "{depths:?}");
                }
            };
            let other = named("other", move || looks(TIMES / 2));
            looks(TIMES / 2);
            other.join().unwrap();
            end.notify_waiters();
            for (depth, one) in (1..=EACH).zip(parked) {
                let want = (1..=depth).sum::<u64>() + (0..depth).sum::<u64>();
                assert_eq!(one.join().unwrap(), want);
            }
        })
        .unwrap();
}
