//! What happens when a coroutine overflows its stack: it is named, and the process aborts.
//!
//! `stack` tells it of chunks and of who lives on a slot; `sched` and `coroutine` have it watch
//! their threads. The handler runs at any instruction of the program: it must never allocate, take
//! a lock or touch a thread-local, and never change what a fault does that is no overflow.
//!
//! **Deciding.** A handler for SIGSEGV and SIGBUS, on the thread's alternate stack, looks at two
//! addresses: the one that faulted and the stack pointer. It is an overflow if the first lies in
//! the guard of a slot of ours and the second in the same slot. The stack pointer also says that
//! the slot's coroutine is the one that runs here, so what the handler reads was written by its own
//! thread:
//!
//! ```text
//!   slot (low addresses)                                     (high addresses) top
//!   ┌──────────────┬───────────────────────────────────┬─────────────────────┐
//!   │ guard 64 KiB │ usable                            │ Occupant (32 bytes) │
//!   └──────────────┴───────────────────────────────────┴─────────────────────┘
//!        ▲ the fault         ▲ the stack pointer: here, or in the guard
//! ```
//!
//! A frame that is never touched within the guard can step over all of it. Rust's own code touches
//! every page of a large frame; C code does so only when compiled for it.
//!
//! **Falling through.** Every other fault goes to the handler that was there before, std's as a
//! rule, with what it was installed with. The signal's mask is copied from it. Where a call would
//! not be the same (the default action, or a handler that wants the stack that faulted), it is put
//! back instead, and the instruction faults again.

use std::ffi::c_int;
use std::io::IoSlice;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Once, OnceLock};

use super::{GUARD_BYTES, Stack};
use crate::sys::{self, Fault};

/// Who lives on a stack. Stands at its top, written anew whenever it is taken.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Occupant {
    /// 0 for a bare coroutine.
    id: u64,
    /// A null pointer for no name.
    name: *const u8,
    name_bytes: usize,
    made_at: &'static Location<'static>,
}

impl Occupant {
    /// A coroutine of the scheduler.
    ///
    /// # Safety
    /// `name` stays where it is as long as frames of the coroutine are on the stack.
    pub(crate) unsafe fn spawned(
        id: u64,
        name: Option<&str>,
        spawned_at: &'static Location<'static>,
    ) -> Occupant {
        Occupant {
            id,
            name: name.map_or(ptr::null(), str::as_ptr),
            name_bytes: name.map_or(0, str::len),
            made_at: spawned_at,
        }
    }

    /// A coroutine that is resumed by hand.
    pub(crate) fn bare(made_at: &'static Location<'static>) -> Occupant {
        Occupant {
            id: 0,
            name: ptr::null(),
            name_bytes: 0,
            made_at,
        }
    }
}

/// Where the occupant's entry of a stack stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(*mut Occupant);

impl Stack {
    /// The occupant's entry. Frames begin at its address and grow down.
    pub(super) fn entry(&self) -> *mut Occupant {
        (self.top.get() - size_of::<Occupant>()) as *mut Occupant
    }

    pub(crate) fn place(&self) -> Place {
        Place(self.entry())
    }

    /// Notes who is going to run here: four stores, on every spawn.
    #[inline]
    pub(super) fn occupy(&self, occupant: Occupant) {
        // SAFETY: `self` owns the slot and nobody runs on it.
        unsafe { self.place().occupy(occupant) };
    }
}

impl Place {
    /// # Safety
    /// The stack exists, and nobody runs on it but the caller.
    #[inline]
    pub(crate) unsafe fn occupy(self, occupant: Occupant) {
        let Place(entry) = self;
        // SAFETY: the caller's promise; a stack's top is aligned to pages, and frames begin below
        // the entry. By fields: the values come straight from registers.
        unsafe {
            (&raw mut (*entry).id).write(occupant.id);
            (&raw mut (*entry).name).write(occupant.name);
            (&raw mut (*entry).name_bytes).write(occupant.name_bytes);
            (&raw mut (*entry).made_at).write(occupant.made_at);
        }
    }
}

/// A chunk as the handler sees it. Published once, then never changed and never freed.
struct Region {
    start: usize,
    bytes: usize,
    slot_bytes: usize,
    next: *const Region,
}

/// The newest region; a list that only grows, so that it can be walked in a handler.
static REGIONS: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

/// Makes a chunk's slots known, before the first of them is handed out.
pub(super) fn publish(start: usize, bytes: usize, slot_bytes: usize) {
    let region = Box::leak(Box::new(Region {
        start,
        bytes,
        slot_bytes,
        next: REGIONS.load(Ordering::Relaxed),
    }));
    while let Err(newest) = REGIONS.compare_exchange(
        region.next.cast_mut(),
        region,
        Ordering::Release,
        Ordering::Relaxed,
    ) {
        region.next = newest;
    }
}

/// One slot, by its lowest address and the one past its highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    bottom: usize,
    top: usize,
}

impl Slot {
    /// # Safety
    /// Somebody runs in the slot, on this thread; the result is not used after that has gone on.
    unsafe fn resident(&self) -> Resident {
        let entry = (self.top - size_of::<Occupant>()) as *const Occupant;
        // SAFETY: whoever runs in a slot took it as a `Stack`, which writes the entry.
        let occupant = unsafe { &*entry };
        let name = (!occupant.name.is_null()).then(|| {
            // SAFETY: readable while frames are on the stack, by the promise of
            // `Occupant::spawned`.
            unsafe { std::slice::from_raw_parts(occupant.name, occupant.name_bytes) }
        });
        Resident {
            id: occupant.id,
            name,
            made_at: occupant.made_at,
            frames_end: entry as usize,
        }
    }
}

/// The slot that an address lies in.
fn slot_of(address: usize) -> Option<Slot> {
    let mut next = REGIONS.load(Ordering::Acquire).cast_const();
    // SAFETY: null or published, so never freed.
    while let Some(region) = unsafe { next.as_ref() } {
        let offset = address.wrapping_sub(region.start);
        if offset < region.bytes {
            let bottom = address - offset % region.slot_bytes;
            return Some(Slot {
                bottom,
                top: bottom + region.slot_bytes,
            });
        }
        next = region.next;
    }
    None
}

/// Where the frames end on the stack that an address lies in; none on a stack that is not of ours.
pub(super) fn frames_end(address: usize) -> Option<usize> {
    slot_of(address).map(|slot| slot.top - size_of::<Occupant>())
}

/// Who lives on the stack that a thread runs on.
pub(crate) struct Resident {
    /// 0 for a bare coroutine.
    pub(crate) id: u64,
    pub(crate) name: Option<&'static [u8]>,
    pub(crate) made_at: &'static Location<'static>,
    /// Its frames are below.
    pub(crate) frames_end: usize,
}

/// Who runs here; none on a stack that is not of ours. Async-signal-safe.
///
/// # Safety
/// The stack pointer of this thread, or of what a handler on it has interrupted. The result is not
/// used after the coroutine has gone on.
pub(crate) unsafe fn resident(stack_pointer: usize) -> Option<Resident> {
    // SAFETY: the caller's promise.
    slot_of(stack_pointer).map(|slot| unsafe { slot.resident() })
}

/// The slot that was overflowed, if the fault is an overflow.
fn overflowed(address: usize, stack_pointer: usize) -> Option<Slot> {
    let slot = slot_of(address)?;
    let in_guard = address - slot.bottom < GUARD_BYTES;
    let runs_there = (slot.bottom..slot.top).contains(&stack_pointer);
    (in_guard && runs_there).then_some(slot)
}

// ---- the handler --------------------------------------------------------------------------------

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What each of `SIGNALS` did before.
static PREVIOUS: [OnceLock<libc::sigaction>; 2] = [OnceLock::new(), OnceLock::new()];

/// From here on, overflows of coroutines on this thread are reported. Cheap when called again.
///
/// A thread that cannot be given an alternate stack dies of an overflow unreported.
pub(crate) fn watch_thread() {
    thread_local! {
        static ALTERNATE: Option<Alternate> = {
            install();
            Alternate::unless_present()
        };
    }
    // The value is dropped with the thread; during that there is nothing to be set up any more.
    let _ = ALTERNATE.try_with(|_| ());
}

/// Puts the handler in front of the one that is there, once in the life of the process.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
            let Ok(found) = sys::signal_action(signal) else {
                continue;
            };
            let found = previous.get_or_init(|| found);
            let mut action = *found;
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO
                | libc::SA_ONSTACK
                | (found.sa_flags & (libc::SA_RESTART | libc::SA_NODEFER));
            // SAFETY: `handle` may run at any point. These two signals can be caught, so this
            // cannot fail.
            let _ = unsafe { sys::set_signal_action(signal, &action) };
        }
    });
}

unsafe extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's own arguments, or those of a handler that was put before this one and
    // passes them on.
    let fault = unsafe { sys::fault(info, context) };
    if let Some(Fault {
        address,
        stack_pointer,
    }) = fault
        && let Some(slot) = overflowed(address, stack_pointer)
    {
        // SAFETY: somebody runs in the slot, on this thread.
        unsafe { report(slot) };
        sys::abort();
    }
    // SAFETY: as above.
    unsafe { fall_through(signal, fault.is_some(), info, context) };
}

/// Does what would have been done without this module. `again`: the instruction that faulted is
/// run again on return, as it is not when the signal was sent by somebody.
///
/// # Safety
/// In the handler, with its arguments.
unsafe fn fall_through(
    signal: c_int,
    again: bool,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let index = usize::from(signal != SIGNALS[0]);
    let Some(previous) = PREVIOUS[index].get() else {
        // Unreachable: noted before the handler was installed.
        sys::abort();
    };
    let by_default = previous.sa_sigaction == libc::SIG_DFL;
    let ignored = previous.sa_sigaction == libc::SIG_IGN;
    let wants_own_stack = previous.sa_flags & libc::SA_ONSTACK == 0;
    if ignored && !again {
        return;
    }
    if by_default || ignored || (wants_own_stack && again) {
        // SAFETY: as it was before `install`.
        let _ = unsafe { sys::set_signal_action(signal, previous) };
        if !again {
            sys::raise(signal);
        }
        return;
    }
    if previous.sa_flags & libc::SA_RESETHAND != 0 {
        sys::reset_signal(signal);
    }
    // SAFETY: the flags say which of the two kinds of function this is.
    unsafe { sys::call_handler(previous, signal, info, context) };
}

// ---- the report ---------------------------------------------------------------------------------

/// Says on stderr who overflowed what, and what helps, in one system call.
///
/// # Safety
/// Somebody runs in `slot`, on this thread.
unsafe fn report(slot: Slot) {
    // SAFETY: the caller's promise.
    let occupant = unsafe { slot.resident() };
    let name = occupant.name.unwrap_or(b"unnamed");
    let site = occupant.made_at;
    let id = Decimal::new(occupant.id);
    let line = Decimal::new(site.line().into());
    let column = Decimal::new(site.column().into());
    let usable_bytes = slot.top - slot.bottom - GUARD_BYTES;
    let kib = Decimal::new(usable_bytes as u64 / 1024);
    let bare = occupant.id == 0;
    let if_spawned = |text: &'static str| if bare { "" } else { text };
    let text = |text: &'static str| IoSlice::new(text.as_bytes());
    let pieces = [
        text("\ntarae: "),
        text(if bare {
            "a bare coroutine, made at "
        } else {
            "coroutine "
        }),
        IoSlice::new(if bare { b"" } else { id.digits() }),
        text(if_spawned(" (")),
        IoSlice::new(if bare { b"" } else { name }),
        text(if_spawned("), spawned at ")),
        IoSlice::new(site.file().as_bytes()),
        text(":"),
        IoSlice::new(line.digits()),
        text(":"),
        IoSlice::new(column.digits()),
        text(", has overflowed its stack of "),
        IoSlice::new(kib.digits()),
        text(" KiB; aborting\ntarae: give it more with `tarae::"),
        text(if bare {
            "Coroutine::with_stack_size`"
        } else {
            "thread::Builder::stack_size`, or all of them with `tarae::Builder::stack_size`"
        }),
        text("; only touched pages cost memory\n"),
    ];
    sys::write_stderr(&pieces);
}

/// A number in decimal, without the formatting machinery.
struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    fn new(mut number: u64) -> Decimal {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Decimal { digits, start };
            }
        }
    }

    fn digits(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

// ---- alternate stacks ---------------------------------------------------------------------------

/// An alternate signal stack of this thread. Only where there was none: std gives one to every
/// thread it starts, but not in a program whose `main` is not Rust's.
struct Alternate {
    address: usize,
    bytes: usize,
}

impl Alternate {
    /// What a handler may use, beside what the kernel puts there.
    const BYTES: usize = 64 * 1024;

    fn unless_present() -> Option<Alternate> {
        if sys::has_alternate_stack() {
            return None;
        }
        let page = sys::page_size();
        let bytes = page + (Self::BYTES + sys::signal_frame_bytes()).next_multiple_of(page);
        let address = sys::reserve(bytes).ok()?;
        let alternate = Alternate { address, bytes };
        // SAFETY: the lowest page of a mapping that is ours, and the rest of it, which stays until
        // `drop` has taken it out of use.
        unsafe {
            sys::protect(address, page).ok()?;
            sys::set_alternate_stack(address + page, bytes - page).ok()?;
        }
        Some(alternate)
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        sys::disable_alternate_stack();
        // SAFETY: out of use, on the thread whose it was.
        unsafe { sys::unmap(self.address, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Class;

    #[test]
    fn only_the_guard_under_the_running_stack_is_an_overflow() {
        let class = Class::of(160 * 1024);
        let occupant = Occupant::bare(Location::caller());
        let (here, other) = (class.take(occupant).unwrap(), class.take(occupant).unwrap());
        let top = here.top.get();
        let bottom = top - class.slot_bytes();
        let slot = Slot { bottom, top };
        let running = top - 1000;
        let guard = bottom + GUARD_BYTES;
        for (address, stack_pointer, expected) in [
            (guard - 8, running, Some(slot)),
            (bottom, running, Some(slot)),
            (guard - 8, guard - 8, Some(slot)),
            (guard, running, None),
            (top - 8, running, None),
            (guard - 8, other.top.get() - 1000, None),
            (guard - 8, top, None),
            (0, running, None),
            (usize::MAX, running, None),
        ] {
            assert_eq!(
                overflowed(address, stack_pointer),
                expected,
                "{address:x} with the stack pointer at {stack_pointer:x}"
            );
        }
    }

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            assert_eq!(Decimal::new(number).digits(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_thread_without_an_alternate_stack_gets_one_for_its_lifetime() {
        std::thread::spawn(|| {
            // Std's, which it would take back at the thread's end, finding it disabled by then.
            sys::disable_alternate_stack();
            assert!(!sys::has_alternate_stack());
            let ours = Alternate::unless_present().unwrap();
            assert!(sys::has_alternate_stack());
            assert!(Alternate::unless_present().is_none());
            drop(ours);
            assert!(!sys::has_alternate_stack());
        })
        .join()
        .unwrap();
    }
}
