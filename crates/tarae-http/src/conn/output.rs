//! What goes out: the head of an answer, and its body in whatever form the handler gave it.
//!
//! Called by `Conn`. Foreign readers and writers run in `pull` and `produce` only; a panic in one
//! ends the connection, as an error does, so that the client sees that the body is cut short.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use tarae::fs::File;
use tarae::os::unix::fs::FileExt;

use super::{Conn, Context, Event, OUTPUT_BYTES, State, Transport};
use crate::encode::{self, Length, Persistence};
use crate::response::{Body, Content, Part, Response, WriteBody, is_framing};

/// Bytes that a writer's small pieces are gathered into.
const CHUNK_BYTES: usize = 16 * 1024;

/// What of an answer is not in the output buffer yet.
pub(super) enum Source {
    None,
    /// Written straight from where it is, once the output buffer is empty.
    Bytes(Body),
    /// Pulled into the output buffer.
    Reader {
        reader: Box<dyn Read + Send>,
        /// None: until its end.
        left: Option<u64>,
        is_chunked: bool,
        /// Until the first pull, whose bytes join the head.
        is_fresh: bool,
    },
    Writer {
        write: WriteBody,
        is_chunked: bool,
    },
    File(Part),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::None => "None",
            Source::Bytes(_) => "Bytes",
            Source::Reader { .. } => "Reader",
            Source::Writer { .. } => "Writer",
            Source::File(_) => "File",
        })
    }
}

impl Conn {
    /// Sends what the output buffer could not take.
    pub(super) fn next_stream(&mut self) -> Option<Event> {
        match &self.source {
            Source::Reader { left: Some(0), .. } | Source::File(Part { left: 0, .. }) => {}
            Source::None => {}
            Source::File(_) => {
                let send = self.output.is_empty();
                return Some(if send { Event::SendFile } else { Event::Write });
            }
            Source::Reader { is_fresh, .. } => {
                let pull = *is_fresh || self.output.is_empty();
                return Some(if pull { Event::Pull } else { Event::Write });
            }
            Source::Writer { .. } => return Some(Event::Produce),
            Source::Bytes(_) if self.has_output() => return Some(Event::Write),
            Source::Bytes(_) => self.written = 0,
        }
        self.source = Source::None;
        self.state = self.after_answer();
        None
    }

    fn after_answer(&self) -> State {
        if self.upgrade.is_some() {
            State::Upgrade
        } else if !self.keep {
            State::Close
        } else if self.discard_left > 0 {
            State::Discard
        } else {
            State::Head
        }
    }

    /// Answers a message that is not read to its end, and reads no other.
    #[cold]
    pub(super) fn refuse(&mut self, mut response: Response, context: Context<'_>) {
        if self.state == State::Head {
            // The head was not understood, but whether the answer may have a body is plain.
            let head = &mut self.message.head;
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
    pub(super) fn answer(&mut self, response: &mut Response, context: Context<'_>) {
        let opens = (response.upgrade.is_some() || response.status.is_informational())
            && self.begin_upgrade(response);
        let is_tunnel = self.message.head.method == Method::CONNECT && response.status.is_success();
        // What follows a tunnel's head would not be HTTP.
        self.keep &= !is_tunnel || opens;
        let (length, with_body) = match response.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => (Length::None, false),
            StatusCode::RESET_CONTENT => (Length::Bytes(0), false),
            _ if is_tunnel || opens => (Length::None, false),
            _ => {
                let length = match response.body.len() {
                    Some(bytes) => Length::Bytes(bytes),
                    None => self.length_unknown(),
                };
                (length, self.message.head.method != Method::HEAD)
            }
        };
        let persistence = match self.message.head.version {
            _ if opens && !is_tunnel => Persistence::Upgrade,
            _ if !self.keep => Persistence::Close,
            Version::HTTP_10 => Persistence::KeepAlive,
            _ => Persistence::Implied,
        };
        encode::head(
            &mut self.output,
            response,
            context.common,
            length,
            persistence,
        );
        if self.discard_left == 0 {
            self.consume();
        }
        self.state = self.after_answer();
        if with_body {
            self.send(&mut response.body, length == Length::Chunked);
        }
    }

    /// A body that ends where its reader or writer ends: HTTP/1.0 knows that by the end of the
    /// connection only.
    #[cold]
    fn length_unknown(&mut self) -> Length {
        if self.message.head.version == Version::HTTP_10 {
            self.keep = false;
            Length::None
        } else {
            Length::Chunked
        }
    }

    /// Steps behind the current message, so that the next one can be looked for. Behind the
    /// last one nothing is.
    #[inline]
    pub(super) fn consume(&mut self) {
        let mut len = self.head_len;
        if let Some(incoming) = &self.incoming {
            len += incoming.read();
            self.incoming = None;
        }
        if self.keep {
            self.message.head.start += len;
        }
        self.message.body_at = 0;
        self.message.body_len = 0;
    }

    /// Puts the body behind its head, as far as the output buffer goes.
    #[inline]
    fn send(&mut self, body: &mut Body, is_chunked: bool) {
        match &body.0 {
            Content::Static(bytes) if bytes.len() <= OUTPUT_BYTES => {
                self.output.extend_from_slice(bytes);
            }
            Content::Owned(bytes) if bytes.len() <= OUTPUT_BYTES => {
                self.output.extend_from_slice(bytes);
            }
            _ => self.send_later(mem::replace(body, Body::empty()), is_chunked),
        }
    }

    /// Sends what is too large to be copied, or not in memory.
    #[inline(never)]
    fn send_later(&mut self, body: Body, is_chunked: bool) {
        self.source = match body.0 {
            Content::Reader(reader, left) => Source::Reader {
                reader,
                left,
                is_chunked,
                is_fresh: true,
            },
            Content::Writer(write) => Source::Writer { write, is_chunked },
            // Read with the head, and written with it.
            Content::File(part) if part.left <= OUTPUT_BYTES as u64 => Source::Reader {
                left: Some(part.left),
                reader: Box::new(part),
                is_chunked,
                is_fresh: true,
            },
            Content::File(part) => Source::File(part),
            Content::Static(_) | Content::Owned(_) => Source::Bytes(body),
        };
        self.state = State::Stream;
    }

    /// Reads the next part of the answer's body from the reader the handler gave, calling it
    /// once. Does nothing unless [`Event::Pull`] or [`Event::SendFile`] was the last event.
    ///
    /// # Errors
    ///
    /// What the reader returned, or `UnexpectedEof` if it had less than it promised; an error too
    /// if it panicked. The connection needs no care: it ends after what it already has.
    pub fn pull(&mut self) -> io::Result<()> {
        if matches!(self.source, Source::File(_)) {
            // A driver that cannot send files.
            let Source::File(part) = mem::replace(&mut self.source, Source::None) else {
                return Ok(());
            };
            self.source = Source::Reader {
                left: Some(part.left),
                reader: Box::new(part),
                is_chunked: false,
                is_fresh: false,
            };
        }
        let Source::Reader {
            reader,
            left,
            is_chunked,
            is_fresh,
        } = &mut self.source
        else {
            return Ok(());
        };
        *is_fresh = false;
        let chunk = is_chunked.then(|| Chunk::begin(&mut self.output));
        let begin = self.output.len();
        let want = left.map_or(OUTPUT_BYTES, |left| left.min(OUTPUT_BYTES as u64) as usize);
        self.output.resize(begin + want, 0);
        let space = &mut self.output[begin..];
        let result = match contained(|| read_some(reader, space)) {
            Ok(0) if left.is_some() => Err(ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        // A reader that claims more than it was asked for cannot break the framing.
        let got = *result.as_ref().unwrap_or(&0).min(&want);
        self.output.truncate(begin + got);
        if let Some(chunk) = chunk {
            chunk.end(&mut self.output);
        }
        match (result, left) {
            (Err(error), _) => {
                self.give_up();
                return Err(error);
            }
            (_, Some(left)) => *left -= got as u64,
            (Ok(0), None) => {
                if *is_chunked {
                    self.output.extend_from_slice(LAST_CHUNK);
                }
                self.source = Source::None;
            }
            _ => {}
        }
        Ok(())
    }

    /// The part of a file that is to be sent next, as it is: the file, where, and how many bytes.
    /// None unless [`Event::SendFile`] was the last event.
    pub fn file_part(&self) -> Option<(&File, u64, u64)> {
        match &self.source {
            Source::File(part) => Some((&part.file, part.at, part.left)),
            _ => None,
        }
    }

    /// Says that the first `bytes` of [`file_part`](Self::file_part) were sent; 0 says that the
    /// file has no more, and the connection ends.
    ///
    /// # Panics
    ///
    /// If that is more than there was.
    pub fn sent_file(&mut self, bytes: u64) {
        if let Source::File(part) = &mut self.source {
            assert!(bytes <= part.left, "more bytes than the part has");
            part.at += bytes;
            part.left -= bytes;
            if bytes == 0 {
                self.give_up();
            }
        }
    }

    /// Has the writer of the answer's body write all of it, as fast as `transport` takes it. Does
    /// nothing unless [`Event::Produce`] was the last event.
    ///
    /// # Errors
    ///
    /// Those of the writer and of the transport; an error too if the writer panicked. The
    /// connection ends after what it already has.
    pub fn produce(&mut self, transport: &mut dyn Transport) -> io::Result<()> {
        let (write, is_chunked) = match mem::replace(&mut self.source, Source::None) {
            Source::Writer { write, is_chunked } => (write, is_chunked),
            other => {
                self.source = other;
                return Ok(());
            }
        };
        self.output.drain(..self.written);
        self.written = 0;
        let mut writer = BodyWriter {
            out: &mut self.output,
            transport,
            chunk: None,
            is_chunked,
            trailers: Vec::new(),
            has_failed: false,
        };
        let result = contained(|| write(&mut writer)).and_then(|()| writer.finish());
        if result.is_err() {
            self.give_up();
        }
        result
    }

    /// The answer is cut short: nothing may follow it.
    fn give_up(&mut self) {
        self.source = Source::None;
        self.upgrade = None;
        self.state = State::Close;
    }

    /// Writes all that waits, for those who wait on the connection themselves.
    pub(super) fn write_out(&mut self, transport: &mut dyn Transport) -> io::Result<()> {
        transport.write_all(&self.output[self.written..])?;
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buf, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn read_some(reader: &mut dyn Read, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(space) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Calls what is the handler's.
fn contained<T>(f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let panicked = |_| Err(io::Error::other("what makes the body panicked"));
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(panicked)
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A chunk whose data is being laid down: room for its size stands before it.
#[derive(Debug)]
struct Chunk {
    data_at: usize,
}

impl Chunk {
    /// Digits of a size, and CRLF: more data than a mebibyte is never in one chunk.
    const ROOM: usize = 7;

    fn begin(out: &mut Vec<u8>) -> Chunk {
        out.extend_from_slice(&[0; Chunk::ROOM]);
        Chunk { data_at: out.len() }
    }

    /// An empty one leaves nothing: it would end the body.
    fn end(self, out: &mut Vec<u8>) {
        let (begin, bytes) = (self.data_at - Chunk::ROOM, out.len() - self.data_at);
        if bytes == 0 {
            return out.truncate(begin);
        }
        let mut at = self.data_at - 2;
        out[at..self.data_at].copy_from_slice(b"\r\n");
        let mut rest = bytes;
        while rest > 0 {
            at -= 1;
            out[at] = b"0123456789abcdef"[rest % 16];
            rest /= 16;
        }
        out.copy_within(at.., begin);
        out.truncate(out.len() - (at - begin));
        out.extend_from_slice(b"\r\n");
    }
}

/// Where a [`Body::from_writer`] writes to.
///
/// Small pieces are gathered; [`flush`](Write::flush) sends what there is. Each call may wait for
/// the peer to take what was written before, and fails when it does not.
pub struct BodyWriter<'a> {
    out: &'a mut Vec<u8>,
    transport: &'a mut dyn Transport,
    chunk: Option<Chunk>,
    is_chunked: bool,
    trailers: Vec<(HeaderName, HeaderValue)>,
    has_failed: bool,
}

impl BodyWriter<'_> {
    /// Adds a trailer field, sent after the body where that is chunked, as it is in HTTP/1.1.
    /// Names that say how the message is framed, routed or processed are no trailers: they are
    /// ignored (RFC 9110, 6.5.1). Intermediaries may drop any of them.
    pub fn trailer(&mut self, name: HeaderName, value: HeaderValue) {
        if self.is_chunked && !is_framing(&name) && !NO_TRAILERS.contains(&name) {
            self.trailers.push((name, value));
        }
    }

    /// Bytes that are not sent yet, of the current piece.
    fn gathered(&self) -> usize {
        let begin = self.chunk.as_ref().map_or(0, |chunk| chunk.data_at);
        self.out.len() - begin
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(chunk) = self.chunk.take() {
            chunk.end(self.out);
        }
        let result = self.transport.write_all(self.out);
        self.has_failed |= result.is_err();
        self.out.clear();
        result
    }

    fn finish(mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if let Some(chunk) = self.chunk.take() {
            chunk.end(self.out);
        }
        if self.is_chunked {
            self.out.extend_from_slice(b"0\r\n");
            for (name, value) in &self.trailers {
                encode::line(self.out, name.as_str().as_bytes(), value.as_bytes());
            }
            self.out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

/// Fields that are of use before the body, or never.
const NO_TRAILERS: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::EXPECT,
    header::TE,
    header::UPGRADE,
    header::AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::SET_COOKIE,
    header::RETRY_AFTER,
];

impl Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.is_chunked && self.chunk.is_none() {
            self.chunk = Some(Chunk::begin(self.out));
        }
        let room = CHUNK_BYTES.saturating_sub(self.gathered());
        let count = bytes.len().min(room);
        self.out.extend_from_slice(&bytes[..count]);
        if self.gathered() >= CHUNK_BYTES {
            self.send()?;
        }
        if count == 0 && !bytes.is_empty() {
            // What lay there before was sent just now.
            return self.write(bytes);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl fmt::Debug for BodyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn in_memory(&self) -> &[u8] {
        match &self.0 {
            Content::Static(bytes) => bytes,
            Content::Owned(bytes) => bytes,
            Content::Reader(..) | Content::Writer(_) | Content::File(_) => &[],
        }
    }
}
