//! `tarae::event`: the event loop as an interface.
//!
//! Run by `cargo test`. Everything is checked by causes, counts and order; time only guards against
//! hanging. What depends on descriptors' numbers, signals or stderr has a process of its own.

mod batch;
mod blocking;
mod by_hand;
mod coroutine;
mod notify;
mod processes;
mod reactor;
mod server;
mod sources;
mod support;
mod threads;
mod timers;
