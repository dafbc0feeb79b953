//! Model checking of Tarae's lock-free protocols: the runtime's own files, compiled over `loom`'s
//! atomics, run through every interleaving that the memory model allows.
//!
//! Nothing but tests lives here. The files of `../../tarae/src` are included as they are; they may
//! name primitives only through `crate::atomics`.

#![allow(dead_code)]

mod atomics {
    //! The twin of `tarae`'s module of this name.
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    macro_rules! const_fn {
        ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
            $(#[$meta])* $vis fn $($rest)*
        };
    }
    pub(crate) use const_fn;

    /// Whoever holds the lock goes on.
    pub(crate) fn pause(_tries: u32) {
        loom::thread::yield_now();
    }

    /// `loom`'s cell, with the one access function that the protocols use.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> UnsafeCell<T> {
            UnsafeCell(loom::cell::UnsafeCell::new(value))
        }

        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(f)
        }
    }
}

#[path = "../../tarae/src/sched/choice.rs"]
mod choice;
mod sched {
    //! Where `state` finds its words.
    pub(crate) use crate::join;
}
mod driver {
    //! Where `queue` finds its vector with holes.
    pub(crate) use crate::slab;
}

#[allow(unsafe_code)]
#[path = "../../tarae/src/scope/count.rs"]
mod count;
#[path = "../../tarae/src/sync/gate.rs"]
mod gate;
#[allow(unsafe_code)]
#[path = "../../tarae/src/sched/inbox.rs"]
mod inbox;
#[allow(unsafe_code)]
#[path = "../../tarae/src/sched/join.rs"]
mod join;
#[allow(unsafe_code)]
#[path = "../../tarae/src/sched/mailbox.rs"]
mod mailbox;
#[path = "../../tarae/src/sched/park.rs"]
mod park;
#[path = "../../tarae/src/sync/permits.rs"]
mod permits;
#[path = "../../tarae/src/sync/queue.rs"]
mod queue;
#[allow(unsafe_code)]
#[path = "../../tarae/src/offload/record.rs"]
mod record;
#[path = "../../tarae/src/sched/ring.rs"]
mod ring;
#[path = "../../tarae/src/sync/round.rs"]
mod round;
#[path = "../../tarae/src/sync/signal.rs"]
mod signal;
#[path = "../../tarae/src/driver/slab.rs"]
mod slab;
#[allow(unsafe_code)]
#[path = "../../tarae/src/sched/spin.rs"]
mod spin;
#[allow(unsafe_code)]
#[path = "../../tarae/src/completion/state.rs"]
mod state;

#[cfg(test)]
#[allow(unsafe_code)]
mod models;
