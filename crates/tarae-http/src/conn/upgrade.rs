//! The end of HTTP on a connection: another protocol (RFC 9110, 7.8), or a tunnel (9.3.6).
//!
//! Called by `output`, which asks whether the client wanted that, and by whoever drives the
//! connection, which lends its transport to the handler's closure until that returns.

use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};
use tarae::net::TcpStream;

use super::{Conn, State, Transport};
use crate::framing::list;
use crate::response::Response;

/// What a handler goes on with, instead of HTTP.
pub(crate) type Upgrade = Box<dyn FnOnce(&mut Upgraded<'_>) + Send>;

/// A connection that speaks HTTP no more: what has arrived behind the request, then what comes.
///
/// Reads and writes wait; there are no time limits but the ones that the closure sets itself, by
/// [`tarae::timeout`] for instance. The connection is closed when the closure returns.
pub struct Upgraded<'a> {
    /// What was read too far already.
    early: &'a [u8],
    transport: &'a mut dyn Transport,
}

impl Upgraded<'_> {
    /// Bytes that the client sent right behind its request; reads give them first.
    pub fn early(&self) -> &[u8] {
        self.early
    }

    /// The socket, where the server runs on Tarae's: to read and to write at the same time, from
    /// two coroutines of a scope. What is [`early`](Self::early) is not in it any more.
    pub fn tcp(&self) -> Option<&TcpStream> {
        self.transport.tcp()
    }
}

impl Read for Upgraded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            self.transport.read(buf)
        } else {
            self.early.read(buf)
        }
    }
}

impl Write for Upgraded<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.transport.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.transport.flush()
    }
}

impl fmt::Debug for Upgraded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("early", &self.early.len())
            .finish_non_exhaustive()
    }
}

impl Conn {
    /// Looks whether the answer may end HTTP here. One that may not is replaced: an interim status
    /// answers nothing, and a client that asked for no other protocol understands none.
    #[cold]
    pub(super) fn begin_upgrade(&mut self, response: &mut Response) -> bool {
        let upgrade = response.upgrade.take();
        let is_switch = response.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_tunnel = self.message.head.method == Method::CONNECT && response.status.is_success();
        let protocol = response.field(&header::UPGRADE).cloned();
        let is_wanted = self.is_body_complete()
            && !self.draining
            && (is_tunnel || is_switch && self.asks_for(protocol.as_ref()));
        match (upgrade, protocol) {
            (Some(upgrade), _) if is_wanted => {
                self.upgrade = Some(upgrade);
                self.linger = false;
                // The bytes behind the message are the other protocol's.
                self.keep = true;
                return true;
            }
            (Some(_), Some(protocol)) if is_switch => {
                *response = Response::plain_status(StatusCode::UPGRADE_REQUIRED)
                    .with_header(header::UPGRADE, protocol);
            }
            _ if response.status.is_informational() => {
                *response = Response::plain_status(StatusCode::INTERNAL_SERVER_ERROR);
            }
            _ => {}
        }
        false
    }

    /// Whether the client offers to speak that protocol.
    fn asks_for(&self, protocol: Option<&HeaderValue>) -> bool {
        let head = &self.message.head;
        let offers = |name: &str, wanted: &[u8]| {
            let fields = head
                .headers()
                .filter(|(field, _)| field.eq_ignore_ascii_case(name));
            fields
                .flat_map(|(_, value)| list(value))
                .any(|item| item.eq_ignore_ascii_case(wanted))
        };
        protocol.is_some_and(|protocol| {
            head.version == Version::HTTP_11
                && offers("connection", b"upgrade")
                && offers("upgrade", protocol.as_bytes())
        })
    }

    /// Lends the transport to what the handler goes on with; returns when that does. Does nothing
    /// unless [`Event::Upgrade`](super::Event::Upgrade) was the last event.
    pub fn upgrade(&mut self, transport: &mut dyn Transport) {
        let Some(upgrade) = self.upgrade.take() else {
            return;
        };
        self.state = State::Close;
        (self.keep, self.linger) = (false, false);
        let begin = self.message.head.start;
        let mut upgraded = Upgraded {
            early: &self.message.head.buf[begin..self.filled],
            transport,
        };
        // A panic ends this connection and nothing else.
        let _ = catch_unwind(AssertUnwindSafe(|| upgrade(&mut upgraded)));
    }
}
