//! Coroutines that do not end with their runtime: what loops, on which worker, who is told, and
//! what becomes of what they leave behind. `shutdown` has the loops around single waits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket as StdUdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tarae::net::{TcpListener, TcpStream, UdpSocket};
use tarae::thread::JoinHandle;
use tarae::{Builder, RunError, inspect, offload};

use crate::support::{counter, guard, held, is_child, isolated, run_on, until};

const HOUR: Duration = Duration::from_secs(3600);

fn short_grace(workers: usize) -> Builder {
    let grace = Duration::from_millis(100);
    Builder::new().workers(workers).grace(grace)
}

/// Runs `f` in a coroutine of a worker other than the first, which it then never leaves.
pub(crate) fn elsewhere(f: impl FnOnce() + Send + 'static) {
    let body = Arc::new(Mutex::new(Some(f)));
    while body.lock().unwrap().is_some() {
        for _ in 0..2 {
            let body = Arc::clone(&body);
            tarae::spawn(move || {
                let taken = match inspect::worker_index() {
                    Some(0) => None,
                    _ => body.lock().unwrap().take(),
                };
                if let Some(f) = taken {
                    f();
                }
            });
        }
        // Holds this worker a little, so that a thief comes.
        std::thread::sleep(Duration::from_millis(1));
        tarae::yield_now();
    }
}

/// Runs until a coroutine named `name`, on the worker asked for, has come to `forever`.
fn with_straggler(
    first_worker: bool,
    name: &'static str,
    forever: impl FnOnce(&dyn Fn()) + Send + 'static,
) -> Result<(), RunError> {
    let _guard = guard(name);
    short_grace(2).run(move || {
        let begun = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&begun);
        let spawn = move || {
            let builder = tarae::thread::Builder::new().name(name.into());
            let body = move || forever(&|| theirs.store(true, SeqCst));
            builder.spawn_local(body).unwrap();
        };
        if first_worker {
            spawn();
        } else {
            elsewhere(spawn);
        }
        until(|| begun.load(SeqCst));
    })
}

#[track_caller]
fn check(result: Result<(), RunError>, name: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.stragglers().len(), 1, "{error}");
    let text = &error.stragglers()[0];
    assert!(text.contains(name), "{text}");
    assert!(text.contains("stragglers.rs:"), "the spawn site: {text}");
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Waits in its drop, whatever the answer.
struct WaitsInDrop(fn());

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Loops that ignore every error and every panic, on either worker: each is named with its spawn
/// site, and `run` comes back.
#[test]
fn whatever_loops_is_named_on_either_worker() {
    type Loop = (&'static str, fn(&dyn Fn()));
    let loops: [Loop; 6] = [
        ("writes", |begun| {
            let (mut stream, _peer) = pair();
            begun();
            loop {
                let _ = stream.write(&[0; 65_536]);
            }
        }),
        ("reads and writes what succeeds", |begun| {
            let (mut one, mut other) = pair();
            begun();
            loop {
                let _ = one.write(&[1]);
                let _ = other.read(&mut [0; 8]);
            }
        }),
        ("datagrams", |begun| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let other = StdUdpSocket::bind("127.0.0.1:0").unwrap();
            begun();
            loop {
                let _ = socket.send_to(b"x", other.local_addr().unwrap());
                let _ = socket.recv_from(&mut [0; 8]);
            }
        }),
        ("offloads", |begun| {
            begun();
            loop {
                let _ = offload(|| ());
            }
        }),
        ("panics", |begun| {
            begun();
            loop {
                let caught = catch_unwind(|| {
                    let _waits = WaitsInDrop(|| tarae::time::sleep(HOUR));
                    tarae::yield_now();
                    resume_unwind(Box::new("again"));
                });
                assert!(caught.is_err());
            }
        }),
        ("waits while it unwinds", |begun| {
            let begun = AssertUnwindSafe(begun);
            let _ = catch_unwind(move || {
                let _waits = WaitsInDrop(|| {
                    loop {
                        tarae::time::sleep(HOUR);
                    }
                });
                begun();
                resume_unwind(Box::new("once"));
            });
        }),
    ];
    for (name, forever) in loops {
        for first_worker in [true, false] {
            check(with_straggler(first_worker, name, forever), name);
        }
    }
}

/// Who joins a coroutine that is left behind is told: a plain thread that waits already, and one
/// that asks when all is over.
#[test]
fn joining_what_was_leaked_is_an_error() {
    for first_worker in [true, false] {
        let (sender, receiver) = mpsc::channel::<JoinHandle<u8>>();
        let (later, asked_later) = mpsc::channel::<JoinHandle<u8>>();
        let joining = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&joining);
        let joiner = std::thread::spawn(move || {
            let handle = receiver.recv().unwrap();
            theirs.store(true, SeqCst);
            handle.join()
        });
        let result = with_straggler(first_worker, "spawner", move |begun| {
            let forever = || -> u8 {
                loop {
                    tarae::thread::park();
                }
            };
            sender.send(tarae::spawn_local(forever)).unwrap();
            later.send(tarae::spawn_local(forever)).unwrap();
            tarae::yield_now();
            until(|| joining.load(SeqCst));
            begun();
        });
        assert_eq!(result.unwrap_err().stragglers().len(), 2);
        let handle = asked_later.recv().unwrap();
        assert!(handle.is_finished());
        for outcome in [joiner.join().unwrap(), handle.join()] {
            let error = outcome.unwrap_err();
            assert!(error.is_leaked(), "{error}");
            assert!(!error.is_panic() && !error.is_cancelled());
        }
    }
}

/// A worker beyond the first whose coroutine computes for ever is named with that coroutine's id
/// and spawn site; `run` returns, and the coroutine goes on.
#[test]
fn who_never_yields_on_another_worker_is_named() {
    let (release, ended) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (released, ends) = (Arc::clone(&release), Arc::clone(&ended));
    let result = with_straggler(false, "spinner", move |begun| {
        begun();
        while !released.load(SeqCst) {
            std::hint::spin_loop();
        }
        ends.store(true, SeqCst);
    });
    let error = result.unwrap_err();
    assert_eq!(error.stragglers().len(), 1, "{error}");
    let text = &error.stragglers()[0];
    for part in ["worker 1", "coroutine", "stragglers.rs:", "does not yield"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!ended.load(SeqCst));
    release.store(true, SeqCst);
    let _guard = guard("the spinner ends");
    while !ended.load(SeqCst) {
        std::thread::yield_now();
    }
}

/// On the thread that called `run` nothing can be left that does not yield: `run` waits, and says
/// on stderr for whom.
#[test]
fn who_never_yields_on_the_first_worker_is_reported() {
    const NAME: &str = "stragglers::who_never_yields_on_the_first_worker_is_reported";
    if is_child() {
        let release = Arc::new(AtomicBool::new(false));
        let released = Arc::clone(&release);
        std::thread::spawn(move || {
            std::io::stdin().read_exact(&mut [0]).unwrap();
            release.store(true, SeqCst);
        });
        short_grace(1)
            .run(|| {
                tarae::spawn(move || {
                    tarae::yield_now();
                    while !released.load(SeqCst) {
                        std::hint::spin_loop();
                    }
                });
                tarae::yield_now();
            })
            .unwrap();
        return;
    }
    let _guard = guard(NAME);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env("TARAE_TEST_CHILD", NAME)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = said.find(|line| line.as_ref().unwrap().starts_with("tarae: "));
    let line = line.expect("the child ended without a word").unwrap();
    for part in ["cannot end", "worker 0", "coroutine", "stragglers.rs:"] {
        assert!(line.contains(part), "{line}");
    }
    // Only now may it end: the report came while `run` waited.
    child.stdin.take().unwrap().write_all(b"!").unwrap();
    assert!(child.wait().unwrap().success());
}

thread_local! {
    static LAST_WORD: LastWord = const { LastWord(std::cell::Cell::new(None)) };
}

/// Counts the end of its thread.
struct LastWord(std::cell::Cell<Option<&'static AtomicUsize>>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(counter) = self.0.get() {
            counter.fetch_add(1, SeqCst);
        }
    }
}

/// The thread of a worker beyond the first runs its thread-local destructors when all of its
/// coroutines have ended, and never when it had to leave one.
#[test]
fn a_worker_with_leaked_stacks_keeps_its_thread_locals() {
    let (clean, leaky) = (counter(), counter());
    run_on(2, move || {
        elsewhere(move || LAST_WORD.with(|word| word.0.set(Some(clean))))
    });
    assert_eq!(clean.load(SeqCst), 1, "joined by `run`, so it has ended");
    let before = held().threads;
    let result = with_straggler(false, "borrower", move |begun| {
        LAST_WORD.with(|word| {
            word.0.set(Some(leaky));
            begun();
            loop {
                tarae::thread::park();
            }
        })
    });
    check(result, "borrower");
    // It is there for good, asleep; its destructors run at its end or never.
    assert!(held().threads > 0 && before > 0);
    for _ in 0..100 {
        std::thread::yield_now();
        assert_eq!(leaky.load(SeqCst), 0);
    }
}

/// A start that fails for want of descriptors takes none for good, wherever it fails.
#[test]
fn a_failed_start_gives_everything_back() {
    isolated("stragglers::a_failed_start_gives_everything_back", || {
        let workers = 4;
        let run = || Builder::new().workers(workers).run(|| ());
        run().unwrap();
        let before = held();
        let limits = getrlimit(Resource::Nofile);
        let mut failed = 0;
        // Each worker needs two descriptors beside its eventfd, which the first run has left.
        for room in 0..workers as u64 * 2 {
            let current = Some(before.descriptors as u64 - 1 + room);
            setrlimit(Resource::Nofile, Rlimit { current, ..limits }).unwrap();
            for _ in 0..3 {
                failed += usize::from(run().is_err());
            }
            setrlimit(Resource::Nofile, limits).unwrap();
        }
        assert!(failed > 0, "no start has failed");
        run().unwrap();
        while held().threads > before.threads {
            std::thread::yield_now();
        }
        assert_eq!(held(), before);
    });
}
