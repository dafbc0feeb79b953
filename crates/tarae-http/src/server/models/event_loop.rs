//! One thread, one event loop: it waits for all connections at once and calls the handlers itself.
//!
//! A body is collected before its handler is called, so that none waits for a client; those that
//! read or write a stream, or say that they wait ([`Plan::off_loop`](crate::Plan::off_loop)), go on
//! in a thread of their own. Any other that blocks holds up all, and is reported.

use std::io;
use std::sync::Arc;

use tarae::event::Reactor;
use tarae::net::TcpListener;

use crate::Handler;
use crate::server::Shared;
use crate::server::exchange::Place;
use crate::server::looping;

pub(super) const DESCRIPTORS: usize = 1;
pub(super) const NEEDS_RUNTIME: bool = false;

pub(super) fn serve<H: Handler>(listener: TcpListener, shared: &Arc<Shared<H>>) -> io::Result<()> {
    looping::serve(Reactor::new()?, Place::Loop, listener, shared)
}
