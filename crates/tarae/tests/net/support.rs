//! What the tests of this binary share: a guard against hanging, a process of one's own, pairs of
//! connected sockets, coroutines on chosen workers.
//!
//! Used by every other module here. Must never decide a test's outcome by elapsed time.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;

use std::os::fd::AsFd;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use tarae::inspect::{self, State, WaitReason};
use tarae::net::TcpStream;
use tarae::thread::JoinHandle;

use guards::guard_saying;
pub(crate) use process::alone;

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test; if it is stuck, says where its coroutines wait and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    guarded_for(PATIENCE, name, test)
}

/// As `guarded`, for a test that may rightly take longer.
pub(crate) fn guarded_for<T>(
    patience: Duration,
    name: &'static str,
    test: impl FnOnce() -> T,
) -> T {
    let _guard = guard_saying(name, patience, || {
        eprintln!("the coroutines of the latest runtime:");
        std::thread::spawn(|| {
            let dump = tarae::spawn(|| {
                for coroutine in inspect::coroutines(Duration::from_secs(1)) {
                    eprintln!("  {coroutine:?}");
                }
            });
            let _ = dump.join();
        });
        std::thread::sleep(Duration::from_secs(3));
    });
    test()
}

/// Runs a test in a coroutine of one worker, then on a plain thread.
pub(crate) fn everywhere(name: &'static str, test: fn()) {
    guarded(name, || {
        tarae::Builder::new().workers(1).run(test).unwrap();
        std::thread::spawn(test).join().expect("on a plain thread");
    });
}

/// Two connected sockets of std's. All come from one listener: a port for each would have the
/// kernel search its range ever longer, past those of connections closed a short while ago.
pub(crate) fn std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    static LISTENER: OnceLock<Mutex<std::net::TcpListener>> = OnceLock::new();
    let bind = || Mutex::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = LISTENER.get_or_init(bind).lock().unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// Has the connection vanish when `socket` is closed, rather than keep its ports for a minute: for
/// tests that make thousands.
pub(crate) fn leave_no_trace(socket: impl AsFd) {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
}

/// Two connected sockets that no worker knows yet.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let (client, server) = std_pair();
    (client.into(), server.into())
}

/// Spawns one coroutine on each of `workers` workers: each holds its worker's thread until all have
/// begun, so no two can be on the same one. To be called when nothing else is waiting to start.
#[track_caller]
pub(crate) fn one_on_each<T: Send + 'static>(
    workers: usize,
    body: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<JoinHandle<(ThreadId, T)>> {
    let (barrier, body) = (Arc::new(Barrier::new(workers)), Arc::new(body));
    (0..workers)
        .map(|index| {
            let (barrier, body) = (Arc::clone(&barrier), Arc::clone(&body));
            tarae::spawn(move || {
                barrier.wait();
                (std::thread::current().id(), body(index))
            })
        })
        .collect()
}

/// Joins what `one_on_each` spawned, and checks that no two were on the same thread.
#[track_caller]
pub(crate) fn join_each<T>(handles: Vec<JoinHandle<(ThreadId, T)>>) -> Vec<T> {
    let mut threads = Vec::new();
    let mut values = Vec::new();
    for handle in handles {
        let (thread, value) = handle.join().unwrap();
        assert!(!threads.contains(&thread), "two were on the same worker");
        threads.push(thread);
        values.push(value);
    }
    values
}

/// Lets the worker look at its events a few times: it does so after 64 turns of its coroutines.
pub(crate) fn look() {
    for _ in 0..3 * 64 {
        tarae::yield_now();
    }
}

/// Waits, in a coroutine, until the coroutine of that name waits for a descriptor.
pub(crate) fn until_parked(name: &str) {
    loop {
        let all = inspect::coroutines(PATIENCE);
        let parked = |c: &inspect::Coroutine| {
            let waits = matches!(
                c.waits_for,
                WaitReason::Readable(_) | WaitReason::Writable(_)
            );
            c.name.as_deref() == Some(name) && c.state == State::Parked && waits
        };
        if all.iter().any(parked) {
            return;
        }
        tarae::yield_now();
    }
}

/// Spawns a coroutine with a name, for `until_parked`.
#[track_caller]
pub(crate) fn spawn_named<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let builder = tarae::thread::Builder::new().name(name.to_owned());
    builder.spawn(f).unwrap()
}

/// A generator of numbers that look random (xorshift), for choices that a test may repeat.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}
