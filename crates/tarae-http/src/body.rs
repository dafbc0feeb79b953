//! The chunked coding (RFC 9112, 7.1), decoded in place. Called by `conn`; a state machine
//! over bytes, so it does not matter how they were cut into reads.
//!
//! ```text
//! Size ─► (Ext…) ─► SizeLf ─► Data ─► DataCr ─► DataLf ─► Size
//!                     │ last chunk
//!                     ▼
//!                  LineStart ─► Name ─► Value ─► ValueLf ─► LineStart
//!                     └─► EndLf ─► Done
//! ```
//!
//! Extensions are checked, bounded and dropped. So are trailers: they never become header
//! fields.

use http::StatusCode;

use crate::Limits;
use crate::framing::is_token_byte;
use crate::head::{BAD_REQUEST, Reject};

/// The most digits a chunk size may have: what fits 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// A decoder for one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    state: State,
    /// What is left of the current chunk; while its size is read, the size so far.
    left: u64,
    digits: u8,
    /// How much more body there may be.
    room: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
    /// How far the coded input was read, and how much of the body that gave. Both count from
    /// the first byte of the coded body.
    pub(crate) read: usize,
    pub(crate) written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// Whitespace after the size: only an extension may follow.
    SizeSpace,
    ExtNameStart,
    ExtName,
    ExtNameSpace,
    ExtValueStart,
    ExtValue,
    ExtQuoted,
    ExtEscape,
    ExtQuotedEnd,
    ExtValueSpace,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
}

impl Chunked {
    pub(crate) fn new(body_max: u64) -> Self {
        Self {
            state: State::Size,
            left: 0,
            digits: 0,
            room: body_max,
            extension_bytes: 0,
            trailer_bytes: 0,
            read: 0,
            written: 0,
        }
    }

    /// Decodes what is in `bytes`, which begins with the first byte of the body. Afterwards
    /// `bytes[..written]` is the body so far and `bytes[read..]` what follows it. True once
    /// the body is complete.
    pub(crate) fn decode(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<bool, Reject> {
        while self.read < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let here = self.left.min((bytes.len() - self.read) as u64) as usize;
                bytes.copy_within(self.read..self.read + here, self.written);
                self.read += here;
                self.written += here;
                self.left -= here as u64;
                self.room -= here as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let byte = bytes[self.read];
            self.read += 1;
            self.state = match self.state {
                State::Size => self.size(byte)?,
                State::SizeLf => self.size_end(byte)?,
                State::DataCr => expect(byte, b'\r', State::DataLf)?,
                State::DataLf => {
                    self.digits = 0;
                    expect(byte, b'\n', State::Size)?
                }
                State::LineStart | State::Name | State::Value | State::ValueLf | State::EndLf => {
                    self.trailer(byte, limits)?
                }
                state => self.extension(state, byte, limits)?,
            };
        }
        Ok(self.state == State::Done)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn size(&mut self, byte: u8) -> Result<State, Reject> {
        if let Some(digit) = (byte as char).to_digit(16) {
            if self.digits == SIZE_DIGITS_MAX {
                return Err(BAD_REQUEST);
            }
            self.digits += 1;
            self.left = self.left << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        if self.digits == 0 {
            return Err(BAD_REQUEST);
        }
        match byte {
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::ExtNameStart),
            b' ' | b'\t' => Ok(State::SizeSpace),
            _ => Err(BAD_REQUEST),
        }
    }

    fn size_end(&self, byte: u8) -> Result<State, Reject> {
        if byte != b'\n' {
            return Err(BAD_REQUEST);
        }
        if self.left > self.room {
            return Err(Reject(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(if self.left == 0 {
            State::LineStart
        } else {
            State::Data
        })
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
    fn extension(&mut self, state: State, byte: u8, limits: &Limits) -> Result<State, Reject> {
        self.extension_bytes += 1;
        if self.extension_bytes > limits.chunk_extension_bytes {
            return Err(BAD_REQUEST);
        }
        let space = matches!(byte, b' ' | b'\t');
        let token = is_token_byte(byte);
        Ok(match (state, byte) {
            (State::ExtQuoted, b'"') => State::ExtQuotedEnd,
            (State::ExtQuoted, b'\\') => State::ExtEscape,
            (State::ExtQuoted | State::ExtEscape, _) if is_text(byte) => State::ExtQuoted,
            (State::ExtNameStart, _) if token => State::ExtName,
            (State::ExtValueStart, _) if token => State::ExtValue,
            (State::ExtValueStart, b'"') => State::ExtQuoted,
            (State::ExtName | State::ExtValue, _) if token => state,
            (State::ExtName | State::ExtValue | State::ExtQuotedEnd, b'\r') => State::SizeLf,
            (State::ExtName | State::ExtNameSpace, b'=') => State::ExtValueStart,
            (State::ExtName, _) if space => State::ExtNameSpace,
            (State::ExtValue | State::ExtQuotedEnd, _) if space => State::ExtValueSpace,
            (State::ExtNameStart | State::ExtValueStart, _) if space => state,
            (State::SizeSpace | State::ExtNameSpace | State::ExtValueSpace, _) if space => state,
            (State::ExtNameStart | State::ExtValueStart | State::ExtQuoted, _)
            | (State::ExtEscape, _) => return Err(BAD_REQUEST),
            (_, b';') => State::ExtNameStart,
            _ => return Err(BAD_REQUEST),
        })
    }

    fn trailer(&mut self, byte: u8, limits: &Limits) -> Result<State, Reject> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits.trailer_bytes {
            return Err(Reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        match (self.state, byte) {
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::LineStart | State::Name, _) if is_token_byte(byte) => Ok(State::Name),
            (State::Name, b':') => Ok(State::Value),
            (State::Value, b'\r') => Ok(State::ValueLf),
            (State::Value, _) if is_text(byte) => Ok(State::Value),
            (State::ValueLf, b'\n') => Ok(State::LineStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(BAD_REQUEST),
        }
    }
}

fn expect(byte: u8, want: u8, next: State) -> Result<State, Reject> {
    if byte == want {
        Ok(next)
    } else {
        Err(BAD_REQUEST)
    }
}

/// What may stand in a field value or a quoted string: no control character but the tab.
pub(crate) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces of every size; all must agree. Gives the body and the rest.
    fn decode(input: &[u8], body_max: u64) -> Result<Option<(String, String)>, u16> {
        let limits = Limits {
            chunk_extension_bytes: 12,
            trailer_bytes: 24,
            ..Limits::default()
        };
        let run = |piece: usize| {
            let mut buf = Vec::new();
            let mut chunked = Chunked::new(body_max);
            for part in input.chunks(piece) {
                buf.extend_from_slice(part);
                if chunked
                    .decode(&mut buf, &limits)
                    .map_err(|reject| reject.0.as_u16())?
                {
                    let body = String::from_utf8_lossy(&buf[..chunked.written]).into_owned();
                    let consumed = chunked.read;
                    let sent = input.len() - (input.len() - consumed);
                    return Ok(Some((
                        body,
                        String::from_utf8_lossy(&input[sent..]).into_owned(),
                    )));
                }
            }
            Ok(None)
        };
        let whole = run(input.len().max(1));
        for piece in 1..input.len() {
            assert_eq!(run(piece), whole, "in pieces of {piece}");
        }
        whole
    }

    fn body(input: &str) -> Result<Option<(String, String)>, u16> {
        decode(input.as_bytes(), 100)
    }

    fn done(body: &str, rest: &str) -> Result<Option<(String, String)>, u16> {
        Ok(Some((body.to_owned(), rest.to_owned())))
    }

    #[test]
    fn well_formed() {
        assert_eq!(body("0\r\n\r\n"), done("", ""));
        assert_eq!(body("5\r\nhello\r\n0\r\n\r\nGET"), done("hello", "GET"));
        assert_eq!(
            body("3\r\nabc\r\n00a\r\n0123456789\r\n000\r\n\r\n"),
            done("abc0123456789", "")
        );
        assert_eq!(body("A\r\n0123456789\r\n0\r\n\r\n"), done("0123456789", ""));
        assert_eq!(body("2\r\n\r\n\r\n0\r\n\r\n"), done("\r\n", ""));
        assert_eq!(body("1;a\r\nx\r\n0;b=c;d\r\n\r\n"), done("x", ""));
        assert_eq!(body("1;a=\"b;\\\"\"\r\nx\r\n0\r\n\r\n"), done("x", ""));
        assert_eq!(body("1 ; a = b\r\nx\r\n0\r\n\r\n"), done("x", ""));
        assert_eq!(body("0\r\nA: b\r\nC:\r\n\r\nrest"), done("", "rest"));
    }

    #[test]
    fn incomplete() {
        for input in [
            "",
            "5",
            "5\r",
            "5\r\nhel",
            "5\r\nhello",
            "0\r\n",
            "0\r\n\r",
            "0\r\nA: b",
        ] {
            assert_eq!(body(input), Ok(None), "{input:?}");
        }
    }

    #[test]
    fn malformed() {
        for input in [
            "\r\n",
            " 5\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "g\r\n",
            "5\nhello",
            "5\rhello",
            "5 \r\n",
            "5;\r\n",
            "5;=b\r\n",
            "5;a=\r\n",
            "5;a b\r\n",
            "5;a=\"\r\n",
            "5;a\n",
            "5;a \r\n",
            "5;a=b \r\n",
            "5\r\nhello0\r\n",
            "5\r\nhello\n0",
            "5\r\nhello\r0",
            ";a\r\n",
            "00000000000000001\r\n",
            "0\r\nA b: c\r\n",
            "0\r\n: c\r\n",
            "0\r\nA\r\n",
            "0\r\nA: b\n",
            "0\r\nA: b\rc",
            "0\r\n A: b\r\n",
            "0\r\nA: b\r\n c\r\n",
            "0\r\nA: \0",
            "0\r\n\n",
            "0\r\n\r\r",
            "1;a=\"\x01\"\r\n",
            "5,5\r\n",
        ] {
            assert_eq!(body(input), Err(400), "{input:?}");
        }
    }

    #[test]
    fn bounds() {
        let chunk = |size: &str| format!("{size}\r\n");
        assert_eq!(body(&chunk("64")), Ok(None));
        assert_eq!(body(&chunk("65")), Err(413));
        assert_eq!(body(&chunk("ffffffffffffffff")), Err(413));
        assert_eq!(decode(b"1\r\na\r\n1\r\nb\r\n", 1), Err(413));
        assert_eq!(decode(b"1\r\na\r\n0\r\n\r\n", 1), done("a", ""));
        assert_eq!(body("1;aaaaaaaaaaa\r\nx\r\n0\r\n\r\n"), done("x", ""));
        assert_eq!(body("1;aaaaaaaaaaaa\r\nx\r\n"), Err(400));
        assert_eq!(body("1;aaaaaa\r\nx\r\n1;aaaaaa\r\n"), Err(400));
        assert_eq!(body("0\r\nA: 34567890123456789\r\n\r\n"), done("", ""));
        assert_eq!(body("0\r\nA: 345678901234567890\r\n\r\n"), Err(431));
    }
}
