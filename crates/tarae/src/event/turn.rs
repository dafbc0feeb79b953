//! How an event loop goes round: look once for everything that has happened, tell of it one by one.
//!
//! Used by `event` only. What a look finds stays at hand until it has been told or has lost its
//! source, whoever asks: so `run`, `run_once` and `next_event` can take turns and lose nothing, not
//! even an edge.
//!
//! Invariants: nothing of the loop stays borrowed while foreign code runs: a handler, a posted
//! function, a destructor. Whoever is told is looked up by its id at that moment, never earlier.

use std::any::Any;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::table::{Body, SourceId, Told};
use super::{Event, EventLoop, Readiness, later};
use crate::driver::slab::NONE;
use crate::driver::{Direction, Operation, Source};
use crate::sched::io::{Patience, perform};
use crate::sched::mailbox::Parcel;
use crate::sched::task::contain;
use crate::sched::{self, context, loop_thread};
use crate::signal::Signal;
use crate::sys::{self, EpollEvent};

pub(super) type Deferred = Box<dyn FnOnce(&EventLoop)>;

/// What is told of before anything else.
pub(super) enum Work {
    Posted(Parcel<EventLoop>),
    Deferred(Deferred),
    Signal(SourceId, Signal),
    /// Of a source with a key: `run` had nobody to tell of it.
    Kept(Event),
}

/// What came of telling.
pub(super) enum Step {
    /// Somebody was called.
    Called,
    /// Nobody was there to be told any more.
    Stale,
    /// For whoever asks for the next event.
    Event(Event),
    /// Nothing is at hand.
    Nothing,
}

/// The loop is in use until this is dropped.
pub(super) struct Running<'a> {
    events: &'a EventLoop,
    _marked: Option<loop_thread::Marked>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.events.running.set(false);
    }
}

/// Going round.
impl EventLoop {
    /// Calls handlers until [`stop`](EventLoop::stop), or until there is nothing left to wait for:
    /// no source, and no [`Handle`](super::Handle). Then it can be run again.
    ///
    /// # Errors
    ///
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) inside one of its handlers.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when something happens at a source with a key:
    /// nothing is lost, `next_event` gives it. When its wait is cancelled (see
    /// [`Cancelled`](crate::Cancelled)) or ended by a [deadline](crate::cancel) around it.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    pub fn run(&self) -> io::Result<()> {
        let _running = self.enter()?;
        while !self.stopping.take() {
            match self.step() {
                Step::Event(event) => return Err(self.keep(event)),
                Step::Nothing if self.is_over() => break,
                Step::Nothing => self.look(None)?,
                Step::Called | Step::Stale => {}
            }
        }
        Ok(())
    }

    /// One round: waits until something happens, for so long at most, and calls the handlers of
    /// whatever has. Gives how many it called.
    ///
    /// # Errors
    ///
    /// As for [`run`](EventLoop::run).
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::event::EventLoop;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// events.after(Duration::from_secs(3600), |_| ());
    /// assert_eq!(events.run_once(Some(Duration::ZERO))?, 0);
    /// events.defer(|_| ());
    /// assert_eq!(events.run_once(None)?, 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn run_once(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let _running = self.enter()?;
        let mut called = 0;
        let mut looked = false;
        while !self.stopping.take() {
            match self.step() {
                Step::Event(event) => return Err(self.keep(event)),
                Step::Called => called += 1,
                Step::Stale => {}
                Step::Nothing if looked || called > 0 || self.is_over() => break,
                Step::Nothing => {
                    self.look(timeout.map(|timeout| later(timeout).into()))?;
                    looked = true;
                }
            }
        }
        Ok(called)
    }

    /// Waits for the next event of a source that has a key, and calls the handlers of others
    /// meanwhile. None once [`stop`](EventLoop::stop) was called or nothing is left to wait for.
    ///
    /// # Errors
    ///
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) inside one of its handlers; when its wait is
    /// cancelled (see [`Cancelled`](crate::Cancelled)) or ended by a [deadline](crate::cancel)
    /// around it.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    pub fn next_event(&self) -> io::Result<Option<Event>> {
        self.next_event_until(None)
    }

    /// As [`next_event`](EventLoop::next_event), for so long at most.
    ///
    /// # Errors
    ///
    /// Also [`TimedOut`](io::ErrorKind::TimedOut).
    ///
    /// # Examples
    ///
    /// See [`modify`](EventLoop::modify).
    pub fn next_event_timeout(&self, timeout: Duration) -> io::Result<Option<Event>> {
        self.next_event_until(Some(later(timeout).into()))
    }

    fn next_event_until(&self, bound: Option<Instant>) -> io::Result<Option<Event>> {
        let _running = self.enter()?;
        let mut looked = false;
        while !self.stopping.take() {
            match self.step() {
                Step::Event(event) => return Ok(Some(event)),
                Step::Called | Step::Stale => {}
                Step::Nothing if self.is_over() => break,
                Step::Nothing if looked && bound.is_some_and(|at| at <= sched::now()) => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Step::Nothing => {
                    self.look(bound)?;
                    looked = true;
                }
            }
        }
        Ok(None)
    }

    /// Has `run` return, or `next_event` give `None`, as soon as what runs now has returned; if
    /// neither is under way, the next one. What is at hand stays there.
    ///
    /// # Examples
    ///
    /// See [`after`](EventLoop::after).
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Calls `function` in the next round, after the handler that runs has returned. As
    /// [`Handle::post`](super::Handle::post) from the loop's own thread: it need not be `Send`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use tarae::event::EventLoop;
    /// use tarae::time::Duration;
    ///
    /// let events = EventLoop::new()?;
    /// let order = Rc::new(RefCell::new(Vec::new()));
    /// let seen = Rc::clone(&order);
    /// events.after(Duration::ZERO, move |events| {
    ///     let later = Rc::clone(&seen);
    ///     events.defer(move |_| later.borrow_mut().push("deferred"));
    ///     seen.borrow_mut().push("handler");
    /// });
    /// events.run()?;
    /// assert_eq!(*order.borrow(), ["handler", "deferred"]);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn defer(&self, function: impl FnOnce(&EventLoop) + 'static) {
        self.deferred.borrow_mut().push(Box::new(function));
    }
}

impl EventLoop {
    /// Refuses to go round inside of itself.
    pub(super) fn enter(&self) -> io::Result<Running<'_>> {
        if self.running.replace(true) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the event loop is running already: a handler, or another coroutine, cannot run it",
            ));
        }
        // In a coroutine, waits park it: the thread is its worker's, and goes on.
        let marked = (!sched::in_coroutine()).then(|| loop_thread::mark(self.strict.get()));
        Ok(Running {
            events: self,
            _marked: marked,
        })
    }

    /// Whether nothing can happen any more.
    pub(super) fn is_over(&self) -> bool {
        self.table.borrow().is_empty()
            && self.deferred.borrow().is_empty()
            && self.shared.mail.is_deserted()
    }

    /// Tells of one thing that is at hand.
    pub(super) fn step(&self) -> Step {
        let work = self.work.borrow_mut().pop_front();
        if let Some(work) = work {
            return self.work(work);
        }
        let (next, count) = self.harvested.get();
        if next < count {
            self.harvested.set((next + 1, count));
            let event = self.batch.borrow()[next];
            return self.ready(event);
        }
        let due = self.due.borrow_mut().pop_front();
        match due {
            Some(id) => self.expired(id),
            None => Step::Nothing,
        }
    }

    /// Looks what has happened; if nothing has, waits until `bound`. Nothing may be at hand.
    pub(super) fn look(&self, bound: Option<Instant>) -> io::Result<()> {
        let deferred = self.deferred.take().into_iter().map(Work::Deferred);
        self.work.borrow_mut().extend(deferred);
        let mail = &self.shared.mail;
        let busy = !self.work.borrow().is_empty() || !mail.begin_sleep();
        let timeout = if busy { 0 } else { self.timeout_ms(bound) };
        let count = self.wait(timeout);
        mail.end_sleep();
        self.harvested.set((0, count?));
        self.work.borrow_mut().extend(mail.take().map(Work::Posted));
        self.collect_due();
        Ok(())
    }

    fn timeout_ms(&self, bound: Option<Instant>) -> i32 {
        let next = self.timers.borrow().next();
        self.poller.borrow_mut().timeout_ms(bound, next)
    }

    fn wait(&self, timeout_ms: i32) -> io::Result<usize> {
        // What bounds the wait from outside does not reach into an `epoll_wait`.
        let plain = !sched::in_coroutine() && !context::is_inside();
        if timeout_ms == 0 || plain {
            return self.harvest(timeout_ms);
        }
        let source = match self.own_source.get() {
            Some(source) => source,
            None => {
                let epoll = sys::duplicate(self.poller.borrow().epoll())?;
                self.own_source.get_or_init(|| Source::new(epoll, false))
            }
        };
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        let end = timeout.map(|timeout| Instant::now() + timeout);
        let _unmarked = loop_thread::unmark();
        match perform(source, Patience::For(timeout), Look(self)) {
            Err(error)
                if error.kind() == io::ErrorKind::TimedOut
                    && end.is_some_and(|end| end <= Instant::now()) =>
            {
                self.harvest(0)
            }
            count => count,
        }
    }

    fn harvest(&self, timeout_ms: i32) -> io::Result<usize> {
        let mut batch = self.batch.borrow_mut();
        self.poller.borrow_mut().wait(&mut batch, timeout_ms)
    }

    /// Takes the timers out of the wheel whose time has come, in the order of their deadlines.
    fn collect_due(&self) {
        let now = self.poller.borrow().elapsed();
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            return;
        }
        let mut table = self.table.borrow_mut();
        let mut due = Vec::new();
        timers.advance(now, |id: SourceId| {
            if let Some(entry) = table.get_mut(id) {
                entry.timer = NONE;
                due.push((entry.due, id));
            }
        });
        due.sort_unstable_by_key(|(due, id)| (*due, id.serial()));
        self.due.borrow_mut().extend(due.iter().map(|(_, id)| id));
    }

    fn work(&self, work: Work) -> Step {
        match work {
            Work::Posted(parcel) => contain(|| parcel.open(self)),
            Work::Deferred(function) => contain(|| function(self)),
            Work::Signal(id, signal) => return self.signalled(id, signal),
            Work::Kept(event) => return Step::Event(event),
        };
        Step::Called
    }

    /// The body of a source, for its handler to be called; none if that has a key, or is gone.
    fn take_body(&self, id: SourceId) -> Option<Body> {
        let mut table = self.table.borrow_mut();
        let entry = table.get_mut(id)?;
        entry.body.take_if(|body| body.key().is_none())
    }

    /// Tells a source of what a pool's thread has made of its event, unless it is gone.
    pub(super) fn handled(&self, id: SourceId, result: &mut dyn Any) {
        let Some(body) = self.take_body(id) else {
            return;
        };
        self.call(id, body, |body| {
            if let Body::Descriptor(_, watched) = body {
                watched.handled(self, result);
            }
        });
    }

    /// Calls the handler of a source, and puts it back unless it panicked or is gone.
    fn call(&self, id: SourceId, mut body: Body, f: impl FnOnce(&mut Body)) -> Step {
        let mut sound = false;
        self.current.set(Some(id));
        contain(|| {
            f(&mut body);
            sound = true;
        });
        self.current.set(None);
        let gone = match self.table.borrow_mut().get_mut(id) {
            Some(entry) if sound => {
                entry.body = Some(body);
                return Step::Called;
            }
            Some(_) => false,
            None => true,
        };
        if !gone {
            self.detach(id);
        }
        contain(|| drop(body));
        Step::Called
    }

    fn ready(&self, event: EpollEvent) -> Step {
        let (token, readiness) = (event.u64, Readiness(event.events));
        // The poller's own tokens name no entry.
        let id = SourceId::of_token(token);
        let mut table = self.table.borrow_mut();
        let Some(entry) = table.get_mut(id) else {
            return Step::Stale;
        };
        match &entry.body {
            Some(Body::Descriptor(Some(key), _)) => Step::Event(Event::Ready {
                key: *key,
                id,
                readiness,
            }),
            Some(Body::Descriptor(None, _)) => {
                let body = entry.body.take();
                drop(table);
                let body = body.expect("looked at just above");
                self.call(id, body, |body| {
                    if let Body::Descriptor(_, watched) = body {
                        watched.call(self, readiness);
                    }
                })
            }
            Some(Body::Signals(signals, _)) => {
                let come = signals.take_all();
                let come = come.into_iter().map(|signal| Work::Signal(id, signal));
                self.work.borrow_mut().extend(come);
                Step::Stale
            }
            Some(Body::Child(pidfd, _)) => {
                let status = sys::reap(pidfd.as_raw_fd()).transpose();
                drop(table);
                status.map_or(Step::Stale, |status| self.ended(id, status))
            }
            Some(Body::Timer { .. }) | None => Step::Stale,
        }
    }

    fn signalled(&self, id: SourceId, signal: Signal) -> Step {
        if let Some(body) = self.take_body(id) {
            return self.call(id, body, |body| {
                if let Body::Signals(_, Told::Handler(handler)) = body {
                    handler(self, signal);
                }
            });
        }
        match self.key_of(id) {
            Some(key) => Step::Event(Event::Signal { key, id, signal }),
            None => Step::Stale,
        }
    }

    /// The end of a child comes once.
    fn ended(&self, id: SourceId, status: io::Result<std::process::ExitStatus>) -> Step {
        match self.detach(id).flatten() {
            Some(Body::Child(_, Told::Key(key))) => Step::Event(Event::Exit { key, status }),
            Some(Body::Child(_, Told::Handler(handler))) => {
                contain(|| handler(self, status));
                Step::Called
            }
            _ => Step::Stale,
        }
    }

    fn expired(&self, id: SourceId) -> Step {
        let mut table = self.table.borrow_mut();
        // It may have been set to another time meanwhile.
        let Some(entry) = table.get_mut(id).filter(|entry| entry.timer == NONE) else {
            return Step::Stale;
        };
        let Some(Body::Timer { period, told }) = &entry.body else {
            return Step::Stale;
        };
        let (due, period, key) = (entry.due, *period, told.key());
        drop(table);
        let once = match period {
            Some(period) => {
                let late = self.poller.borrow().now().saturating_duration_since(due);
                // Periods that passed unnoticed are left out.
                let periods = late.as_nanos() / period.as_nanos() + 1;
                let periods = u32::try_from(periods).unwrap_or(u32::MAX);
                self.arm(id, due + period * periods);
                None
            }
            None => self.detach(id).flatten(),
        };
        match (key, once) {
            (Some(key), _) => Step::Event(Event::Timer { key, id }),
            (None, Some(mut body)) => {
                contain(|| body.expire(self));
                contain(|| drop(body));
                Step::Called
            }
            (None, None) => match self.take_body(id) {
                Some(body) => self.call(id, body, |body| body.expire(self)),
                None => Step::Stale,
            },
        }
    }

    fn key_of(&self, id: SourceId) -> Option<u64> {
        let mut table = self.table.borrow_mut();
        table.get_mut(id)?.body.as_ref()?.key()
    }
}

impl Body {
    /// Calls a timer's handler.
    fn expire(&mut self, events: &EventLoop) {
        if let Body::Timer {
            told: Told::Handler(handler),
            ..
        } = self
        {
            handler(events);
        }
    }
}

/// Taking what has happened, for a wait that parks a coroutine or can be cut short.
struct Look<'a>(&'a EventLoop);

impl Operation for Look<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, _: &Source) -> io::Result<usize> {
        match self.0.harvest(0)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}
