//! A thread for each connection, from its first byte to its last.
//!
//! The operating system divides the CPU time among them; one that blocks holds up nobody else. All
//! share one address space: what one of them destroys is destroyed for all.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tarae::net::TcpListener;

use crate::Handler;
use crate::server::Shared;
use crate::server::acceptor::accept;
use crate::server::arrival::refuse;
use crate::server::connections::{Connection, Open};
use crate::server::exchange::{End, Exchange, admit};
use crate::server::guards::overloaded;
use crate::server::local::{Lent, Local};

/// Its socket, and what the thread waits with.
pub(super) const DESCRIPTORS: usize = 2;
pub(super) const NEEDS_RUNTIME: bool = false;

pub(super) fn serve<H: Handler>(listener: TcpListener, shared: &Arc<Shared<H>>) -> io::Result<()> {
    accept(&listener, shared, take)
}

/// Starts a thread for the connection. Where there can be no more of them, it is told so.
fn take<H: Handler>(open: Open<H>) -> io::Result<()> {
    let core = Arc::clone(&open.server().core);
    let name = open.peer.to_string();
    // A thread that cannot be started drops its closure.
    let place = Arc::new(Mutex::new(Some(open)));
    let theirs = Arc::clone(&place);
    let own = Arc::clone(&core);
    let begin = move || {
        let open = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = open {
            own.cancelled.run(|| serve_one(&open));
        }
    };
    let builder = std::thread::Builder::new().name(name);
    let builder = match core.stack_size {
        Some(bytes) => builder.stack_size(bytes),
        None => builder,
    };
    if builder.spawn(begin).is_err() {
        let open = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = open {
            refuse(&core, &open.stream, &overloaded());
        }
    }
    Ok(())
}

/// Serves a connection to its end in the calling thread.
fn serve_one<H: Handler>(connection: &Connection<H>) {
    if !admit(connection) {
        return;
    }
    let core = &connection.server().core;
    let local = Local::of(core);
    let mut lent = local.borrow(core);
    loop {
        let Lent { buffers, entry } = lent;
        let mut exchange = Exchange::begin(connection, &local, &entry, buffers, false);
        let buffers = match exchange.run_until(local.idle_until()) {
            End::Idle => exchange.park(),
            End::Close { linger } => {
                exchange.close(linger);
                return;
            }
        };
        lent = Lent { buffers, entry };
    }
}
