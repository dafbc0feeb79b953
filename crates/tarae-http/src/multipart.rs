//! Forms with files: `multipart/form-data` (RFC 7578, 2046), part after part, from anything that
//! is `Read`. Called by handlers.
//!
//! `parser` is the state machine over bytes, `head` reads the fields of a part; here is what
//! drives them. Nothing is ever held but the fields of one part and one buffer of fixed size.
//!
//! ```
//! use std::io::Read;
//! use tarae_http::multipart::{self, Limits, Multipart};
//!
//! # fn main() -> std::io::Result<()> {
//! let content_type = b"multipart/form-data; boundary=cut";
//! let body = b"--cut\r\n\
//!     Content-Disposition: form-data; name=\"title\"\r\n\
//!     \r\n\
//!     A picture\r\n\
//!     --cut\r\n\
//!     Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
//!     Content-Type: image/png\r\n\
//!     \r\n\
//!     ...\r\n\
//!     --cut--\r\n";
//!
//! let boundary = multipart::boundary(content_type).expect("a form with files");
//! let mut form = Multipart::new(&body[..], boundary, Limits::default());
//! let mut title = String::new();
//! while let Some(mut part) = form.next_part()? {
//!     match part.name() {
//!         "title" => drop(part.read_to_string(&mut title)?),
//!         "file" => {
//!             assert_eq!(part.file_name(), Some("a.png"));
//!             assert_eq!(part.content_type(), Some(&b"image/png"[..]));
//!             assert_eq!(std::io::copy(&mut part, &mut std::io::sink())?, 3);
//!         }
//!         _ => {} // What is not read is skipped.
//!     }
//! }
//! assert_eq!(title, "A picture");
//! # Ok(())
//! # }
//! ```

mod head;
mod parser;

use std::fmt;
use std::io::{self, ErrorKind, Read};

use http::StatusCode;

pub use head::{PartHead, boundary};
pub use parser::{Event, Parser};

/// Size of the reader's buffer; many times the longest delimiter.
const BUFFER_BYTES: usize = 8 * 1024;

/// What one form may cost. The whole body has a limit of its own: that of the request.
///
/// | field | default |
/// | --- | --- |
/// | `parts` | 1,000 |
/// | `header_bytes` | 4 KiB per part |
/// | `field_bytes` | 64 KiB per part that is no file |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Number of parts.
    pub parts: usize,
    /// The header fields of one part, in bytes.
    pub header_bytes: usize,
    /// The content of one part without a file name, in bytes. Files are not bounded by this: they
    /// are read piece by piece.
    pub field_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parts: 1000,
            header_bytes: 4 * 1024,
            field_bytes: 64 * 1024,
        }
    }
}

/// Why a form was refused. The reader hands it out inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Malformed,
    TooLarge,
    Incomplete,
}

impl Error {
    const MALFORMED: Self = Self(Kind::Malformed);
    const TOO_LARGE: Self = Self(Kind::TooLarge);
    const INCOMPLETE: Self = Self(Kind::Incomplete);

    /// The error inside an `io::Error`; `None` if that is one of the reader underneath.
    ///
    /// ```
    /// use tarae_http::multipart::{Error, Limits, Multipart};
    ///
    /// let mut form = Multipart::new(&b"--a\r\n"[..], b"a", Limits::default());
    /// let error = form.next_part().unwrap_err();
    /// let error = Error::of(&error).expect("not the reader's");
    /// assert!(error.is_incomplete());
    /// assert_eq!(error.status(), 400);
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether the bytes are no form.
    pub fn is_malformed(&self) -> bool {
        self.0 == Kind::Malformed
    }

    /// Whether one of the [`Limits`] was passed.
    pub fn is_too_large(&self) -> bool {
        self.0 == Kind::TooLarge
    }

    /// Whether the input ended before the form did.
    pub fn is_incomplete(&self) -> bool {
        self.0 == Kind::Incomplete
    }

    /// The status to answer with: 413 for what is too large, else 400.
    pub fn status(&self) -> StatusCode {
        match self.0 {
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Malformed | Kind::Incomplete => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Malformed => "the form is malformed",
            Kind::TooLarge => "the form is too large",
            Kind::Incomplete => "the form ends too early",
        })
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.0 {
            Kind::Malformed => ErrorKind::InvalidData,
            Kind::TooLarge => ErrorKind::FileTooLarge,
            Kind::Incomplete => ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

/// A form, read part after part; see the [module](self) for an example.
///
/// It suspends where the reader does. An error of the reader loses nothing: the call may be
/// repeated. A refusal of the form is given again by every later call.
#[derive(Debug)]
pub struct Multipart<R> {
    reader: R,
    parser: Parser,
    buf: Box<[u8]>,
    /// What of the buffer is not consumed yet.
    start: usize,
    end: usize,
    /// How much content of the current part lies before that.
    data: usize,
}

/// What the parser said.
enum Step {
    Part,
    /// `data` is not 0.
    Data,
    PartEnd,
    End,
}

impl<R: Read> Multipart<R> {
    /// Reads a form whose parts `boundary` separates, as [`boundary()`] gives it.
    ///
    /// # Panics
    ///
    /// If the boundary is empty or longer than 70 bytes.
    pub fn new(reader: R, boundary: &[u8], limits: Limits) -> Self {
        Self {
            reader,
            parser: Parser::new(boundary, limits),
            buf: vec![0; BUFFER_BYTES].into(),
            start: 0,
            end: 0,
            data: 0,
        }
    }

    /// The next part; `None` after the last one. What of the part before was not read is skipped,
    /// and what follows the form is not looked at.
    ///
    /// # Errors
    ///
    /// Those of the reader but `Interrupted`, and those that [`Error::of`] finds.
    pub fn next_part(&mut self) -> io::Result<Option<Part<'_, R>>> {
        loop {
            self.data = 0;
            match self.step()? {
                Step::Part => {
                    return Ok(Some(Part {
                        form: self,
                        ended: false,
                    }));
                }
                Step::Data | Step::PartEnd => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// What comes behind the data at hand.
    fn step(&mut self) -> io::Result<Step> {
        loop {
            let (consumed, event) = self.parser.parse(&self.buf[self.start..self.end])?;
            self.start += consumed;
            match event {
                Event::More => self.fill()?,
                Event::Part => return Ok(Step::Part),
                Event::Data(data) => {
                    self.data = data.len();
                    return Ok(Step::Data);
                }
                Event::PartEnd => return Ok(Step::PartEnd),
                Event::End => return Ok(Step::End),
            }
        }
    }

    /// Reads more behind what is left.
    fn fill(&mut self) -> io::Result<()> {
        self.buf.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        loop {
            match self.reader.read(&mut self.buf[self.end..]) {
                Ok(0) => return Err(Error::INCOMPLETE.into()),
                Ok(bytes) => {
                    self.end += bytes;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// One part of a form; reading gives its content. Dropping it skips what was not read.
#[derive(Debug)]
pub struct Part<'a, R> {
    form: &'a mut Multipart<R>,
    ended: bool,
}

impl<R> Part<'_, R> {
    /// The header fields.
    pub fn head(&self) -> &PartHead {
        self.form.parser.head()
    }

    /// The name of the form's field, as [`PartHead::name`].
    pub fn name(&self) -> &str {
        self.head().name()
    }

    /// The name of the file, if it is one, as [`PartHead::file_name`].
    pub fn file_name(&self) -> Option<&str> {
        self.head().file_name()
    }

    /// The value of `Content-Type`, as it was sent.
    pub fn content_type(&self) -> Option<&[u8]> {
        self.head().header("content-type")
    }
}

impl<R: Read> Read for Part<'_, R> {
    /// Gives content of the part, and 0 at its end. Errors are those of
    /// [`next_part`](Multipart::next_part).
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let form = &mut *self.form;
        if buf.is_empty() || self.ended {
            return Ok(0);
        }
        if form.data == 0 && !matches!(form.step()?, Step::Data) {
            self.ended = true;
            return Ok(0);
        }
        let bytes = form.data.min(buf.len());
        let at = form.start - form.data;
        buf[..bytes].copy_from_slice(&form.buf[at..at + bytes]);
        form.data -= bytes;
        Ok(bytes)
    }
}
