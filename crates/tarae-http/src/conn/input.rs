//! What comes in: finds heads, and collects, hands out or throws away bodies.
//!
//! Called by `Conn` and, for a body that its handler reads, by `Request`. Everything but the latter
//! looks only at what the driver has read.

use std::fmt;
use std::io::{self, ErrorKind};

use http::StatusCode;

use super::incoming::Incoming;
use super::{Conn, Context, Event, OUTPUT_BYTES, State, Transport};
use crate::head::{self, BAD_REQUEST, Reject, Scan};
use crate::response::Response;
use crate::{Limits, multipart};

/// How much of a body that its handler leaves unread is thrown away to keep the connection.
const DISCARD_BYTES_MAX: u64 = 64 * 1024;

impl Conn {
    /// Looks for the next head.
    #[inline]
    pub(super) fn next_head(&mut self, context: Context<'_>) -> Result<Option<Event>, Reject> {
        // What of it was written counts too: the buffer is only emptied as a whole.
        if self.output.len() >= OUTPUT_BYTES {
            return Ok(Some(Event::Write));
        }
        self.skip_blank();
        if self.filled == self.message.head.start {
            return Ok(self.starved(Event::Idle));
        }
        // A CR alone may be the begin of an empty line, if none was seen yet.
        let at = self.message.head.start;
        let lone_cr = self.filled == at + 1 && self.message.head.buf[at] == b'\r';
        if lone_cr && !self.blank_seen {
            return self.starved_in(Event::ReadHead);
        }
        let parsed = head::parse(
            &mut self.message.head,
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
        self.message.body_at = parsed.len;
        self.message.body_len = 0;
        self.state = State::Plan;
        Ok(Some(Event::Plan))
    }

    /// One empty line before a request line is forgiven (RFC 9112, 2.2).
    #[inline]
    fn skip_blank(&mut self) {
        let head = &mut self.message.head;
        if head.start < self.filled && head.buf[head.start] == b'\r' && !self.blank_seen {
            self.blank_seen = head.buf[head.start..self.filled].starts_with(b"\r\n");
            head.start += if self.blank_seen { 2 } else { 0 };
        }
    }

    /// The plan is there: find out whether the body fits, and let the client go on.
    pub(super) fn begin_body(&mut self, is_rejected: bool, context: Context<'_>) {
        let incoming = Incoming::new(self.framing.length, self.body_max);
        let fits = incoming.left() <= self.body_max;
        self.incoming = Some(incoming);
        (self.taken, self.discard_left, self.body_fault) = (0, 0, None);
        self.continue_due = self.framing.expects_continue;
        if is_rejected {
            self.streams = true;
            self.state = State::CallStreaming;
        } else if !fits {
            let reject = Response::plain_status(StatusCode::PAYLOAD_TOO_LARGE);
            self.refuse(reject, context);
        } else if self.streams {
            self.state = State::CallStreaming;
        } else {
            self.send_continue();
            self.state = State::Body;
        }
    }

    fn send_continue(&mut self) {
        if std::mem::take(&mut self.continue_due) {
            self.output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Where the body begins in the buffer.
    fn body_begin(&self) -> usize {
        self.message.head.start + self.head_len
    }

    pub(super) fn is_body_complete(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_complete)
    }

    /// Tells body from what follows it, in what has come. True once it is complete.
    fn decode(&mut self, limits: &Limits) -> Result<bool, Reject> {
        let begin = self.body_begin();
        match &mut self.incoming {
            Some(incoming) => {
                incoming.decode(&mut self.message.head.buf[begin..self.filled], limits)
            }
            None => Ok(true),
        }
    }

    /// All that has come was body: what follows may take its place, behind the first `kept` bytes.
    fn make_room(&mut self, kept: usize) {
        self.filled = self.body_begin() + kept;
        if let Some(incoming) = &mut self.incoming {
            incoming.close_gaps(kept);
        }
    }

    fn decoded(&self) -> usize {
        self.incoming.as_ref().map_or(0, Incoming::written)
    }

    /// Collects the body.
    pub(super) fn next_body(&mut self, context: Context<'_>) -> Result<Option<Event>, Reject> {
        if self.decode(context.limits)? {
            self.message.body_len = self.decoded();
            self.state = State::Call;
            return Ok(None);
        }
        self.make_room(self.decoded());
        self.starved_in(Event::ReadBody)
    }

    /// The handler has answered: what becomes of the part of the body that it has not read.
    pub(super) fn judge_unread(&mut self) {
        self.streams = false;
        let Some(incoming) = self.incoming.as_ref().filter(|body| !body.is_complete()) else {
            return;
        };
        // A client that was not told to go on may send the body or not: nobody knows which.
        let is_hopeless =
            self.body_fault.is_some() || self.continue_due || incoming.left() > DISCARD_BYTES_MAX;
        self.keep &= !is_hopeless;
        self.discard_left = if self.keep { DISCARD_BYTES_MAX } else { 0 };
    }

    /// Throws away what nobody has read of a body.
    pub(super) fn next_discard(&mut self, context: Context<'_>) -> Option<Event> {
        let is_complete = self.decode(context.limits);
        if is_complete == Ok(true) {
            self.discard_left = 0;
            self.consume();
            self.state = State::Head;
            return None;
        }
        let here = (self.filled - self.body_begin()) as u64;
        self.make_room(0);
        self.discard_left = self.discard_left.saturating_sub(here);
        if is_complete.is_err() || self.discard_left == 0 {
            self.keep = false;
            self.linger = !self.end_of_input;
            self.state = State::Close;
            return None;
        }
        self.starved(Event::ReadBody)
    }

    /// Reads from the body for the handler, waiting for it. 0 at its end. What has come before a
    /// fault is given first; after it there is nothing more.
    pub(crate) fn read_body(
        &mut self,
        buf: &mut [u8],
        transport: &mut dyn Transport,
        limits: &Limits,
    ) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let begin = self.body_begin();
            let here = &self.message.head.buf[begin + self.taken..begin + self.decoded()];
            if !here.is_empty() {
                let count = here.len().min(buf.len());
                buf[..count].copy_from_slice(&here[..count]);
                self.taken += count;
                return Ok(count);
            }
            if let Some(status) = self.body_fault {
                return Err(BodyError { status }.into());
            }
            match self.decode(limits) {
                Err(Reject(status)) => self.body_fault = Some(status),
                Ok(_) if self.taken < self.decoded() => {}
                Ok(true) => return Ok(0),
                Ok(false) => {
                    self.make_room(0);
                    self.taken = 0;
                    match self.read_more(buf, transport) {
                        Ok(None) => {}
                        Ok(Some(count)) => return Ok(count),
                        Err(error) => {
                            self.body_fault = Some(BAD_REQUEST.0);
                            return Err(error);
                        }
                    }
                }
            }
        }
    }

    /// Waits for more of the body; straight into `buf` if that is where it belongs.
    fn read_more(
        &mut self,
        buf: &mut [u8],
        transport: &mut dyn Transport,
    ) -> io::Result<Option<usize>> {
        // The client may wait for the answers before this one, or for the word to go on.
        self.send_continue();
        self.write_out(transport)?;
        let plain = self.incoming.as_mut().filter(|body| body.is_plain());
        let large = buf.len() >= DIRECT_BYTES;
        let count = match plain {
            Some(incoming) if large => {
                let left = incoming.left().min(buf.len() as u64) as usize;
                let count = read_some(transport, &mut buf[..left])?;
                incoming.passed_by(count);
                Some(count)
            }
            _ => {
                let count = read_some(transport, self.space())?;
                self.received(count);
                None
            }
        };
        Ok(count)
    }

    /// More input is needed in the middle of a message.
    fn starved_in(&mut self, event: Event) -> Result<Option<Event>, Reject> {
        if self.end_of_input && !self.has_output() {
            return Err(BAD_REQUEST);
        }
        Ok(self.starved(event))
    }

    /// More input is needed: first everything that waits is written.
    pub(super) fn starved(&mut self, event: Event) -> Option<Event> {
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
}

/// From this size on, a handler's buffer is read into without a detour.
const DIRECT_BYTES: usize = 4 * 1024;

/// Reads at least one byte.
fn read_some(transport: &mut dyn Transport, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match transport.read(buf) {
            Ok(0) => {
                return Err(BodyError {
                    status: BAD_REQUEST.0,
                }
                .into());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                return Err(BodyError {
                    status: StatusCode::REQUEST_TIMEOUT,
                }
                .into());
            }
            other => return other,
        }
    }
}

/// Why a handler could not read the body to its end: it was malformed or cut short, too large, or
/// too slow. Inside an [`io::Error`]; the connection ends with the answer in any case.
///
/// ```
/// use std::io::Read;
/// use tarae_http::{BodyError, Handler, Head, Plan, Request, Response, answer};
///
/// struct Count;
///
/// impl Handler for Count {
///     fn plan(&self, _: &Head) -> Plan {
///         Plan::stream(1 << 20)
///     }
///
///     fn call(&self, request: &mut Request) -> Response {
///         let mut lines = 0;
///         for byte in request.body_reader().bytes() {
///             match byte {
///                 Ok(byte) => lines += usize::from(byte == b'\n'),
///                 Err(error) => return BodyError::answer(&error),
///             }
///         }
///         Response::text(format!("{lines} lines"))
///     }
/// }
///
/// let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
/// let good = answer(Count, format!("{head}4\r\na\nb\n\r\n0\r\n\r\n").as_bytes());
/// assert!(good.ends_with(b"2 lines"));
/// let bad = answer(Count, format!("{head}x").as_bytes());
/// assert!(bad.starts_with(b"HTTP/1.1 400 "));
/// ```
#[derive(Debug)]
pub struct BodyError {
    status: StatusCode,
}

impl BodyError {
    /// The one that is inside of `error`.
    pub fn of(error: &io::Error) -> Option<&BodyError> {
        error.get_ref()?.downcast_ref()
    }

    /// The status that says so: 400, 408, 413 or 431.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer to a request whose body could not be read: with the status of the error that is
    /// inside of `error`, this or that of a [form](crate::multipart::Error), or 500.
    pub fn answer(error: &io::Error) -> Response {
        let of_form = || multipart::Error::of(error).map(multipart::Error::status);
        let status = Self::of(error).map(Self::status).or_else(of_form);
        Response::plain_status(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "the body of the request is too large",
            StatusCode::REQUEST_TIMEOUT => "the body of the request came too slowly",
            _ => "the body of the request is malformed or incomplete",
        })
    }
}

impl std::error::Error for BodyError {}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> io::Error {
        let kind = match error.status {
            StatusCode::REQUEST_TIMEOUT => ErrorKind::TimedOut,
            _ => ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
