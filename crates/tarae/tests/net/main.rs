//! Sockets, readiness and signals of the runtime, over real sockets of this machine.
//!
//! Run by `cargo test`. Every test ends by causes and counts; time only guards against hanging
//! (`support::guarded`). What changes limits, signals or counts descriptors runs in a process of
//! its own (`support::alone`). Nothing here may listen beyond 127.0.0.1.

mod convert;
mod exhaustion;
mod notsent;
mod oob;
mod reuse;
mod shared;
mod signals;
mod stress;
mod support;
mod surface;
mod waiters;
mod wakeups;
