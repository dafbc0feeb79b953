//! `std::sync`, for coroutines: what waits here parks the coroutine in place of blocking its
//! worker, and works between coroutines of different workers and plain threads alike.
//!
//! Public. Locks and their kin, and the channels: [`mpsc`] and [`mpmc`] as in std, [`oneshot`],
//! [`broadcast`] and [`watch`]. What never waits is std's own.
//!
//! # Fairness
//!
//! Whoever waits is served in the order of asking, and what is released while somebody waits goes
//! to the first of them directly. `try_` calls fail while others wait.
//!
//! # Poisoning
//!
//! As in std: a panic while a [`Mutex`] or a writer's [`RwLock`] guard is held poisons the lock, a
//! panic in [`Once`] or [`LazyLock`] poisons those, and a panic in the initialiser of a
//! [`OnceLock`]
//! leaves it empty. What std does not have ([`Semaphore`], [`Notify`], [`WaitGroup`]) is not
//! poisoned: their guards give back what they hold, and that is all they protect.
//!
//! # Cancellation and deadlines
//!
//! A call whose signature has no room for an error is never cancelled. It has a twin by the name of
//! `…_cancellable`, which takes one argument more: a deadline ([`Instant`](crate::time::Instant))
//! or
//! `None`. It gives what the call gives, in a `Result` with [`WaitError`]. A call that has an error
//! to give is cancelled itself, and has a twin `…_until(deadline)`. Whoever had got what it waited
//! for when its wait ended otherwise keeps it; whatever was on its way to one that leaves goes to
//! the next.
//!
//! | call | cancelled | twin that can be |
//! | --- | --- | --- |
//! | [`Mutex::lock`] | no | [`lock_cancellable`](Mutex::lock_cancellable) |
//! | [`RwLock::read`] | no | [`read_cancellable`](RwLock::read_cancellable) |
//! | [`RwLock::write`] | no | [`write_cancellable`](RwLock::write_cancellable) |
//! | [`Condvar::wait`] | no | [`wait_cancellable`](Condvar::wait_cancellable) |
//! | [`Condvar::wait_while`] | no | [`wait_while_cancellable`](Condvar::wait_while_cancellable) |
//! | [`Condvar::wait_timeout`], [`Condvar::wait_timeout_while`] | no | as above |
//! | [`Barrier::wait`] | no | [`wait_cancellable`](Barrier::wait_cancellable) |
//! | [`Once::call_once`] | no | [`call_once_cancellable`](Once::call_once_cancellable) |
//! | [`Once::call_once_force`] | no | none |
//! | [`Once::wait`], [`wait_force`](Once::wait_force) | no | `wait_cancellable` |
//! | [`OnceLock::get_or_init`] | no | `get_or_init_cancellable` |
//! | [`OnceLock::set`] | no | none: it waits only while another writes |
//! | [`OnceLock::wait`] | no | [`wait_cancellable`](OnceLock::wait_cancellable) |
//! | [`LazyLock::force`] | no | none: `Deref` has no room either |
//! | [`WaitGroup::wait`] | no | [`wait_cancellable`](WaitGroup::wait_cancellable) |
//! | [`Semaphore::acquire`] | yes | with a deadline: [`acquire_until`](Semaphore::acquire_until) |
//! | [`Semaphore::acquire_many`] | yes | [`acquire_many_until`](Semaphore::acquire_many_until) |
//! | [`Notified::wait`] | yes | with a deadline: [`wait_until`](Notified::wait_until) |
//! | `send`, `recv` of [`mpsc`] and [`mpmc`] | yes | with a time limit: `…_timeout`, `…_deadline` |
//! | `recv` of [`oneshot`] and [`broadcast`] | yes | with a time limit: as above |
//! | [`watch::Receiver::changed`] | yes | with a time limit: as above |
//! | [`watch::Receiver::wait_for`] | yes | none |
//! | [`select!`](crate::select!) | yes | with a time limit: a branch `sleep` or `deadline` |

mod barrier;
pub mod broadcast;
mod channel;
mod condvar;
mod gate;
pub mod mpmc;
pub mod mpsc;
mod mutex;
mod notify;
mod once;
mod once_lock;
pub mod oneshot;
mod permits;
mod queue;
mod round;
mod rwlock;
mod semaphore;
mod signal;
mod wait;
mod wait_group;
pub mod watch;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
pub use once::{Once, OnceState};
pub use once_lock::{LazyLock, OnceLock};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{AcquireError, Semaphore, SemaphorePermit, TryAcquireError};
pub use wait::WaitError;
pub use wait_group::WaitGroup;
