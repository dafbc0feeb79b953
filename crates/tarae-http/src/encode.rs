//! Writes the head of an answer. Called by `conn`; appends to the output buffer and knows
//! neither sockets nor the clock: the date comes with [`CommonHeaders`].

use http::StatusCode;
use http::header::{self, HeaderValue};

use crate::date;
use crate::response::{ContentType, Response};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// What an answer says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Nothing: the version's default holds.
    Implied,
    /// `Connection: keep-alive`, which only HTTP/1.0 needs.
    KeepAlive,
    /// `Connection: close`
    Close,
    /// `Connection: upgrade`
    Upgrade,
}

/// How a client finds the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// By `Content-Length`.
    Bytes(u64),
    /// By the last chunk.
    Chunked,
    /// By the status, or by the end of the connection.
    None,
}

/// The header fields all answers share, `Server` and `Date`, ready to be copied.
///
/// Keep one per worker and call [`tick`](Self::tick) before answering: it formats the date
/// once a second only.
///
/// ```
/// use tarae_http::CommonHeaders;
/// use tarae_http::http::HeaderValue;
///
/// let mut common = CommonHeaders::new(Some(&HeaderValue::from_static("example")));
/// common.tick(784_111_777);
/// assert!(common.lines().ends_with(b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
/// ```
#[derive(Clone, Debug)]
pub struct CommonHeaders {
    /// The status line of `200 OK`, which goes before most answers, then the fields.
    ok: Vec<u8>,
    date_at: usize,
    second: u64,
}

impl CommonHeaders {
    /// The fields with this value of `Server`, or without `Server`. The date is 1970 until the
    /// first [`tick`](Self::tick).
    pub fn new(server: Option<&HeaderValue>) -> Self {
        let mut ok = OK.to_vec();
        if let Some(server) = server {
            ok.extend_from_slice(b"Server: ");
            ok.extend_from_slice(server.as_bytes());
            ok.extend_from_slice(b"\r\n");
        }
        let date_at = ok.len();
        ok.extend_from_slice(b"Date: ");
        ok.extend_from_slice(&date::format_unix(0));
        ok.extend_from_slice(b"\r\n");
        Self {
            ok,
            date_at,
            second: 0,
        }
    }

    /// Sets the time, in seconds since 1970.
    #[inline]
    pub fn tick(&mut self, unix_seconds: u64) {
        if unix_seconds != self.second {
            self.second = unix_seconds;
            let at = self.date_at + "Date: ".len();
            self.ok[at..at + 29].copy_from_slice(&date::format_unix(unix_seconds));
        }
    }

    /// The header lines as they are sent.
    pub fn lines(&self) -> &[u8] {
        &self.ok[OK.len()..]
    }

    fn server_line(&self) -> &[u8] {
        &self.ok[OK.len()..self.date_at]
    }

    fn date_line(&self) -> &[u8] {
        &self.ok[self.date_at..]
    }
}

impl Default for CommonHeaders {
    /// `Server: tarae` and the date.
    fn default() -> Self {
        Self::new(Some(&HeaderValue::from_static("tarae")))
    }
}

/// Appends the whole head of an answer.
#[inline]
pub(crate) fn head(
    out: &mut Vec<u8>,
    response: &Response,
    common: &CommonHeaders,
    length: Length,
    persistence: Persistence,
) {
    if response.status == StatusCode::OK && response.fields().is_empty() {
        out.extend_from_slice(&common.ok);
    } else {
        any_status(out, response, common);
    }
    match &response.content_type {
        ContentType::None => {}
        ContentType::Text => {
            out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        }
        ContentType::Html => out.extend_from_slice(b"Content-Type: text/html; charset=utf-8\r\n"),
        ContentType::Bytes => {
            out.extend_from_slice(b"Content-Type: application/octet-stream\r\n");
        }
        ContentType::Other(value) => line(out, b"Content-Type", value.as_bytes()),
    }
    match persistence {
        Persistence::Implied => {}
        Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Persistence::Upgrade => out.extend_from_slice(b"Connection: upgrade\r\n"),
    }
    match length {
        Length::Bytes(length) => length_and_end(out, length),
        Length::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        Length::None => out.extend_from_slice(b"\r\n"),
    }
}

/// Status line, shared fields and the answer's own.
fn any_status(out: &mut Vec<u8>, response: &Response, common: &CommonHeaders) {
    if response.status == StatusCode::OK {
        out.extend_from_slice(OK);
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(response.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(
            response
                .status
                .canonical_reason()
                .unwrap_or_default()
                .as_bytes(),
        );
        out.extend_from_slice(b"\r\n");
    }
    let (mut own_server, mut own_date) = (false, false);
    for (name, value) in response.fields() {
        own_server |= *name == header::SERVER;
        own_date |= *name == header::DATE;
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if !own_server {
        out.extend_from_slice(common.server_line());
    }
    if !own_date {
        out.extend_from_slice(common.date_line());
    }
}

pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length`, always the last field, and the empty line. The digits are laid down from
/// the right so that the whole goes out in one copy.
#[inline]
fn length_and_end(out: &mut Vec<u8>, length: u64) {
    const NAME: &[u8] = b"Content-Length: ";
    const END: &[u8] = b"\r\n\r\n";
    let mut text = [0; NAME.len() + 20 + END.len()];
    let mut at = text.len() - END.len();
    text[at..].copy_from_slice(END);
    let mut rest = length;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    at -= NAME.len();
    text[at..at + NAME.len()].copy_from_slice(NAME);
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response, length: Length, persistence: Persistence) -> String {
        let mut out = Vec::new();
        head(
            &mut out,
            response,
            &CommonHeaders::default(),
            length,
            persistence,
        );
        String::from_utf8(out).expect("a head is ASCII here")
    }

    #[test]
    fn heads() {
        let date = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        assert_eq!(
            encoded(&Response::text(""), Length::Bytes(0), Persistence::Implied),
            format!(
                "HTTP/1.1 200 OK\r\nServer: tarae\r\n{date}\
                 Content-Type: text/plain; charset=utf-8\r\nContent-Length: 0\r\n\r\n"
            )
        );
        let own = Response::new(StatusCode::NOT_FOUND)
            .with_header(header::SERVER, HeaderValue::from_static("own"))
            .with_header(header::DATE, HeaderValue::from_static("today"));
        assert_eq!(
            encoded(&own, Length::None, Persistence::Close),
            "HTTP/1.1 404 Not Found\r\nserver: own\r\ndate: today\r\nConnection: close\r\n\r\n"
        );
        let odd = Response::new(StatusCode::from_u16(599).expect("in range"));
        assert_eq!(
            encoded(&odd, Length::Bytes(u64::MAX), Persistence::KeepAlive),
            format!(
                "HTTP/1.1 599 \r\nServer: tarae\r\n{date}Connection: keep-alive\r\n\
                 Content-Length: 18446744073709551615\r\n\r\n"
            )
        );
    }

    #[test]
    fn the_date_follows_the_ticks() {
        let mut common = CommonHeaders::new(None);
        common.tick(1);
        assert_eq!(common.lines(), b"Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
        common.tick(0);
        assert_eq!(common.lines(), b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    }
}
