//! `std::sync`, for coroutines: what waits here parks the coroutine in place of blocking its
//! worker, and works between coroutines of different workers and plain threads alike.
//!
//! Public. [`Mutex`] and the channels: [`mpsc`] and [`mpmc`] as in std, [`oneshot`], [`broadcast`]
//! and [`watch`]. What never waits is std's own.

pub mod broadcast;
mod channel;
pub mod mpmc;
pub mod mpsc;
mod mutex;
pub mod oneshot;
mod queue;
pub mod watch;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};

pub use mutex::{Mutex, MutexGuard};
