//! Tests of `process` from outside: real children, their ends and their pipes. One binary, run by
//! `cargo test`.
//!
//! Every outcome is decided by causes, counts and order. Time only bounds hanging: children that
//! wait do so for input, or are killed by their test.

mod children;
#[path = "../shared/kernel.rs"]
mod kernel;
mod pipes;
mod support;
