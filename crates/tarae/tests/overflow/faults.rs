//! Faults that are no overflow of a coroutine do what they did before the runtime was there; and
//! overflows that safe code cannot make. The only tests that need unsafe code.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use tarae::Coroutine;
use tarae::thread::Builder;

use crate::support::libc_signal::{ABORT, SEGV};
use crate::support::{end_of, recurse};

fn null_dereference() {
    let null = black_box(std::ptr::null_mut::<u64>());
    // SAFETY: none: it is to fault, in a process of its own.
    unsafe { null.write_volatile(1) };
}

/// Writes so far below the caller's frame, as a large frame without probes does.
#[inline(never)]
fn write_below(bytes: usize) {
    let local = black_box(0u8);
    let below = (std::ptr::from_ref(&local) as usize - bytes) as *mut u8;
    // SAFETY: none: it is to hit the guard, in a process of its own.
    unsafe { below.write_volatile(1) };
}

fn on_one_worker(body: impl FnOnce()) {
    tarae::Builder::new().workers(1).run(body).unwrap();
}

#[test]
fn a_null_dereference_on_a_coroutine() {
    let end = end_of("faults::a_null_dereference_on_a_coroutine", || {
        on_one_worker(|| tarae::spawn(null_dereference).join().unwrap());
    });
    end.killed_by(SEGV).unreported();
}

#[test]
fn a_null_dereference_on_a_plain_thread() {
    let end = end_of("faults::a_null_dereference_on_a_plain_thread", || {
        on_one_worker(|| {});
        std::thread::spawn(null_dereference).join().unwrap();
    });
    end.killed_by(SEGV).unreported();
}

#[test]
fn an_overflow_of_a_std_thread() {
    let end = end_of("faults::an_overflow_of_a_std_thread", || {
        on_one_worker(|| {
            let thread = std::thread::Builder::new().name("plain".into());
            drop(thread.spawn(|| recurse(0)).unwrap().join());
        });
    });
    end.killed_by(ABORT).unreported();
    assert!(end.stderr.contains("thread 'plain'"), "{}", end.stderr);
    assert!(
        end.stderr.contains("has overflowed its stack"),
        "{}",
        end.stderr
    );
}

/// The thread that was a worker is a plain one again.
#[test]
fn an_overflow_of_the_thread_after_run() {
    let end = end_of("faults::an_overflow_of_the_thread_after_run", || {
        on_one_worker(|| {});
        recurse(0);
    });
    end.killed_by(ABORT).unreported();
    assert!(
        end.stderr.contains("has overflowed its stack"),
        "{}",
        end.stderr
    );
}

#[test]
fn a_signal_that_was_sent() {
    let end = end_of("faults::a_signal_that_was_sent", || {
        on_one_worker(|| {
            // Std's handler takes the first as a fault to be repeated and goes; so did it before.
            for _ in 0..2 {
                // SAFETY: sends a signal to this thread.
                unsafe { libc::raise(SEGV) };
            }
        });
    });
    end.killed_by(SEGV).unreported();
}

/// A frame without probes that lands in the middle of the guard, or at its very end.
#[test]
fn a_step_into_the_middle_of_the_guard() {
    let end = end_of("faults::a_step_into_the_middle_of_the_guard", || {
        on_one_worker(|| {
            let builder = Builder::new().name("stepper".into());
            // The frames above `write_below` are less than 16 KiB, so this is 16 to 32 KiB deep.
            let step = || write_below((64 + 32) * 1024);
            let coroutine = builder.stack_size(64 * 1024).spawn(step);
            drop(coroutine.unwrap().join());
        });
    });
    assert!(end.report()[0].contains("(stepper), spawned at "));
}

/// Somebody else's guard was hit: no overflow, and nobody to be named.
#[test]
fn a_wild_write_into_a_guard() {
    static ADDRESS: AtomicUsize = AtomicUsize::new(0);
    let end = end_of("faults::a_wild_write_into_a_guard", || {
        on_one_worker(|| {
            let coroutine = Builder::new().stack_size(64 * 1024).spawn(|| {
                let local = black_box(0u8);
                let guard = std::ptr::from_ref(&local) as usize - (64 + 32) * 1024;
                ADDRESS.store(guard, Ordering::SeqCst);
                tarae::thread::park();
            });
            while ADDRESS.load(Ordering::SeqCst) == 0 {
                tarae::yield_now();
            }
            let guard = ADDRESS.load(Ordering::SeqCst) as *mut u8;
            // SAFETY: none: it is to fault, in a process of its own.
            unsafe { guard.write_volatile(1) };
            drop(coroutine);
        });
    });
    end.killed_by(SEGV).unreported();
}

/// Recursion through functions of the C library: `qsort` calls back, which calls `qsort`.
#[test]
fn an_overflow_through_c_frames() {
    extern "C" fn compare(_: *const libc::c_void, _: *const libc::c_void) -> i32 {
        sort()
    }
    fn sort() -> i32 {
        let mut items = black_box([3u64, 1, 2, 5, 4]);
        // SAFETY: five items of eight bytes.
        unsafe { libc::qsort(items.as_mut_ptr().cast(), 5, 8, Some(compare)) };
        items[0] as i32
    }
    let end = end_of("faults::an_overflow_through_c_frames", || {
        on_one_worker(|| {
            let builder = Builder::new().name("sorter".into());
            drop(builder.spawn(sort).unwrap().join());
        });
    });
    assert!(end.report()[0].contains("(sorter), spawned at "));
}

// ---- other handlers -----------------------------------------------------------------------------

/// What `mark` found installed before it.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

/// A user's handler: says that it was called, and ends the process.
extern "C" fn end_with_7(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the arguments of a handler; both calls are async-signal-safe.
    unsafe {
        assert_eq!((*info).si_signo, signal);
        libc::_exit(7);
    }
}

/// A handler of the short kind, which is told the signal only.
extern "C" fn end_with_8(signal: i32) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(if signal == SEGV { 8 } else { 9 }) };
}

/// A handler that passes on what it was given, to whoever was there before it.
extern "C" fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
    let before = BEFORE.load(Ordering::SeqCst) as *const ();
    // SAFETY: it was installed with SA_SIGINFO.
    unsafe { std::mem::transmute::<*const (), Handler>(before)(signal, info, context) };
}

fn install(handler: *const (), flags: i32) {
    // SAFETY: all-zero is valid, and the flags say which kind of function the handler is.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(SEGV, &action, &mut before), 0);
        BEFORE.store(before.sa_sigaction, Ordering::SeqCst);
    }
}

#[test]
fn a_handler_before_the_runtime_gets_other_faults() {
    let name = "faults::a_handler_before_the_runtime_gets_other_faults";
    let end = end_of(name, || {
        install(end_with_7 as *const (), libc::SA_SIGINFO | libc::SA_ONSTACK);
        on_one_worker(|| tarae::spawn(null_dereference).join().unwrap());
    });
    assert_eq!(end.unreported().code, Some(7), "{}", end.stderr);
}

#[test]
fn a_handler_of_the_short_kind_gets_other_faults() {
    let name = "faults::a_handler_of_the_short_kind_gets_other_faults";
    let end = end_of(name, || {
        install(end_with_8 as *const (), libc::SA_ONSTACK);
        on_one_worker(|| tarae::spawn(null_dereference).join().unwrap());
    });
    assert_eq!(end.unreported().code, Some(8), "{}", end.stderr);
}

/// It is to run on the stack that faulted, as it would without the runtime.
#[test]
fn a_handler_without_an_alternate_stack_keeps_its_stack() {
    static STACK: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn end_if_near(_: i32) {
        let local = black_box(0u8);
        let here = std::ptr::from_ref(&local) as usize;
        let near = STACK.load(Ordering::SeqCst).abs_diff(here) < 64 * 1024;
        // SAFETY: async-signal-safe.
        unsafe { libc::_exit(if near { 10 } else { 11 }) };
    }
    let name = "faults::a_handler_without_an_alternate_stack_keeps_its_stack";
    let end = end_of(name, || {
        install(end_if_near as *const (), 0);
        on_one_worker(|| {
            let local = black_box(0u8);
            STACK.store(std::ptr::from_ref(&local) as usize, Ordering::SeqCst);
            null_dereference();
        });
    });
    assert_eq!(end.unreported().code, Some(10), "{}", end.stderr);
}

#[test]
fn overflows_are_reported_before_a_handler_is_asked() {
    let name = "faults::overflows_are_reported_before_a_handler_is_asked";
    let end = end_of(name, || {
        install(end_with_7 as *const (), libc::SA_SIGINFO | libc::SA_ONSTACK);
        on_one_worker(|| drop(tarae::spawn(|| recurse(0)).join()));
    });
    end.report();
}

/// A handler that mends the fault and goes on does so any number of times, and overflows are
/// reported still.
#[test]
fn a_handler_that_mends_faults_goes_on() {
    static MENDED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn mend(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the handler's own argument; the page is the test's.
        unsafe {
            let page = (*info).si_addr() as usize & !4095;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            if libc::mprotect(page as *mut libc::c_void, 4096, access) != 0 {
                libc::_exit(12);
            }
        }
        MENDED.fetch_add(1, Ordering::SeqCst);
    }
    let end = end_of("faults::a_handler_that_mends_faults_goes_on", || {
        install(mend as *const (), libc::SA_SIGINFO | libc::SA_ONSTACK);
        on_one_worker(|| {
            for n in 1..=3 {
                // SAFETY: a page of its own, which the handler makes accessible.
                unsafe {
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                    let page =
                        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
                    page.cast::<u64>().write_volatile(n as u64);
                }
                assert_eq!(MENDED.load(Ordering::SeqCst), n);
            }
            recurse(0);
        });
    });
    assert!(end.report()[0].contains("(main), spawned at "));
}

#[test]
fn a_handler_after_the_runtime_passes_overflows_on() {
    let name = "faults::a_handler_after_the_runtime_passes_overflows_on";
    let end = end_of(name, || {
        let mut first: Coroutine = Coroutine::new(|_| ());
        first.resume();
        install(pass_on as *const (), libc::SA_SIGINFO | libc::SA_ONSTACK);
        on_one_worker(|| drop(tarae::spawn(|| recurse(0)).join()));
    });
    end.report();
}

#[test]
fn a_handler_after_the_runtime_passes_other_faults_on() {
    let name = "faults::a_handler_after_the_runtime_passes_other_faults_on";
    let end = end_of(name, || {
        on_one_worker(|| {});
        install(pass_on as *const (), libc::SA_SIGINFO | libc::SA_ONSTACK);
        null_dereference();
    });
    end.killed_by(SEGV).unreported();
}

#[test]
fn the_default_action() {
    let end = end_of("faults::the_default_action", || {
        install(libc::SIG_DFL as *const (), 0);
        on_one_worker(|| tarae::spawn(null_dereference).join().unwrap());
    });
    end.killed_by(SEGV).unreported();
}

/// Unlike std's handler, the default action takes the first signal that was sent.
#[test]
fn the_default_action_on_a_signal_that_was_sent() {
    let end = end_of(
        "faults::the_default_action_on_a_signal_that_was_sent",
        || {
            install(libc::SIG_DFL as *const (), 0);
            on_one_worker(|| {
                // SAFETY: sends a signal to this thread.
                unsafe { libc::raise(SEGV) };
            });
        },
    );
    end.killed_by(SEGV).unreported();
}

/// The kernel lets a signal be ignored that was sent, but no fault.
#[test]
fn an_ignored_signal() {
    let end = end_of("faults::an_ignored_signal", || {
        install(libc::SIG_IGN as *const (), 0);
        on_one_worker(|| {
            // SAFETY: sends a signal to this thread.
            unsafe { libc::raise(SEGV) };
            eprintln!("went on");
            tarae::spawn(null_dereference).join().unwrap();
        });
    });
    end.killed_by(SEGV).unreported();
    assert!(end.stderr.contains("went on"), "{}", end.stderr);
}

/// Where `main` is not Rust's no thread has an alternate stack.
#[test]
fn a_worker_without_an_alternate_stack_is_given_one() {
    let name = "faults::a_worker_without_an_alternate_stack_is_given_one";
    let end = end_of(name, || {
        // SAFETY: not on that stack.
        unsafe {
            let mut none: libc::stack_t = std::mem::zeroed();
            none.ss_flags = libc::SS_DISABLE;
            assert_eq!(libc::sigaltstack(&none, std::ptr::null_mut()), 0);
        }
        on_one_worker(|| drop(tarae::spawn(|| recurse(0)).join()));
    });
    end.report();
}
