//! What a handler gives back. Built by handlers, read by `encode` and `conn`. Status, names and
//! values are of types that cannot hold CR, LF or NUL, so a response cannot be split.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use tarae::fs::File;

use crate::conn::{BodyWriter, Upgrade, Upgraded};

static CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
static TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
static HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
static BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// An answer: status, header fields, body.
///
/// ```
/// use tarae_http::Response;
/// use tarae_http::http::{StatusCode, header, HeaderValue};
///
/// let response = Response::text("moved")
///     .with_status(StatusCode::FOUND)
///     .with_header(header::LOCATION, HeaderValue::from_static("/new"));
/// assert_eq!(response.status(), 302);
/// assert_eq!(response.headers().count(), 2);
/// ```
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) content_type: ContentType,
    /// Every field but `Content-Type`; empty, and so not allocated, for most answers.
    fields: Option<Box<Fields>>,
    pub(crate) body: Body,
    pub(crate) close: bool,
    pub(crate) upgrade: Option<Upgrade>,
}

#[derive(Debug, Default)]
struct Fields(Vec<(HeaderName, HeaderValue)>);

/// The usual content types have their whole header line ready in `encode`.
#[derive(Debug)]
pub(crate) enum ContentType {
    None,
    Text,
    Html,
    Bytes,
    Other(HeaderValue),
}

impl Response {
    pub(crate) fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        self.fields.as_ref().map_or(&[], |fields| &fields.0)
    }

    /// An answer with this status and no body.
    pub fn new(status: StatusCode) -> Self {
        Self::typed(ContentType::None, Body::empty()).with_status(status)
    }

    /// `200 OK` with a text of type `text/plain; charset=utf-8`.
    #[inline]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::typed(ContentType::Text, text.into().into())
    }

    /// `200 OK` with a text of type `text/html; charset=utf-8`.
    pub fn html(html: impl Into<Cow<'static, str>>) -> Self {
        Self::typed(ContentType::Html, html.into().into())
    }

    /// `200 OK` with bytes of type `application/octet-stream`.
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let body = match bytes.into() {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        };
        Self::typed(ContentType::Bytes, body)
    }

    /// An answer of the server's own: the status with its reason as a short text.
    pub(crate) fn plain_status(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("Error");
        Self::text(format!("{} {reason}\n", status.as_str())).with_status(status)
    }

    #[inline]
    fn typed(content_type: ContentType, body: Body) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            fields: None,
            body,
            close: false,
            upgrade: None,
        }
    }

    /// Replaces the status. A 1xx status is no final answer: it is sent as 500.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header field. `Content-Type` is replaced; `Date` and `Server` take the place of
    /// the server's own. `Content-Length`, `Transfer-Encoding`, `Connection`, `Keep-Alive` and
    /// `Trailer` describe the connection, which the server alone knows: they are ignored here.
    ///
    /// ```
    /// use tarae_http::Response;
    /// use tarae_http::http::{header, HeaderValue};
    /// let response = Response::text("{}")
    ///     .with_header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
    ///     .with_header(header::CONTENT_LENGTH, HeaderValue::from_static("7000"));
    /// let fields: Vec<_> = response.headers().collect();
    /// assert_eq!(fields.len(), 1);
    /// assert_eq!(fields[0].1, "application/json");
    /// ```
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if name == header::CONTENT_TYPE {
            self.content_type = ContentType::Other(value);
        } else if !is_framing(&name) {
            let fields = self.fields.get_or_insert_default();
            fields.0.push((name, value));
        }
        self
    }

    /// Replaces the body; the content type stays as it is.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Ends the connection after this answer, which then says `Connection: close`.
    pub fn with_close(mut self) -> Self {
        self.close = true;
        self
    }

    /// `101 Switching Protocols`: the connection speaks `protocol` (a token, such as `websocket`)
    /// from now on, by `f`, which runs where the handler ran and gives the connection up when it
    /// returns. A client that did not ask for this protocol gets 426 instead, and `f` is dropped.
    /// While the server stops, too.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use tarae_http::http::HeaderValue;
    /// use tarae_http::{Request, Response, answer};
    ///
    /// let shout = |_: &mut Request| {
    ///     Response::switching_protocols(HeaderValue::from_static("shout"), |peer| {
    ///         let mut text = String::new();
    ///         if peer.read_to_string(&mut text).is_ok() {
    ///             let _ = peer.write_all(text.to_uppercase().as_bytes());
    ///         }
    ///     })
    /// };
    /// let request = b"GET / HTTP/1.1\r\nHost: a\r\n\
    ///     Connection: upgrade\r\nUpgrade: shout\r\n\r\nhi";
    /// let bytes = answer(shout, request);
    /// assert!(bytes.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    /// assert!(bytes.ends_with(b"\r\n\r\nHI"));
    /// ```
    pub fn switching_protocols(
        protocol: HeaderValue,
        f: impl FnOnce(&mut Upgraded<'_>) + Send + 'static,
    ) -> Self {
        let mut response = Self::new(StatusCode::SWITCHING_PROTOCOLS);
        response.upgrade = Some(Box::new(f));
        response.with_header(header::UPGRADE, protocol)
    }

    /// `200 OK` to a `CONNECT`: the connection is a tunnel from now on, whose end here is `f`. To
    /// other methods it is `200 OK` without a body, and `f` is dropped.
    pub fn tunnel(f: impl FnOnce(&mut Upgraded<'_>) + Send + 'static) -> Self {
        let mut response = Self::new(StatusCode::OK);
        response.upgrade = Some(Box::new(f));
        response
    }

    pub(crate) fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let mut fields = self.fields().iter();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The header fields set so far. What the server adds when it sends the answer (`Date`,
    /// `Server`, `Content-Length`, `Connection`) is not among them.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let content_type = match &self.content_type {
            ContentType::None => None,
            ContentType::Text => Some(&TEXT),
            ContentType::Html => Some(&HTML),
            ContentType::Bytes => Some(&BYTES),
            ContentType::Other(value) => Some(value),
        };
        let first = content_type.map(|value| (&CONTENT_TYPE, value));
        first
            .into_iter()
            .chain(self.fields().iter().map(|(name, value)| (name, value)))
    }
}

pub(crate) fn is_framing(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::CONNECTION
        || *name == header::TRAILER
        || name.as_str() == "keep-alive"
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers().collect::<Vec<_>>())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The body of a response.
///
/// ```
/// use tarae_http::Body;
/// assert_eq!(Body::from("text").len(), Some(4));
/// assert_eq!(Body::from(vec![1, 2, 3]).len(), Some(3));
/// assert_eq!(Body::from_reader(std::io::repeat(b'x'), 1_000_000).len(), Some(1_000_000));
/// assert_eq!(Body::until_end(std::io::empty()).len(), None);
/// assert!(Body::empty().is_empty());
/// ```
#[derive(Debug)]
pub struct Body(pub(crate) Content);

pub(crate) enum Content {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    /// So many bytes, or all that it has.
    Reader(Box<dyn Read + Send>, Option<u64>),
    Writer(WriteBody),
    File(Part),
}

/// A part of a file: so many bytes from there.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: File,
    pub(crate) at: u64,
    pub(crate) left: u64,
}

/// What writes a body.
pub(crate) type WriteBody = Box<dyn FnOnce(&mut BodyWriter<'_>) -> io::Result<()> + Send>;

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Content::Static(b""))
    }

    /// Exactly `len` bytes from a reader, read while they are sent. What the reader has beyond
    /// that is not sent; if it ends or fails before, the connection is closed so that the
    /// client notices.
    pub fn from_reader(reader: impl Read + Send + 'static, len: u64) -> Self {
        Self(Content::Reader(Box::new(reader), Some(len)))
    }

    /// All bytes that a reader has, read while they are sent, in chunks. If it fails, the
    /// connection is closed without the last chunk, so that the client notices. To HTTP/1.0
    /// clients, which know no chunks, the body ends with the connection.
    pub fn until_end(reader: impl Read + Send + 'static) -> Self {
        Self(Content::Reader(Box::new(reader), None))
    }

    /// `len` bytes of a file from `offset`; the file's own position is left alone. On Tarae's
    /// server large ones go from the page cache to the socket without being copied through this
    /// program, and no worker waits for a disk. If the file has less, the connection is closed
    /// before its end so that the client notices.
    ///
    /// ```
    /// use tarae::fs::File;
    /// use tarae_http::{Body, Request, Response};
    ///
    /// fn manual(_: &mut Request) -> Response {
    ///     let body = File::open("manual.html").and_then(|file| {
    ///         let len = file.metadata()?.len();
    ///         Ok(Body::from_file(file, 0, len))
    ///     });
    ///     match body {
    ///         Ok(body) => Response::html("").with_body(body),
    ///         Err(_) => Response::text("no manual").with_status(404.try_into().unwrap()),
    ///     }
    /// }
    /// # let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    /// # assert!(tarae_http::answer(manual, request).ends_with(b"no manual"));
    /// ```
    pub fn from_file(file: File, offset: u64, len: u64) -> Self {
        Self(Content::File(Part {
            file,
            at: offset,
            left: len,
        }))
    }

    /// What `write` writes, sent in chunks. It runs after the handler has returned, where that
    /// ran, and waits whenever the client takes its time; if it fails or panics, the connection is
    /// closed without the last chunk. Not called for `HEAD`.
    ///
    /// ```
    /// use std::io::Write;
    /// use tarae_http::http::{HeaderName, HeaderValue};
    /// use tarae_http::{Body, Request, Response, answer};
    ///
    /// let count = |_: &mut Request| {
    ///     Response::text("").with_body(Body::from_writer(|out| {
    ///         (1..=3).try_for_each(|number| writeln!(out, "{number}"))?;
    ///         out.trailer(HeaderName::from_static("x-lines"), HeaderValue::from(3));
    ///         Ok(())
    ///     }))
    /// };
    /// let bytes = answer(count, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// assert!(bytes.ends_with(b"\r\n\r\n6\r\n1\n2\n3\n\r\n0\r\nx-lines: 3\r\n\r\n"));
    /// ```
    pub fn from_writer(
        write: impl FnOnce(&mut BodyWriter<'_>) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self(Content::Writer(Box::new(write)))
    }

    /// The number of bytes, where it is known before they are sent.
    #[inline]
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Content::Static(bytes) => Some(bytes.len() as u64),
            Content::Owned(bytes) => Some(bytes.len() as u64),
            Content::Reader(_, len) => *len,
            Content::Writer(_) => None,
            Content::File(part) => Some(part.left),
        }
    }

    /// Whether it is known that there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(bytes) => write!(f, "{} static bytes", bytes.len()),
            Self::Owned(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Reader(_, Some(len)) => write!(f, "a reader of {len} bytes"),
            Self::Reader(..) => write!(f, "a reader"),
            Self::Writer(_) => write!(f, "a writer"),
            Self::File(part) => write!(f, "{} bytes of a file", part.left),
        }
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Content::Static(bytes))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Content::Owned(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Cow<'static, str>> for Body {
    #[inline]
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}
