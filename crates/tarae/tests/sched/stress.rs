//! Ten thousand connections while coroutines panic, time out, are joined, detached and cancelled:
//! afterwards the process holds what it held before. Each check has a counter-check in which
//! something is leaked on purpose and the check must see it.
//!
//! A few seconds in `ci`; with `TARAE_SOAK` for a minute.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tarae::net::{TcpListener, TcpStream, Wake, park_until_readable};
use tarae::sync::mpsc;

use crate::support::{Held, held, is_child, isolated, memory, run_on, soak, until};

/// What must be the same before and after.
#[derive(Debug, PartialEq, Eq)]
struct Balance {
    held: Held,
    /// Coroutines alive, the asking one included, idle states too.
    coroutines: usize,
    /// Connections that some side still has open, as the program counts them.
    open: usize,
}

static OPEN: AtomicUsize = AtomicUsize::new(0);

fn balance() -> Balance {
    Balance {
        held: held(),
        coroutines: tarae::inspect::coroutines(Duration::from_secs(60)).len(),
        open: OPEN.load(SeqCst),
    }
}

/// The balance once only the asking coroutine and the acceptor are left.
fn at_rest() -> Balance {
    until(|| balance().coroutines == 2 && OPEN.load(SeqCst) == 0);
    balance()
}

/// Waits until what is on its way out has gone: cancelled and detached coroutines end on their own
/// time. A leak never goes: then this gives the difference.
fn settled(before: &Balance) -> Result<(), Balance> {
    for _ in 0..2_000 {
        if balance() == *before {
            return Ok(());
        }
        tarae::time::sleep(Duration::from_millis(1));
    }
    Err(balance())
}

struct Open;

impl Open {
    fn new() -> Open {
        OPEN.fetch_add(1, SeqCst);
        Open
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, SeqCst);
    }
}

/// What a client asks its server side to do, one byte each.
const ECHO: u8 = 0;
const PANIC: u8 = 1;
const HANG: u8 = 2;
const IDLE: u8 = 3;
const SPAWN: u8 = 4;
const CLOSE: u8 = 5;
const KINDS: u8 = 6;

fn serve(mut stream: TcpStream) {
    let _open = Open::new();
    let mut wish = [0; 1];
    if stream.read_exact(&mut wish).is_err() {
        return;
    }
    match wish[0] {
        ECHO => drop(stream.write_all(&wish)),
        PANIC => std::panic::resume_unwind(Box::new("asked for")),
        HANG => {
            // Nothing more comes: the time-out ends it.
            stream
                .set_read_timeout(Some(Duration::from_millis(2)))
                .unwrap();
            let error = stream.read(&mut wish).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            drop(stream.write_all(&[HANG]));
        }
        IDLE => {
            let deadline = tarae::time::Instant::now() + Duration::from_millis(2);
            stream.set_nonblocking(true).unwrap();
            park_until_readable(stream, Some(deadline), move |s, wake| {
                idle(s, wake, deadline)
            });
        }
        SPAWN => {
            let helper = tarae::spawn(move || drop(stream.write_all(&[SPAWN])));
            if OPEN.load(SeqCst).is_multiple_of(2) {
                helper.join().unwrap();
            }
        }
        _ => {}
    }
}

/// Goes idle until the deadline has passed. `Ready` may come without cause: look, and go idle
/// again.
fn idle(mut stream: TcpStream, wake: Wake, deadline: tarae::time::Instant) {
    if wake == Wake::Ready {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        park_until_readable(stream, Some(deadline), move |s, wake| {
            idle(s, wake, deadline)
        });
    } else {
        assert_eq!(wake, Wake::TimedOut);
        drop(stream.write_all(&[IDLE]));
    }
}

/// One connection from the client's side; true if it ended as its kind must.
fn visit(address: std::net::SocketAddr, kind: u8) -> bool {
    let _open = Open::new();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[kind]).unwrap();
    let mut answer = Vec::new();
    // A server that closes with unread data resets the connection; none does here.
    stream.read_to_end(&mut answer).unwrap();
    match kind {
        PANIC | CLOSE => answer.is_empty(),
        _ => answer == [kind],
    }
}

/// Opens and closes `total` connections, at most 200 at once, and gives how many ended well.
fn round(address: std::net::SocketAddr, total: usize) -> usize {
    let (sender, receiver) = mpsc::channel();
    let mut well = 0;
    for n in 0..total {
        let sender = sender.clone();
        let client = tarae::spawn(move || {
            let kind = (n % usize::from(KINDS)) as u8;
            sender.send(visit(address, kind)).unwrap();
            if n % 7 == 0 {
                std::panic::resume_unwind(Box::new(n));
            }
        });
        if n % 3 == 0 {
            drop(client);
        } else {
            // Joined by somebody else, who may be on the other worker.
            tarae::spawn(move || drop(client.join()));
        }
        if n >= 200 {
            well += usize::from(receiver.recv().unwrap());
        }
    }
    drop(sender);
    well + receiver.iter().filter(|well| *well).count()
}

fn acceptor() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tarae::spawn(move || {
        for stream in listener.incoming().flatten() {
            tarae::spawn(move || serve(stream));
        }
    });
    address
}

#[test]
fn ten_thousand_connections_leak_nothing() {
    isolated("stress::ten_thousand_connections_leak_nothing", || {
        let bound = Duration::from_secs(if soak() { 300 } else { 120 });
        let _guard = crate::support::guard_for("ten thousand connections", bound);
        for workers in [1, 2] {
            run_on(workers, || {
                let address = acceptor();
                // The first round makes what is kept: stacks, registrations' tables, the acceptor.
                assert_eq!(round(address, 1_000), 1_000);
                let before = at_rest();
                let memory_before = memory("VmSize:");
                let start = Instant::now();
                let mut rounds = 0;
                while rounds < 5 || (soak() && start.elapsed() < Duration::from_secs(30)) {
                    assert_eq!(round(address, 1_000), 1_000, "a lost wake-up or answer");
                    rounds += 1;
                }
                assert_eq!(settled(&before), Ok(()));
                // Stacks are 576 KiB each: as few as 113 leaked ones would need a new chunk.
                let grown = memory("VmSize:").saturating_sub(memory_before);
                assert!(grown < 64 << 20, "{grown} bytes of address space more");
            });
        }
    });
}

/// The counter-checks, each in a process of its own: the balance must see the one thing leaked.
fn check_sees(name: &str, leak: fn(std::net::SocketAddr)) {
    isolated(name, || {
        let _guard = crate::support::guard("a counter-check");
        run_on(2, || {
            let address = acceptor();
            assert_eq!(round(address, 300), 300);
            let before = at_rest();
            assert_eq!(round(address, 300), 300);
            assert_eq!(settled(&before), Ok(()), "without a leak all is well");
            leak(address);
            assert_ne!(settled(&before), Ok(()), "the leak was not seen");
        });
    });
}

#[test]
fn a_leaked_descriptor_is_seen() {
    check_sees("stress::a_leaked_descriptor_is_seen", |_| {
        std::mem::forget(std::fs::File::open("/proc/self/status").unwrap());
    });
}

#[test]
fn a_leaked_thread_is_seen() {
    check_sees("stress::a_leaked_thread_is_seen", |_| {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    });
}

#[test]
fn a_parked_coroutine_is_seen() {
    check_sees("stress::a_parked_coroutine_is_seen", |_| {
        let parked = tarae::spawn(tarae::thread::park);
        // While it is on its way to another worker, both may have answered without it.
        let id = parked.thread().id().to_string();
        let known = |one: &tarae::inspect::Coroutine| {
            one.id.is_some_and(|one| format!("coroutine {one}") == id)
        };
        until(|| {
            let all = tarae::inspect::coroutines(Duration::from_secs(60));
            all.iter()
                .any(|one| known(one) && one.state == tarae::inspect::State::Parked)
        });
    });
}

#[test]
fn an_idle_connection_is_seen() {
    check_sees("stress::an_idle_connection_is_seen", |address| {
        let stream = TcpStream::connect(address).unwrap();
        park_until_readable(stream, None, |_stream, _wake| ());
    });
}

/// Leaked stacks are seen in the address space, the one thing the balance does not count.
#[test]
fn leaked_stacks_are_seen() {
    isolated("stress::leaked_stacks_are_seen", || {
        let _guard = crate::support::guard("leaked stacks");
        assert!(is_child());
        run_on(1, || {
            let parked = || {
                let handles: Vec<_> = (0..400)
                    .map(|_| tarae::spawn(tarae::thread::park))
                    .collect();
                tarae::yield_now();
                until(|| tarae::inspect::coroutines(Duration::from_secs(60)).len() > 400);
                handles
            };
            let first = parked();
            let before = memory("VmSize:");
            let second = parked();
            assert!(
                memory("VmSize:") - before >= 64 << 20,
                "400 stacks more are a chunk more"
            );
            for handle in first.into_iter().chain(second) {
                handle.thread().unpark();
                handle.join().unwrap();
            }
        });
    });
}

/// Timers and waits: a connection that times out again and again leaves none behind, or the table
/// of waits, and with it the memory, would grow by one entry each time.
#[test]
fn a_hundred_thousand_bounded_waits_leave_nothing() {
    isolated(
        "stress::a_hundred_thousand_bounded_waits_leave_nothing",
        || {
            let _guard = crate::support::guard("bounded waits");
            run_on(1, || {
                let (sender, receiver) = mpsc::channel::<Arc<()>>();
                let token = Arc::new(());
                let wait = |count: usize| {
                    for n in 0..count {
                        let (sender, token) = (sender.clone(), Arc::clone(&token));
                        drop(tarae::spawn(move || sender.send(token).unwrap()));
                        // An hour: only the withdrawal of the deadline can free its entry.
                        let got = receiver.recv_timeout(Duration::from_secs(3_600 + n as u64));
                        drop(got.unwrap());
                    }
                };
                wait(1_000);
                let before = memory("VmData:");
                wait(100_000);
                // 100,000 entries left over would be some ten megabytes.
                let grown = memory("VmData:").saturating_sub(before);
                assert!(grown < 4 << 20, "{grown} bytes more");
                assert_eq!(Arc::strong_count(&token), 1);
            });
        },
    );
}
