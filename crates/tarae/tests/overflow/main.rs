//! What a stack overflow says and does, and that every other fault does what it did before.
//!
//! Each case runs in a process of its own, since all of them end by a signal: the test starts its
//! binary again for itself alone, with a variable set. `report` and `fallback` hold what is
//! reported, `faults` what must not be.

mod fallback;
#[allow(unsafe_code)]
mod faults;
mod report;
mod support;
