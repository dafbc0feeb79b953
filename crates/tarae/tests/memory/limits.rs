//! What a limit on memory or address space makes of a runtime's start and of bare coroutines: an
//! error that names the limit and what to do, where the kernel's own refusal is the cause.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::Resource;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tarae::Coroutine;

use crate::support::{Gate, alone, kernel, limit, limit_growth, run};

/// Neither a runtime nor a bare coroutine can be made; both say so, in the same words.
#[track_caller]
fn refused(words: &[&str]) {
    let error = tarae::Builder::new().workers(1).run(|| ()).unwrap_err();
    assert!(!error.is_nested() && error.stragglers().is_empty());
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    let bare = Coroutine::<(), ()>::try_new(|_| ()).unwrap_err();
    assert_eq!(bare.kind(), std::io::ErrorKind::OutOfMemory);
    assert!(text.ends_with(&bare.to_string()), "{text}; {bare}");
}

#[test]
fn on_the_address_space() {
    alone("limits::on_the_address_space", || {
        // Less than the runtime leaves to others, so not a single stack.
        limit_growth(15 << 20);
        refused(&[
            "the runtime could not start",
            "RLIMIT_AS allows",
            "`ulimit -v`",
            "`stack_size`",
        ]);
        // The counter-check, and the way out that the error names.
        limit(Resource::As, None);
        assert_eq!(run(|| tarae::spawn(|| 7).join().unwrap()), 7);
    });
}

/// Some stacks fit, though a whole chunk of them does not.
#[test]
fn on_the_address_space_leaves_what_fits() {
    alone("limits::on_the_address_space_leaves_what_fits", || {
        limit_growth(48 << 20);
        run(|| {
            let gate = Gate::default();
            let handles: Vec<_> = (0..30).map(|n| gate.spawn(move || n)).collect();
            gate.until_arrived(30);
            gate.open(&handles);
            let values = handles.into_iter().map(|handle| handle.join().unwrap());
            assert!(values.eq(0..30));
        });
    });
}

/// Played by a filter, since the setting is the whole machine's: under strict overcommit every
/// stack counts in full, and a mapping beyond what is left is refused.
#[test]
fn on_committed_memory() {
    alone("limits::on_committed_memory", || {
        kernel::without_memory();
        refused(&[
            "Cannot allocate memory",
            "`vm.overcommit_memory`",
            "`stack_size`",
        ]);
    });
}

#[test]
fn on_locked_memory() {
    alone("limits::on_locked_memory", || {
        // Whoever may lock without bound gives that up.
        let mut may = capabilities(None).unwrap();
        may.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, may).unwrap();
        limit(Resource::Memlock, Some(256 << 10));
        mlockall(MlockAllFlags::FUTURE).unwrap();
        refused(&["memory is locked", "RLIMIT_MEMLOCK", "`ulimit -l`"]);
    });
}
