//! Step 3 as an interface: an event loop for those who write their handlers, or the loop itself.
//!
//! # Event sources and event handlers
//!
//! An [`EventLoop`] belongs to one thread. It is given *event sources*: descriptors, timers,
//! signals, child processes, functions posted from elsewhere. One call waits for all of them at
//! once, by I/O multiplexing (epoll), rather than one after the other or with a thread for each.
//! When something happens at one, its *event handler* is called; then the loop waits again:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use tarae::event::{EventLoop, Interest, Mode};
//!
//! let events = EventLoop::new()?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! listener.set_nonblocking(true)?;
//! events.add(listener, Interest::READ, Mode::Level, |events, listener, _| {
//!     let Ok((stream, _)) = listener.accept() else { return };
//!     let _ = stream.set_nonblocking(true);
//!     let added = events.add(stream, Interest::READ, Mode::Level, |events, stream, _| {
//!         let mut buffer = [0; 4096];
//!         match stream.read(&mut buffer) {
//!             // A server keeps what there is no room for, and asks for `Interest::WRITE`.
//!             Ok(count) if count > 0 => drop(stream.write_all(&buffer[..count])),
//!             Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
//!             _ => events.remove_current(),
//!         }
//!     });
//!     assert!(added.is_ok());
//! })?;
//!
//! let handle = events.handle();
//! let client = std::thread::spawn(move || {
//!     let mut stream = TcpStream::connect(address).unwrap();
//!     stream.write_all(b"hello").unwrap();
//!     let mut echo = [0; 5];
//!     stream.read_exact(&mut echo).unwrap();
//!     handle.stop();
//!     echo
//! });
//! events.run()?;
//! assert_eq!(&client.join().unwrap(), b"hello");
//! # std::io::Result::Ok(())
//! ```
//!
//! # The loop in your own hands
//!
//! A source can have a [key](EventLoop::key) instead of a handler. Then [`EventLoop::next_event`]
//! gives its events, one at a time: the `getEvent()` that every event loop is built around.
//!
//! ```
//! use std::io::Write;
//! use std::os::unix::net::UnixStream;
//! use std::rc::Rc;
//! use tarae::event::{Event, EventLoop, Interest, Mode};
//! use tarae::time::Duration;
//!
//! const DATA: u64 = 0;
//! const TICK: u64 = 1;
//!
//! let events = EventLoop::new()?;
//! let (ours, theirs) = UnixStream::pair()?;
//! let ours = Rc::new(ours); // The loop keeps it open, and so do we.
//! events.key(DATA).add(Rc::clone(&ours), Interest::READ, Mode::Level)?;
//! events.key(TICK).every(Duration::from_millis(1));
//!
//! let mut ticks = 0;
//! while let Some(event) = events.next_event()? {
//!     match event {
//!         Event::Timer { key: TICK, id } => {
//!             ticks += 1;
//!             if ticks == 3 {
//!                 events.remove(id);
//!                 (&theirs).write_all(b"done")?;
//!             }
//!         }
//!         Event::Ready { key: DATA, id, readiness } => {
//!             assert!(readiness.is_readable());
//!             events.remove(id); // Nothing is left to wait for: the loop ends.
//!         }
//!         _ => unreachable!(),
//!     }
//! }
//! assert_eq!(ticks, 3);
//! # std::io::Result::Ok(())
//! ```
//!
//! Handlers and keys may live in one loop: `next_event` calls handlers on its way.
//!
//! # What a handler may do
//!
//! * Add, change and remove any source, itself included. What is removed is never called again, not
//!   even for what had happened before: not if its descriptor's number has been used again in
//!   between, either.
//! * **Be short and not wait.** While it runs nothing else on the loop does. What takes long, or
//!   blocks, belongs on another thread, whose result comes back by
//!   [`notify_on`](crate::Completion::notify_on) or [`Handle::post`]. A call of this
//!   crate that would block the thread inside a handler is reported on stderr with its stack, once
//!   per call site, or refused: see [`EventLoop::set_strict`].
//! * Not run the loop it is called by: that is an error.
//! * Panic: that ends its source, which is removed, and nothing else. The panic hook reports it.
//!
//! A [`Reactor`] is a loop with a pool of threads for the handlers that are not like that.
//!
//! # Where a loop can be
//!
//! On a plain thread, which blocks while it waits, or in a coroutine, which parks; there a handler
//! that waits parks the coroutine, and holds up its own loop but not the worker. Not in a
//! [simulated run](crate::sim).

mod handle;
mod keyed;
mod kinds;
mod notify;
mod reactor;
mod table;
mod turn;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant as StdInstant;

pub use crate::sched::loop_thread::WouldBlockLoop;
pub use handle::{Ended, Handle};
pub use keyed::Keyed;
use kinds::ONCE;
pub use kinds::{Event, Interest, Mode, Readiness};
pub use reactor::{Handler, Reactor};
pub use table::SourceId;

use crate::driver::Source;
use crate::driver::poller::{self, Poller};
use crate::driver::slab::{NONE, Slab};
use crate::driver::timers::Timers;
use crate::sched::{self, task::contain};
use crate::signal::{Signal, Signals};
use crate::sys::{self, EpollEvent};
use crate::time::{Duration, Instant};
use handle::Shared;
use notify::OnResult;
use table::{Body, OnExit, OnSignal, OnTime, Owned, Table, Told};
use turn::{Deferred, Work};

/// Waits for many event sources at once and calls their handlers, on one thread.
///
/// See the [module](self) for how it is used. It is not `Send`, and neither need the handlers be:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<tarae::event::EventLoop>();
/// ```
///
/// # Examples
///
/// See [the module](self).
pub struct EventLoop {
    shared: Arc<Shared>,
    poller: RefCell<Poller>,
    /// What the poller gave last.
    batch: RefCell<Box<[EpollEvent]>>,
    table: RefCell<Table>,
    timers: RefCell<Timers<SourceId>>,
    /// At hand: what is to be told first, which of the batch are still to be told (the next
    /// one and their number), and timers that have expired.
    work: RefCell<VecDeque<Work>>,
    harvested: Cell<(usize, usize)>,
    due: RefCell<VecDeque<SourceId>>,
    /// For the next round.
    deferred: RefCell<Vec<Deferred>>,
    /// Who is called with the results of asynchronous calls that have not completed.
    notified: RefCell<Slab<OnResult>>,
    /// Whose handler runs.
    current: Cell<Option<SourceId>>,
    running: Cell<bool>,
    stopping: Cell<bool>,
    strict: Cell<bool>,
    /// The epoll as something a coroutine can wait for; made when that is needed.
    own_source: OnceCell<Source>,
}

impl EventLoop {
    /// A loop without sources. Takes three descriptors.
    ///
    /// # Errors
    ///
    /// When no descriptor is free; [`Unsupported`](io::ErrorKind::Unsupported) in a
    /// [simulated run](crate::sim).
    ///
    /// # Examples
    ///
    /// See [the module](self).
    pub fn new() -> io::Result<EventLoop> {
        sched::refuse_simulated("an event loop")?;
        let shared = Shared::new()?;
        let poller = Poller::new(shared.notification())?;
        Ok(EventLoop {
            shared,
            poller: RefCell::new(poller),
            batch: RefCell::new(poller::batch()),
            table: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            work: RefCell::default(),
            harvested: Cell::new((0, 0)),
            due: RefCell::default(),
            deferred: RefCell::default(),
            notified: RefCell::default(),
            current: Cell::new(None),
            running: Cell::new(false),
            stopping: Cell::new(false),
            strict: Cell::new(false),
            own_source: OnceCell::new(),
        })
    }

    /// What other threads reach the loop by.
    ///
    /// # Examples
    ///
    /// See [`Handle`].
    pub fn handle(&self) -> Handle {
        Handle::new(&self.shared)
    }

    // ---- sources ------------------------------------------------------------------------------

    /// Watches a descriptor: `handler` is called with the source whenever it is ready. The loop
    /// owns the source until it is removed; to keep a hand on it, add an `Rc` of it, or use
    /// [`with`](EventLoop::with).
    ///
    /// The loop sets no blocking mode: a source should be non-blocking, since readiness is no
    /// promise. It must keep its descriptor while it is in the loop.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the descriptor is in the loop already,
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if it cannot be watched: regular files
    /// are always ready; and when the kernel's limit of watches is reached. The source is dropped.
    ///
    /// # Examples
    ///
    /// See [the module](self).
    pub fn add<S, F>(
        &self,
        source: S,
        interest: Interest,
        mode: Mode,
        handler: F,
    ) -> io::Result<SourceId>
    where
        S: AsFd + 'static,
        F: FnMut(&EventLoop, &mut S, Readiness) + 'static,
    {
        let fd = source.as_fd().as_raw_fd();
        let body = Body::Descriptor(None, Box::new(Owned { source, handler }));
        self.watch(body, fd, interest.events(mode))
    }

    /// Calls `handler` once, `delay` from now or a little later: a delay is counted in
    /// milliseconds, rounded up.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::EventLoop;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// // From inside a handler too.
    /// events.after(Duration::from_millis(1), |events| {
    ///     events.after(Duration::from_millis(1), |events| events.stop());
    /// });
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn after(&self, delay: Duration, handler: impl FnOnce(&EventLoop) + 'static) -> SourceId {
        self.at(later(delay), handler)
    }

    /// Calls `handler` once, when `deadline` has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::time::Instant;
    ///
    /// let events = tarae::event::EventLoop::new()?;
    /// let deadline = Instant::now();
    /// events.at(deadline, move |_| assert!(Instant::now() >= deadline));
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn at(&self, deadline: Instant, handler: impl FnOnce(&EventLoop) + 'static) -> SourceId {
        let mut handler = Some(handler);
        let handler = move |events: &EventLoop| {
            if let Some(handler) = handler.take() {
                handler(events);
            }
        };
        self.timer(deadline, None, Told::Handler(Box::new(handler)))
    }

    /// Calls `handler` after each `period`, until it is removed. Periods that pass while the loop
    /// is held up are left out, not made up for.
    ///
    /// # Panics
    ///
    /// When the period is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::EventLoop;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// let mut ticks = 0;
    /// events.every(Duration::from_millis(1), move |events| {
    ///     ticks += 1;
    ///     if ticks == 3 {
    ///         events.remove_current(); // Nothing is left to wait for: the loop ends.
    ///     }
    /// });
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn every(&self, period: Duration, handler: impl FnMut(&EventLoop) + 'static) -> SourceId {
        let told = Told::Handler(Box::new(handler) as Box<_>);
        self.repeating(period, told)
    }

    /// Calls `handler` for each of `signals` that comes; several of one kind at once count as one.
    ///
    /// # Errors
    ///
    /// As for [`Signals::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::EventLoop;
    /// use tarae::signal::Signal;
    ///
    /// let events = EventLoop::new()?;
    /// events.on_signal(&[Signal::USER2], |events, signal| {
    ///     assert_eq!(signal, Signal::USER2);
    ///     events.remove_current();
    /// })?;
    /// tarae::process::Command::new("sh").args(["-c", "kill -USR2 $PPID"]).status()?;
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_signal(
        &self,
        signals: &[Signal],
        handler: impl FnMut(&EventLoop, Signal) + 'static,
    ) -> io::Result<SourceId> {
        self.signals(signals, Told::Handler(Box::new(handler)))
    }

    /// Calls `handler` once, when the child process of that number has ended, with how it ended.
    ///
    /// It must be a child of this process that nobody has waited for. The loop does that: std's
    /// [`Child::wait`](std::process::Child::wait) gives an error afterwards.
    ///
    /// # Errors
    ///
    /// When there is no such process, no descriptor is free, or before Linux 5.4.
    ///
    /// # Examples
    ///
    /// ```
    /// let events = tarae::event::EventLoop::new()?;
    /// let child = std::process::Command::new("false").spawn()?;
    /// events.on_exit(child.id(), |_, status| assert_eq!(status.unwrap().code(), Some(1)))?;
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_exit(
        &self,
        child: u32,
        handler: impl FnOnce(&EventLoop, io::Result<ExitStatus>) + 'static,
    ) -> io::Result<SourceId> {
        self.child(child, Told::Handler(Box::new(handler)))
    }

    /// A key for sources without a handler: [`next_event`](EventLoop::next_event) gives their
    /// events. The loop does not care whether others have the same.
    ///
    /// # Examples
    ///
    /// See [the module](self).
    pub fn key(&self, key: u64) -> Keyed<'_> {
        Keyed::new(self, key)
    }

    /// Changes what a descriptor is watched for. If it is ready for that now, it is reported, also
    /// with [`Mode::Edge`].
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not in the loop (any more) or no descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use tarae::event::{Event, EventLoop, Interest, Mode};
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let id = events.key(0).add(ours, Interest::READ, Mode::Level)?;
    /// assert!(events.next_event_timeout(Duration::ZERO).is_err()); // Nothing to be read.
    /// events.modify(id, Interest::READ | Interest::WRITE, Mode::Level)?;
    /// let Some(Event::Ready { readiness, .. }) = events.next_event()? else { unreachable!() };
    /// assert!(readiness.is_writable());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn modify(&self, id: SourceId, interest: Interest, mode: Mode) -> io::Result<()> {
        let mut table = self.table.borrow_mut();
        match table.get_mut(id).filter(|entry| entry.fd >= 0) {
            Some(entry) => {
                entry.events = interest.events(mode) | (entry.events & ONCE);
                let poller = self.poller.borrow();
                poller.modify(entry.fd, entry.events, id.token())
            }
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no such descriptor in the event loop",
            )),
        }
    }

    /// Sets a timer to another time. False if it is gone (as it is once it has expired, unless it
    /// repeats), or is no timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::EventLoop;
    /// use tarae::time::{Duration, Instant};
    ///
    /// let events = EventLoop::new()?;
    /// let id = events.after(Duration::from_secs(3600), |_| ());
    /// assert!(events.reset(id, Instant::now()));
    /// events.run()?; // Not for an hour.
    /// assert!(!events.reset(id, Instant::now()), "it is gone");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn reset(&self, id: SourceId, deadline: Instant) -> bool {
        let Some(timer) = self.timer_of(id) else {
            return false;
        };
        if timer != NONE {
            self.timers.borrow_mut().remove(timer);
        }
        self.arm(id, deadline.into());
        true
    }

    /// Takes a source out and drops it; false if it was gone. Called for the source whose handler
    /// runs, it drops it after the handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::EventLoop;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// let never = events.after(Duration::ZERO, |_| unreachable!());
    /// assert!(events.remove(never));
    /// assert!(!events.remove(never), "it is gone");
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn remove(&self, id: SourceId) -> bool {
        self.detach(id).is_some()
    }

    /// Takes out the source whose handler runs; it is dropped after that. Does nothing elsewhere.
    ///
    /// # Examples
    ///
    /// See [`every`](EventLoop::every).
    pub fn remove_current(&self) {
        if let Some(id) = self.current.get() {
            self.remove(id);
        }
    }

    /// The source whose handler runs. Timers that expire once and children are gone by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use tarae::event::EventLoop;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// let seen = Rc::new(Cell::new(None));
    /// let current = Rc::clone(&seen);
    /// let id = events.every(Duration::from_millis(1), move |events| {
    ///     current.set(events.current());
    ///     events.stop();
    /// });
    /// events.run()?;
    /// assert_eq!((seen.get(), events.current()), (Some(id), None));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn current(&self) -> Option<SourceId> {
        self.current.get()
    }

    /// Takes a descriptor out and gives its source back. None if it is gone, has another type, or
    /// is in use: its own handler runs, which can [`defer`](EventLoop::defer) it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use tarae::event::{EventLoop, Interest, Mode};
    ///
    /// let events = EventLoop::new()?;
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let id = events.key(0).add(ours, Interest::READ, Mode::Level)?;
    /// let mut ours: UnixStream = events.take(id).unwrap();
    /// ours.write_all(b"out of the loop")?;
    /// assert!(events.take::<UnixStream>(id).is_none());
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take<S: AsFd + 'static>(&self, id: SourceId) -> Option<S> {
        self.with(id, |_: &mut S| ())?;
        match self.detach(id)?? {
            Body::Descriptor(_, watched) => watched.into_source().downcast().ok().map(|s| *s),
            _ => unreachable!("it had this type"),
        }
    }

    /// Calls `f` with the source that was added under `id`. None as for [`take`](EventLoop::take).
    /// `f` cannot run the loop.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use tarae::event::{EventLoop, Interest, Mode};
    ///
    /// let events = EventLoop::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let id = events.key(0).add(ours, Interest::READ, Mode::Level)?;
    /// let written = events.with(id, |ours: &mut UnixStream| ours.write(b"hello"));
    /// assert_eq!(written.unwrap()?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn with<S: AsFd + 'static, R>(
        &self,
        id: SourceId,
        f: impl FnOnce(&mut S) -> R,
    ) -> Option<R> {
        let mut lent = Lent {
            events: self,
            id,
            body: self.table.borrow_mut().get_mut(id)?.body.take(),
            // Going round would find the source without its body, and lose an event.
            running: self.running.replace(true),
        };
        match &mut lent.body {
            Some(Body::Descriptor(_, watched)) => watched.source().downcast_mut().map(f),
            _ => None,
        }
    }

    /// Whether a call of this crate that would block the thread in a handler is refused, from the
    /// next `run` or `next_event` on: if it gives an [`io::Result`], by an error that carries
    /// [`WouldBlockLoop`]. What has no such error is reported and blocks, as it does without this.
    ///
    /// It goes by what the call does, not by how long it takes: one that need not wait is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::{EventLoop, WouldBlockLoop};
    /// use tarae::net::UdpSocket;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// events.set_strict(true);
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// events.after(Duration::ZERO, move |_| {
    ///     let error = socket.recv(&mut [0]).unwrap_err(); // Nothing has come.
    ///     assert!(WouldBlockLoop::is(&error));
    /// });
    /// events.run()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_strict(&self, strict: bool) {
        self.strict.set(strict);
    }

    // ---- what these are made of ---------------------------------------------------------------

    fn watch(&self, body: Body, fd: RawFd, events: u32) -> io::Result<SourceId> {
        let mut table = self.table.borrow_mut();
        let poller = self.poller.borrow();
        let id = table.insert(body, poller.now());
        match poller.add(fd, events, id.token()) {
            Ok(()) => {
                table.watches(id, fd, events);
                Ok(id)
            }
            Err(error) => {
                let refused = table.remove(id);
                drop(table);
                drop(refused);
                Err(error)
            }
        }
    }

    /// Has a source reported again that is told of once only.
    fn rearm(&self, id: SourceId) {
        if let Some(entry) = self.table.borrow_mut().get_mut(id) {
            // It fails only for a source that has not kept its descriptor.
            let poller = self.poller.borrow();
            let _ = poller.modify(entry.fd, entry.events, id.token());
        }
    }

    fn timer(&self, due: Instant, period: Option<Duration>, told: Told<OnTime>) -> SourceId {
        let body = Body::Timer { period, told };
        let id = self.table.borrow_mut().insert(body, due.into());
        self.arm(id, due.into());
        id
    }

    fn repeating(&self, period: Duration, told: Told<OnTime>) -> SourceId {
        assert!(
            !period.is_zero(),
            "the period of a timer must be longer than zero"
        );
        self.timer(later(period), Some(period), told)
    }

    fn signals(&self, signals: &[Signal], told: Told<OnSignal>) -> io::Result<SourceId> {
        let signals = Signals::new(signals)?;
        let fd = signals.descriptor();
        self.watch(Body::Signals(signals, told), fd, libc::EPOLLIN as u32)
    }

    fn child(&self, child: u32, told: Told<OnExit>) -> io::Result<SourceId> {
        let pidfd: OwnedFd = sys::pidfd_open(child)?;
        let fd = pidfd.as_raw_fd();
        self.watch(Body::Child(pidfd, told), fd, libc::EPOLLIN as u32)
    }

    /// Puts a timer into the wheel.
    fn arm(&self, id: SourceId, due: StdInstant) {
        if let Some(entry) = self.table.borrow_mut().get_mut(id) {
            let tick = self.poller.borrow_mut().tick_after(due);
            entry.due = due;
            entry.timer = self.timers.borrow_mut().insert(tick, id);
        }
    }

    /// Where a timer stands in the wheel.
    fn timer_of(&self, id: SourceId) -> Option<u32> {
        let mut table = self.table.borrow_mut();
        let entry = table.get_mut(id)?;
        // Only a timer's own handler can find it without a body.
        let is_timer = matches!(entry.body, Some(Body::Timer { .. })) || entry.timer != NONE;
        is_timer.then_some(entry.timer)
    }

    /// Takes a source out; without a body if that is in use.
    fn detach(&self, id: SourceId) -> Option<Option<Body>> {
        let (entry, fd) = self.table.borrow_mut().remove(id)?;
        if entry.timer != NONE {
            self.timers.borrow_mut().remove(entry.timer);
        }
        if let Some(fd) = fd {
            self.poller.borrow().remove(fd);
        }
        Some(entry.body)
    }

    /// An event that `run` has nobody to tell of stays the first one at hand.
    fn keep(&self, event: Event) -> io::Error {
        self.work.borrow_mut().push_front(Work::Kept(event));
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "something has happened at a source with a key: `next_event` gives it, `run` cannot",
        )
    }
}

/// The body of a source that is in use, until this is dropped.
struct Lent<'a> {
    events: &'a EventLoop,
    id: SourceId,
    body: Option<Body>,
    /// Whether the loop was in use before.
    running: bool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.events.running.set(self.running);
        if let Some(entry) = self.events.table.borrow_mut().get_mut(self.id)
            && entry.body.is_none()
        {
            entry.body = self.body.take();
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // Each by itself: the panic of a destructor must not keep the others from being dropped.
        for parcel in self.shared.mail.close() {
            contain(|| drop(parcel));
        }
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("running", &self.running.get())
            .finish_non_exhaustive()
    }
}

/// So much later than now; a century stands for what is beyond the clock.
fn later(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + CENTURY)
}
