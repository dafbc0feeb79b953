//! The watchdog: who it names, with which calls, and whom it leaves alone. What it decides by is
//! tested next to it, in `src/sched/watchdog.rs`.
//!
//! The offenders go on until they have been reported, so nothing here depends on how long that is.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::inspect::Stall;

use crate::support::{child_command, guard, is_child};

const LIMIT: Duration = Duration::from_millis(50);

/// The first stall that is reported while `offend` runs as a coroutine called "offender" on a
/// worker of its own; `offend` is given a flag that says that it has been.
fn stall_of(offend: impl FnOnce(&AtomicBool) + Send + 'static) -> (Stall, Location<'static>) {
    let stalls: Arc<Mutex<Vec<Stall>>> = Arc::default();
    let reported = Arc::new(AtomicBool::new(false));
    let (log, flag) = (Arc::clone(&stalls), Arc::clone(&reported));
    let builder = tarae::Builder::new()
        .workers(1)
        .watchdog(LIMIT)
        .on_stall(move |stall| {
            log.lock().unwrap().push(stall.clone());
            flag.store(true, Ordering::SeqCst);
        });
    let site = builder
        .run(|| {
            let offender = tarae::thread::Builder::new().name("offender".into());
            let (here, handle) = (
                Location::caller(),
                offender.spawn(move || offend(&reported)).unwrap(),
            );
            handle.join().unwrap();
            *here
        })
        .unwrap();
    let mut stalls = stalls.lock().unwrap();
    (stalls.remove(0), site)
}

/// The report names the offender and where it was spawned, and its calls have `function` in them.
#[track_caller]
fn check(stall: &Stall, function: &str) {
    let coroutine = stall.coroutine.as_ref().unwrap();
    assert_eq!(coroutine.name.as_deref(), Some("offender"), "{stall}");
    assert!(coroutine.id.is_some(), "{stall}");
    assert_eq!(coroutine.spawned_at.file(), file!(), "{stall}");
    assert_eq!((stall.worker, coroutine.worker), (0, 0));
    assert!(stall.running_for >= LIMIT, "{stall}");
    calls(stall, function);
}

#[track_caller]
fn calls(stall: &Stall, function: &str) {
    let mut names = stall.stack.iter().filter_map(|f| f.function.as_deref());
    assert!(names.any(|name| name.contains(function)), "{stall}");
}

#[inline(never)]
fn spin_until(flag: &AtomicBool) -> u64 {
    let mut turns = 0u64;
    while !flag.load(Ordering::Relaxed) {
        turns = black_box(turns.wrapping_add(1));
    }
    turns
}

#[test]
fn a_coroutine_that_spins_is_named_with_its_calls() {
    let _guard = guard("a spinning coroutine");
    let (stall, here) = stall_of(|reported| {
        black_box(spin_until(reported));
    });
    check(&stall, "spin_until");
    let lines = here.line()..here.line() + 4;
    let spawned_at = stall.coroutine.as_ref().unwrap().spawned_at;
    assert!(lines.contains(&spawned_at.line()), "{stall}");
}

#[inline(never)]
fn read_one_byte(mut from: &UnixStream) -> std::io::Result<usize> {
    black_box(from.read(&mut [0]))
}

/// A thread that blocks in the kernel answers too, and its call goes on afterwards (`SA_RESTART`).
#[test]
fn a_blocking_system_call_is_named_and_goes_on() {
    let _guard = guard("a blocking system call");
    let (near, far) = UnixStream::pair().unwrap();
    let (stall, _) = stall_of(move |reported| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !reported.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                (&far).write_all(&[7]).unwrap();
            });
            // `Interrupted`, had the signal ended the call.
            assert_eq!(read_one_byte(&near).unwrap(), 1);
        });
    });
    check(&stall, "read_one_byte");
}

/// A bare coroutine has a stack of its own, and is what the worker is in.
#[test]
fn a_bare_coroutine_is_named_by_its_site() {
    let _guard = guard("a bare coroutine that spins");
    let (stall, _) = stall_of(|reported| {
        let flag: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !reported.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                flag.store(true, Ordering::SeqCst);
            });
            let mut bare = tarae::Coroutine::<(), u64>::new(|_| spin_until(flag));
            bare.resume();
        });
    });
    let coroutine = stall.coroutine.as_ref().unwrap();
    assert_eq!((coroutine.id, coroutine.name.as_deref()), (None, None));
    assert_eq!(coroutine.spawned_at.file(), file!());
    calls(&stall, "spin_until");
}

/// A hook runs on the worker's own stack: no coroutine is to blame, and the calls still show.
#[test]
fn a_hook_that_spins_is_reported_without_a_coroutine() {
    let _guard = guard("a spinning hook");
    let stalls: Arc<Mutex<Vec<Stall>>> = Arc::default();
    let reported = Arc::new(AtomicBool::new(false));
    let (log, flag) = (Arc::clone(&stalls), Arc::clone(&reported));
    tarae::Builder::new()
        .workers(1)
        .watchdog(LIMIT)
        .on_stall(move |stall| {
            log.lock().unwrap().push(stall.clone());
            flag.store(true, Ordering::SeqCst);
        })
        .on_switch(move |_, _| {
            black_box(spin_until(&reported));
        })
        .run(|| ())
        .unwrap();
    let stall = stalls.lock().unwrap().remove(0);
    assert!(stall.coroutine.is_none(), "{stall}");
    calls(&stall, "spin_until");
}

fn name_of(stall: &Stall) -> &str {
    stall.coroutine.as_ref().unwrap().name.as_deref().unwrap()
}

/// One worker is held while the other stalls five times: five reports, and one for the first.
#[test]
fn each_stall_is_reported_once() {
    let _guard = guard("many stalls");
    let stalls: Arc<Mutex<Vec<Stall>>> = Arc::default();
    let log = Arc::clone(&stalls);
    let builder = tarae::Builder::new()
        .workers(2)
        .watchdog(LIMIT)
        .on_stall(move |stall| log.lock().unwrap().push(stall.clone()));
    let told = Arc::clone(&stalls);
    let reports = move |name: &str| {
        let told = told.lock().unwrap();
        told.iter().filter(|stall| name_of(stall) == name).count()
    };
    let hold_until = |done: &dyn Fn() -> bool| {
        while !done() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let (counts, again) = (reports.clone(), reports.clone());
    builder
        .run(move || {
            let named = |name: &str| tarae::thread::Builder::new().name(name.into());
            let held = move || hold_until(&|| again("often") == 5);
            let held = named("held").spawn(held).unwrap();
            let often = move || {
                for count in 1..=5 {
                    hold_until(&|| reports("often") == count);
                    tarae::yield_now();
                }
            };
            named("often").spawn(often).unwrap().join().unwrap();
            held.join().unwrap();
        })
        .unwrap();
    assert_eq!((counts("held"), counts("often")), (1, 5));
    assert_eq!(stalls.lock().unwrap().len(), 6);
}

#[inline(never)]
fn withdraw_from(account: &Mutex<i64>) -> i64 {
    *account.lock().unwrap()
}

/// The hazard that pinning does not cure: a guard that blocks threads, held across a suspension,
/// against a coroutine of the same worker. The process is stuck; stderr says who, where and how.
#[test]
fn a_guard_held_across_a_suspension_is_reported_on_stderr() {
    const NAME: &str = "watchdog::a_guard_held_across_a_suspension_is_reported_on_stderr";
    if is_child() {
        return deadlock();
    }
    let _guard = guard("a report on stderr");
    let mut stuck = child_command(NAME).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(stuck.stderr.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.map_while(Result::ok) {
        said += &line;
        said += "\n";
        if line.contains("`tarae::sync`") {
            break;
        }
    }
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    let found = |text: &str| assert!(said.contains(text), "no `{text}` in:\n{said}");
    found("tarae: worker 0 has not come back to its scheduler for ");
    found(&format!(
        " (withdrawal), spawned at {}:{}:",
        file!(),
        WITHDRAWAL_LINE
    ));
    found("withdraw_from\n");
    let lock = said.contains("Mutex<T>::lock\n") || said.contains(": lock<");
    assert!(lock, "{said}");
    // The trace ends where the coroutine begins, and none of how it was started is in it.
    assert!(
        !said.contains("sched::task") && !said.contains("corosensei"),
        "{said}"
    );
}

fn deadlock() {
    let account = Arc::new(Mutex::new(100));
    let builder = tarae::Builder::new().workers(1).watchdog(LIMIT);
    let run = builder.run(|| {
        let theirs = Arc::clone(&account);
        tarae::spawn(move || {
            let held = theirs.lock().unwrap();
            tarae::yield_now();
            drop(held);
        });
        let withdrawal = tarae::thread::Builder::new().name("withdrawal".into());
        let body = move || withdraw_from(&account);
        withdrawal.spawn(body).unwrap().join().unwrap();
    });
    run.unwrap();
}

const WITHDRAWAL_LINE: u32 = line!() - 5;
