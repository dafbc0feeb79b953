//! Tests of `fs` from outside: what each call does, on which thread, and cut short. One binary, run
//! by `cargo test`.
//!
//! Every outcome is decided by causes, counts and order. Time only bounds hanging. Which thread a
//! call is made on is told by the pools' statistics, so such a test has a process of its own.

mod at_once;
mod calls;
mod cancel;
mod sending;
mod sending_cut;
mod starting;
mod support;
