//! The state machine over the bytes of a form. Called by the reader beside it, or by whoever gets
//! bytes in another way; does no I/O. It keeps the fields of one part and looks at each byte a
//! bounded number of times, however the input was cut.
//!
//! ```text
//!                  ┌──────────────── PartEnd ◄────────────────┐
//!                  ▼                                          │
//!  Preamble ─► Delimiter ─► Headers ─► (Part) ─► Content ─────┘
//!                  └─► End
//! ```
//!
//! A delimiter is `CRLF "--" boundary`; at the very start, and directly behind the empty line of a
//! part's fields, that CRLF has been there already (RFC 2046, 5.1.1).

use std::fmt;

use memchr::{memchr, memmem};

use super::head::{BOUNDARY_BYTES_MAX, PartHead};
use super::{Error, Limits};

/// What the input says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing yet: what was not consumed must come again with more behind it.
    More,
    /// A part begins; [`Parser::head`] has its fields.
    Part,
    /// Content of the part, never empty.
    Data(&'a [u8]),
    /// The part has ended.
    PartEnd,
    /// The form has ended. What follows is not looked at.
    End,
}

/// Parses a form from bytes that somebody else reads.
///
/// ```
/// use tarae_http::multipart::{Event, Limits, Parser};
///
/// let body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nhi\r\n--x--";
/// let mut parser = Parser::new(b"x", Limits::default());
/// let (mut rest, mut data) = (&body[..], Vec::new());
/// loop {
///     let (consumed, event) = parser.parse(rest)?;
///     rest = &rest[consumed..];
///     match event {
///         Event::Data(bytes) => data.extend_from_slice(bytes),
///         Event::Part => assert_eq!(parser.head().name(), "a"),
///         Event::PartEnd => {}
///         Event::More => break, // Read more here, behind `rest`.
///         Event::End => break,
///     }
/// }
/// assert_eq!(data, b"hi");
/// # Ok::<(), tarae_http::multipart::Error>(())
/// ```
pub struct Parser {
    /// Searches for a whole delimiter.
    finder: memmem::Finder<'static>,
    limits: Limits,
    state: State,
    /// Nothing was seen yet of what the delimiter is looked for in.
    fresh: bool,
    /// The lines of the fields, as far as they have arrived.
    lines: Vec<u8>,
    head: PartHead,
    parts: usize,
    /// How much content the part had.
    content: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a delimiter; `padded` if blanks followed it.
    Delimiter {
        padded: bool,
    },
    Headers,
    Content,
    End,
    Failed(Error),
}

impl Parser {
    /// A parser for a form whose parts `boundary` separates.
    ///
    /// # Panics
    ///
    /// If the boundary is empty or longer than 70 bytes.
    pub fn new(boundary: &[u8], limits: Limits) -> Self {
        assert!(
            (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()),
            "a boundary has 1 to 70 bytes"
        );
        let delimiter = [b"\r\n--", boundary].concat();
        Self {
            finder: memmem::Finder::new(&delimiter).into_owned(),
            limits,
            state: State::Preamble,
            fresh: true,
            lines: Vec::new(),
            head: PartHead::default(),
            parts: 0,
            content: 0,
        }
    }

    /// The fields of the part that began last.
    pub fn head(&self) -> &PartHead {
        &self.head
    }

    /// Says how many bytes of `input` are done with, and what they were. The next input has to
    /// begin behind them.
    ///
    /// # Errors
    ///
    /// When the input is no form or passes a limit, now and in every later call.
    pub fn parse<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        let parsed = self.parse_on(input);
        if let Err(error) = parsed {
            self.state = State::Failed(error);
        }
        parsed
    }

    fn parse_on<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                State::Preamble => {
                    let (before, delimiter) = self.find(rest);
                    at += before + delimiter;
                    if delimiter == 0 {
                        self.fresh &= before == 0;
                        return Ok((at, Event::More));
                    }
                    self.state = State::Delimiter { padded: false };
                }
                State::Delimiter { padded } => match rest {
                    [b'-', b'-', ..] if !padded => {
                        self.state = State::End;
                        at += 2;
                    }
                    [b'\r', b'\n', ..] => {
                        self.begin_part()?;
                        at += 2;
                    }
                    [b' ' | b'\t', ..] => {
                        self.state = State::Delimiter { padded: true };
                        at += 1;
                    }
                    [] | [b'\r' | b'-'] => return Ok((at, Event::More)),
                    _ => return Err(Error::MALFORMED),
                },
                State::Headers => {
                    let (consumed, complete) = self.lines(rest)?;
                    at += consumed;
                    let event = if complete { Event::Part } else { Event::More };
                    return Ok((at, event));
                }
                State::Content => {
                    let (before, delimiter) = self.find(rest);
                    if before > 0 {
                        return self.data(at, &rest[..before]);
                    }
                    if delimiter == 0 {
                        return Ok((at, Event::More));
                    }
                    self.state = State::Delimiter { padded: false };
                    return Ok((at + delimiter, Event::PartEnd));
                }
                State::End => return Ok((at, Event::End)),
                State::Failed(error) => return Err(error),
            }
        }
    }

    /// How much stands before the next delimiter, and the length of that; 0 if there is none yet.
    /// What may be the begin of one counts to neither.
    fn find(&self, input: &[u8]) -> (usize, usize) {
        let delimiter = self.finder.needle();
        let bare = &delimiter[2..];
        if self.fresh && input.starts_with(bare) {
            return (0, bare.len());
        }
        if self.fresh && bare.starts_with(input) {
            return (0, 0);
        }
        if let Some(at) = self.finder.find(input) {
            return (at, delimiter.len());
        }
        // There is one CR in a delimiter, its first byte: only the last CR can begin one.
        let tail = input.len().saturating_sub(delimiter.len() - 1);
        match memchr::memrchr(b'\r', &input[tail..]) {
            Some(at) if delimiter.starts_with(&input[tail + at..]) => (tail + at, 0),
            _ => (input.len(), 0),
        }
    }

    fn begin_part(&mut self) -> Result<(), Error> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(Error::TOO_LARGE);
        }
        self.lines.clear();
        self.state = State::Headers;
        Ok(())
    }

    /// Gathers lines up to the empty one; true when that is there.
    fn lines(&mut self, input: &[u8]) -> Result<(usize, bool), Error> {
        let mut at = 0;
        while at < input.len() {
            let line = memchr(b'\n', &input[at..]);
            let end = line.map_or(input.len(), |length| at + length + 1);
            if self.lines.len() + (end - at) > self.limits.header_bytes {
                return Err(Error::TOO_LARGE);
            }
            self.lines.extend_from_slice(&input[at..end]);
            at = end;
            if line.is_none() {
                break;
            }
            if !self.lines.ends_with(b"\r\n") {
                return Err(Error::MALFORMED);
            }
            if self.lines == b"\r\n" || self.lines.ends_with(b"\r\n\r\n") {
                self.lines.truncate(self.lines.len() - 2);
                self.head = PartHead::parse(&self.lines)?;
                (self.state, self.fresh, self.content) = (State::Content, true, 0);
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn data<'a>(&mut self, at: usize, data: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        self.fresh = false;
        self.content += data.len();
        if self.head.file_name().is_none() && self.content > self.limits.field_bytes {
            return Err(Error::TOO_LARGE);
        }
        Ok((at + data.len(), Event::Data(data)))
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser")
            .field("state", &self.state)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
