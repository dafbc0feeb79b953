//! What a handler gives back. Built by handlers, read by `encode` and `conn`. Status, names and
//! values are of types that cannot hold CR, LF or NUL, so a response cannot be split.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

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
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) content_type: ContentType,
    /// Every field but `Content-Type`; empty, and so not allocated, for most answers.
    fields: Option<Box<Fields>>,
    pub(crate) body: Body,
    pub(crate) close: bool,
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

fn is_framing(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::CONNECTION
        || *name == header::TRAILER
        || name.as_str() == "keep-alive"
}

/// The body of a response.
///
/// ```
/// use tarae_http::Body;
/// assert_eq!(Body::from("text").len(), 4);
/// assert_eq!(Body::from(vec![1, 2, 3]).len(), 3);
/// assert_eq!(Body::from_reader(std::io::repeat(b'x'), 1_000_000).len(), 1_000_000);
/// assert!(Body::empty().is_empty());
/// ```
#[derive(Debug)]
pub struct Body(pub(crate) Content);

pub(crate) enum Content {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Reader(Box<dyn Read + Send>, u64),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Content::Static(b""))
    }

    /// Exactly `len` bytes from a reader, read while they are sent. What the reader has beyond
    /// that is not sent; if it ends or fails before, the connection is closed so that the
    /// client notices.
    pub fn from_reader(reader: impl Read + Send + 'static, len: u64) -> Self {
        Self(Content::Reader(Box::new(reader), len))
    }

    /// The number of bytes.
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Static(bytes) => bytes.len() as u64,
            Content::Owned(bytes) => bytes.len() as u64,
            Content::Reader(_, len) => *len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(bytes) => write!(f, "{} static bytes", bytes.len()),
            Self::Owned(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Reader(_, len) => write!(f, "a reader of {len} bytes"),
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
