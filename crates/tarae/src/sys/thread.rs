//! Threads as the kernel knows them: their numbers, signals to one of them, its registers and the
//! bounds of its stack; and the modules (program, libraries) whose code they run.
//!
//! Called by `sched::watchdog`, `stack::trace` and `stack::switch`.

use std::arch::asm;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

use libc::{c_int, c_void};

use super::check;

/// The number of this thread. Async-signal-safe.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: takes no pointers, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Sends a signal to one thread of this process.
pub(crate) fn signal_thread(thread: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    check(result as c_int).map(drop)
}

/// The real-time signals, those least likely to be in use first.
pub(crate) fn real_time_signals() -> impl Iterator<Item = c_int> {
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev()
}

/// The memory of this thread's own stack.
pub(crate) fn stack_bounds() -> io::Result<Range<usize>> {
    let failed = |result: c_int| match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    };
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: room for the attributes of the thread that asks.
    failed(unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) })?;
    let (mut address, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised above and destroyed once; room for both values.
    failed(unsafe {
        let result =
            libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut address, &raw mut bytes);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    })?;
    Ok(address as usize..address as usize + bytes)
}

/// A thread's registers by their DWARF numbers; the program counter is the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers(pub(crate) [usize; Registers::COUNT]);

#[cfg(target_arch = "x86_64")]
impl Registers {
    pub(crate) const COUNT: usize = 17;
    pub(crate) const STACK_POINTER: usize = 7;
    /// Where unwinding tables put the return address.
    pub(crate) const RETURN: usize = 16;
}

#[cfg(target_arch = "aarch64")]
impl Registers {
    pub(crate) const COUNT: usize = 33;
    pub(crate) const STACK_POINTER: usize = 31;
    pub(crate) const RETURN: usize = 30;
}

impl Registers {
    pub(crate) const PROGRAM_COUNTER: usize = Registers::COUNT - 1;

    pub(crate) const fn zero() -> Registers {
        Registers([0; Registers::COUNT])
    }

    /// Those of the code that a signal interrupted. Async-signal-safe.
    ///
    /// # Safety
    /// The third argument of a signal handler with `SA_SIGINFO`, in that handler.
    pub(crate) unsafe fn interrupted(context: *const c_void) -> Registers {
        // SAFETY: the caller's promise.
        let context = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        let values = {
            use libc::*;
            let order = [
                REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
                REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP,
            ];
            order.map(|register| context.gregs[register as usize] as usize)
        };
        #[cfg(target_arch = "aarch64")]
        let values = std::array::from_fn(|number| match number {
            Registers::STACK_POINTER => context.sp as usize,
            Registers::PROGRAM_COUNTER => context.pc as usize,
            _ => context.regs[number] as usize,
        });
        Registers(values)
    }

    /// Notes where this call stands, with all that the caller's caller may want restored: enough to
    /// unwind the caller for as long as its frame lasts.
    ///
    /// # Safety
    /// `into` may be written to.
    #[inline(always)]
    pub(crate) unsafe fn note_here(into: NonNull<Registers>) {
        // SAFETY: the caller's promise. In the caller's own frame, since this is always inlined;
        // neither the stack nor a register but the one named is changed.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "lea {here}, [rip]",
                "mov [{into} + 8 * 16], {here}",
                "mov [{into} + 8 * 3], rbx",
                "mov [{into} + 8 * 6], rbp",
                "mov [{into} + 8 * 7], rsp",
                "mov [{into} + 8 * 12], r12",
                "mov [{into} + 8 * 13], r13",
                "mov [{into} + 8 * 14], r14",
                "mov [{into} + 8 * 15], r15",
                into = in(reg) into.as_ptr(),
                here = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                "adr {here}, .",
                "str {here}, [{into}, #8 * 32]",
                "mov {here}, sp",
                "str {here}, [{into}, #8 * 31]",
                "stp x19, x20, [{into}, #8 * 19]",
                "stp x21, x22, [{into}, #8 * 21]",
                "stp x23, x24, [{into}, #8 * 23]",
                "stp x25, x26, [{into}, #8 * 25]",
                "stp x27, x28, [{into}, #8 * 27]",
                "stp x29, x30, [{into}, #8 * 29]",
                into = in(reg) into.as_ptr(),
                here = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Reads a word of memory, initialised or not: so also of a stack, of somebody's locals, whatever a
/// sanitizer, which keeps gaps between them, thinks of that.
///
/// # Safety
/// `address` is that of a word, which may be read and which nobody writes meanwhile.
#[inline]
pub(crate) unsafe fn read_word(address: usize) -> usize {
    let word;
    // SAFETY: the caller's promise.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "mov {word}, [{address}]",
            address = in(reg) address,
            word = out(reg) word,
            options(nostack, preserves_flags, readonly),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "ldr {word}, [{address}]",
            address = in(reg) address,
            word = out(reg) word,
            options(nostack, preserves_flags, readonly),
        );
    }
    word
}

/// Calls `f` with the unwinding tables of the module whose code is at `address`: what lies from its
/// `.eh_frame_hdr` to the end of that segment, `.eh_frame` included. It cannot be unloaded
/// meanwhile. Does nothing where there is none. Takes a lock of the loader: not for signal
/// handlers.
pub(crate) fn with_unwind_tables(address: usize, mut f: impl FnMut(&[u8])) {
    let mut search = Search {
        address,
        found: &mut f,
    };
    // SAFETY: the callback casts back to what it is given here.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
}

struct Search<'a> {
    address: usize,
    found: &'a mut dyn FnMut(&[u8]),
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: the loader's description of a module, and what `with_unwind_tables` handed over.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
    // SAFETY: so many headers, by the loader.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let range = |header: &libc::Elf64_Phdr| {
        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
        start..start + header.p_memsz as usize
    };
    let loaded_at = |address: usize| {
        let mut loaded = headers
            .iter()
            .filter(|h| h.p_type == libc::PT_LOAD)
            .map(range);
        loaded.find(|range| range.contains(&address))
    };
    if loaded_at(search.address).is_none() {
        return 0;
    }
    let tables = headers.iter().find(|h| h.p_type == libc::PT_GNU_EH_FRAME);
    if let Some(start) = tables.map(|header| range(header).start)
        && let Some(segment) = loaded_at(start)
    {
        // SAFETY: loaded, readable and never written to, for as long as the loader's lock is held.
        (search.found)(unsafe {
            std::slice::from_raw_parts(start as *const u8, segment.end - start)
        });
    }
    1
}
