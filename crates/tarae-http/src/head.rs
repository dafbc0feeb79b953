//! Parses a request head from a growing buffer. Called by `conn` only; does no I/O and keeps
//! no copy of the input.
//!
//! `httparse` finds methods, targets, names and values. What it lets pass and RFC 9112 does
//! not is refused here: a bare LF as line end, more than one empty line before the request
//! line, bytes outside URIs in the target. What the fields mean is decided in `framing`.
//!
//! ```text
//! new bytes ─► httparse on the whole head, if it came at once (the usual case)
//!                 │ incomplete, too long or in any way odd
//!                 ▼
//!              Scan: walks over complete lines, remembers where it stopped, enforces the
//!              limits; only when it has seen the empty line is the head parsed, once
//! ```
//!
//! The verdict must not depend on how the bytes were cut into reads, so the quick way only
//! ever accepts: everything it dislikes is judged by the scan.

use std::mem::MaybeUninit;

use http::{Method, StatusCode, Version};
use memchr::memchr;

use crate::framing::{self, Framing};
use crate::request::{Field, Head, Span};
use crate::{Limits, target};

/// More header fields than this are never accepted; `Limits::headers` may ask for fewer.
const HEADERS_MAX: usize = 100;

/// A refusal: the status to answer with before the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reject(pub(crate) StatusCode);

pub(crate) const BAD_REQUEST: Reject = Reject(StatusCode::BAD_REQUEST);

/// A complete head: its length in bytes and what it says about the message.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) len: usize,
    pub(crate) framing: Framing,
}

/// How far a head that has not arrived whole was looked through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Everything before this was seen; relative to the head's first byte.
    seen: usize,
    /// The first byte of the line that is not complete yet.
    line: usize,
}

/// Looks for a head in `head.buf[head.start..end]`. `Ok(None)` asks for more bytes.
#[inline]
pub(crate) fn parse(
    head: &mut Head,
    scan: &mut Scan,
    end: usize,
    limits: &Limits,
) -> Result<Option<Parsed>, Reject> {
    let mut found = None;
    if scan.seen == 0 && end > head.start {
        if !framing::is_token_byte(head.buf[head.start]) {
            return Err(BAD_REQUEST);
        }
        let quick = tokenize(head, end - head.start, limits);
        found = quick.ok().filter(|tokens| tokens.within(limits));
    }
    if found.is_none() {
        found = parse_after_scan(head, scan, end, limits)?;
    }
    let Some(Tokens { len, .. }) = found else {
        return Ok(None);
    };
    let authority = target::check(head)?;
    let framing = framing::read(head, authority)?;
    Ok(Some(Parsed { len, framing }))
}

/// The slow way, for a head that came in pieces or has something wrong.
#[cold]
fn parse_after_scan(
    head: &mut Head,
    scan: &mut Scan,
    end: usize,
    limits: &Limits,
) -> Result<Option<Tokens>, Reject> {
    let Some(len) = scan.find_end(&head.buf[head.start..end], limits)? else {
        return Ok(None);
    };
    match tokenize(head, len, limits) {
        Ok(tokens) => Ok(Some(tokens)),
        Err(Some(httparse::Error::TooManyHeaders)) => Err(too_large()),
        Err(_) => Err(BAD_REQUEST),
    }
}

impl Scan {
    /// The length of the head, once its empty line is there.
    fn find_end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        // A line that fills the whole head is refused for its own length.
        let line_max = limits
            .request_line_bytes
            .min(limits.head_bytes.saturating_sub(1));
        while let Some(at) = memchr(b'\n', &bytes[self.seen..]) {
            let lf = self.seen + at;
            self.check_length(lf.saturating_sub(1), line_max, limits)?;
            if lf >= limits.head_bytes {
                return Err(too_large());
            }
            if !bytes[..lf].ends_with(b"\r") {
                return Err(BAD_REQUEST);
            }
            if self.line == 0 {
                check_version(&bytes[..lf - 1])?;
            } else if lf - 1 == self.line {
                return Ok(Some(lf + 1));
            }
            self.line = lf + 1;
            self.seen = lf + 1;
        }
        self.seen = bytes.len();
        // A CR at the very end may belong to the line end, which is not counted.
        self.check_length(bytes.len().saturating_sub(1), line_max, limits)?;
        Ok(None)
    }

    /// Checks what has been seen of the current line, which ends at `end`.
    fn check_length(&self, end: usize, line_max: usize, limits: &Limits) -> Result<(), Reject> {
        if self.line == 0 && end > line_max {
            return Err(Reject(StatusCode::URI_TOO_LONG));
        }
        if end >= limits.head_bytes {
            return Err(too_large());
        }
        Ok(())
    }
}

fn too_large() -> Reject {
    Reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// Tells a version that is not spoken here from one that is not a version.
fn check_version(request_line: &[u8]) -> Result<(), Reject> {
    let Some((_, version)) = request_line.split_last_chunk::<9>() else {
        return Err(BAD_REQUEST);
    };
    match version {
        b" HTTP/1.0" | b" HTTP/1.1" => Ok(()),
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Reject(StatusCode::HTTP_VERSION_NOT_SUPPORTED))
        }
        _ => Err(BAD_REQUEST),
    }
}

/// What `httparse` found, after the checks on line ends.
struct Tokens {
    len: usize,
    line_len: usize,
}

impl Tokens {
    fn within(&self, limits: &Limits) -> bool {
        self.line_len <= limits.request_line_bytes && self.len <= limits.head_bytes
    }
}

/// Splits the first `len` bytes of the head into method, target, version and fields. `Err(None)`
/// stands for an incomplete head and for line ends that are not CRLF.
#[inline]
fn tokenize(
    head: &mut Head,
    len: usize,
    limits: &Limits,
) -> Result<Tokens, Option<httparse::Error>> {
    let bytes = &head.buf[head.start..head.start + len];
    let mut space = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let allowed = limits.headers.min(HEADERS_MAX);
    let status = request.parse_with_uninit_headers(bytes, &mut space[..allowed]);
    let httparse::Status::Complete(len) = status.map_err(Some)? else {
        return Err(None);
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(None);
    };
    // Single spaces are certain: httparse refuses more.
    let line_len = method.len() + 1 + target.len() + " HTTP/1.1".len();
    head.target.clear();
    head.target.push_str(target);
    head.version = if minor == 1 {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    head.method = match method {
        "GET" => Method::GET,
        other => Method::from_bytes(other.as_bytes()).map_err(|_| None)?,
    };
    head.fields.clear();
    let base = bytes.as_ptr() as usize;
    let span = |part: &[u8]| Span {
        at: (part.as_ptr() as usize - base) as u32,
        len: part.len() as u32,
    };
    for header in request.headers.iter() {
        let name = span(header.name.as_bytes());
        // An empty value is not a part of the buffer for every parser: never trust its place.
        let value = if header.value.is_empty() {
            name.end()
        } else {
            span(header.value)
        };
        // The line before this one must have ended in CRLF, not in a bare LF.
        if !ends_in_crlf(bytes, name.at as usize) {
            return Err(None);
        }
        head.fields.push(Field { name, value });
    }
    if !ends_in_crlf(bytes, len) || !ends_in_crlf(bytes, len - 2) {
        return Err(None);
    }
    Ok(Tokens { len, line_len })
}

#[inline]
fn ends_in_crlf(bytes: &[u8], end: usize) -> bool {
    bytes[..end].ends_with(b"\r\n")
}

impl Span {
    /// The empty span behind this one.
    fn end(self) -> Self {
        Self {
            at: self.at + self.len,
            len: 0,
        }
    }
}
