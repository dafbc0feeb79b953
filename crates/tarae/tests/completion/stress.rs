//! All starters, all ways of collecting, from coroutines and plain threads, with handles dropped
//! and calls cancelled at any moment: each result is delivered once or dropped, and none is leaked.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tarae::completion::{Check, Completion, CompletionError, Completions};
use tarae::fs::File;
use tarae::net::TcpStream;
use tarae::offload;

use crate::support::{alone, pair, run_on, until};

/// What became of the results.
#[derive(Default)]
struct Seen {
    started: AtomicUsize,
    delivered: AtomicUsize,
    dropped: AtomicUsize,
    alive: AtomicUsize,
}

/// A result, or what becomes one.
struct Value(Arc<Seen>);

impl Value {
    fn new(seen: &Arc<Seen>) -> Value {
        seen.alive.fetch_add(1, SeqCst);
        Value(Arc::clone(seen))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, SeqCst);
    }
}

/// A buffer that is counted.
struct Buffer([u8; 1], #[allow(dead_code)] Value);

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

const STARTERS: usize = 5;
const COLLECTORS: usize = 8;

/// One caller's combinations, `rounds` times each.
fn calls(seen: &Arc<Seen>, rounds: usize, in_runtime: bool) {
    let (client, server) = pair();
    let file = File::open("/proc/self/exe").unwrap();
    let queue = Completions::new();
    for number in 0..rounds * STARTERS * COLLECTORS {
        let (starter, collector) = (number % STARTERS, number / STARTERS % COLLECTORS);
        let cancels = (number / (STARTERS * COLLECTORS)).is_multiple_of(3);
        seen.started.fetch_add(1, SeqCst);
        let value = Value::new(seen);
        match starter {
            0 if in_runtime => collect(
                tarae::start(|| value),
                collector,
                cancels,
                seen,
                Some(&queue),
            ),
            1 => collect(
                offload::start(|| value),
                collector,
                cancels,
                seen,
                Some(&queue),
            ),
            2 => {
                let call = file.start_read_at(Buffer([0; 1], value), 0);
                collect(call, collector, cancels, seen, None);
            }
            _ => {
                let call = read(&client, &server, value);
                // Its results have another type: it has a queue of its own.
                collect(call, collector, cancels, seen, None);
            }
        }
        while let Some((key, _)) = queue.try_next() {
            assert_eq!(key, COLLECTORS - 1);
            seen.delivered.fetch_add(1, SeqCst);
        }
    }
    while queue.next().is_some() {
        seen.delivered.fetch_add(1, SeqCst);
    }
}

type Read = (std::io::Result<usize>, Buffer);

fn read(client: &TcpStream, mut server: &TcpStream, value: Value) -> Completion<Read> {
    let call = client.start_read(Buffer([0; 1], value));
    // What a cancelled one leaves is for the next ones.
    server.write_all(b"1").unwrap();
    call
}

fn collect<T: Send + 'static>(
    mut call: Completion<T>,
    collector: usize,
    cancels: bool,
    seen: &Arc<Seen>,
    queue: Option<&Completions<usize, T>>,
) {
    let canceller = call.canceller();
    let theirs = Arc::clone(seen);
    let count = move |_: Result<T, CompletionError>| {
        theirs.delivered.fetch_add(1, SeqCst);
    };
    match collector {
        0 => {
            if cancels {
                call.cancel();
            }
            loop {
                match call.try_get() {
                    Check::Ready(result) => break count(result),
                    Check::Pending => tarae::yield_now(),
                    Check::Taken => unreachable!("taken once"),
                }
            }
        }
        1 => call.on_complete(count),
        2 => call.on_complete_in(
            |job: Box<dyn FnOnce() + Send>| {
                std::thread::yield_now();
                job();
            },
            count,
        ),
        3 => {
            if cancels {
                call.cancel();
            }
            count(tarae::block_on(call).unwrap());
        }
        4 => {
            if cancels {
                call.cancel();
            }
            count(call.wait());
        }
        5 => {
            drop(call);
            seen.dropped.fetch_add(1, SeqCst);
        }
        6 => {
            let soon = std::time::Duration::from_micros(50);
            match call.wait_timeout(soon) {
                Check::Ready(result) => count(result),
                _ => call.on_complete(count),
            }
        }
        _ => match queue {
            Some(queue) => queue.add(COLLECTORS - 1, call),
            None => {
                let queue = Completions::new();
                queue.add((), call);
                if cancels {
                    canceller.cancel();
                }
                count(queue.next().unwrap().1);
            }
        },
    }
    if cancels {
        canceller.cancel();
    }
}

#[test]
fn every_result_is_delivered_once_or_dropped() {
    alone("stress::every_result_is_delivered_once_or_dropped", || {
        let seen = Arc::new(Seen::default());
        // Each result goes from thread to thread: on a loaded machine twelve rounds have been seen
        // to take a seventh of what the watchdog grants.
        let rounds = if std::env::var_os("TARAE_SOAK").is_some() {
            60
        } else {
            12
        };
        run_on(2, || {
            let coroutines: Vec<_> = (0..6)
                .map(|_| {
                    let seen = Arc::clone(&seen);
                    tarae::spawn(move || calls(&seen, rounds, true))
                })
                .collect();
            let threads = [true, false].map(|in_runtime| {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || calls(&seen, rounds, in_runtime))
            });
            for one in coroutines {
                one.join().unwrap();
            }
            until(|| threads.iter().all(|one| one.is_finished()));
            for one in threads {
                one.join().unwrap();
            }
        });
        let count = |number: &AtomicUsize| number.load(SeqCst);
        until(|| count(&seen.delivered) + count(&seen.dropped) >= count(&seen.started));
        until(|| count(&seen.alive) == 0);
        assert_eq!(
            count(&seen.delivered) + count(&seen.dropped),
            count(&seen.started)
        );
        let calls = 8 * rounds * STARTERS * COLLECTORS;
        assert_eq!(count(&seen.started), calls);
        assert_eq!(count(&seen.dropped), calls / COLLECTORS);
    });
}
