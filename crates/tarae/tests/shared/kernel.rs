//! Kernels that refuse: filters of system calls for the calling thread, and those it starts from
//! then on. There is no way back, so each test that uses one has a process of its own. Decides
//! nothing itself.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, Ge};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

/// Has a system call fail with `errno` if all conditions hold.
fn refuse(call: libc::c_long, conditions: Vec<SeccompCondition>, errno: i32) {
    let rule = SeccompRule::new(conditions).unwrap();
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, vec![rule])]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// As before Linux 6.13, which knows no `MADV_GUARD_INSTALL`.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_guard_advice() {
    let advice = SeccompCondition::new(2, Dword, Eq, 102).unwrap();
    refuse(libc::SYS_madvise, vec![advice], libc::EINVAL);
}

/// As under strict overcommit with no memory left: large mappings are refused.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_memory() {
    let large = SeccompCondition::new(1, Qword, Ge, 512 * 1024).unwrap();
    refuse(libc::SYS_mmap, vec![large], libc::ENOMEM);
}

/// As a sandbox that forbids io_uring.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_io_uring() {
    // The condition holds for any number of entries: a rule has to have one.
    let any = SeccompCondition::new(0, Dword, Ge, 0).unwrap();
    refuse(libc::SYS_io_uring_setup, vec![any], libc::EPERM);
}

/// As one that has nothing of any file in memory.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_cached_reads() {
    // A condition that always holds; the call's flags are its last argument.
    let any = SeccompCondition::new(5, Dword, Ge, 0).unwrap();
    refuse(libc::SYS_preadv2, vec![any], libc::EAGAIN);
}

/// As before Linux 6.5, which does not tell what of a file is in memory.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_cachestat() {
    let any = SeccompCondition::new(0, Dword, Ge, 0).unwrap();
    refuse(451, vec![any], libc::ENOSYS);
}

/// As a sandbox that forbids files to be sent, with this error.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_sendfile(errno: i32) {
    let any = SeccompCondition::new(0, Dword, Ge, 0).unwrap();
    refuse(libc::SYS_sendfile, vec![any], errno);
}

/// Nothing can be sent from a buffer.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_send() {
    let any = SeccompCondition::new(0, Dword, Ge, 0).unwrap();
    refuse(libc::SYS_sendto, vec![any], libc::EIO);
}

/// As a disk whose directories cannot be read.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_directories() {
    // A condition that always holds.
    let any = SeccompCondition::new(0, Dword, Ge, 0).unwrap();
    refuse(libc::SYS_getdents64, vec![any], libc::EIO);
}

/// As when no descriptor is free for a process.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_pidfds() {
    let process = SeccompCondition::new(0, Dword, Ge, 0).unwrap();
    refuse(libc::SYS_pidfd_open, vec![process], libc::EMFILE);
}

/// Nothing can be done to a process by its number.
#[allow(dead_code, reason = "not every test program needs each of these")]
pub(crate) fn without_numbers_of_processes() {
    let any = || vec![SeccompCondition::new(0, Dword, Ge, 0).unwrap()];
    refuse(libc::SYS_kill, any(), libc::EPERM);
    refuse(libc::SYS_wait4, any(), libc::EPERM);
    let by_number = SeccompCondition::new(0, Dword, Eq, libc::P_PID.into()).unwrap();
    refuse(libc::SYS_waitid, vec![by_number], libc::EPERM);
}
