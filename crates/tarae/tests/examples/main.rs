//! Runs the examples for real and talks to them, as their users would.
//!
//! Cargo builds the examples before it runs tests, unless it is told to run one test file only;
//! `cargo build -p tarae --examples` helps then.

mod book_server;
mod callback_hell;
mod channels;
mod chat;
mod core_module;
mod echo;
mod fan_out;
#[path = "../shared/kernel.rs"]
mod kernel;
mod multiplexing;
mod ported;
mod program;
mod quadrants;
mod reactor;
mod readiness_vs_completion;
mod readme;
mod round_robin;
