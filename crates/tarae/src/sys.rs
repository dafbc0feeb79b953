//! System call wrappers: one call each, `io::Result` out, no policy.
//!
//! Called by `driver`, `stack`, `sched`, `signal`, `event`, `fs`, `process` and the sockets. Never
//! blocks unless its name says `wait` or `poll`, never retries (but for the stated `EINTR` loops),
//! never allocates.
//!
//! * `address`: socket addresses as the kernel writes them
//! * `socket`: sockets and their options
//! * `message`: datagrams with addresses, and descriptors in transit
//! * `file`: files and pipes
//! * `process`: child processes
//! * `thread`: one thread of the process, and the modules whose code it runs

mod address;
mod file;
mod message;
mod process;
mod socket;
mod thread;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_void};

pub(crate) use address::{Address, RawAddress};
pub(crate) use file::*;
pub(crate) use libc::epoll_event as EpollEvent;
pub(crate) use message::*;
pub(crate) use process::*;
pub(crate) use socket::*;
pub(crate) use thread::*;

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn owned(result: c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: a system call has just returned this descriptor to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// ---- epoll, eventfd, poll -------------------------------------------------------------------

pub(crate) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// `op` is `EPOLL_CTL_ADD`, `MOD` or `DEL`.
pub(crate) fn epoll_ctl(
    epoll: RawFd,
    op: c_int,
    fd: RawFd,
    events: u32,
    token: u64,
) -> io::Result<()> {
    let mut event = EpollEvent { events, u64: token };
    // SAFETY: `event` is valid for the length of the call.
    check(unsafe { libc::epoll_ctl(epoll, op, fd, &mut event) }).map(drop)
}

/// Waits up to `timeout_ms` (-1: without bound). An interrupted wait reports no events.
pub(crate) fn epoll_wait(
    epoll: RawFd,
    events: &mut [EpollEvent],
    timeout_ms: c_int,
) -> io::Result<usize> {
    let length = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
    // SAFETY: the kernel writes at most `length` entries of the slice.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), length, timeout_ms) };
    match check(count) {
        Ok(count) => Ok(count as usize),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// How many threads the process has.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// A timer of the monotonic clock that becomes readable when it expires.
pub(crate) fn timerfd() -> io::Result<OwnedFd> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: takes no pointers.
    owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })
}

/// Has a timer expire once, `after` from now; what it was set to before is forgotten.
pub(crate) fn timerfd_set(timer: RawFd, after: Duration) -> io::Result<()> {
    let zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let setting = libc::itimerspec {
        it_interval: zero,
        it_value: libc::timespec {
            tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
            // Zero would switch it off.
            tv_nsec: i64::from(after.subsec_nanos()).max(i64::from(after.as_secs() == 0)),
        },
    };
    // SAFETY: a valid setting; the old one is not asked for.
    check(unsafe { libc::timerfd_settime(timer, 0, &setting, ptr::null_mut()) }).map(drop)
}

/// Adds one to an eventfd's counter. Async-signal-safe; a full counter is as good as a written one.
pub(crate) fn eventfd_write(fd: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight readable bytes; the result does not matter (see above).
    unsafe { libc::write(fd, one.as_ptr().cast::<c_void>(), one.len()) };
}

/// Takes an eventfd's counter; `WouldBlock` when it is zero.
pub(crate) fn eventfd_read(fd: RawFd) -> io::Result<u64> {
    let mut counter = [0u8; 8];
    // SAFETY: eight writable bytes.
    check_size(unsafe { libc::read(fd, counter.as_mut_ptr().cast::<c_void>(), 8) })?;
    Ok(u64::from_ne_bytes(counter))
}

/// Waits until `fd` has one of `events` (`POLLIN`, `POLLOUT`, …), for at most `timeout`. Gives the
/// events that occurred, 0 on time-out. `EINTR` counts as a time-out of nothing: call again.
pub(crate) fn poll_wait(fd: RawFd, events: i16, timeout: Option<Duration>) -> io::Result<i16> {
    poll_either_wait(fd, events, None, timeout).map(|(events, _)| events)
}

/// As `poll_wait`, and ends when `other` is readable: tells whether it was.
pub(crate) fn poll_either_wait(
    fd: RawFd,
    events: i16,
    other: Option<RawFd>,
    timeout: Option<Duration>,
) -> io::Result<(i16, bool)> {
    // The kernel passes over entries with a negative descriptor.
    let entry = |fd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let mut entries = [entry(fd, events), entry(other.unwrap_or(-1), libc::POLLIN)];
    let timespec = timeout.map(timespec);
    let timespec_ptr = timespec.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: two entries, a null or valid time, no signal mask.
    match check(unsafe { libc::ppoll(entries.as_mut_ptr(), 2, timespec_ptr, ptr::null()) }) {
        Ok(_) => Ok((entries[0].revents, entries[1].revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok((0, false)),
        Err(error) => Err(error),
    }
}

/// Waits until one of `entries` is ready, for at most `timeout`; their `revents` tell. A signal
/// ends the wait.
pub(crate) fn poll_many(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timespec = timeout.map(timespec);
    let timespec_ptr = timespec.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = entries.len() as libc::nfds_t;
    // SAFETY: so many entries, a null or valid time, no signal mask.
    let result = unsafe { libc::ppoll(entries.as_mut_ptr(), count, timespec_ptr, ptr::null()) };
    match check(result) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

// ---- descriptors ----------------------------------------------------------------------------

/// Whether the open file description is in non-blocking mode.
pub(crate) fn is_nonblocking(fd: RawFd) -> io::Result<bool> {
    // SAFETY: takes no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// Sets the blocking mode of the open file description.
pub(crate) fn set_nonblocking(fd: RawFd, nonblocking: bool) -> io::Result<()> {
    let mut value = c_int::from(nonblocking);
    // SAFETY: FIONBIO reads one int.
    check(unsafe { libc::ioctl(fd, libc::FIONBIO, &mut value) }).map(drop)
}

/// Duplicates a descriptor, close-on-exec.
pub(crate) fn duplicate(fd: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })
}

// ---- memory ---------------------------------------------------------------------------------

/// `MADV_GUARD_INSTALL` (Linux ≥ 6.13): pages that fault without a mapping of their own.
const MADV_GUARD_INSTALL: c_int = 102;

/// Reserves private, readable and writable memory without committing swap to it.
pub(crate) fn reserve(bytes: usize) -> io::Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: our own new mapping. A kernel without huge pages refuses; nothing is lost then.
    unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(address as usize)
}

/// The limit on the process's address space in bytes (RLIMIT_AS), if there is one.
pub(crate) fn address_space_max() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: room for one limit; after a failure it is as above.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Makes a range fault on every access, without splitting the mapping.
///
/// # Safety
/// The range is page-aligned, belongs to a mapping of `reserve` and nothing live is in it.
pub(crate) unsafe fn install_guard(address: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::madvise(address as *mut c_void, bytes, MADV_GUARD_INSTALL) }).map(drop)
}

/// Makes a range inaccessible; costs up to two mappings.
///
/// # Safety
/// As for `install_guard`.
pub(crate) unsafe fn protect(address: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::mprotect(address as *mut c_void, bytes, libc::PROT_NONE) }).map(drop)
}

/// Gives the pages of a range back; they read as zero afterwards, guards stay.
///
/// # Safety
/// The range is page-aligned, belongs to a mapping of `reserve` and nothing live is in it.
pub(crate) unsafe fn discard(address: usize, bytes: usize) {
    // SAFETY: the caller's promise. A failure only means the pages stay resident.
    unsafe { libc::madvise(address as *mut c_void, bytes, libc::MADV_DONTNEED) };
}

/// Has the processor fetch the line of its cache at an address, whatever is there.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    // SAFETY: a prefetch never faults and changes nothing that a program can see.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            "prefetcht0 [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
}

/// The same, for two lines, where `word` points to, if it is an address. It need not be one, nor
/// initialised: no value is made of it.
#[inline]
pub(crate) fn prefetch_pointee(word: &MaybeUninit<*mut ()>) {
    // SAFETY: the word's own memory, borrowed.
    let address = unsafe { read_word(word.as_ptr() as usize) } as *const u8;
    prefetch(address);
    prefetch(address.wrapping_add(64));
}

pub(crate) fn page_size() -> usize {
    // SAFETY: takes no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

// ---- signals --------------------------------------------------------------------------------

/// Installs `handler`, which must be async-signal-safe, with `SA_ONSTACK | SA_RESTART`. No other
/// signal interrupts it: a thread's alternate stack has room for one frame, not for nested ones.
pub(crate) fn set_signal_handler(signal: c_int, handler: extern "C" fn(c_int)) -> io::Result<()> {
    // SAFETY: all-zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: `sa_mask` is a valid set to write to.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    // SAFETY: a valid action whose handler may run at any point, as its documentation demands.
    check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }).map(drop)
}

/// What a signal does now.
pub(crate) fn signal_action(signal: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: nothing to be set, and room for one action.
    check(unsafe { libc::sigaction(signal, ptr::null(), &mut action) })?;
    Ok(action)
}

/// Sets what a signal does. Async-signal-safe.
///
/// # Safety
/// Its handler, if any, is a function of the kind that the flags say and may run at any point.
pub(crate) unsafe fn set_signal_action(signal: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: a valid action; the caller's promise.
    check(unsafe { libc::sigaction(signal, action, ptr::null_mut()) }).map(drop)
}

/// Gives a signal its default action. Async-signal-safe.
pub(crate) fn reset_signal(signal: c_int) {
    // SAFETY: no handler; `SIG_DFL` is a valid action for every signal.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Sends a signal to this thread. Async-signal-safe.
pub(crate) fn raise(signal: c_int) {
    // SAFETY: takes no pointers.
    unsafe { libc::raise(signal) };
}

/// Ends the process with SIGABRT. Async-signal-safe.
pub(crate) fn abort() -> ! {
    // SAFETY: does not return.
    unsafe { libc::abort() }
}

/// An access to memory that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) address: usize,
    pub(crate) stack_pointer: usize,
}

/// The fault that a SIGSEGV or SIGBUS tells of; none if somebody sent the signal.
/// Async-signal-safe.
///
/// # Safety
/// In a handler of one of these signals, with its arguments.
pub(crate) unsafe fn fault(info: *const libc::siginfo_t, context: *const c_void) -> Option<Fault> {
    // SAFETY: the caller's promise: both are valid, and the second is a `ucontext_t`.
    let (info, context) = unsafe { (&*info, &*context.cast::<libc::ucontext_t>()) };
    if info.si_code <= 0 {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    let stack_pointer = context.uc_mcontext.gregs[libc::REG_RSP as usize];
    #[cfg(target_arch = "aarch64")]
    let stack_pointer = context.uc_mcontext.sp;
    Some(Fault {
        // SAFETY: these signals have an address.
        address: unsafe { info.si_addr() } as usize,
        stack_pointer: stack_pointer as usize,
    })
}

/// Calls the handler of an action as the kernel would.
///
/// # Safety
/// The action has a handler of the kind that its flags say; the rest are the arguments of a handler
/// of this signal.
pub(crate) unsafe fn call_handler(
    action: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    type Long = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    type Short = unsafe extern "C" fn(c_int);
    let handler = action.sa_sigaction as *const ();
    // SAFETY: the caller's promise.
    unsafe {
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            std::mem::transmute::<*const (), Long>(handler)(signal, info, context);
        } else {
            std::mem::transmute::<*const (), Short>(handler)(signal);
        }
    }
}

/// Whether this thread has a stack for handlers with `SA_ONSTACK`.
pub(crate) fn has_alternate_stack() -> bool {
    // SAFETY: all-zero is a valid `stack_t`.
    let mut found: libc::stack_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: nothing to be set, and room for one description.
    let result = unsafe { libc::sigaltstack(ptr::null(), &mut found) };
    result == 0 && found.ss_flags & libc::SS_DISABLE == 0
}

/// Gives this thread a stack for handlers with `SA_ONSTACK`.
///
/// # Safety
/// The memory is readable, writable and nobody else's until another stack is set or none.
pub(crate) unsafe fn set_alternate_stack(address: usize, bytes: usize) -> io::Result<()> {
    let stack = libc::stack_t {
        ss_sp: address as *mut c_void,
        ss_flags: 0,
        ss_size: bytes,
    };
    // SAFETY: a valid description; the caller's promise.
    check(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) }).map(drop)
}

/// Takes this thread's stack for handlers out of use. Not to be called on it.
pub(crate) fn disable_alternate_stack() {
    let stack = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // SAFETY: a valid description. It fails only on the stack itself.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
}

/// What the kernel itself may put on a handler's stack.
pub(crate) fn signal_frame_bytes() -> usize {
    /// The entry of the auxiliary vector that says it; absent on older kernels.
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: takes no pointers.
    unsafe { libc::getauxval(AT_MINSIGSTKSZ) as usize }.max(libc::MINSIGSTKSZ)
}

/// Unmaps a range.
///
/// # Safety
/// Whole pages of a mapping of `reserve`, and nothing live is in them.
pub(crate) unsafe fn unmap(address: usize, bytes: usize) {
    // SAFETY: the caller's promise. A failure only means that the memory stays.
    unsafe { libc::munmap(address as *mut c_void, bytes) };
}

/// Writes to the process's stderr at once, past std's lock. Async-signal-safe; what cannot be
/// written is lost.
pub(crate) fn write_stderr(pieces: &[IoSlice<'_>]) {
    let count = pieces.len() as c_int;
    // SAFETY: `IoSlice` has the layout of `iovec`; writing only reads from it.
    unsafe { libc::writev(libc::STDERR_FILENO, pieces.as_ptr().cast(), count) };
}
