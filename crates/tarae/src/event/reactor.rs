//! `Reactor`: an event loop and a pool of threads. Public through `event`.
//!
//! Used on the loop's thread, but for what a pool's thread is given: a reference to the work of a
//! source, and nothing of the loop's.
//!
//! ```text
//!   source: armed ─ event ─► in line ─ room ─► on the pool ─ result ─► `then` on the loop ─► armed
//!               (told once: rests)                                              (told again)
//! ```
//!
//! Invariants: a source that is in line or on the pool rests, so it has one event at a time. The
//! loop's table has the one strong reference to a source's work but while a pool's thread is at it;
//! the line and the pool's queue have weak ones. So what is removed before a thread has begun is
//! never called; and while there is a weak one, the source is in use. Nothing stays borrowed while
//! foreign code runs.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::{Rc, Weak as LoopWeak};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::kinds::ONCE;
use super::table::{Body, Watched};
use super::{EventLoop, Interest, Mode, Readiness, SourceId};
use crate::completion::CompletionError;
use crate::offload::{Pool, start_in};
use crate::time::Duration;

/// As many as the blocking pool has threads, unless that is set otherwise.
const IN_FLIGHT_MAX: usize = 512;
/// When a pool that had no room is asked again, if nothing of ours ends earlier.
const AGAIN: Duration = Duration::from_millis(10);

/// The reactor pattern: an event loop, and a pool of threads for handlers that take long or block.
///
/// The loop's thread takes the events. A [`Handler`] that is marked
/// [`on_loop`](Handler::on_loop) is called right there: it is short and does no I/O that waits. All
/// others are called by threads of the pool, while the loop goes on with other sources; their
/// results come [back](Handler::then) to the loop's thread.
///
/// * **Order.** While a source's event is being handled, the source rests: its next event is taken
///   after `then` has returned. What it was ready for then is not lost.
/// * **Backpressure.** At most so many handlers are on the pool at once. Beyond that, events stand
///   in line, first come, first served, one of each source at most: the peers of sources that rest
///   are not read from. So it is when the pool's own queue is full.
/// * **Removal.** A source that is [removed](EventLoop::remove) before a thread has begun with its
///   event is dropped at once, and its handler is not called. If a thread is at it, that goes on to
///   the end and drops the source; its result is dropped.
/// * **Panics** end the source, which is removed and dropped, and nothing else.
/// * **The end.** [`run`](Reactor::run) returns at [`stop`](EventLoop::stop) without waiting for
///   the pool: results stay at hand for the next `run`. When all sources have been removed it
///   returns after the last result. Dropping the reactor waits for nothing: it drops what stands in
///   line, and is as the removal of every source.
/// * A call of this crate that would block the loop, in `then` or in a handler on the loop, is
///   reported, or refused if the loop is [strict](EventLoop::set_strict).
///
/// # Examples
///
/// A server whose answers take their time:
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use tarae::event::{Handler, Interest, Reactor};
///
/// /// On a thread of the pool: it may compute, read files, ask a database.
/// fn answer(stream: &mut TcpStream) -> std::io::Result<usize> {
///     let mut request = [0; 100];
///     let count = stream.read(&mut request)?;
///     request[..count].make_ascii_uppercase();
///     stream.write_all(&request[..count])?;
///     Ok(count)
/// }
///
/// let reactor = Reactor::new()?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// // Accepting a connection is short: on the loop.
/// let accept = Handler::new(|listener: &mut TcpListener, _| listener.accept())
///     .on_loop()
///     .then(|reactor, _, accepted| {
///         let Ok((stream, _)) = accepted else { return };
///         let serve = Handler::new(|stream, _| answer(stream)).then(|reactor, _, answered| {
///             if !matches!(answered, Ok(1..)) {
///                 reactor.events().stop();
///             }
///         });
///         reactor.add(stream, Interest::READ, serve).unwrap();
///     });
/// reactor.add(listener, Interest::READ, accept)?;
///
/// let client = std::thread::spawn(move || {
///     let mut stream = TcpStream::connect(address).unwrap();
///     stream.write_all(b"hello").unwrap();
///     let mut echo = [0; 5];
///     stream.read_exact(&mut echo).unwrap();
///     echo
/// });
/// reactor.run()?; // Until the client has hung up.
/// assert_eq!(&client.join().unwrap(), b"HELLO");
/// # std::io::Result::Ok(())
/// ```
pub struct Reactor(Rc<Inner>);

struct Inner {
    events: EventLoop,
    pool: Pool,
    in_flight_max: usize,
    in_flight: Cell<usize>,
    /// What is to be started when there is room.
    line: RefCell<VecDeque<Start>>,
}

type Start = Box<dyn FnOnce(&Reactor)>;

impl Reactor {
    /// A reactor whose handlers are called on threads of the [blocking](Pool::Blocking) pool, 512
    /// at once at most.
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::new`].
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn new() -> io::Result<Reactor> {
        Reactor::in_pool(Pool::Blocking, IN_FLIGHT_MAX)
    }

    /// A reactor whose handlers are called on threads of `pool`, so many at once at most:
    /// [`Pool::Cpu`] if they compute and never block.
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::new`].
    ///
    /// # Panics
    ///
    /// When `in_flight_max` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::Reactor;
    /// use tarae::offload::Pool;
    ///
    /// let reactor = Reactor::in_pool(Pool::Cpu, 1)?;
    /// for number in 1..=3 {
    ///     reactor.offload(move || number * number, move |_, square| {
    ///         assert_eq!(square.unwrap(), number * number);
    ///     });
    /// }
    /// assert_eq!((reactor.in_flight(), reactor.in_line()), (1, 2)); // One at a time.
    /// reactor.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn in_pool(pool: Pool, in_flight_max: usize) -> io::Result<Reactor> {
        assert!(in_flight_max > 0, "a reactor that may start nothing");
        Ok(Reactor(Rc::new(Inner {
            events: EventLoop::new()?,
            pool,
            in_flight_max,
            in_flight: Cell::new(0),
            line: RefCell::default(),
        })))
    }

    /// The event loop: for timers, signals, posted functions, and sources with handlers that run on
    /// it; to change and remove sources; to stop.
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn events(&self) -> &EventLoop {
        &self.0.events
    }

    /// Watches a descriptor, level-triggered, and has its events handled. The reactor owns the
    /// source until it is removed. While a handler is on the pool, or stands in line for it,
    /// [`with`](EventLoop::with) and [`take`](EventLoop::take) find the source in use, and what
    /// [`modify`](EventLoop::modify) says takes effect after it.
    ///
    /// A source of a handler on the loop should be non-blocking. On the pool it need not be: a call
    /// that waits holds up a thread of the pool, and this source.
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::add`].
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn add<S, R>(
        &self,
        source: S,
        interest: Interest,
        handler: Handler<S, R>,
    ) -> io::Result<SourceId>
    where
        S: AsFd + Send + 'static,
        R: Send + 'static,
    {
        let Handler {
            mut handle,
            mut then,
            is_on_loop,
        } = handler;
        let events = self.events();
        let reactor = Rc::downgrade(&self.0);
        if is_on_loop {
            return events.add(
                source,
                interest,
                Mode::Level,
                move |_, source, readiness| {
                    let result = handle(source, readiness);
                    if let Some(reactor) = reactor.upgrade() {
                        then(&Reactor(reactor), source, result);
                    }
                },
            );
        }
        let fd = source.as_fd().as_raw_fd();
        let work = Arc::new(Mutex::new(Work { source, handle }));
        let pooled = Pooled {
            reactor,
            work,
            then,
            in_use: (),
        };
        let body = Body::Descriptor(None, Box::new(pooled));
        events.watch(body, fd, interest.events(Mode::Level) | ONCE)
    }

    /// Has `work` run on the pool, and then `then` called with its result on the loop's thread, in
    /// one of its rounds. For what a handler on the loop finds to be done; such a source does not
    /// rest meanwhile, unless it is [told](EventLoop::modify) to.
    ///
    /// It counts as a handler on the pool does, and stands in the same line, which has no bound of
    /// its own: see [`in_line`](Reactor::in_line). Once a thread may have it, `work` runs even if
    /// the reactor is dropped; `then` does not.
    ///
    /// `then` is given an error if `work` panics, or the pool has no room or no thread for it.
    ///
    /// # Examples
    ///
    /// ```
    /// let reactor = tarae::event::Reactor::new()?;
    /// let loop_thread = std::thread::current().id();
    /// reactor.offload(
    ///     || std::thread::current().id(),
    ///     move |_, there| {
    ///         assert_ne!(there.unwrap(), loop_thread);
    ///         assert_eq!(std::thread::current().id(), loop_thread);
    ///     },
    /// );
    /// reactor.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn offload<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(&Reactor, Result<R, CompletionError>) + 'static,
    ) {
        self.line_up(move |reactor| {
            reactor.start(work, move |reactor, result| {
                reactor.go_on();
                then(reactor, result);
            });
        });
    }

    /// How many handlers and functions are on the pool: their results have not come back.
    ///
    /// # Examples
    ///
    /// See [`in_pool`](Reactor::in_pool).
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.get()
    }

    /// How many stand in line for the pool.
    ///
    /// # Examples
    ///
    /// See [`in_pool`](Reactor::in_pool).
    pub fn in_line(&self) -> usize {
        self.0.line.borrow().len()
    }

    /// Takes events and has them handled, as [`EventLoop::run`]: until the loop is stopped, or
    /// nothing is left to wait for, on the pool either.
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::run`].
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn run(&self) -> io::Result<()> {
        self.events().run()
    }

    fn line_up(&self, start: impl FnOnce(&Reactor) + 'static) {
        self.0.line.borrow_mut().push_back(Box::new(start));
        self.go_on();
    }

    /// Starts what there is room for.
    fn go_on(&self) {
        while self.in_flight() < self.0.in_flight_max {
            let next = self.0.line.borrow_mut().pop_front();
            match next {
                Some(start) => start(self),
                None => return,
            }
        }
    }

    /// Has `work` run on the pool, and `end` called on the loop when it is not in flight any more.
    fn start<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
        end: impl FnOnce(&Reactor, Result<R, CompletionError>) + 'static,
    ) {
        self.0.in_flight.set(self.in_flight() + 1);
        let inner = Rc::downgrade(&self.0);
        start_in(self.0.pool, work).notify_on(self.events(), move |_, result| {
            if let Some(inner) = inner.upgrade() {
                inner.in_flight.set(inner.in_flight.get() - 1);
                end(&Reactor(inner), result);
            }
        });
    }

    /// Has an event of a source handled on the pool.
    fn handle<S, R>(&self, id: SourceId, work: WeakWork<S, R>, readiness: Readiness)
    where
        S: Send + 'static,
        R: Send + 'static,
    {
        if work.strong_count() == 0 {
            // Removed in line; there is room for the next one.
            return;
        }
        let theirs = Weak::clone(&work);
        let call = move || {
            let work = theirs.upgrade()?;
            let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
            let Work { source, handle } = &mut *work;
            Some(handle(source, readiness))
        };
        self.start(call, move |reactor, result| match result {
            Ok(mut result) => {
                // With a weak reference left, the source would be in use.
                drop(work);
                reactor.go_on();
                reactor.events().handled(id, &mut result);
            }
            Err(error) if error.is_panic() => {
                reactor.go_on();
                reactor.events().remove(id);
            }
            // No room in the pool: back to the head of the line.
            Err(_) => reactor.try_again(move |reactor| reactor.handle(id, work, readiness)),
        });
    }

    fn try_again(&self, start: impl FnOnce(&Reactor) + 'static) {
        self.0.line.borrow_mut().push_front(Box::new(start));
        let inner = Rc::downgrade(&self.0);
        self.events().after(AGAIN, move |_| {
            if let Some(inner) = inner.upgrade() {
                Reactor(inner).go_on();
            }
        });
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("events", self.events())
            .field("in_flight", &self.in_flight())
            .field("in_line", &self.in_line())
            .finish_non_exhaustive()
    }
}

/// What is done with the events of a source `S` in a [`Reactor`], in two parts: the handler, which
/// gives an `R`, and what the loop [then](Handler::then) does with that.
///
/// # Examples
///
/// See [`Reactor`].
pub struct Handler<S, R> {
    handle: Handle<S, R>,
    then: Then<S, R>,
    is_on_loop: bool,
}

type Handle<S, R> = Box<dyn FnMut(&mut S, Readiness) -> R + Send>;
type Then<S, R> = Box<dyn FnMut(&Reactor, &mut S, R)>;

impl<S: 'static, R: 'static> Handler<S, R> {
    /// A handler that is called on a thread of the pool, one event after the other. It may take
    /// long and may block.
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn new(f: impl FnMut(&mut S, Readiness) -> R + Send + 'static) -> Handler<S, R> {
        Handler {
            handle: Box::new(f),
            then: Box::new(|_, _, _| {}),
            is_on_loop: false,
        }
    }

    /// Has the handler called on the thread of the loop: it is short, and waits for nothing.
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn on_loop(self) -> Handler<S, R> {
        Handler {
            is_on_loop: true,
            ..self
        }
    }

    /// What the loop's thread does with the result, before it takes the next event of this source.
    /// It must not block. Without it results are dropped.
    ///
    /// The source is the loop's [current](EventLoop::current) one:
    /// `reactor.events().remove_current()` removes it.
    ///
    /// # Examples
    ///
    /// See [`Reactor`].
    pub fn then(self, f: impl FnMut(&Reactor, &mut S, R) + 'static) -> Handler<S, R> {
        Handler {
            then: Box::new(f),
            ..self
        }
    }
}

impl<S, R> fmt::Debug for Handler<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("is_on_loop", &self.is_on_loop)
            .finish_non_exhaustive()
    }
}

/// What a pool's thread needs.
struct Work<S, R> {
    source: S,
    handle: Handle<S, R>,
}

type WeakWork<S, R> = Weak<Mutex<Work<S, R>>>;

/// A source whose handler is called on the pool, as the loop's table has it.
struct Pooled<S, R> {
    reactor: LoopWeak<Inner>,
    /// Locked by one thread at a time only.
    work: Arc<Mutex<Work<S, R>>>,
    then: Then<S, R>,
    /// Given in place of the source while that is in use.
    in_use: (),
}

impl<S, R> Pooled<S, R> {
    /// The source, unless it is in use.
    fn at_hand(&mut self) -> Option<&mut S> {
        let work = Arc::get_mut(&mut self.work)?.get_mut();
        Some(&mut work.unwrap_or_else(PoisonError::into_inner).source)
    }
}

impl<S: Send + 'static, R: Send + 'static> Watched for Pooled<S, R> {
    fn call(&mut self, events: &EventLoop, readiness: Readiness) {
        // Armed by `modify` while it is in use, it rests again by having been told of.
        let is_in_use = self.at_hand().is_none();
        let reactor = self.reactor.upgrade();
        if let (false, Some(reactor), Some(id)) = (is_in_use, reactor, events.current()) {
            let work = Arc::downgrade(&self.work);
            Reactor(reactor).line_up(move |reactor| reactor.handle(id, work, readiness));
        }
    }

    fn source(&mut self) -> &mut dyn Any {
        if Arc::get_mut(&mut self.work).is_none() {
            return &mut self.in_use;
        }
        self.at_hand().expect("looked at just above")
    }

    fn into_source(self: Box<Self>) -> Box<dyn Any> {
        match Arc::into_inner(self.work) {
            Some(work) => {
                let work = work.into_inner();
                Box::new(work.unwrap_or_else(PoisonError::into_inner).source)
            }
            None => Box::new(()),
        }
    }

    fn handled(&mut self, events: &EventLoop, result: &mut dyn Any) {
        let result = result.downcast_mut::<Option<R>>().and_then(Option::take);
        let work = Arc::get_mut(&mut self.work).map(Mutex::get_mut);
        if let (Some(work), Some(result), Some(reactor)) = (work, result, self.reactor.upgrade()) {
            let source = &mut work.unwrap_or_else(PoisonError::into_inner).source;
            (self.then)(&Reactor(reactor), source, result);
        }
        if let Some(id) = events.current() {
            events.rearm(id);
        }
    }
}
