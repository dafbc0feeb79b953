//! Takes connections out of the listener's queue, as many as there may be.
//!
//! One for each server, in a coroutine or thread of its own or that of whoever serves. It never
//! spins: where it cannot go on it waits for a connection to end, or rests.
//!
//! Out of descriptors, a connection can neither be accepted nor refused, and whoever has sent it
//! waits without a word. So one descriptor is kept in reserve: it is given up for the connection
//! that has waited longest, which is told (503) and closed, and taken again.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tarae::Cancelled;
use tarae::net::{TcpListener, TcpStream};
use tarae::time::{Instant, sleep_until};

use super::arrival::refuse;
use super::connections::Open;
use super::guards::overloaded;
use super::wire::linger;
use super::{Core, Shared};
use crate::Handler;

/// How long the acceptor rests when the process is out of descriptors or memory.
pub(super) const BACK_OFF: Duration = Duration::from_millis(50);
/// How long whoever is refused for want of a descriptor may take to read that.
const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// What the kernel takes of an answer before it can be sent: so much of its memory, and of the time
/// that a worker spends on copying, goes to a client that does not read.
pub(super) const UNSENT_BYTES: u32 = 128 * 1024;
/// After so many failures in a row of connections that have gone, something else is wrong.
const FAILURES_MAX: u32 = 1000;

/// Accepts until the server stops or the calling coroutine or thread is cancelled. `take` is given
/// each connection.
pub(super) fn accept<H: Handler>(
    listener: &TcpListener,
    shared: &Arc<Shared<H>>,
    mut take: impl FnMut(Open<H>) -> io::Result<()>,
) -> io::Result<()> {
    // Without the option a client that does not read costs the kernel more, and nothing else.
    let _ = listener.set_notsent_lowat(UNSENT_BYTES);
    let mut reserve = Reserve::default();
    let mut failures = 0;
    // While connections keep coming `accept` does not wait, and so cannot be cancelled.
    while !shared.core.is_stopping() {
        reserve.keep();
        if !shared
            .connections
            .wait_for_room(shared.core.guards.connections_max)
        {
            break;
        }
        let error = match listener.accept() {
            Ok((stream, peer)) => {
                failures = 0;
                take(Open::new(stream, peer, shared))?;
                continue;
            }
            Err(error) if Cancelled::is(&error) => break,
            Err(error) => error,
        };
        let goes_on = match error.raw_os_error().map(cause) {
            Some(Cause::Connection) if failures < FAILURES_MAX => {
                failures += 1;
                true
            }
            Some(Cause::Descriptors) => {
                reserve.refuse_one(listener, &shared.core, REFUSAL_TIME) || rest()
            }
            Some(Cause::Connection | Cause::Memory) => rest(),
            Some(Cause::Listener) | None => return Err(error),
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// A descriptor that is there to be given up.
#[derive(Debug, Default)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    /// Takes it, unless it is there. Without one, connections wait until descriptors are free.
    pub(super) fn keep(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    /// Gives it up for one connection, which is told that there is no room. False if there was
    /// nobody to tell, or nothing to give up. It has so long to read that.
    pub(super) fn refuse_one(
        &mut self,
        listener: &TcpListener,
        core: &Core,
        patience: Duration,
    ) -> bool {
        if self.0.take().is_none() {
            return false;
        }
        let accepted = accept_at_once(listener);
        if let Ok(stream) = &accepted {
            refuse(core, stream, &overloaded());
            if !patience.is_zero() {
                // What goes wrong now is the peer's affair.
                let _ = linger(stream, patience);
            }
        }
        accepted.is_ok()
    }
}

/// Takes a connection that waits already. (The kernel says that there are no descriptors even if
/// nobody waits.)
fn accept_at_once(listener: &TcpListener) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let accepted = listener.accept();
    listener.set_nonblocking(false)?;
    accepted.map(|(stream, _)| stream)
}

/// Waits for descriptors or memory to be freed. False if cancelled.
fn rest() -> bool {
    let until = Instant::now() + BACK_OFF;
    sleep_until(until);
    // A sleep is cut short by a cancellation and by nothing else.
    Instant::now() >= until
}

pub(super) enum Cause {
    /// It went before it was accepted.
    Connection,
    /// Descriptors are used up.
    Descriptors,
    /// Memory is.
    Memory,
    Listener,
}

/// What an error of accept is about, by its number on Linux; see accept(2).
pub(super) fn cause(code: i32) -> Cause {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    const EBADF: i32 = 9;
    const EINVAL: i32 = 22;
    const ENOTSOCK: i32 = 88;
    const EOPNOTSUPP: i32 = 95;
    match code {
        ENFILE | EMFILE => Cause::Descriptors,
        ENOMEM | ENOBUFS => Cause::Memory,
        EBADF | EINVAL | ENOTSOCK | EOPNOTSUPP => Cause::Listener,
        _ => Cause::Connection,
    }
}
