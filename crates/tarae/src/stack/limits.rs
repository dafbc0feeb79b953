//! What bounds the number of stacks: errors that name the limit that was met and what to do, and a
//! count of the guards that take mappings.
//!
//! Called by `stack` when it makes a stack. It must never be on the way of a stack that is reused,
//! and never refuses one itself for any other reason than mappings.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys;

/// Mappings that are left for everybody else: libraries, threads, large allocations.
const SPARED_MAPPINGS: usize = 1_024;
/// What the kernel takes if not told otherwise.
const MAPPINGS: usize = 65_530;

/// What the process may still reserve where there is a limit on it: on the address space, or by
/// strict overcommit. Asked instead of tried: to try would take it from others for a moment.
pub(super) fn room_bytes() -> Option<usize> {
    let address_space = sys::address_space_max().map(|max| {
        let pages = fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').next()?.parse().ok());
        let taken = pages.unwrap_or(0usize) * sys::page_size();
        usize::try_from(max).map_or(usize::MAX, |max| max.saturating_sub(taken))
    });
    let strict = || setting("overcommit_memory") == Some(2);
    let committed = strict().then(|| commit_room_bytes(&fs::read_to_string("/proc/meminfo").ok()?));
    address_space.into_iter().chain(committed.flatten()).min()
}

/// What strict overcommit leaves, from the text of `/proc/meminfo`.
fn commit_room_bytes(meminfo: &str) -> Option<usize> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()
    };
    Some(kib("CommitLimit:")?.saturating_sub(kib("Committed_AS:")?) * 1024)
}

/// Counts one more guard made by protection. They are never unmapped.
///
/// # Errors
/// When it would take mappings that others need.
pub(super) fn one_more_protected() -> io::Result<()> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    /// How many there may be; looked up anew when so many are there.
    static MAX: AtomicUsize = AtomicUsize::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    if made < MAX.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mappings = setting("max_map_count").unwrap_or(MAPPINGS);
    // Each guard is a mapping, and what lies above it another.
    let max = mappings.saturating_sub(SPARED_MAPPINGS) / 2;
    MAX.store(max, Ordering::Relaxed);
    if made < max {
        return Ok(());
    }
    MADE.fetch_sub(1, Ordering::Relaxed);
    Err(io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "cannot guard a coroutine's stack: {made} are there, and as the kernel refuses guard \
             advice (Linux < 6.13, or memory is locked) each takes two of the {mappings} mappings \
             that a process may have; raise the sysctl `vm.max_map_count`"
        ),
    ))
}

/// A guard could not be made by protection either.
#[cold]
pub(super) fn refuse_guard(error: io::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "cannot guard a coroutine's stack: {error}; raise the sysctl `vm.max_map_count`, of \
             which each stack takes two where the kernel refuses guard advice (Linux < 6.13, or \
             memory is locked)"
        ),
    )
}

/// Not even a single stack of `bytes` could be reserved.
#[cold]
pub(super) fn refuse_memory(bytes: usize, error: &io::Error) -> io::Error {
    let limits = Limits {
        address_space: sys::address_space_max(),
        overcommit: setting("overcommit_memory"),
        locked: error.raw_os_error() == Some(libc::EAGAIN),
    };
    let kib = bytes / 1024;
    let cause = limits.cause();
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!("cannot reserve {kib} KiB for a coroutine's stack: {error}; {cause}"),
    )
}

/// What may be behind a mapping that was refused.
struct Limits {
    /// RLIMIT_AS in bytes, if there is one.
    address_space: Option<u64>,
    /// The sysctl `vm.overcommit_memory`.
    overcommit: Option<usize>,
    /// The error is the one of memory that may not be locked.
    locked: bool,
}

impl Limits {
    fn cause(&self) -> String {
        if self.locked {
            return "memory is locked (`mlockall`), so that stacks count in full: raise \
                    RLIMIT_MEMLOCK (`ulimit -l`), or lock without MCL_FUTURE"
                .to_owned();
        }
        let mut causes = Vec::new();
        if let Some(bytes) = self.address_space {
            causes.push(format!(
                "RLIMIT_AS allows {} KiB of address space: raise it (`ulimit -v`)",
                bytes / 1024
            ));
        }
        if self.overcommit == Some(2) {
            causes.push(
                "`vm.overcommit_memory` is 2, so that stacks count in full: raise \
                 `vm.overcommit_ratio`, or set it to 0"
                    .to_owned(),
            );
        }
        if causes.is_empty() {
            causes.push(
                "look at limits on memory and address space, and at the sysctls \
                 `vm.overcommit_memory` and `vm.max_map_count`"
                    .to_owned(),
            );
        }
        causes.push("smaller stacks (`stack_size`) need less".to_owned());
        causes.join("; ")
    }
}

/// A number under `/proc/sys/vm`.
fn setting(name: &str) -> Option<usize> {
    let text = fs::read_to_string(format!("/proc/sys/vm/{name}")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_under_strict_overcommit() {
        let meminfo = "MemTotal: 9 kB\nCommitLimit:    12196764 kB\nCommitted_AS:   196764 kB\n";
        assert_eq!(commit_room_bytes(meminfo), Some(12_000_000 * 1024));
        let none = "CommitLimit: 5 kB\nCommitted_AS: 6 kB\n";
        assert_eq!(commit_room_bytes(none), Some(0));
        assert_eq!(commit_room_bytes("CommitLimit: 5 kB\n"), None);
        let this_machine = fs::read_to_string("/proc/meminfo").unwrap();
        assert!(commit_room_bytes(&this_machine).is_some());
    }

    /// Strict overcommit is a setting of the whole machine, so no test can turn it on.
    #[test]
    fn the_limits_in_force_are_named_and_no_others() {
        let words = [
            "RLIMIT_AS",
            "is 2",
            "look at",
            "RLIMIT_MEMLOCK",
            "stack_size",
        ];
        for (address_space, overcommit, locked, named) in [
            (
                Some(1 << 30),
                Some(0),
                false,
                vec!["RLIMIT_AS", "stack_size"],
            ),
            (None, Some(2), false, vec!["is 2", "stack_size"]),
            (
                Some(1),
                Some(2),
                false,
                vec!["RLIMIT_AS", "is 2", "stack_size"],
            ),
            (None, Some(1), false, vec!["look at", "stack_size"]),
            (None, None, false, vec!["look at", "stack_size"]),
            (None, Some(0), true, vec!["RLIMIT_MEMLOCK"]),
        ] {
            let limits = Limits {
                address_space,
                overcommit,
                locked,
            };
            let cause = limits.cause();
            let found = words.into_iter().filter(|word| cause.contains(word));
            assert_eq!(found.collect::<Vec<_>>(), named, "{cause}");
        }
        let limits = Limits {
            address_space: Some(1 << 30),
            overcommit: None,
            locked: false,
        };
        assert!(
            limits.cause().contains(" 1048576 KiB "),
            "{}",
            limits.cause()
        );
    }
}
