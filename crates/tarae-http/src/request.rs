//! What a handler is given: the head and the body of one request. Made by `conn`, which lends
//! its receive buffer to the head: nothing is copied out of it and nothing here parses.

use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;

use http::{Method, Version};

use crate::Limits;
use crate::conn::{Conn, Transport};

/// The method, target and header fields of a request.
///
/// It owns the connection's receive buffer while the handler runs; everything it gives out
/// are views into that buffer.
#[derive(Debug)]
pub struct Head {
    /// The receive buffer; the head begins at `start`, and all spans count from there.
    pub(crate) buf: Vec<u8>,
    pub(crate) start: usize,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// A copy, because text is not looked through again: `httparse` has done that.
    pub(crate) target: String,
    /// Parts of `target`.
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    /// The authority of an absolute target, or the value of `Host`.
    pub(crate) host: Span,
    pub(crate) fields: Vec<Field>,
}

/// A part of the head, relative to its first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// One header field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

impl Head {
    pub(crate) fn new(buf: Vec<u8>) -> Self {
        Self {
            buf,
            start: 0,
            method: Method::GET,
            version: Version::HTTP_11,
            target: String::new(),
            path: Span::default(),
            query: None,
            host: Span::default(),
            fields: Vec::new(),
        }
    }

    /// The request method.
    #[inline]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request target as it was sent: usually a path with its query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path: the target without scheme, authority and query. Still percent-encoded. It is
    /// `*` for `OPTIONS *` and the authority for `CONNECT`.
    #[inline]
    pub fn path(&self) -> &str {
        // Only an absolute target such as `http://example.org` has no path of its own.
        if self.path.len == 0 {
            "/"
        } else {
            self.of_target(self.path)
        }
    }

    /// What follows the first `?` of the target, still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|span| self.of_target(span))
    }

    /// The authority the request is for: the one in an absolute target, else the value of
    /// `Host`. Empty if an HTTP/1.0 client named none.
    pub fn host(&self) -> &str {
        self.text(self.host)
    }

    /// The version the client speaks: HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The value of the first header field of this name, compared without regard to case.
    ///
    /// ```
    /// # use tarae_http::{Request, Response};
    /// fn agent(request: &mut Request) -> Response {
    ///     let agent = request.header("user-agent").unwrap_or(b"unknown");
    ///     Response::bytes(agent.to_vec())
    /// }
    /// # let request = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n";
    /// # let answer = tarae_http::answer(agent, request);
    /// # assert!(answer.ends_with(b"\r\n\r\nx"));
    /// ```
    #[inline]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All header fields in the order they came, without the whitespace around the values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|field| (self.text(field.name), self.bytes(field.value)))
    }

    /// The first bytes of the request line, if so many are there.
    #[inline]
    pub(crate) fn first_bytes(&self) -> Option<&[u8; NOTED_BYTES]> {
        self.buf.get(self.start..)?.first_chunk()
    }

    #[inline]
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        let at = self.start + span.at as usize;
        &self.buf[at..at + span.len as usize]
    }

    #[inline]
    fn of_target(&self, span: Span) -> &str {
        let at = span.at as usize;
        &self.target[at..at + span.len as usize]
    }

    /// The parser lets only ASCII into names and hosts, so the fallback is never taken.
    #[inline]
    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }
}

/// What has come of one request. Kept by the connection, lent to the handler.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    /// Where the decoded body lies in the head's buffer, relative to the head's first byte.
    pub(crate) body_at: usize,
    pub(crate) body_len: usize,
    pub(crate) peer: Option<SocketAddr>,
    /// Set for each request by a server that believes proxies, else never.
    pub(crate) client: Option<IpAddr>,
}

/// How much of a request is kept to name it by.
pub(crate) const NOTED_BYTES: usize = 64;

impl Message {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            head,
            body_at: 0,
            body_len: 0,
            peer: None,
            client: None,
        }
    }

    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self) {
        let Head {
            buf: _,
            start,
            method,
            version,
            target,
            path,
            query,
            host,
            fields,
        } = &mut self.head;
        *start = 0;
        if *method != Method::GET {
            *method = Method::GET;
        }
        *version = Version::HTTP_11;
        target.clear();
        (*path, *query, *host) = (Span::default(), None, Span::default());
        fields.clear();
        (self.body_at, self.body_len, self.peer, self.client) = (0, 0, None, None);
    }
}

/// One request: a [`Head`], to which it dereferences, and the body.
pub struct Request<'a> {
    conn: &'a mut Conn,
    /// Where a body comes from that the handler reads.
    wire: Option<(&'a mut dyn Transport, &'a Limits)>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.method())
            .field("target", &self.target())
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    #[inline]
    pub(crate) fn new(
        conn: &'a mut Conn,
        wire: Option<(&'a mut dyn Transport, &'a Limits)>,
    ) -> Self {
        Self { conn, wire }
    }

    /// The head of the request.
    #[inline]
    pub fn head(&self) -> &Head {
        self.conn.head()
    }

    /// The whole body, with any chunked coding removed. Empty if there was none, and where the
    /// [plan](crate::Plan::stream) was to read it piece by piece.
    #[inline]
    pub fn body(&self) -> &[u8] {
        self.conn.message().body()
    }

    /// Reads the body from its beginning, or from where the last reader stopped if the
    /// [plan](crate::Plan::stream) was to read it piece by piece: then reads wait for the client,
    /// and their errors may be a [`BodyError`](crate::BodyError).
    ///
    /// What is left unread is read and dropped if it is little; otherwise the connection ends with
    /// the answer. A client that waits for `100 Continue` is told to go on by the first read.
    pub fn body_reader(&mut self) -> BodyReader<'_> {
        BodyReader(match &mut self.wire {
            Some((transport, limits)) => Unread::Wire {
                conn: self.conn,
                transport: *transport,
                limits,
            },
            None => Unread::Memory(self.conn.message().body()),
        })
    }

    /// The IP address of the client: what trusted proxies say it is (see
    /// [`Server::trusted_proxies`](crate::Server::trusted_proxies)), else that of
    /// [`peer_addr`](Request::peer_addr). An IPv4 address is given as one, however the socket has
    /// it.
    ///
    /// ```
    /// # use tarae_http::{Request, Response};
    /// fn who(request: &mut Request) -> Response {
    ///     match request.client_ip() {
    ///         Some(address) => Response::text(address.to_string()),
    ///         None => Response::text("not over a network"),
    ///     }
    /// }
    /// # let answer = tarae_http::answer(who, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(answer.ends_with(b"not over a network"));
    /// ```
    pub fn client_ip(&self) -> Option<IpAddr> {
        let message = self.conn.message();
        let peer = || message.peer.map(|peer| peer.ip().to_canonical());
        message.client.or_else(peer)
    }

    /// The address at the other end of the connection, if the server knows one: the client's or a
    /// proxy's.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.conn.message().peer
    }
}

impl Message {
    #[inline]
    fn body(&self) -> &[u8] {
        let at = self.head.start + self.body_at;
        &self.head.buf[at..at + self.body_len]
    }
}

/// The body of a request as a reader; see [`Request::body_reader`].
#[derive(Debug)]
pub struct BodyReader<'a>(Unread<'a>);

enum Unread<'a> {
    Memory(&'a [u8]),
    Wire {
        conn: &'a mut Conn,
        transport: &'a mut dyn Transport,
        limits: &'a Limits,
    },
}

impl fmt::Debug for Unread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unread::Memory(_) => "Memory",
            Unread::Wire { .. } => "Wire",
        })
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Unread::Memory(bytes) => bytes.read(buf),
            Unread::Wire {
                conn,
                transport,
                limits,
            } => conn.read_body(buf, *transport, limits),
        }
    }
}

impl Deref for Request<'_> {
    type Target = Head;

    #[inline]
    fn deref(&self) -> &Head {
        self.head()
    }
}
