//! One connection of the server: woken, read, answered, put aside again.
//!
//! Driven by the models that have a coroutine, a thread or a process for each request under way:
//! it waits wherever it runs. All protocol decisions are `conn`'s; nothing here looks at bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use tarae::TimedOut;
use tarae::time::Instant;

use super::Core;
use super::arrival::arrive;
use super::connections::Connection;
use super::guards::Entered;
use super::local::Local;
use super::roster::Entry;
use super::wire::{self, Pace, Wire, positive};
use crate::conn::{Buffers, Conn, Context, Event};
use crate::handler::{call_contained, plan_contained};
use crate::{CommonHeaders, Handler, Limits, Plan, Response};

/// A connection's first moments. False if it is to be closed.
pub(super) fn admit<H>(connection: &Connection<H>) -> bool {
    if !arrive(connection) {
        return false;
    }
    // Answers leave at once; without the option they still leave.
    let _ = connection.stream.set_nodelay(true);
    let timeout = positive(connection.server().core.limits.write_timeout);
    // A time-out that is not zero is never refused.
    let _ = connection.stream.set_write_timeout(Some(timeout));
    true
}

/// How an exchange ends.
pub(super) enum End {
    /// There is nothing more to do now.
    Idle,
    /// The connection is to be closed, and as [`Event::Close`] says.
    Close { linger: bool },
}

/// Why an exchange cannot go on now on an event loop.
pub(super) enum Pause {
    /// It waits for the socket.
    Wait(Wait),
    /// The handler is to be called elsewhere, by [`Exchange::call_only`].
    Call,
    /// What comes next waits by itself, so it is to go on elsewhere.
    Leave,
}

/// What a connection waits for that does not block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) for_room: bool,
    /// Then it is over.
    pub(super) until: Option<Instant>,
}

/// Where an exchange runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It may wait: in a coroutine, on a thread.
    Own,
    /// On the thread of an event loop, where nothing may wait.
    Loop,
    /// As above; and handlers that are not marked for it are not called there.
    LoopWithPool,
}

const CLOSE: End = End::Close { linger: false };

/// A connection with its buffers, while there is something to do.
pub(super) struct Exchange<'a, H> {
    connection: &'a Connection<H>,
    core: &'a Core,
    local: &'a Local,
    entry: &'a Entry,
    conn: Box<Conn>,
    /// Until when the head that has begun must be complete.
    head_deadline: Option<Instant>,
    body_pace: Pace,
    /// The time that the plan gives the current request, if it says so.
    own_timeout: Option<Option<Duration>>,
    /// Present while an answer has been taken in part only.
    write_pace: Option<Pace>,
    /// The runtime ends: what has arrived is answered, nothing more.
    last: bool,
    place: Place,
    /// Whether an event loop may call the handler itself, if the plan says so.
    on_loop: Option<bool>,
    /// Since when, and for what, it waits that does not block.
    wait: Option<(Instant, Wait)>,
}

/// An exchange between two events of a loop.
pub(super) struct Kept {
    conn: Box<Conn>,
    head_deadline: Option<Instant>,
    body_pace: Pace,
    own_timeout: Option<Option<Duration>>,
    write_pace: Option<Pace>,
    on_loop: Option<bool>,
    wait: Option<(Instant, Wait)>,
}

impl Kept {
    /// Nothing has been read yet.
    pub(super) fn new<H>(connection: &Connection<H>, buffers: Buffers) -> Kept {
        Kept {
            conn: connection.parked().resume(buffers),
            head_deadline: None,
            body_pace: Pace::default(),
            own_timeout: None,
            write_pace: None,
            on_loop: None,
            wait: None,
        }
    }
}

impl<'a, H: Handler> Exchange<'a, H> {
    /// Goes on with what was kept.
    pub(super) fn resume(
        connection: &'a Connection<H>,
        local: &'a Local,
        entry: &'a Entry,
        kept: Kept,
        place: Place,
    ) -> Exchange<'a, H> {
        Exchange {
            connection,
            core: &connection.server().core,
            local,
            entry,
            conn: kept.conn,
            head_deadline: kept.head_deadline,
            body_pace: kept.body_pace,
            own_timeout: kept.own_timeout,
            write_pace: kept.write_pace,
            last: false,
            place,
            on_loop: kept.on_loop,
            wait: kept.wait,
        }
    }

    pub(super) fn keep(self) -> Kept {
        Kept {
            conn: self.conn,
            head_deadline: self.head_deadline,
            body_pace: self.body_pace,
            own_timeout: self.own_timeout,
            write_pace: self.write_pace,
            on_loop: self.on_loop,
            wait: self.wait,
        }
    }

    /// The time for what it waits for is over.
    pub(super) fn timed_out(&mut self) -> Result<End, Pause> {
        match self.wait.take() {
            Some((_, wait)) if !wait.for_room => {
                let common = self.local.common();
                let limits = &self.core.limits;
                self.conn.timed_out(Context {
                    limits,
                    common: &common,
                });
                self.go_on()
            }
            _ => Ok(CLOSE),
        }
    }

    /// Calls the handler, and nothing else.
    pub(super) fn call_only(&mut self) -> Response {
        match self.enter() {
            Ok(_entered) => {
                let handler = &self.connection.server().handler;
                self.local.in_time(self.own_timeout, || {
                    call_contained(handler, &mut self.conn.request())
                })
            }
            Err(response) => *response,
        }
    }

    /// Goes on with what `call_only` gave.
    pub(super) fn answer(&mut self, response: Response) -> Result<End, Pause> {
        self.local.refresh();
        self.drain_if_last();
        let common = self.local.common();
        let limits = &self.core.limits;
        self.conn.respond(
            response,
            Context {
                limits,
                common: &common,
            },
        );
        self.go_on()
    }

    /// The connection takes up work, in this coroutine or thread. `last`: what has arrived is
    /// answered, nothing more.
    pub(super) fn begin(
        connection: &'a Connection<H>,
        local: &'a Local,
        entry: &'a Entry,
        buffers: Buffers,
        last: bool,
    ) -> Exchange<'a, H> {
        connection.work();
        entry.begin();
        Exchange {
            connection,
            core: &connection.server().core,
            local,
            entry,
            conn: connection.parked().resume(buffers),
            head_deadline: None,
            body_pace: Pace::default(),
            own_timeout: None,
            write_pace: None,
            last,
            place: Place::Own,
            on_loop: None,
            wait: None,
        }
    }

    /// Nothing more is to be done now; gives the buffers back.
    pub(super) fn park(self) -> Buffers {
        let (parked, buffers) = self.conn.park();
        self.connection.park(&parked);
        self.entry.end();
        buffers
    }

    /// The connection is to be closed; `linger` as [`End::Close`] says.
    pub(super) fn close(self, linger: bool) -> Buffers {
        let buffers = self.conn.into_buffers();
        if linger {
            // The answer has been sent; whatever goes wrong now is the peer's affair.
            let _ = wire::linger(&self.connection.stream, wire::LINGER_TIME);
        }
        self.entry.end();
        buffers
    }

    /// Takes what has arrived, then as `go_on`.
    pub(super) fn start(&mut self) -> Result<End, Pause> {
        match self.read_at_once() {
            Ok(true) => self.go_on(),
            Ok(false) => Ok(self.idle()),
            Err(_) => Ok(CLOSE),
        }
    }

    /// As `start`, where it may wait.
    pub(super) fn run(&mut self) -> End {
        self.start().unwrap_or(CLOSE)
    }

    /// Waits for the next request, then as `run`.
    pub(super) fn run_until(&mut self, idle_until: Option<Instant>) -> End {
        let now = Instant::now();
        let left = idle_until.map_or(Duration::MAX, |until| until.duration_since(now));
        if !self.may_wait() {
            return CLOSE;
        }
        let stream = &self.connection.stream;
        let came = stream
            .set_read_timeout(Some(positive(left)))
            .and_then(|()| stream.peek(&mut [0]));
        // Nothing is taken out of the socket before this: see `Connection::end_if_waiting`.
        self.connection.work();
        match came {
            Ok(count) if count > 0 => self.run(),
            _ => CLOSE,
        }
    }

    /// Reads, calls, writes until there is nothing more to do now. Pauses only on event loops.
    pub(super) fn go_on(&mut self) -> Result<End, Pause> {
        let mut common = self.local.common();
        loop {
            let context = Context {
                limits: &self.core.limits,
                common: &common,
            };
            self.drain_if_last();
            let result = match self.conn.next(context) {
                Event::Idle => return Ok(self.idle()),
                Event::ReadHead => self.read_head(context),
                Event::ReadBody => self.read_body(context),
                event @ (Event::Plan | Event::Call) => {
                    if event == Event::Plan && !self.plan(context) {
                        continue;
                    }
                    match self.place {
                        Place::Own => {}
                        Place::LoopWithPool if self.on_loop == Some(true) => {}
                        Place::LoopWithPool => return Err(Pause::Call),
                        Place::Loop if self.on_loop == Some(false) => return Err(Pause::Leave),
                        Place::Loop => {}
                    }
                    match self.call(&mut common) {
                        Ok(true) => return Ok(self.idle()),
                        result => result.map(drop),
                    }
                }
                Event::CallStreaming
                | Event::Pull
                | Event::Produce
                | Event::SendFile
                | Event::Upgrade
                    if self.place != Place::Own =>
                {
                    return Err(Pause::Leave);
                }
                Event::CallStreaming => {
                    self.call_streaming(context);
                    Ok(())
                }
                Event::Pull => {
                    // The connection ends by itself if the reader failed.
                    let _ = self.conn.pull();
                    Ok(())
                }
                Event::Produce => {
                    let mut wire = Wire::new(&self.connection.stream, &self.core.limits);
                    // As above.
                    let _ = self.conn.produce(&mut wire);
                    Ok(())
                }
                Event::SendFile => self.send_file(),
                Event::Upgrade => {
                    let mut wire = Wire::unlimited(&self.connection.stream);
                    self.conn.upgrade(&mut wire);
                    Ok(())
                }
                Event::Write => self.write(),
                Event::Close { linger } => return Ok(End::Close { linger }),
            };
            if let Err(error) = result {
                return match self.wait {
                    Some((_, wait)) if error.kind() == ErrorKind::WouldBlock => {
                        Err(Pause::Wait(wait))
                    }
                    _ => Ok(CLOSE),
                };
            }
        }
    }

    /// Has the handler look at the head. True if the call itself is due then.
    fn plan(&mut self, context: Context<'_>) -> bool {
        self.head_deadline = None;
        self.body_pace = Pace::default();
        self.entry.note(self.conn.head());
        let plan = if self.core.guards.look_at_requests() {
            self.plan_guarded()
        } else {
            plan_contained(&self.connection.server().handler, self.conn.head())
        };
        self.own_timeout = plan.timeout;
        self.on_loop = plan.on_loop;
        self.conn.planned(plan, context);
        self.conn.is_call_due()
    }

    /// As the handler plans, where the server's limits ask whose request it is and whether there is
    /// room for it.
    #[inline(never)]
    fn plan_guarded(&mut self) -> Plan {
        let guards = &self.core.guards;
        let client = guards.client(self.connection, self.conn.head());
        self.conn.set_client(client);
        match guards.refusal(client, guards.trusts(self.connection.source())) {
            Some(response) => Plan::reject(response),
            None => plan_contained(&self.connection.server().handler, self.conn.head()),
        }
    }

    /// Lets the request into the handler, or gives the answer if there is no room.
    #[inline]
    fn enter(&self) -> Result<Option<Entered<'a>>, Box<Response>> {
        if self.core.guards.look_at_requests() {
            self.enter_guarded()
        } else {
            Ok(None)
        }
    }

    #[inline(never)]
    fn enter_guarded(&self) -> Result<Option<Entered<'a>>, Box<Response>> {
        let guards = &self.core.guards;
        let source = self.connection.source();
        let client = self.conn.message().client.unwrap_or(source);
        let entered = guards.enter(client, guards.trusts(source));
        entered.map(Some).map_err(Box::new)
    }

    /// Calls the handler and takes its answer. If all that has arrived is answered with that, it
    /// is written too, without the detour over `next`; true if the connection is idle then.
    fn call(&mut self, common: &mut Rc<CommonHeaders>) -> io::Result<bool> {
        let handler = &self.connection.server().handler;
        let entered = match self.enter() {
            Ok(entered) => entered,
            Err(response) => {
                let limits = &self.core.limits;
                self.conn.respond(*response, Context { limits, common });
                return Ok(false);
            }
        };
        let response = self.local.in_time(self.own_timeout, || {
            call_contained(handler, &mut self.conn.request())
        });
        drop(entered);
        // The handler may have taken its time.
        if self.local.refresh() {
            *common = self.local.common();
        }
        self.drain_if_last();
        let context = Context {
            limits: &self.core.limits,
            common,
        };
        self.conn.respond_here(response, context);
        if !self.conn.is_answered() {
            return Ok(false);
        }
        self.write()?;
        Ok(self.conn.rest())
    }

    /// Calls a handler that reads the body itself.
    #[cold]
    fn call_streaming(&mut self, context: Context<'_>) {
        let response = match self.enter() {
            Ok(_entered) => {
                let mut wire = Wire::new(&self.connection.stream, &self.core.limits);
                let mut request = self.conn.streaming_request(&mut wire, context.limits);
                let handler = &self.connection.server().handler;
                self.local
                    .in_time(self.own_timeout, || call_contained(handler, &mut request))
            }
            Err(response) => *response,
        };
        self.conn.respond(response, context);
    }

    /// Has the connection end after what it is at, once the server stops. What has arrived before
    /// that counts: the socket has been looked at first.
    fn drain_if_last(&mut self) {
        if self.last || self.core.is_stopping() {
            self.conn.drain();
        }
    }

    /// Says that nothing would be lost by closing. False if that is to happen now.
    fn may_wait(&self) -> bool {
        self.connection.wait();
        !self.last && !self.core.is_stopping()
    }

    /// What comes when nothing is at hand. After an answer this needs no further system call: if
    /// more has arrived since the socket was read, the driver wakes the connection again.
    fn idle(&self) -> End {
        if self.may_wait() { End::Idle } else { CLOSE }
    }

    /// Takes what has arrived, without waiting. False if nothing has.
    fn read_at_once(&mut self) -> io::Result<bool> {
        let own = self.place == Place::Own;
        if own {
            self.connection.stream.set_nonblocking(true)?;
        }
        let result = (&mut &self.connection.stream).read(self.conn.space());
        if own {
            self.connection.stream.set_nonblocking(false)?;
        }
        match result {
            Ok(count) => {
                self.conn.received(count);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for more of a head. Its time runs from when its first bytes were seen.
    fn read_head(&mut self, context: Context<'_>) -> io::Result<()> {
        let since = self.since();
        let until = self
            .head_deadline
            .or_else(|| since.checked_add(context.limits.head_timeout));
        self.head_deadline = until;
        let left = until.map_or(Duration::MAX, |until| until.duration_since(since));
        if !self.may_wait() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let result = self.read(left, context);
        if self.wait.is_none() {
            self.connection.work();
        }
        result.map(drop)
    }

    /// Waits for more of a body.
    fn read_body(&mut self, context: Context<'_>) -> io::Result<()> {
        let Limits {
            body_timeout,
            rate_min,
            ..
        } = self.core.limits;
        let begin = self.since();
        let patience = self.body_pace.patience(body_timeout, rate_min);
        let count = self.read(patience, context)?;
        self.body_pace.moved(begin, count as u64);
        Ok(())
    }

    /// Waits for more of a message, `timeout` at most.
    fn read(&mut self, timeout: Duration, context: Context<'_>) -> io::Result<usize> {
        match self.receive(timeout) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.conn.timed_out(context);
                Ok(0)
            }
            result => result,
        }
    }

    fn receive(&mut self, timeout: Duration) -> io::Result<usize> {
        let stream = &self.connection.stream;
        if self.place == Place::Own {
            stream.set_read_timeout(Some(positive(timeout)))?;
        }
        let result = (&mut &*stream).read(self.conn.space());
        self.note_wait(&result, timeout, false);
        self.local.refresh();
        match result {
            // The end that `Connections` has made, which is no fault of the peer's.
            Ok(0) if self.core.is_stopping() => Err(ErrorKind::ConnectionAborted.into()),
            Ok(count) => {
                self.conn.received(count);
                Ok(count)
            }
            Err(error) => Err(error),
        }
    }

    /// Since when it waits for what it does next: now, unless an event loop has waited for it.
    fn since(&self) -> Instant {
        self.wait.map_or_else(Instant::now, |(since, _)| since)
    }

    /// On an event loop: notes that the socket has to be waited for, or that it is not any more.
    #[inline]
    fn note_wait<T>(&mut self, result: &io::Result<T>, patience: Duration, for_room: bool) {
        if self.place != Place::Own {
            self.wait = match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let since = self.since();
                    let until = since.checked_add(patience);
                    Some((since, Wait { for_room, until }))
                }
                _ => None,
            };
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let output = self.conn.output();
        if self.write_pace.is_none() {
            // Nearly always all of it is taken at once, and nobody looks at the clock.
            let result = (&mut &self.connection.stream).write(output);
            if self.place != Place::Own && result.is_err() {
                self.write_pace = Some(Pace::default());
                return self.write_rest();
            }
            let count = written(result?)?;
            self.write_pace = (count < output.len()).then(Pace::default);
            self.conn.wrote(count);
            return Ok(());
        }
        self.write_rest()
    }

    /// Sends a part of a file.
    fn send_file(&mut self) -> io::Result<()> {
        let Some((file, at, left)) = self.conn.file_part() else {
            return Ok(());
        };
        let limits = &self.core.limits;
        let stream = &self.connection.stream;
        let mut pace = self.write_pace.unwrap_or_default();
        let time = pace.left(limits.write_timeout, limits.rate_min);
        let begin = Instant::now();
        let send = || stream.send_file(file, at, left.min(FILE_BYTES));
        let count = tarae::timeout(time, send).unwrap_or_else(TimedOut::into_inner)?;
        pace.moved(begin, count);
        self.write_pace = (count < left).then_some(pace);
        self.conn.sent_file(count);
        Ok(())
    }

    /// Waits until the peer takes more of what it has taken a part of.
    #[cold]
    fn write_rest(&mut self) -> io::Result<()> {
        let limits = &self.core.limits;
        let mut pace = self.write_pace.unwrap_or_default();
        let patience = pace.patience(limits.write_timeout, limits.rate_min);
        let stream = &self.connection.stream;
        let own = self.place == Place::Own;
        if own {
            stream.set_write_timeout(Some(positive(patience)))?;
        }
        let begin = self.since();
        let output = self.conn.output();
        let length = output.len();
        let result = (&mut &*stream).write(output);
        self.note_wait(&result, patience, true);
        let count = written(result?)?;
        pace.moved(begin, count as u64);
        self.write_pace = (count < length).then_some(pace);
        self.conn.wrote(count);
        if own && self.write_pace.is_none() {
            stream.set_write_timeout(Some(positive(limits.write_timeout)))?;
        }
        Ok(())
    }
}

/// Bytes of a file that are sent before the peer's pace is looked at again.
const FILE_BYTES: u64 = 1024 * 1024;

fn written(count: usize) -> io::Result<usize> {
    match count {
        0 => Err(ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}
