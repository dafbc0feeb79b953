//! Child processes, by descriptors that become readable when they end.
//!
//! Used by `event` and `process`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use libc::c_int;

use super::{check, owned};

/// A descriptor of a process (Linux ≥ 5.3), close-on-exec. It is readable once that has ended.
pub(crate) fn pidfd_open(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) } as c_int)
}

/// Sends a signal to the process, and never to one that got its number later (Linux ≥ 5.1).
pub(crate) fn pidfd_kill(pidfd: RawFd, signal: c_int) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: no information goes with the signal; the kernel takes a null pointer for that.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, none, 0) } as c_int)
        .map(drop)
}

/// Takes the end of a child, so that nothing is left of it; none while it still runs.
pub(crate) fn reap(pidfd: RawFd) -> io::Result<Option<ExitStatus>> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    let flags = libc::WEXITED | libc::WNOHANG;
    // SAFETY: room for the information.
    check(unsafe { libc::waitid(libc::P_PIDFD, pidfd as libc::id_t, &mut info, flags) })?;
    // SAFETY: written by `waitid`, or zero: there is nobody of that number, and it still runs.
    let (process, status) = unsafe { (info.si_pid(), info.si_status()) };
    if process == 0 {
        return Ok(None);
    }
    // As `wait` would have put it.
    Ok(Some(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    })))
}
