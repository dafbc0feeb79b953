//! Coroutine stacks: where they come from, how they are guarded, reused and given back.
//!
//! `coroutine` and `sched` take stacks here. Nothing here runs on one of them, and nothing here
//! may ever discard or reuse a stack whose frames have not returned.
//!
//! One stack is a *slot* of a chunk of reserved memory. Only touched pages cost memory:
//!
//! ```text
//!   slot (low addresses)                                    (high addresses) top
//!   ┌──────────────┬──────────────────────────────────┬─────────────────┐
//!   │ guard 64 KiB │ usable, touched from the top ◄── │ kept when trimmed│
//!   └──────────────┴──────────────────────────────────┴─────────────────┘
//! ```
//!
//! **Guards.** `MADV_GUARD_INSTALL` (Linux ≥ 6.13) makes pages fault without a mapping of their
//! own. It is probed per chunk, since it also fails under `mlockall`; the fallback is `mprotect`,
//! which costs two mappings per stack and so ends at 32,253 stacks under the default
//! `vm.max_map_count` of 65,530. The guard is 64 KiB wide because C code compiled without stack
//! probes can step over a single page.
//!
//! **Limits.** Neither the last of the address space nor the last mappings are taken: the heap and
//! threads need some too, and fail less gracefully. `limits` says which limit was met.
//!
//! **Overflow.** The highest 32 bytes say who lives on the stack; `overflow` names them when a
//! guard was hit.
//!
//! **Reuse.** Last in, first out, without a system call. Only idle excess is trimmed: the pages
//! under the top 16 KiB are given back, deepest (coldest) stacks first. What was trimmed goes back
//! to its class, where every worker finds it.

mod limits;
pub(crate) mod overflow;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corosensei::stack::StackPointer;

use crate::sys;
use overflow::Occupant;

/// Usable bytes of a stack unless asked otherwise.
pub(crate) const DEFAULT_BYTES: usize = 512 * 1024;
/// The smallest usable size anybody gets: room for a panic with a backtrace.
const MIN_BYTES: usize = 64 * 1024;
const GUARD_BYTES: usize = 64 * 1024;
/// What a trimmed stack keeps, counted from its top.
const KEPT_BYTES: usize = 16 * 1024;
/// Address space reserved at a time, if the limits of the process allow it.
const CHUNK_BYTES: usize = 64 * 1024 * 1024;
/// Address space that is left for everybody else, should there be a limit on it.
const SPARED_BYTES: usize = 16 * 1024 * 1024;

/// A stack that nobody runs on. Dropping it gives it back to its class.
#[derive(Debug)]
pub(crate) struct Stack {
    top: NonZeroUsize,
    class: &'static Class,
}

/// All stacks of one size. Lives as long as the process.
#[derive(Debug)]
pub(crate) struct Class {
    usable_bytes: usize,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Guarded slots nobody uses, by their tops.
    free: Vec<NonZeroUsize>,
    /// The part of the newest chunk that was never handed out: next slot's bottom, chunk's end.
    fresh: (usize, usize),
    guard: Guard,
}

/// How the slots of the newest chunk are guarded.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Guard {
    #[default]
    Advice,
    Protection,
}

impl Class {
    /// The class whose stacks have at least `usable_bytes` of room.
    pub(crate) fn of(usable_bytes: usize) -> &'static Class {
        static CLASSES: Mutex<BTreeMap<usize, &'static Class>> = Mutex::new(BTreeMap::new());
        let page = sys::page_size();
        let usable_bytes = usable_bytes
            .clamp(MIN_BYTES, 1 << 40)
            .next_multiple_of(page);
        let mut classes = CLASSES.lock().unwrap_or_else(PoisonError::into_inner);
        classes.entry(usable_bytes).or_insert_with(|| {
            Box::leak(Box::new(Class {
                usable_bytes,
                pool: Mutex::default(),
            }))
        })
    }

    /// Takes a free stack, or makes one, for `occupant`.
    ///
    /// # Errors
    /// When the address space or the number of mappings is used up; the text says which and how to
    /// raise it.
    pub(crate) fn take(&'static self, occupant: Occupant) -> io::Result<Stack> {
        let stack = self.take_vacant()?;
        stack.occupy(occupant);
        Ok(stack)
    }

    /// A stack of which no page has been touched on behalf of this call.
    fn take_vacant(&'static self) -> io::Result<Stack> {
        let mut pool = self.pool();
        let top = match pool.free.pop() {
            Some(top) => top,
            None => self.make(&mut pool)?,
        };
        Ok(Stack { top, class: self })
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_bytes(&self) -> usize {
        GUARD_BYTES + self.usable_bytes
    }

    fn make(&self, pool: &mut Pool) -> io::Result<NonZeroUsize> {
        if pool.fresh.0 == pool.fresh.1 {
            pool.fresh = self.reserve_chunk()?;
            pool.guard = Guard::Advice;
        }
        let bottom = pool.fresh.0;
        if pool.guard == Guard::Advice {
            // SAFETY: a slot of our own chunk that was never handed out.
            if unsafe { sys::install_guard(bottom, GUARD_BYTES) }.is_err() {
                pool.guard = Guard::Protection;
            }
        }
        if pool.guard == Guard::Protection {
            limits::one_more_protected()?;
            // SAFETY: as above.
            unsafe { sys::protect(bottom, GUARD_BYTES) }.map_err(limits::refuse_guard)?;
        }
        pool.fresh.0 += self.slot_bytes();
        Ok(NonZeroUsize::new(pool.fresh.0).expect("a mapping ends above address zero"))
    }

    /// Reserves a chunk; under a tight limit on the address space, a single slot.
    fn reserve_chunk(&self) -> io::Result<(usize, usize)> {
        let slot = self.slot_bytes();
        let chunk = (CHUNK_BYTES / slot).max(1) * slot;
        let (start, bytes) = match reserve(chunk) {
            Ok(start) => (start, chunk),
            Err(_) => match reserve(slot) {
                Ok(start) => (start, slot),
                Err(error) => return Err(limits::refuse_memory(slot, &error)),
            },
        };
        overflow::publish(start, bytes, slot);
        Ok((start, start + bytes))
    }
}

/// Reserves memory, but not the last of it.
fn reserve(bytes: usize) -> io::Result<usize> {
    if limits::room_bytes().is_some_and(|room| room < bytes + SPARED_BYTES) {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    sys::reserve(bytes)
}

impl Stack {
    /// Gives back the pages that a shallow coroutine would not touch.
    fn trim(&self) {
        let usable = self.class.usable_bytes;
        if usable > KEPT_BYTES {
            // SAFETY: `self` owns the slot and nobody runs on it, so nothing live is in it.
            unsafe { sys::discard(self.top.get() - usable, usable - KEPT_BYTES) };
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.class.pool().free.push(self.top);
    }
}

// SAFETY: `top` is page-aligned and the highest address of a slot whose lowest 64 KiB are guarded
// and whose usable part is at least `MIN_BYTES`, the occupant's 32 bytes at its top included. The
// slot belongs to `self` alone.
unsafe impl corosensei::stack::Stack for Stack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.entry() as usize).expect("a mapping ends above address zero")
    }

    fn limit(&self) -> StackPointer {
        let bottom = self.top.get() - self.class.slot_bytes();
        StackPointer::new(bottom).expect("a mapping starts above address zero")
    }
}

/// One worker's free stacks of the runtime's default class.
#[derive(Debug)]
pub(crate) struct Cache {
    class: &'static Class,
    /// The last one was used last.
    free: VecDeque<Stack>,
}

impl Cache {
    /// Free stacks that are never trimmed: a burst of this size costs no page faults.
    const HOT: usize = 64;
    /// Stacks trimmed per call, so that going to sleep stays quick.
    const TRIM_BATCH: usize = 8;

    /// With one stack in it: whoever has a cache can run at least one coroutine at a time.
    ///
    /// # Errors
    /// As [`Class::take`].
    pub(crate) fn new(class: &'static Class) -> io::Result<Cache> {
        let free = VecDeque::from([class.take_vacant()?]);
        Ok(Cache { class, free })
    }

    pub(crate) fn take(&mut self, occupant: Occupant) -> io::Result<Stack> {
        match self.free.pop_back() {
            Some(stack) => {
                stack.occupy(occupant);
                Ok(stack)
            }
            None => self.class.take(occupant),
        }
    }

    /// Keeps a stack of this cache's class; one of another class goes back to its own.
    pub(crate) fn put(&mut self, stack: Stack) {
        if std::ptr::eq(stack.class, self.class) {
            self.free.push_back(stack);
        }
    }

    /// Trims some of the idle excess and gives it to the class; true while there is more. Called
    /// when the worker is idle.
    pub(crate) fn trim_some(&mut self) -> bool {
        let excess = self.free.len().saturating_sub(Self::HOT);
        let batch = excess.min(Self::TRIM_BATCH);
        self.free.drain(..batch).for_each(|stack| stack.trim());
        excess > batch
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.free.iter().for_each(Stack::trim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corosensei::stack::Stack as _;
    use std::panic::Location;

    fn somebody() -> Occupant {
        Occupant::bare(Location::caller())
    }

    #[test]
    fn sizes_are_rounded_and_bounded() {
        assert_eq!(Class::of(1).usable_bytes, MIN_BYTES);
        assert_eq!(Class::of(DEFAULT_BYTES).usable_bytes, DEFAULT_BYTES);
        assert_eq!(
            Class::of(DEFAULT_BYTES + 1).usable_bytes,
            DEFAULT_BYTES + sys::page_size()
        );
        assert!(std::ptr::eq(Class::of(1), Class::of(2)));
    }

    #[test]
    fn stacks_do_not_overlap_and_are_reused_last_in_first_out() {
        let class = Class::of(MIN_BYTES + 4096);
        let mut cache = Cache::new(class).unwrap();
        let first = cache.take(somebody()).unwrap();
        let second = cache.take(somebody()).unwrap();
        let apart = first.base().get().abs_diff(second.base().get());
        assert!(apart >= class.slot_bytes(), "{apart} bytes apart");
        let frames_bytes = class.slot_bytes() - size_of::<Occupant>();
        assert_eq!(first.base().get() - first.limit().get(), frames_bytes);
        let top = second.base();
        cache.put(first);
        cache.put(second);
        assert_eq!(cache.take(somebody()).unwrap().base(), top);
    }

    #[test]
    fn idle_excess_is_trimmed_deepest_first_and_goes_back_to_its_class() {
        let mut cache = Cache::new(Class::of(MIN_BYTES + 8192)).unwrap();
        let stacks: Vec<Stack> = (0..Cache::HOT + 10)
            .map(|_| cache.take(somebody()).unwrap())
            .collect();
        let given_back = stacks[0].base();
        let deepest = given_back.get() - KEPT_BYTES - 8;
        let hottest = stacks[stacks.len() - 1].base().get() - KEPT_BYTES - 8;
        for address in [deepest, hottest] {
            // SAFETY: inside the usable part of a stack that this test owns.
            unsafe { std::ptr::write_volatile(address as *mut u64, 7) };
        }
        stacks.into_iter().for_each(|stack| cache.put(stack));
        assert!(cache.trim_some(), "ten are in excess, eight go at a time");
        assert!(!cache.trim_some());
        assert_eq!(cache.free.len(), Cache::HOT);
        // Another cache of the class is given what this one had in excess.
        let others: Vec<Stack> = (0..10)
            .map(|_| cache.class.take_vacant().unwrap())
            .collect();
        assert!(others.iter().any(|other| other.base() == given_back));
        // SAFETY: as above; a trimmed page reads as zero.
        unsafe {
            assert_eq!(std::ptr::read_volatile(deepest as *const u64), 0);
            assert_eq!(std::ptr::read_volatile(hottest as *const u64), 7);
        }
    }
}
