//! Runs the examples for real and talks to them, as their users would.
//!
//! Cargo builds the examples before it runs tests, unless it is told to run one test file only;
//! `cargo build -p tarae --examples` helps then.

mod book_server;
mod channels;
mod chat;
mod echo;
mod fan_out;
mod ported;
mod program;
mod reactor;
mod readme;
mod round_robin;
