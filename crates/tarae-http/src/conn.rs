//! One HTTP/1.1 connection as a state machine: bytes in, events out. Every way of driving a
//! connection (direct style, event loop, coroutine per request) uses this one. It does no I/O
//! and has no clock; time limits are the driver's, which learns from the events what it waits
//! for.
//!
//! ```text
//!            ┌───────────────────────── next request ◄──────────────────────────┐
//!            ▼                                                                   │
//!  Head ─► Plan ─► (Body) ─► Call ─► respond() ─► (Stream) ─► (Discard) ────────┤
//!    │      │ │      │       ▲                       │                           │
//!    │      │ └──────┼─ CallStreaming                ├──── last answer           │
//!    └──────┴────────┴── refused ──► Close ◄─────────┴─ (Upgrade)
//! ```
//!
//! `input` finds heads and bodies, `output` lays down answers, `upgrade` ends HTTP.
//!
//! Answers are gathered in one output buffer while whole requests are at hand, so a batch of
//! pipelined requests costs one read and one write. After a refused message nothing that
//! follows it is looked at.

mod incoming;
mod input;
mod output;
mod upgrade;

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};

use http::StatusCode;
use tarae::net::TcpStream;

use crate::encode::CommonHeaders;
use crate::framing::Framing;
use crate::head::Scan;
use crate::request::{Head, Message, Request};
use crate::response::Response;
use crate::{Limits, Plan};
use incoming::Incoming;
use output::Source;

pub use input::BodyError;
pub use output::BodyWriter;
pub(crate) use upgrade::Upgrade;
pub use upgrade::Upgraded;

/// Size of a fresh receive buffer: the largest head fits by default.
const INPUT_BYTES: usize = 16 * 1024;
/// With less room than this behind the input, what was answered makes way for more.
const SPACE_BYTES: usize = 4 * 1024;
/// A buffer that grew beyond this is not kept for other connections.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// No further request is started while this much output waits to be written.
const OUTPUT_BYTES: usize = 64 * 1024;

/// What every call into a connection needs to know of the server.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The bounds.
    pub limits: &'a Limits,
    /// The shared header fields, ticked by the driver.
    pub common: &'a CommonHeaders,
}

/// What the driver has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Read into [`Conn::space`], then [`Conn::received`]. Nothing is held: instead of waiting
    /// with the connection in hand, the driver may [`Conn::park`] it until data arrives.
    Idle,
    /// A head has begun. Read as for `Idle`.
    ReadHead,
    /// A body is under way. Read as for `Idle`.
    ReadBody,
    /// Ask the handler for its plan with [`Conn::head`], then [`Conn::planned`].
    Plan,
    /// Call the handler with [`Conn::request`], then [`Conn::respond`].
    Call,
    /// The same with [`Conn::streaming_request`]: the handler reads the body itself, and waits for
    /// it.
    CallStreaming,
    /// Write from [`Conn::output`], then [`Conn::wrote`]. A partial write is fine.
    Write,
    /// Call [`Conn::pull`], which calls the reader of the answer's body; that may block.
    Pull,
    /// Call [`Conn::produce`], which has the writer of the answer's body write all of it; that
    /// blocks as long as the peer takes it.
    Produce,
    /// Send from [`Conn::file_part`], then [`Conn::sent_file`]; or call [`Conn::pull`], which reads
    /// the file instead.
    SendFile,
    /// HTTP is over on this connection: call [`Conn::upgrade`], which gives the transport to the
    /// closure of the answer.
    Upgrade,
    /// All is said. With `linger`, bytes of the peer may be unread: shut down the writing side
    /// and read for a bounded while before closing, or the answer may be lost to a reset.
    Close {
        /// Whether the peer may still be sending.
        linger: bool,
    },
}

/// The memory a connection works with: fit for a pool, needed only while it is not idle.
///
/// It is the machine itself, as good as new and without a peer, so that lending it to a
/// connection moves one pointer.
#[derive(Debug)]
pub struct Buffers(Box<Conn>);

impl Buffers {
    /// Fresh buffers.
    pub fn new() -> Self {
        let head = Head::new(vec![0; INPUT_BYTES]);
        Self(Box::new(Conn {
            message: Message::new(head),
            filled: 0,
            head_len: 0,
            scan: Scan::default(),
            framing: Framing::NONE,
            state: State::Head,
            incoming: None,
            body_max: 0,
            streams: false,
            taken: 0,
            continue_due: false,
            body_fault: None,
            discard_left: 0,
            output: Vec::new(),
            written: 0,
            source: Source::None,
            upgrade: None,
            keep: true,
            served: 0,
            blank_seen: false,
            end_of_input: false,
            draining: false,
            linger: false,
        }))
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection that holds nothing, between two requests or before the first: what is left of
/// it is at most 64 bytes.
///
/// ```
/// use tarae_http::conn::{Buffers, Parked};
///
/// assert!(size_of::<Parked>() <= 64);
/// let conn = Parked::new(None).resume(Buffers::new());
/// let (parked, buffers) = conn.park();
/// # let _ = (parked, buffers);
/// ```
#[derive(Debug)]
pub struct Parked {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) served: u32,
    pub(crate) blank_seen: bool,
}

impl Parked {
    /// A new connection.
    pub fn new(peer: Option<SocketAddr>) -> Self {
        Self {
            peer,
            served: 0,
            blank_seen: false,
        }
    }

    /// Gives the connection memory to work with.
    pub fn resume(self, buffers: Buffers) -> Box<Conn> {
        let Buffers(mut conn) = buffers;
        conn.message.peer = self.peer;
        conn.served = self.served;
        conn.blank_seen = self.blank_seen;
        conn
    }

    /// How many requests were answered.
    pub fn served(&self) -> u32 {
        self.served
    }
}

/// A connection at work.
///
/// ```
/// use tarae_http::conn::{Buffers, Context, Event, Parked};
/// use tarae_http::{CommonHeaders, Limits, Plan, Response};
///
/// let (limits, common) = (Limits::default(), CommonHeaders::default());
/// let context = Context { limits: &limits, common: &common };
/// let mut conn = Parked::new(None).resume(Buffers::new());
/// assert_eq!(conn.next(context), Event::Idle);
///
/// let input = b"GET /there HTTP/1.1\r\nHost: example.org\r\n\r\n";
/// conn.space()[..input.len()].copy_from_slice(input);
/// conn.received(input.len());
///
/// assert_eq!(conn.next(context), Event::Plan);
/// assert_eq!(conn.head().path(), "/there");
/// conn.planned(Plan::default(), context);
/// assert_eq!(conn.next(context), Event::Call);
/// conn.respond(Response::text("hello"), context);
///
/// assert_eq!(conn.next(context), Event::Write);
/// assert!(conn.output().starts_with(b"HTTP/1.1 200 OK\r\n"));
/// conn.wrote(conn.output().len());
/// assert_eq!(conn.next(context), Event::Idle);
/// ```
pub struct Conn {
    /// Its buffer is initialised throughout, so that it can be read into.
    message: Message,
    /// How much of the receive buffer holds input. The current message begins at
    /// `message.head.start`.
    filled: usize,
    head_len: usize,
    scan: Scan,
    framing: Framing,
    state: State,
    /// The body of the current message, if it has one.
    incoming: Option<Incoming>,
    body_max: u64,
    /// The plan is that the handler reads the body.
    streams: bool,
    /// What the handler has read of the part of the body that lies in the buffer.
    taken: usize,
    /// The client waits for `100 Continue`, which goes out when the handler begins to read.
    continue_due: bool,
    /// Why the body cannot be read to its end.
    body_fault: Option<StatusCode>,
    /// How much of a body that nobody reads may still be thrown away; 0 if it is not to be.
    discard_left: u64,
    output: Vec<u8>,
    /// How much of `output`, or of the bytes in `source` once that is empty, was written.
    written: usize,
    source: Source,
    /// What the connection goes over to after the current answer.
    upgrade: Option<Upgrade>,
    /// Whether the connection goes on after the current answer.
    keep: bool,
    served: u32,
    /// An empty line before the request line was skipped.
    blank_seen: bool,
    end_of_input: bool,
    draining: bool,
    linger: bool,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("state", &self.state)
            .field("source", &self.source)
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Plan,
    Body,
    Call,
    CallStreaming,
    Stream,
    Discard,
    Upgrade,
    Close,
}

/// The peer's bytes and the way to it, for those who wait on the connection themselves. Anything
/// that is `Read + Write`.
pub trait Transport: Read + Write {
    /// The socket, where it is one of Tarae's.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Conn {
    /// What to do next. Calling it again without doing it gives the same answer.
    #[inline]
    pub fn next(&mut self, context: Context<'_>) -> Event {
        loop {
            let step = match self.state {
                State::Head => self.next_head(context),
                State::Plan => Ok(Some(Event::Plan)),
                State::Body => self.next_body(context),
                State::Call => Ok(Some(Event::Call)),
                State::CallStreaming => Ok(Some(Event::CallStreaming)),
                State::Stream => Ok(self.next_stream()),
                State::Discard => Ok(self.next_discard(context)),
                State::Upgrade if self.has_output() => Ok(Some(Event::Write)),
                State::Upgrade => Ok(Some(Event::Upgrade)),
                State::Close if self.has_output() => Ok(Some(Event::Write)),
                State::Close => Ok(Some(Event::Close {
                    linger: self.linger,
                })),
            };
            match step {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(reject) => self.refuse(Response::plain_status(reject.0), context),
            }
        }
    }

    /// Room to read into; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        let head = &mut self.message.head;
        if head.start > 0 && head.buf.len() - self.filled < SPACE_BYTES {
            head.buf.copy_within(head.start..self.filled, 0);
            self.filled -= head.start;
            head.start = 0;
        }
        if self.filled == head.buf.len() {
            let doubled = head.buf.len() * 2;
            head.buf.resize(doubled.max(INPUT_BYTES), 0);
        }
        &mut head.buf[self.filled..]
    }

    /// Says that `bytes` bytes were read into [`space`](Self::space); 0 says that the peer
    /// will send no more.
    ///
    /// # Panics
    ///
    /// If that is more than the space.
    pub fn received(&mut self, bytes: usize) {
        assert!(
            bytes <= self.message.head.buf.len() - self.filled,
            "more bytes than space"
        );
        self.filled += bytes;
        self.end_of_input |= bytes == 0;
    }

    /// The head the handler is to plan for.
    #[inline]
    pub fn head(&self) -> &Head {
        &self.message.head
    }

    /// Takes the handler's plan. Does nothing unless [`Event::Plan`] was the last event.
    #[inline]
    pub fn planned(&mut self, plan: Plan, context: Context<'_>) {
        if self.state != State::Plan {
            return;
        }
        if self.framing.has_body() {
            self.body_max = plan.body_limit.unwrap_or(context.limits.body_bytes as u64);
            self.streams = plan.streams;
            self.begin_body(plan.reject.is_some(), context);
        } else {
            self.state = State::Call;
        }
        if let (State::Call | State::CallStreaming, Some(response)) = (self.state, plan.reject) {
            self.respond(*response, context);
        }
    }

    /// Whether the next event is [`Event::Call`].
    #[inline]
    pub(crate) fn is_call_due(&self) -> bool {
        self.state == State::Call
    }

    /// The request to call the handler with.
    #[inline]
    pub fn request(&mut self) -> Request<'_> {
        Request::new(self, None)
    }

    /// The request to call a handler with that reads the body itself: from `transport`, which
    /// must wait where there is nothing to read yet.
    pub fn streaming_request<'a>(
        &'a mut self,
        transport: &'a mut dyn Transport,
        limits: &'a Limits,
    ) -> Request<'a> {
        Request::new(self, Some((transport, limits)))
    }

    /// Takes the handler's answer. Does nothing unless [`Event::Call`] or
    /// [`Event::CallStreaming`] was the last event.
    pub fn respond(&mut self, response: Response, context: Context<'_>) {
        self.respond_here(response, context);
    }

    /// The same, as a part of the caller.
    #[inline(always)]
    pub(crate) fn respond_here(&mut self, mut response: Response, context: Context<'_>) {
        if !matches!(self.state, State::Call | State::CallStreaming) {
            return;
        }
        self.served = self.served.saturating_add(1);
        let last = context
            .limits
            .requests_per_connection
            .is_some_and(|max| self.served >= max);
        self.keep = self.framing.keep_alive && !response.close && !self.draining && !last;
        if self.streams {
            self.judge_unread();
        }
        // A client that expects the connection to go on may be sending its next request.
        self.linger = !self.keep
            && !self.end_of_input
            && (self.framing.keep_alive || !self.is_body_complete());
        self.answer(&mut response, context);
    }

    #[inline]
    pub(crate) fn set_client(&mut self, client: IpAddr) {
        self.message.client = Some(client);
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// Whether the last answer lies whole in the output and nothing else has arrived: the next
    /// event is [`Event::Write`], and no other comes before all of it is written.
    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.state == State::Head
            && self.filled == self.message.head.start
            && !self.output.is_empty()
    }

    /// Whether the next event is [`Event::Idle`]; what it does is done then.
    #[inline]
    pub(crate) fn rest(&mut self) -> bool {
        let is_idle = self.is_idle();
        if is_idle {
            self.forget_input();
        }
        is_idle
    }

    /// Nothing of the input is needed any more.
    fn forget_input(&mut self) {
        self.message.head.start = 0;
        self.filled = 0;
    }

    /// What is to be written now. A partial write is fine.
    pub fn output(&self) -> &[u8] {
        if self.output.is_empty()
            && let Source::Bytes(body) = &self.source
        {
            return &body.in_memory()[self.written..];
        }
        &self.output[self.written..]
    }

    /// Says that the first `bytes` of [`output`](Self::output) were written.
    ///
    /// # Panics
    ///
    /// If that is more than there was.
    pub fn wrote(&mut self, bytes: usize) {
        assert!(bytes <= self.output().len(), "more bytes than output");
        self.written += bytes;
        if self.written == self.output.len() && !self.output.is_empty() {
            self.output.clear();
            self.written = 0;
        }
    }

    /// Says that the peer took too long. A message that has begun is answered with 408; an
    /// answer that is not taken is dropped.
    pub fn timed_out(&mut self, context: Context<'_>) {
        let begun = self.state == State::Body
            || self.state == State::Head && self.filled > self.message.head.start;
        if begun && !self.has_output() {
            self.refuse(Response::plain_status(StatusCode::REQUEST_TIMEOUT), context);
        } else {
            self.abort();
        }
    }

    /// Drops what is left to do: the next event is [`Event::Close`].
    pub fn abort(&mut self) {
        self.output.clear();
        self.written = 0;
        self.source = Source::None;
        self.upgrade = None;
        self.state = State::Close;
    }

    /// Ends the connection soon: a request whose head has arrived is answered, with
    /// `Connection: close`; without one it closes at once.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is held in either direction, so that it may be parked.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.state == State::Head
            && self.filled == self.message.head.start
            && !self.has_output()
            && !self.end_of_input
            && !self.draining
    }

    /// Takes the memory out of an idle connection.
    ///
    /// # Panics
    ///
    /// If it is not [idle](Self::is_idle), that is, if [`Event::Idle`] was not the last event.
    pub fn park(mut self: Box<Self>) -> (Parked, Buffers) {
        assert!(self.is_idle(), "only an idle connection can be parked");
        let parked = Parked {
            peer: self.message.peer,
            served: self.served,
            blank_seen: self.blank_seen,
        };
        // An idle connection is as good as reset, but for what its last request has left.
        self.message.head.target.clear();
        self.message.head.fields.clear();
        self.shrink();
        (parked, Buffers(self))
    }

    /// Ends the connection and gives its memory back. A buffer that a large message has made
    /// grow is replaced by one of the usual size.
    pub fn into_buffers(mut self: Box<Self>) -> Buffers {
        self.reset();
        Buffers(self)
    }

    /// Forgets everything but the memory.
    fn reset(&mut self) {
        let Conn {
            message,
            filled,
            head_len,
            scan,
            framing,
            state,
            incoming,
            body_max,
            streams,
            taken,
            continue_due,
            body_fault,
            discard_left,
            output,
            written,
            source,
            upgrade,
            keep,
            served,
            blank_seen,
            end_of_input,
            draining,
            linger,
        } = self;
        message.reset();
        output.clear();
        (*filled, *head_len, *written, *served, *taken) = (0, 0, 0, 0, 0);
        (*body_max, *discard_left) = (0, 0);
        (*scan, *framing, *state) = (Scan::default(), Framing::NONE, State::Head);
        (*incoming, *source, *upgrade) = (None, Source::None, None);
        *keep = true;
        (*streams, *continue_due, *body_fault) = (false, false, None);
        (*blank_seen, *end_of_input, *draining, *linger) = (false, false, false, false);
        self.shrink();
    }

    /// Gives back what large messages have taken.
    fn shrink(&mut self) {
        let head = &mut self.message.head;
        if head.buf.len() > KEPT_BYTES_MAX {
            head.buf.truncate(INPUT_BYTES);
            head.buf.shrink_to_fit();
        }
        if head.target.capacity().max(self.output.capacity()) > KEPT_BYTES_MAX {
            head.target.shrink_to(KEPT_BYTES_MAX);
            self.output.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// How many requests were answered.
    pub fn served(&self) -> u32 {
        self.served
    }

    #[inline]
    fn has_output(&self) -> bool {
        !self.output().is_empty()
    }
}
