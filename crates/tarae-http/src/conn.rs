//! One HTTP/1.1 connection as a state machine: bytes in, events out. Every way of driving a
//! connection (direct style, event loop, coroutine per request) uses this one. It does no I/O
//! and has no clock; time limits are the driver's, which learns from the events what it waits
//! for.
//!
//! ```text
//!            ┌───────────────────────── next request ◄──────────────────────────┐
//!            ▼                                                                   │
//!  Head ─► Plan ─► (Body) ─► Call ─► respond() ─► (Stream) ──── keep-alive ──────┤
//!    │      │        │                               │                           │
//!    └──────┴────────┴── refused ──► Close ◄─────────┴──── last answer           │
//! ```
//!
//! Answers are gathered in one output buffer while whole requests are at hand, so a batch of
//! pipelined requests costs one read and one write. After a refused message nothing that
//! follows it is looked at.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

use http::{Method, StatusCode, Version};

use crate::body::Chunked;
use crate::encode::{self, CommonHeaders, Persistence};
use crate::framing::{Framing, Length};
use crate::head::{self, BAD_REQUEST, Reject, Scan};
use crate::request::{Head, Request};
use crate::response::{Body, Content, Response};
use crate::{Limits, Plan};

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
    /// Write from [`Conn::output`], then [`Conn::wrote`]. A partial write is fine.
    Write,
    /// Call [`Conn::pull`], which calls the reader of the answer's body; that may block.
    Pull,
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
            request: Request::new(head, None),
            filled: 0,
            head_len: 0,
            scan: Scan::default(),
            framing: Framing::NONE,
            state: State::Head,
            chunked: None,
            body_max: 0,
            output: Vec::new(),
            written: 0,
            source: Source::None,
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
        conn.request.peer = self.peer;
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
#[derive(Debug)]
pub struct Conn {
    /// Its buffer is initialised throughout, so that it can be read into.
    request: Request,
    /// How much of the receive buffer holds input. The current message begins at
    /// `request.head.start`.
    filled: usize,
    head_len: usize,
    scan: Scan,
    framing: Framing,
    state: State,
    chunked: Option<Chunked>,
    body_max: usize,
    output: Vec<u8>,
    /// How much of `output`, or of the bytes in `source` once that is empty, was written.
    written: usize,
    source: Source,
    /// Whether the connection goes on after the current answer.
    keep: bool,
    served: u32,
    /// An empty line before the request line was skipped.
    blank_seen: bool,
    end_of_input: bool,
    draining: bool,
    linger: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Plan,
    Body,
    Call,
    Stream,
    Close,
}

/// What of an answer is not in the output buffer yet.
#[derive(Debug)]
enum Source {
    None,
    /// Written straight from where it is, once the output buffer is empty.
    Bytes(Body),
    /// Pulled into the output buffer. `fresh` until the first pull, whose bytes join the head.
    Reader {
        body: Body,
        fresh: bool,
    },
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
                State::Stream => Ok(self.next_stream()),
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
        let head = &mut self.request.head;
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
            bytes <= self.request.head.buf.len() - self.filled,
            "more bytes than space"
        );
        self.filled += bytes;
        self.end_of_input |= bytes == 0;
    }

    /// The head the handler is to plan for.
    #[inline]
    pub fn head(&self) -> &Head {
        &self.request.head
    }

    /// Takes the handler's plan. Does nothing unless [`Event::Plan`] was the last event.
    #[inline]
    pub fn planned(&mut self, plan: Plan, context: Context<'_>) {
        if self.state != State::Plan {
            return;
        }
        if let Some(response) = plan.reject {
            if self.framing.has_body() {
                self.refuse(*response, context);
            } else {
                self.state = State::Call;
                self.respond(*response, context);
            }
            return;
        }
        if !self.framing.has_body() {
            self.state = State::Call;
            return;
        }
        self.body_max = plan.body_limit.unwrap_or(context.limits.body_bytes);
        self.begin_body(context);
    }

    /// Whether the next event is [`Event::Call`].
    #[inline]
    pub(crate) fn is_call_due(&self) -> bool {
        self.state == State::Call
    }

    /// The request to call the handler with.
    #[inline]
    pub fn request(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Takes the handler's answer. Does nothing unless [`Event::Call`] was the last event.
    #[inline]
    pub fn respond(&mut self, mut response: Response, context: Context<'_>) {
        if self.state != State::Call {
            return;
        }
        self.served = self.served.saturating_add(1);
        let last = context
            .limits
            .requests_per_connection
            .is_some_and(|max| self.served >= max);
        self.keep = self.framing.keep_alive && !response.close && !self.draining && !last;
        // A client that expects the connection to go on may be sending its next request.
        self.linger = self.framing.keep_alive && !self.keep && !self.end_of_input;
        self.answer(&mut response, context);
    }

    /// Whether the last answer lies whole in the output and nothing else has arrived: the next
    /// event is [`Event::Write`], and no other comes before all of it is written.
    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.state == State::Head
            && self.filled == self.request.head.start
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
        self.request.head.start = 0;
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

    /// Reads the next part of the answer's body from the reader the handler gave, calling it
    /// once. Does nothing unless [`Event::Pull`] was the last event.
    ///
    /// # Errors
    ///
    /// What the reader returned, or `UnexpectedEof` if it had less than it promised. The
    /// connection needs no care: it ends after what it already has.
    pub fn pull(&mut self) -> io::Result<()> {
        let Source::Reader {
            body: Body(Content::Reader(reader, left)),
            fresh,
        } = &mut self.source
        else {
            return Ok(());
        };
        *fresh = false;
        let begin = self.output.len();
        let want = (*left).min(OUTPUT_BYTES as u64) as usize;
        self.output.resize(begin + want, 0);
        let result = loop {
            match reader.read(&mut self.output[begin..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) => break Err(ErrorKind::UnexpectedEof.into()),
                other => break other,
            }
        };
        // A reader that claims more than it was asked for cannot break the framing.
        let got = *result.as_ref().unwrap_or(&0).min(&want);
        *left -= got as u64;
        self.output.truncate(begin + got);
        if let Err(error) = result {
            self.source = Source::None;
            self.state = State::Close;
            return Err(error);
        }
        Ok(())
    }

    /// Says that the peer took too long. A message that has begun is answered with 408; an
    /// answer that is not taken is dropped.
    pub fn timed_out(&mut self, context: Context<'_>) {
        let begun = self.state == State::Body
            || self.state == State::Head && self.filled > self.request.head.start;
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
        self.state = State::Close;
    }

    /// Ends the connection soon: a request whose head has arrived is answered, with
    /// `Connection: close`; without one it closes at once.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is held in either direction, so that it may be parked.
    pub fn is_idle(&self) -> bool {
        self.state == State::Head
            && self.filled == self.request.head.start
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
            peer: self.request.peer,
            served: self.served,
            blank_seen: self.blank_seen,
        };
        // An idle connection is as good as reset, but for what its last request has left.
        self.request.head.target.clear();
        self.request.head.fields.clear();
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
            request,
            filled,
            head_len,
            scan,
            framing,
            state,
            chunked,
            body_max,
            output,
            written,
            source,
            keep,
            served,
            blank_seen,
            end_of_input,
            draining,
            linger,
        } = self;
        request.reset();
        output.clear();
        (*filled, *head_len, *body_max, *written, *served) = (0, 0, 0, 0, 0);
        (*scan, *framing, *state) = (Scan::default(), Framing::NONE, State::Head);
        (*chunked, *source) = (None, Source::None);
        *keep = true;
        (*blank_seen, *end_of_input, *draining, *linger) = (false, false, false, false);
        self.shrink();
    }

    /// Gives back what large messages have taken.
    fn shrink(&mut self) {
        let head = &mut self.request.head;
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

    fn has_output(&self) -> bool {
        !self.output().is_empty()
    }

    /// Looks for the next head.
    #[inline]
    fn next_head(&mut self, context: Context<'_>) -> Result<Option<Event>, Reject> {
        // What of it was written counts too: the buffer is only emptied as a whole.
        if self.output.len() >= OUTPUT_BYTES {
            return Ok(Some(Event::Write));
        }
        self.skip_blank();
        if self.filled == self.request.head.start {
            return Ok(self.starved(Event::Idle));
        }
        // A CR alone may be the begin of an empty line, if none was seen yet.
        let at = self.request.head.start;
        let lone_cr = self.filled == at + 1 && self.request.head.buf[at] == b'\r';
        if lone_cr && !self.blank_seen {
            return self.starved_in(Event::ReadHead);
        }
        let parsed = head::parse(
            &mut self.request.head,
            &mut self.scan,
            self.filled,
            context.limits,
        )?;
        let Some(parsed) = parsed else {
            return self.starved_in(Event::ReadHead);
        };
        self.scan = Scan::default();
        self.blank_seen = false;
        self.head_len = parsed.len;
        self.framing = parsed.framing;
        self.request.body_at = parsed.len;
        self.request.body_len = 0;
        self.state = State::Plan;
        Ok(Some(Event::Plan))
    }

    /// One empty line before a request line is forgiven (RFC 9112, 2.2).
    #[inline]
    fn skip_blank(&mut self) {
        let head = &mut self.request.head;
        if head.start < self.filled && head.buf[head.start] == b'\r' && !self.blank_seen {
            self.blank_seen = head.buf[head.start..self.filled].starts_with(b"\r\n");
            head.start += if self.blank_seen { 2 } else { 0 };
        }
    }

    /// The plan takes the body: find out whether it fits, and let the client go on.
    fn begin_body(&mut self, context: Context<'_>) {
        self.state = State::Body;
        self.chunked = None;
        match self.framing.length {
            Length::Bytes(length) if length > self.body_max as u64 => {
                let reject = Response::plain_status(StatusCode::PAYLOAD_TOO_LARGE);
                return self.refuse(reject, context);
            }
            Length::Bytes(_) => {}
            Length::Chunked => self.chunked = Some(Chunked::new(self.body_max)),
        }
        if self.framing.expects_continue {
            self.output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Collects the body.
    fn next_body(&mut self, context: Context<'_>) -> Result<Option<Event>, Reject> {
        let begin = self.request.head.start + self.head_len;
        let complete = match (self.framing.length, &mut self.chunked) {
            (Length::Bytes(length), _) => {
                let complete = (self.filled - begin) as u64 >= length;
                self.request.body_len = if complete { length as usize } else { 0 };
                complete
            }
            (Length::Chunked, Some(chunked)) => {
                let bytes = &mut self.request.head.buf[begin..self.filled];
                let complete = chunked.decode(bytes, context.limits)?;
                self.request.body_len = chunked.written;
                if !complete {
                    // All was read: what follows may take the place of the chunk heads.
                    self.filled = begin + chunked.written;
                    chunked.read = chunked.written;
                }
                complete
            }
            (Length::Chunked, None) => return Err(BAD_REQUEST),
        };
        if complete {
            self.state = State::Call;
            return Ok(None);
        }
        self.starved_in(Event::ReadBody)
    }

    /// More input is needed in the middle of a message.
    fn starved_in(&mut self, event: Event) -> Result<Option<Event>, Reject> {
        if self.end_of_input && !self.has_output() {
            return Err(BAD_REQUEST);
        }
        Ok(self.starved(event))
    }

    /// More input is needed: first everything that waits is written.
    fn starved(&mut self, event: Event) -> Option<Event> {
        if self.has_output() {
            return Some(Event::Write);
        }
        if self.end_of_input || self.draining && event != Event::ReadBody {
            self.state = State::Close;
            return None;
        }
        if event == Event::Idle {
            self.forget_input();
        }
        Some(event)
    }

    /// Sends what the output buffer could not take.
    fn next_stream(&mut self) -> Option<Event> {
        match &self.source {
            Source::Reader { body, fresh } if !body.is_empty() => {
                let pull = *fresh || self.output.is_empty();
                return Some(if pull { Event::Pull } else { Event::Write });
            }
            Source::Bytes(_) if self.has_output() => return Some(Event::Write),
            Source::Bytes(_) => self.written = 0,
            Source::Reader { .. } | Source::None => {}
        }
        self.source = Source::None;
        self.state = if self.keep { State::Head } else { State::Close };
        None
    }

    /// Answers a message that is not read to its end, and reads no other.
    #[cold]
    fn refuse(&mut self, mut response: Response, context: Context<'_>) {
        if self.state == State::Head {
            // The head was not understood, but whether the answer may have a body is plain.
            let head = &mut self.request.head;
            let is_head = head.buf[head.start..self.filled].starts_with(b"HEAD ");
            head.method = if is_head { Method::HEAD } else { Method::GET };
            self.head_len = 0;
        }
        self.keep = false;
        self.linger = !self.end_of_input;
        self.answer(&mut response, context);
    }

    /// Encodes an answer and goes on behind the message it answers.
    #[inline]
    fn answer(&mut self, response: &mut Response, context: Context<'_>) {
        if response.status.is_informational() {
            // An interim status answers nothing: the client would wait for ever.
            *response = Response::plain_status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let is_tunnel = self.request.head.method == Method::CONNECT && response.status.is_success();
        // What follows a tunnel's head would not be HTTP, and nothing here could pass it on.
        self.keep &= !is_tunnel;
        let persistence = match self.request.head.version {
            _ if !self.keep => Persistence::Close,
            Version::HTTP_10 => Persistence::KeepAlive,
            _ => Persistence::Implied,
        };
        let (length, with_body) = match response.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => (None, false),
            StatusCode::RESET_CONTENT => (Some(0), false),
            _ if is_tunnel => (None, false),
            _ => (
                Some(response.body.len()),
                self.request.head.method != Method::HEAD,
            ),
        };
        encode::head(
            &mut self.output,
            response,
            context.common,
            length,
            persistence,
        );
        self.consume();
        self.state = if self.keep { State::Head } else { State::Close };
        if with_body {
            self.send(&mut response.body);
        }
    }

    /// Steps behind the current message, so that the next one can be looked for. Behind the
    /// last one nothing is.
    #[inline]
    fn consume(&mut self) {
        if self.keep {
            self.request.head.start += self.head_len
                + match &self.chunked {
                    Some(chunked) => chunked.read,
                    None => self.request.body_len,
                };
        }
        self.chunked = None;
        self.request.body_at = 0;
        self.request.body_len = 0;
    }

    /// Puts the body behind its head, as far as the output buffer goes.
    #[inline]
    fn send(&mut self, body: &mut Body) {
        let fits = body.len() <= OUTPUT_BYTES as u64;
        match &body.0 {
            Content::Static(bytes) if fits => self.output.extend_from_slice(bytes),
            Content::Owned(bytes) if fits => self.output.extend_from_slice(bytes),
            _ => self.send_later(std::mem::replace(body, Body::empty())),
        }
    }

    /// Sends what is too large to be copied, or not in memory.
    #[inline(never)]
    fn send_later(&mut self, body: Body) {
        self.source = match &body.0 {
            Content::Reader(..) => Source::Reader { body, fresh: true },
            Content::Static(_) | Content::Owned(_) => Source::Bytes(body),
        };
        self.state = State::Stream;
    }
}

impl Body {
    fn in_memory(&self) -> &[u8] {
        match &self.0 {
            Content::Static(bytes) => bytes,
            Content::Owned(bytes) => bytes,
            Content::Reader(..) => &[],
        }
    }
}
