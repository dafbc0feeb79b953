//! A server on one event loop, from its first connection to its last: accepting, and the end.
//!
//! Called by the models that have a loop, with how connections are taken care of there; `evented`
//! does that. What it must never do is wait anywhere but in the loop.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tarae::cancel::{shield, timeout};
use tarae::event::{EventLoop, Interest, Mode, Reactor, SourceId};
use tarae::net::TcpListener;
use tarae::time::Instant;

use super::acceptor::{BACK_OFF, Cause, Reserve, UNSENT_BYTES, cause};
use super::connections::Open;
use super::drain::{GRACE, Stopped, stragglers};
use super::evented::Evented;
use super::exchange::Place;
use super::{Core, Shared};
use crate::Handler;

/// So many connections are taken before others on the loop have their turn.
const BATCH: usize = 64;

/// Serves until the server stops or the calling thread is cancelled; then until all is answered, or
/// the time for that is over.
pub(super) fn serve<H: Handler>(
    reactor: Reactor,
    place: Place,
    listener: TcpListener,
    shared: &Arc<Shared<H>>,
) -> io::Result<()> {
    reactor.events().set_strict(shared.core.strict);
    let evented = Evented::new(reactor, shared, place);
    let accepting = Accepting::start(listener, &evented)?;
    let result = run(evented.events());
    accepting.end();
    shared.core.begin_stop();
    let stopped = shield(|| drain(&evented));
    evented.end();
    let mut ended = shared.core.ended();
    *ended = Some(stopped);
    accepting.failure.take().map_or(result, Err)
}

/// Runs the loop until it is stopped, or its thread is told to end.
fn run(events: &EventLoop) -> io::Result<()> {
    match events.run() {
        Err(error) if !tarae::Cancelled::is(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Lets what is in flight be answered; then cancels it; then gives who does not heed that.
fn drain<H: Handler>(evented: &Rc<Evented<H>>) -> Stopped {
    let core = &evented.shared.core;
    evented.shared.connections.end_waiting();
    if until_empty(evented, core.drain_timeout) {
        return Stopped::default();
    }
    let cancelled = core.roster.at_work().len();
    core.cancelled.cancel();
    evented.cut_short();
    let late = !until_empty(evented, GRACE);
    let stragglers = if late { stragglers(core) } else { Vec::new() };
    Stopped::new(cancelled, stragglers)
}

/// Runs the loop until no connection is left. False: the time was over first.
fn until_empty<H: Handler>(evented: &Rc<Evented<H>>, time: Duration) -> bool {
    let shared = Arc::clone(&evented.shared);
    evented.on_close(Rc::new(move |events| {
        if shared.connections.count() == 0 {
            events.stop();
        }
    }));
    let begin = Instant::now();
    loop {
        let left = time.saturating_sub(begin.elapsed());
        if evented.shared.connections.count() == 0 {
            return true;
        }
        // It ends early with the last connection on the loop; one that is away may be left.
        let ran = timeout(left.min(Duration::from_secs(3600)), || {
            evented.events().run()
        });
        if begin.elapsed() >= time || matches!(ran, Ok(Err(_))) {
            return evented.shared.connections.count() == 0;
        }
    }
}

/// The listener, as a source of the loop.
struct Accepting<H: Handler> {
    evented: Rc<Evented<H>>,
    reserve: RefCell<Reserve>,
    id: Cell<Option<SourceId>>,
    /// There are as many connections as there may be.
    full: Cell<bool>,
    /// Why the listener is of no use any more.
    failure: Cell<Option<io::Error>>,
}

impl<H: Handler> Accepting<H> {
    fn start(listener: TcpListener, evented: &Rc<Evented<H>>) -> io::Result<Rc<Accepting<H>>> {
        // Without the option a client that does not read costs the kernel more, and nothing else.
        let _ = listener.set_notsent_lowat(UNSENT_BYTES);
        listener.set_nonblocking(true)?;
        let accepting = Rc::new(Accepting {
            evented: Rc::clone(evented),
            reserve: RefCell::default(),
            id: Cell::new(None),
            full: Cell::new(false),
            failure: Cell::new(None),
        });
        let own = Rc::clone(&accepting);
        let events = evented.events();
        let id = events.add(
            listener,
            Interest::READ,
            Mode::Level,
            move |_, listener, _| {
                own.ready(listener);
            },
        )?;
        accepting.id.set(Some(id));
        let own = Rc::downgrade(&accepting);
        evented.on_close(Rc::new(move |_| {
            if let Some(accepting) = own.upgrade() {
                accepting.has_room();
            }
        }));
        Ok(accepting)
    }

    fn core(&self) -> &Core {
        &self.evented.shared.core
    }

    fn end(&self) {
        if let Some(id) = self.id.take() {
            self.evented.events().remove(id);
        }
    }

    /// Takes connections, as many as there may be.
    fn ready(self: &Rc<Self>, listener: &TcpListener) {
        let events = self.evented.events();
        self.reserve.borrow_mut().keep();
        for _ in 0..BATCH {
            // A loop that never waits is not told by its wait.
            if self.core().is_stopping() {
                return events.stop();
            }
            if self.evented.shared.connections.count() >= self.core().guards.connections_max {
                self.full.set(true);
                return self.rest(None);
            }
            match listener.accept() {
                Ok((stream, peer)) => {
                    self.evented
                        .add(Open::new(stream, peer, &self.evented.shared));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => match error.raw_os_error().map(cause) {
                    Some(Cause::Connection) => {}
                    Some(Cause::Descriptors) if self.refuse_one(listener) => {}
                    Some(Cause::Descriptors | Cause::Memory) => return self.rest(Some(BACK_OFF)),
                    Some(Cause::Listener) | None => {
                        self.failure.set(Some(error));
                        return events.stop();
                    }
                },
            }
        }
    }

    fn refuse_one(&self, listener: &TcpListener) -> bool {
        let mut reserve = self.reserve.borrow_mut();
        let refused = reserve.refuse_one(listener, self.core(), Duration::ZERO);
        reserve.keep();
        // The reserve accepts in its own way.
        listener.set_nonblocking(true).is_ok() && refused
    }

    /// Takes no connections for a while, or until there is room.
    fn rest(self: &Rc<Self>, time: Option<Duration>) {
        self.listen(Interest::NONE);
        if let Some(time) = time {
            let own = Rc::downgrade(self);
            self.evented.events().after(time, move |_| {
                if let Some(accepting) = own.upgrade() {
                    accepting.listen(Interest::READ);
                }
            });
        }
    }

    /// A connection has gone.
    fn has_room(&self) {
        let max = self.core().guards.connections_max;
        if self.full.get() && self.evented.shared.connections.count() < max {
            self.full.set(false);
            self.listen(Interest::READ);
        }
    }

    fn listen(&self, interest: Interest) {
        if let Some(id) = self.id.get() {
            // It is there.
            let _ = self.evented.events().modify(id, interest, Mode::Level);
        }
    }
}
