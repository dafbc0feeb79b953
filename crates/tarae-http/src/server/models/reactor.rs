//! The reactor pattern: an event loop, and a pool of threads for the handlers.
//!
//! The loop reads, parses and writes, and calls the handlers that are marked as short
//! ([`Plan::on_loop`](crate::Plan::on_loop)). All others are called by threads of the pool, so many
//! at once; further ones stand in line, up to a bound. Those that read or write a stream go on in a
//! thread of their own. A connection has one request in a handler at a time, so its answers come in
//! order.

use std::io;
use std::sync::Arc;

use tarae::event::Reactor;
use tarae::net::TcpListener;
use tarae::offload::Pool;

use crate::Handler;
use crate::server::Shared;
use crate::server::exchange::Place;
use crate::server::looping;

pub(super) const DESCRIPTORS: usize = 1;
pub(super) const NEEDS_RUNTIME: bool = false;

pub(super) fn serve<H: Handler>(listener: TcpListener, shared: &Arc<Shared<H>>) -> io::Result<()> {
    let reactor = Reactor::in_pool(Pool::Blocking, shared.core.pool_threads)?;
    looping::serve(reactor, Place::LoopWithPool, listener, shared)
}
