//! Connections on one event loop: each is a source, and goes on when its socket is ready.
//!
//! Used by the models `event_loop` and `reactor`. Nothing on the loop's thread waits but the loop:
//! what has to wait goes on in a thread of its own until the connection is idle again, and a
//! handler that may take its time runs on a thread of the pool. While a connection is away its
//! source rests, and nobody else touches it.
//!
//! ```text
//! Idle -- readable --> exchange -- pauses --> Waiting (for the socket, until a deadline)
//!   ^                   ^ |  |  ^                 |
//!   +--- all answered --|-+  |  +-----------------+
//!                       |    +-- a handler for the pool, or what waits --> Away --+
//!                       +---------------------- comes back -----------------------+
//!
//! exchange -- the last answer --> Lingering --> closed
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::{mem, thread};

use tarae::event::{EventLoop, Interest, Mode, Reactor, SourceId};
use tarae::time::Instant;

use super::Shared;
use super::connections::Open;
use super::exchange::{End, Exchange, Kept, Pause, Place, Wait, admit};
use super::guards::overloaded;
use super::local::{Lent, Local};
use super::roster::Entry;
use super::wire::{LINGER_BYTES, LINGER_SILENCE, LINGER_TIME};
use crate::{Handler, Response};

/// What all connections of a loop share.
pub(super) struct Evented<H: Handler> {
    reactor: Reactor,
    pub(super) shared: Arc<Shared<H>>,
    place: Place,
    sources: RefCell<BTreeSet<SourceId>>,
    /// Told when a connection has gone.
    on_close: RefCell<Option<OnClose>>,
    /// Nothing is waited for any more.
    cut_short: Cell<bool>,
}

type OnClose = Rc<dyn Fn(&EventLoop)>;

/// A connection, as a source of the loop.
struct Source<H: Handler> {
    /// Whose it is. The circle is broken by `Evented::end`.
    evented: Rc<Evented<H>>,
    open: Open<H>,
    state: State,
    /// What is asked of the loop now.
    interest: Interest,
    /// When the timer goes off, which is not later than what is waited for.
    timer: Option<(SourceId, Instant)>,
    deadline: Option<Instant>,
}

enum State {
    Idle,
    Waiting(Kept, Arc<Entry>),
    /// On a thread.
    Away,
    /// The rest of what the peer sends is read: so many bytes more, until then.
    Lingering(usize, Instant),
}

impl<H: Handler> AsFd for Source<H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.stream.as_fd()
    }
}

/// How an exchange goes on.
enum Go {
    /// There is something to read.
    Start,
    On,
    TimedOut,
    Answer(Box<Response>),
}

/// What a source asks the loop for after an event.
enum Next {
    Wait(Interest, Option<Instant>),
    Close,
}

impl<H: Handler> Evented<H> {
    pub(super) fn new(reactor: Reactor, shared: &Arc<Shared<H>>, place: Place) -> Rc<Evented<H>> {
        Rc::new(Evented {
            reactor,
            shared: Arc::clone(shared),
            place,
            sources: RefCell::default(),
            on_close: RefCell::default(),
            cut_short: Cell::new(false),
        })
    }

    pub(super) fn events(&self) -> &EventLoop {
        self.reactor.events()
    }

    /// Takes care of a connection.
    pub(super) fn add(self: &Rc<Self>, open: Open<H>) {
        if open.stream.set_nonblocking(true).is_err() {
            return;
        }
        // Its header has to be waited for.
        let away = self.shared.core.guards.proxy_protocol;
        if !away && !admit(&open) {
            return;
        }
        let source = Source {
            evented: Rc::clone(self),
            open: open.clone(),
            state: if away { State::Away } else { State::Idle },
            interest: if away { Interest::NONE } else { Interest::READ },
            timer: None,
            deadline: None,
        };
        let added = self.events().add(
            source,
            Interest::READ,
            Mode::Level,
            |events, source: &mut Source<H>, _| {
                let evented = Rc::clone(&source.evented);
                if let Some(id) = events.current() {
                    let next = evented.ready(id, source);
                    evented.settle(id, source, next);
                }
            },
        );
        // Without a place in the epoll it is closed.
        let Ok(id) = added else { return };
        self.sources.borrow_mut().insert(id);
        if away {
            self.pause(id);
            if let Next::Close = self.aside(id, open, |open| admit(open)) {
                self.with(id, |evented, source| evented.close(id, source));
            }
        } else {
            let until = Local::of(&self.shared.core).idle_until();
            self.with(id, |evented, source| {
                evented.settle(id, source, Next::Wait(Interest::READ, until));
            });
        }
    }

    /// Calls `f` with the source, if it is there.
    fn with(self: &Rc<Self>, id: SourceId, f: impl FnOnce(&Rc<Self>, &mut Source<H>)) {
        self.events().with(id, |source| f(self, source));
    }

    fn pause(&self, id: SourceId) {
        // It is there. Edge-triggered, so that the end of the connection is told once.
        let _ = self.events().modify(id, Interest::NONE, Mode::Edge);
    }

    /// Has the loop wait for what the source needs next.
    fn settle(self: &Rc<Self>, id: SourceId, source: &mut Source<H>, next: Next) {
        let Next::Wait(interest, until) = next else {
            return self.close(id, source);
        };
        if source.interest != interest {
            source.interest = interest;
            if interest == Interest::NONE {
                self.pause(id);
            } else if self.events().modify(id, interest, Mode::Level).is_err() {
                return self.close(id, source);
            }
        }
        source.deadline = until;
        // A timer that goes off too early is set again then: most are never needed.
        let Some(until) = until else { return };
        match source.timer {
            Some((_, due)) if due <= until => {}
            Some((timer, _)) => {
                self.events().reset(timer, until);
                source.timer = Some((timer, until));
            }
            None => self.set_timer(id, source, until),
        }
    }

    fn set_timer(self: &Rc<Self>, id: SourceId, source: &mut Source<H>, until: Instant) {
        let evented = Rc::clone(self);
        let timer = self.events().at(until, move |_| {
            evented.with(id, |evented, source| evented.due(id, source));
        });
        source.timer = Some((timer, until));
    }

    fn close(&self, id: SourceId, source: &mut Source<H>) {
        if let Some((timer, _)) = source.timer.take() {
            self.events().remove(timer);
        }
        self.sources.borrow_mut().remove(&id);
        // The source is dropped when its handler, or whoever has it now, is done with it: so this
        // is told in the next round.
        self.events().remove(id);
        let on_close = self.on_close.borrow().clone();
        self.events().defer(move |events| {
            if let Some(on_close) = on_close {
                on_close(events);
            }
        });
    }

    /// Has this called in the round after each end of a connection.
    pub(super) fn on_close(&self, f: OnClose) {
        self.on_close.replace(Some(f));
    }

    /// The socket is ready, or has hung up.
    fn ready(self: &Rc<Self>, id: SourceId, source: &mut Source<H>) -> Next {
        let core = &self.shared.core;
        match mem::replace(&mut source.state, State::Away) {
            State::Idle => {
                source.open.work();
                let Lent { buffers, entry } = Local::of(core).borrow(core);
                let kept = Kept::new(&source.open, buffers);
                self.work(id, source, kept, entry, Go::Start)
            }
            State::Waiting(kept, entry) => self.work(id, source, kept, entry, Go::On),
            // Whoever is there finds that it has hung up.
            State::Away => Next::Wait(Interest::NONE, None),
            State::Lingering(left, end) => linger(source, left, end),
        }
    }

    /// The timer went off.
    fn due(self: &Rc<Self>, id: SourceId, source: &mut Source<H>) {
        source.timer = None;
        let Some(deadline) = source.deadline else {
            return;
        };
        if Instant::now() < deadline {
            return self.set_timer(id, source, deadline);
        }
        let next = match mem::replace(&mut source.state, State::Away) {
            State::Waiting(kept, entry) => self.work(id, source, kept, entry, Go::TimedOut),
            State::Away => return,
            State::Idle | State::Lingering(..) => Next::Close,
        };
        self.settle(id, source, next);
    }

    /// Goes on with an exchange until it pauses or ends.
    fn work(
        self: &Rc<Self>,
        id: SourceId,
        source: &mut Source<H>,
        kept: Kept,
        entry: Arc<Entry>,
        go: Go,
    ) -> Next {
        let core = &self.shared.core;
        let local = Local::of(core);
        entry.begin();
        let mut exchange = Exchange::resume(&source.open, &local, &entry, kept, self.place);
        let paused = match go {
            Go::Start => exchange.start(),
            Go::On => exchange.go_on(),
            Go::TimedOut => exchange.timed_out(),
            Go::Answer(response) => exchange.answer(*response),
        };
        match paused {
            Ok(End::Idle) => {
                let buffers = exchange.park();
                local.give_back(Lent { buffers, entry });
                source.state = State::Idle;
                Next::Wait(Interest::READ, local.idle_until())
            }
            Ok(End::Close { linger }) => {
                let buffers = exchange.close(false);
                local.give_back(Lent { buffers, entry });
                if linger {
                    begin_lingering(source)
                } else {
                    Next::Close
                }
            }
            Err(Pause::Wait(_)) if self.cut_short.get() => Next::Close,
            Err(Pause::Wait(Wait { for_room, until })) => {
                source.state = State::Waiting(exchange.keep(), entry);
                let interest = if for_room {
                    Interest::WRITE
                } else {
                    Interest::READ
                };
                Next::Wait(interest, until)
            }
            Err(Pause::Call) if self.reactor.in_line() >= core.pool_queue => {
                let kept = exchange.keep();
                self.work(id, source, kept, entry, Go::Answer(Box::new(overloaded())))
            }
            Err(Pause::Call) => {
                let kept = exchange.keep();
                self.call(id, source.open.clone(), kept, entry);
                Next::Wait(Interest::NONE, None)
            }
            Err(Pause::Leave) => {
                let kept = exchange.keep();
                self.leave(id, source.open.clone(), kept, entry)
            }
        }
    }

    /// Has a thread of the pool call the handler.
    fn call(self: &Rc<Self>, id: SourceId, open: Open<H>, kept: Kept, entry: Arc<Entry>) {
        let core = Arc::clone(&self.shared.core);
        let call = move || {
            core.cancelled.run(|| {
                let local = Local::of(&core);
                entry.begin();
                let mut exchange = Exchange::resume(&open, &local, &entry, kept, Place::Own);
                let response = exchange.call_only();
                let kept = exchange.keep();
                (kept, entry, response)
            })
        };
        let evented = Rc::clone(self);
        self.reactor.offload(call, move |_, called| {
            evented.with(id, |evented, source| {
                let next = match called {
                    Ok((kept, entry, response)) => {
                        let answer = Go::Answer(Box::new(response));
                        evented.work(id, source, kept, entry, answer)
                    }
                    // The pool has no thread, or something of ours panicked.
                    Err(_) => Next::Close,
                };
                evented.settle(id, source, next);
            });
        });
    }

    /// Goes on in a thread of its own, which may wait, until the connection is idle or ends.
    fn leave(self: &Rc<Self>, id: SourceId, open: Open<H>, kept: Kept, entry: Arc<Entry>) -> Next {
        self.aside(id, open, move |open| {
            let core = &open.server().core;
            let local = Local::of(core);
            entry.begin();
            let mut exchange = Exchange::resume(open, &local, &entry, kept, Place::Own);
            match exchange.go_on() {
                Ok(End::Idle) => {
                    local.give_back(Lent {
                        buffers: exchange.park(),
                        entry,
                    });
                    true
                }
                end => {
                    exchange.close(matches!(end, Ok(End::Close { linger: true })));
                    false
                }
            }
        })
    }

    /// Runs `f` in a thread of its own, where the connection's calls wait. Then the connection is
    /// idle, or at its end if `f` gives false.
    fn aside(
        self: &Rc<Self>,
        id: SourceId,
        open: Open<H>,
        f: impl FnOnce(&Open<H>) -> bool + Send + 'static,
    ) -> Next {
        let handle = self.events().handle();
        let core = Arc::clone(&self.shared.core);
        let run = move || {
            let goes_on = core.cancelled.run(|| {
                open.stream.set_nonblocking(false).is_ok()
                    && f(&open)
                    && open.stream.set_nonblocking(true).is_ok()
            });
            drop(open);
            // If the loop is gone, so is the connection.
            let _ = handle.post(move |events| Self::come_back(events, id, goes_on));
        };
        let builder = thread::Builder::new().name(format!("aside {id:?}"));
        match builder.spawn(run) {
            Ok(_) => Next::Wait(Interest::NONE, None),
            Err(_) => Next::Close,
        }
    }

    fn come_back(events: &EventLoop, id: SourceId, goes_on: bool) {
        let evented = events.with(id, |source: &mut Source<H>| Rc::clone(&source.evented));
        let Some(evented) = evented else { return };
        evented.with(id, |evented, source| {
            let next = if goes_on && !evented.cut_short.get() {
                source.state = State::Idle;
                let until = Local::of(&evented.shared.core).idle_until();
                Next::Wait(Interest::READ, until)
            } else {
                Next::Close
            };
            evented.settle(id, source, next);
        });
    }

    /// Waits for nothing any more: closes all connections that are not away.
    pub(super) fn cut_short(self: &Rc<Self>) {
        self.cut_short.set(true);
        let all: Vec<_> = self.sources.borrow().iter().copied().collect();
        for id in all {
            self.with(id, |evented, source| {
                if !matches!(source.state, State::Away) {
                    evented.close(id, source);
                }
            });
        }
    }

    /// Gives up all connections, and with them and their timers what leads back here.
    pub(super) fn end(&self) {
        self.on_close.replace(None);
        for id in self.sources.take() {
            let timer = |source: &mut Source<H>| source.timer.take();
            if let Some(Some((timer, _))) = self.events().with(id, timer) {
                self.events().remove(timer);
            }
            self.events().remove(id);
        }
    }
}

/// The answer has been sent; what the peer still sends is read for a while, so that the answer is
/// not lost to a reset.
fn begin_lingering<H: Handler>(source: &mut Source<H>) -> Next {
    if source.open.stream.shutdown(Shutdown::Write).is_err() {
        return Next::Close;
    }
    linger(source, LINGER_BYTES, Instant::now() + LINGER_TIME)
}

fn linger<H: Handler>(source: &mut Source<H>, mut left: usize, end: Instant) -> Next {
    let mut buffer = [0; 4096];
    loop {
        match (&mut &source.open.stream).read(&mut buffer) {
            Ok(count) if count > 0 && count < left => left -= count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            _ => return Next::Close,
        }
    }
    source.state = State::Lingering(left, end);
    Next::Wait(
        Interest::READ,
        Some(end.min(Instant::now() + LINGER_SILENCE)),
    )
}
