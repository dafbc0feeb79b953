//! A coroutine for each connection that has something to do, on the worker that it was given to.
//!
//! A connection that only waits has none: it is a registration with that worker's event loop, and
//! holds neither a stack nor a buffer.

use std::io;
use std::sync::Arc;

use tarae::net::{TcpListener, park_until_readable};
use tarae::{Wake, thread};

use crate::Handler;
use crate::server::Shared;
use crate::server::acceptor::accept;
use crate::server::connections::Open;
use crate::server::exchange::{End, Exchange, admit};
use crate::server::local::{Lent, Local};

pub(super) const DESCRIPTORS: usize = 1;
pub(super) const NEEDS_RUNTIME: bool = true;

pub(super) fn serve<H: Handler>(listener: TcpListener, shared: &Arc<Shared<H>>) -> io::Result<()> {
    accept(&listener, shared, take)
}

/// Has a worker take care of the connection.
fn take<H: Handler>(open: Open<H>) -> io::Result<()> {
    thread::Builder::new().spawn(move || begin(open)).map(drop)
}

fn begin<H: Handler>(open: Open<H>) {
    if admit(&open) {
        resume(open, Wake::Ready);
    }
}

/// Goes on with an idle connection, in a coroutine made for it.
fn resume<H: Handler>(open: Open<H>, wake: Wake) {
    if wake == Wake::TimedOut {
        return;
    }
    let core = &open.server().core;
    let local = Local::of(core);
    let Lent { buffers, entry } = local.borrow(core);
    let last = wake == Wake::Cancelled;
    let mut exchange = Exchange::begin(&open, &local, &entry, buffers, last);
    match exchange.run() {
        End::Idle => {
            let buffers = exchange.park();
            local.give_back(Lent { buffers, entry });
            park_until_readable(open, local.idle_until(), resume);
        }
        End::Close { linger } => {
            let buffers = exchange.close(linger);
            local.give_back(Lent { buffers, entry });
        }
    }
}
