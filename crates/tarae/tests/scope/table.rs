//! The table of `docs/cancellation.md`, row by row: each call is cut short in every way, in a
//! coroutine and on a plain thread, and must report what the table says.
//!
//! A call is either cut short before it begins or some time later, perhaps while it waits: the
//! report must be the same, so nothing depends on which.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use tarae::cancel::{CancelToken, deadline};
use tarae::offload::{Builder, OffloadError, Pool};
use tarae::thread::{self, JoinError};
use tarae::time::{self, Instant};
use tarae::{Cancelled, inspect, offload, scope, try_scope};

use crate::support::{FAR, SOON, alone, run_on, until};
use crate::{table_channels, table_fs, table_net, table_process, table_sync};

/// How calls are cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    CancelledBefore,
    CancelledLater,
    PastDeadline,
    SoonDeadline,
}

impl Cut {
    /// Runs a call that is cut short. What it needs is made outside.
    pub(crate) fn run<T>(self, f: impl FnOnce() -> T) -> T {
        let token = CancelToken::new();
        match self {
            Cut::CancelledBefore => {
                token.cancel();
                token.run(f)
            }
            Cut::CancelledLater => {
                let theirs = token.clone();
                // By a thread, which needs no worker.
                let canceller = std::thread::spawn(move || {
                    std::thread::sleep(SOON);
                    theirs.cancel();
                });
                let value = token.run(f);
                canceller.join().unwrap();
                value
            }
            Cut::PastDeadline => given(deadline(Instant::now(), f)),
            Cut::SoonDeadline => given(deadline(Instant::now() + SOON, f)),
        }
    }
}

fn given<T>(result: Result<T, tarae::TimedOut<T>>) -> T {
    result.unwrap_or_else(tarae::TimedOut::into_inner)
}

/// The table's words.
const GOES_ON: &str = "goes on";
const EARLY: &str = "returns early";
const CANCELLED: &str = "`is_cancelled()`";
const TIMED_OUT: &str = "`is_timeout()`";

pub(crate) fn predicates(cancelled: bool, timed_out: bool) -> &'static str {
    match (cancelled, timed_out) {
        (true, false) => CANCELLED,
        (false, true) => TIMED_OUT,
        _ => "neither, or both",
    }
}

pub(crate) fn io<T>(result: std::io::Result<T>) -> &'static str {
    match result {
        Err(error) if Cancelled::is(&error) => "`io::Error` with `Cancelled`",
        Err(error) if error.kind() == ErrorKind::TimedOut => "`ErrorKind::TimedOut`",
        Err(error) => panic!("{error}"),
        Ok(_) => GOES_ON,
    }
}

fn join<T>(result: Result<T, JoinError>) -> &'static str {
    match result {
        Err(error) => predicates(error.is_cancelled(), error.is_timeout()),
        Ok(_) => GOES_ON,
    }
}

/// A wait of an hour that has ended.
fn early(f: impl FnOnce()) -> &'static str {
    let start = std::time::Instant::now();
    f();
    if start.elapsed() < FAR {
        EARLY
    } else {
        GOES_ON
    }
}

pub(crate) fn iteration<T>(iterator: &mut impl Iterator<Item = T>, cut: Cut) -> &'static str {
    let ended = cut.run(|| iterator.next().is_none());
    if ended { "ends the iteration" } else { GOES_ON }
}

/// Holds the only thread of a pool while it lives.
pub(crate) struct Held {
    gate: Arc<(Mutex<(bool, bool)>, Condvar)>,
    holder: Option<std::thread::JoinHandle<()>>,
}

impl Held {
    pub(crate) fn new(pool: Pool) -> Held {
        let gate = Arc::new((Mutex::new((false, false)), Condvar::new()));
        let theirs = Arc::clone(&gate);
        let hold = move || {
            let (state, changed) = &*theirs;
            let mut state = state.lock().unwrap();
            state.0 = true;
            changed.notify_all();
            drop(changed.wait_while(state, |state| !state.1).unwrap());
        };
        let holder = std::thread::spawn(move || pool.run(hold).unwrap());
        let (state, changed) = &*gate;
        let state = state.lock().unwrap();
        drop(changed.wait_while(state, |state| !state.0).unwrap());
        let holder = Some(holder);
        Held { gate, holder }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.0.lock().unwrap().1 = true;
        self.gate.1.notify_all();
        self.holder.take().unwrap().join().unwrap();
    }
}

fn offloaded(
    pool: Pool,
    cut: Cut,
    call: impl FnOnce() -> Result<(), OffloadError>,
) -> &'static str {
    let _held = Held::new(pool);
    match cut.run(call) {
        Err(error) => predicates(error.is_cancelled(), error.is_timeout()),
        Ok(()) => GOES_ON,
    }
}

fn look_up(cut: Cut) -> &'static str {
    let _held = Held::new(Pool::Dns);
    io(cut.run(|| tarae::net::ToSocketAddrs::to_socket_addrs("localhost:80")))
}

fn scoped_join(cut: Cut) -> &'static str {
    scope(|s| {
        let child = s.spawn(crate::support::until_cancelled);
        let report = join(cut.run(|| child.join()));
        s.cancel();
        report
    })
}

fn spawned_join(cut: Cut) -> &'static str {
    let other = tarae::spawn(crate::support::until_cancelled);
    join(cut.run(|| other.join()))
}

fn completed_wait(cut: Cut) -> &'static str {
    let call = tarae::start(crate::support::until_cancelled);
    match cut.run(|| call.wait()) {
        Err(error) => predicates(error.is_cancelled(), error.is_timeout()),
        Ok(()) => GOES_ON,
    }
}

fn block_on(cut: Cut) -> &'static str {
    match cut.run(|| tarae::block_on(std::future::pending::<()>())) {
        Err(Cancelled) => "`Cancelled`",
        Ok(()) => GOES_ON,
    }
}

/// Somebody's work, which takes a while and is not cut short.
fn work(begun: &AtomicBool, done: &AtomicBool) -> Result<(), ()> {
    begun.store(true, SeqCst);
    (0..100).for_each(|_| tarae::yield_now());
    done.store(true, SeqCst);
    Ok(())
}

fn waited(begun: &AtomicBool, done: &AtomicBool) -> &'static str {
    let left = begun.load(SeqCst) && !done.load(SeqCst);
    if left { EARLY } else { GOES_ON }
}

fn lock(cut: Cut) -> &'static str {
    let shared = Arc::new((
        tarae::sync::Mutex::new(()),
        AtomicBool::new(false),
        AtomicBool::new(false),
    ));
    let theirs = Arc::clone(&shared);
    let holder = tarae::spawn(move || {
        let _guard = theirs.0.lock().unwrap();
        work(&theirs.1, &theirs.2).unwrap();
    });
    until(|| shared.1.load(SeqCst));
    let report = cut.run(|| {
        let _guard = shared.0.lock().unwrap();
        waited(&shared.1, &shared.2)
    });
    holder.join().unwrap();
    report
}

fn scope_end(cut: Cut, fallible: bool) -> &'static str {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    cut.run(|| {
        if fallible {
            let _: Result<(), ()> = try_scope(|s| {
                s.spawn(|| work(&begun, &done));
                Ok(())
            });
        } else {
            scope(|s| drop(s.spawn(|| work(&begun, &done))));
        }
        waited(&begun, &done)
    })
}

fn room(cut: Cut, fallible: bool) -> &'static str {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let look = || waited(&AtomicBool::new(true), &done);
    if fallible {
        let result: Result<_, ()> = try_scope(|s| {
            s.limit(1).spawn(|| work(&begun, &done));
            cut.run(|| drop(s.spawn(|| Ok(()))));
            Ok(look())
        });
        result.unwrap()
    } else {
        scope(|s| {
            s.limit(1).spawn(|| work(&begun, &done));
            cut.run(|| drop(s.spawn(|| ())));
            look()
        })
    }
}

/// The other worker is stuck in a computation, and answers nobody.
fn snapshot(cut: Cut) -> &'static str {
    let shared = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
    until(|| {
        for _ in 0..2 {
            let theirs = Arc::clone(&shared);
            tarae::spawn(move || {
                let elsewhere = inspect::worker_index() == Some(1);
                if elsewhere && !theirs.0.swap(true, SeqCst) {
                    while !theirs.1.load(SeqCst) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        tarae::yield_now();
        shared.0.load(SeqCst)
    });
    let report = early(|| drop(cut.run(|| inspect::coroutines(FAR))));
    shared.1.store(true, SeqCst);
    report
}

pub(crate) type Case = fn(Cut) -> &'static str;

#[rustfmt::skip]
const CASES: &[(&str, Case)] = &[
    ("ToSocketAddrs::to_socket_addrs", look_up),
    ("time::sleep", |cut| early(|| cut.run(|| time::sleep(FAR)))),
    ("time::sleep_until", |cut| early(|| cut.run(|| time::sleep_until(Instant::now() + FAR)))),
    ("Interval::tick", |cut| early(|| { cut.run(|| time::interval(FAR).tick()); })),
    ("thread::sleep", |cut| early(|| cut.run(|| thread::sleep(FAR)))),
    ("thread::park", |cut| early(|| cut.run(thread::park))),
    ("thread::park_timeout", |cut| early(|| cut.run(|| thread::park_timeout(FAR)))),
    ("JoinHandle::join", spawned_join),
    ("Completion::wait", completed_wait),
    ("Completion::wait_timeout", |cut| early(|| {
        let mut call = tarae::start(crate::support::until_cancelled);
        let check = cut.run(|| call.wait_timeout(2 * FAR));
        assert!(matches!(check, tarae::completion::Check::Pending));
    })),
    ("Completions::next", |cut| {
        let calls = tarae::completion::Completions::new();
        calls.add((), tarae::start(crate::support::until_cancelled));
        iteration(&mut std::iter::from_fn(|| calls.next()), cut)
    }),
    ("ScopedJoinHandle::join", scoped_join),
    ("block_on", block_on),
    ("offload", |cut| offloaded(Pool::Blocking, cut, || offload(|| ()))),
    ("try_offload", |cut| offloaded(Pool::Blocking, cut, || tarae::try_offload(|| ()))),
    ("Pool::run", |cut| offloaded(Pool::Cpu, cut, || Pool::Cpu.run(|| ()))),
    ("Pool::try_run", |cut| offloaded(Pool::Cpu, cut, || Pool::Cpu.try_run(|| ()))),
    ("offload::cpu", |cut| offloaded(Pool::Cpu, cut, || tarae::offload::cpu(|| ()))),
    ("offload::blocking", |cut| offloaded(Pool::Blocking, cut, || {
        tarae::offload::blocking(|| ())
    })),
    ("inspect::coroutines", snapshot),
    ("Mutex::lock", lock),
    ("scope", |cut| scope_end(cut, false)),
    ("try_scope", |cut| scope_end(cut, true)),
    ("Scope::spawn", |cut| room(cut, false)),
    ("TryScope::spawn", |cut| room(cut, true)),
    ("thread::yield_now", |cut| { cut.run(thread::yield_now); GOES_ON }),
];

fn cases() -> impl Iterator<Item = &'static (&'static str, Case)> {
    let channels = table_channels::CASES.iter().chain(table_channels::MORE);
    let others = table_net::CASES
        .iter()
        .chain(table_process::CASES)
        .chain(table_sync::CASES)
        .chain(table_fs::CASES)
        .chain(channels);
    CASES.iter().chain(others)
}

/// Rows that are different on a plain thread: the text says so.
const COROUTINES_ONLY: &[&str] = &[
    "Command::spawn",
    "ToSocketAddrs::to_socket_addrs",
    "inspect::coroutines",
    "net::park_until_readable",
];

/// The rows: what a call reports when cancelled, and at a deadline.
fn rows() -> BTreeMap<&'static str, [&'static str; 2]> {
    let text = include_str!("../../docs/cancellation.md");
    let cells = text.lines().filter_map(|line| {
        let line = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let mut cells = line.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        Some((name, [cells.next()?, cells.next()?]))
    });
    cells.collect()
}

fn check(rows: &BTreeMap<&str, [&str; 2]>, in_coroutine: bool) {
    for (name, case) in cases() {
        if !in_coroutine && COROUTINES_ONLY.contains(name) {
            continue;
        }
        let [cancelled, timed_out] = match table_fs::CASES.iter().any(|(one, _)| one == name) {
            // The text says so.
            true if !in_coroutine => [GOES_ON; 2],
            _ => rows[name],
        };
        for (cut, want) in [
            (Cut::CancelledBefore, cancelled),
            (Cut::CancelledLater, cancelled),
            (Cut::PastDeadline, timed_out),
            (Cut::SoonDeadline, timed_out),
        ] {
            let got = case(cut);
            assert_eq!(
                got, want,
                "`{name}`, {cut:?}, in a coroutine: {in_coroutine}"
            );
        }
    }
}

/// In a process of its own, whose pools have one thread each.
#[test]
fn every_call_does_what_the_table_says() {
    alone("table::every_call_does_what_the_table_says", || {
        for pool in [Pool::Cpu, Pool::Blocking, Pool::Dns] {
            Builder::new(pool).threads(1).apply().unwrap();
        }
        let rows = rows();
        let mut names: Vec<_> = cases().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(names, rows.keys().copied().collect::<Vec<_>>());
        run_on(2, || check(&rows, true));
        run_on(1, || {
            std::thread::scope(|s| {
                let plain = s.spawn(|| check(&rows, false));
                until(|| plain.is_finished());
                plain.join().unwrap();
            });
        });
    });
}
