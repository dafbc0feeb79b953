//! One connection of the server: woken, read, answered, put aside again.
//!
//! Started by the acceptor and by `park_until_readable`. All protocol decisions are `conn`'s;
//! nothing here looks at bytes. A connection that is put aside holds no buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use tarae::net::park_until_readable;
use tarae::time::Instant;
use tarae::{TimedOut, Wake};

use super::Core;
use super::arrival::arrive;
use super::connections::{Connection, Open};
use super::guards::Entered;
use super::local::{Lent, Local};
use super::roster::Entry;
use super::wire::{self, Pace, Wire, positive};
use crate::conn::{Conn, Context, Event};
use crate::handler::{call_contained, plan_contained};
use crate::{CommonHeaders, Handler, Limits, Plan, Response};

/// A connection's first moments: on its worker, in the coroutine that the acceptor spawned.
pub(super) fn begin<H: Handler>(open: Open<H>) {
    if !arrive(&open) {
        return;
    }
    // Answers leave at once; without the option they still leave.
    let _ = open.stream.set_nodelay(true);
    let timeout = positive(open.server().core.limits.write_timeout);
    // A time-out that is not zero is never refused.
    let _ = open.stream.set_write_timeout(Some(timeout));
    resume(open, Wake::Ready);
}

/// Goes on with an idle connection, in a coroutine made for it.
fn resume<H: Handler>(open: Open<H>, wake: Wake) {
    if wake == Wake::TimedOut {
        return;
    }
    let core = &open.server().core;
    let local = Local::of(core);
    open.work();
    let Lent { buffers, entry } = local.borrow(core);
    entry.begin();
    let mut exchange = Exchange {
        connection: &open,
        core,
        local: &local,
        entry: &entry,
        conn: open.parked().resume(buffers),
        head_deadline: None,
        body_pace: Pace::default(),
        own_timeout: None,
        write_pace: None,
        last: wake == Wake::Cancelled,
    };
    let end = exchange.run();
    let conn = exchange.conn;
    match end {
        End::Idle => {
            let (parked, buffers) = conn.park();
            open.park(&parked);
            entry.end();
            local.give_back(Lent { buffers, entry });
            park_until_readable(open, local.idle_until(), resume);
        }
        End::Close { linger } => {
            let buffers = conn.into_buffers();
            if linger {
                // The answer has been sent; whatever goes wrong now is the peer's affair.
                let _ = wire::linger(&open.stream, wire::LINGER_TIME);
            }
            entry.end();
            local.give_back(Lent { buffers, entry });
        }
    }
}

/// How an exchange ends.
enum End {
    /// There is nothing more to do now.
    Idle,
    /// The connection is to be closed, and as [`Event::Close`] says.
    Close { linger: bool },
}

const CLOSE: End = End::Close { linger: false };

/// A connection with its buffers, while there is something to do.
struct Exchange<'a, H> {
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
}

impl<'a, H: Handler> Exchange<'a, H> {
    /// Reads, calls, writes until there is nothing more to do now.
    fn run(&mut self) -> End {
        match self.read_at_once() {
            Ok(true) => {}
            Ok(false) => return self.idle(),
            Err(_) => return CLOSE,
        }
        let mut common = self.local.common();
        loop {
            let context = Context {
                limits: &self.core.limits,
                common: &common,
            };
            self.drain_if_last();
            let result = match self.conn.next(context) {
                Event::Idle => return self.idle(),
                Event::ReadHead => self.read_head(context),
                Event::ReadBody => self.read_body(context),
                event @ (Event::Plan | Event::Call) => {
                    if event == Event::Plan && !self.plan(context) {
                        continue;
                    }
                    match self.call(&mut common) {
                        Ok(true) => return self.idle(),
                        result => result.map(drop),
                    }
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
                Event::Close { linger } => return End::Close { linger },
            };
            if result.is_err() {
                return CLOSE;
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
        self.connection.stream.set_nonblocking(true)?;
        let result = (&mut &self.connection.stream).read(self.conn.space());
        self.connection.stream.set_nonblocking(false)?;
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
        let now = Instant::now();
        let until = self
            .head_deadline
            .or_else(|| now.checked_add(context.limits.head_timeout));
        self.head_deadline = until;
        let left = until.map_or(Duration::MAX, |until| until.duration_since(now));
        if !self.may_wait() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let result = self.read(left, context);
        self.connection.work();
        result.map(drop)
    }

    /// Waits for more of a body.
    fn read_body(&mut self, context: Context<'_>) -> io::Result<()> {
        let Limits {
            body_timeout,
            rate_min,
            ..
        } = self.core.limits;
        let begin = Instant::now();
        let patience = self.body_pace.patience(body_timeout, rate_min);
        let count = self.read(patience, context)?;
        self.body_pace.moved(begin, count as u64);
        Ok(())
    }

    /// Waits for more of a message, `timeout` at most.
    fn read(&mut self, timeout: Duration, context: Context<'_>) -> io::Result<usize> {
        self.connection
            .stream
            .set_read_timeout(Some(positive(timeout)))?;
        let result = (&mut &self.connection.stream).read(self.conn.space());
        self.local.refresh();
        match result {
            // The end that `Connections` has made, which is no fault of the peer's.
            Ok(0) if self.core.is_stopping() => Err(ErrorKind::ConnectionAborted.into()),
            Ok(count) => {
                self.conn.received(count);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.conn.timed_out(context);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let output = self.conn.output();
        if self.write_pace.is_none() {
            // Nearly always all of it is taken at once, and nobody looks at the clock.
            let count = written((&mut &self.connection.stream).write(output)?)?;
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
        stream.set_write_timeout(Some(positive(patience)))?;
        let begin = Instant::now();
        let output = self.conn.output();
        let count = written((&mut &*stream).write(output)?)?;
        pace.moved(begin, count as u64);
        self.write_pace = (count < output.len()).then_some(pace);
        self.conn.wrote(count);
        if self.write_pace.is_none() {
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
