//! `std::sync`, for coroutines: what waits here parks the coroutine in place of blocking its
//! worker, and works between coroutines of different workers and plain threads alike.
//!
//! Public. So far [`Mutex`] and [`mpsc`]; what never waits is std's own.

pub mod mpsc;
mod mutex;
mod queue;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};

pub use mutex::{Mutex, MutexGuard};
