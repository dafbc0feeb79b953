//! A connection before its first request: who it is from, and whether that one may have it.
//!
//! Called by `exchange` in the connection's first coroutine. What it reads belongs to the header of
//! the PROXY protocol; all else is left for `conn`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use tarae::net::TcpStream;
use tarae::time::{Instant, system_time};

use super::Core;
use super::connections::Connection;
use super::guards::too_many;
use crate::encode::{self, Length, Persistence};
use crate::proxy::{self, HEADER_BYTES};
use crate::{CommonHeaders, Response};

/// Finds out who the client is, if a proxy says so, and counts the connection. False if it is to be
/// closed.
pub(super) fn arrive<H>(connection: &Connection<H>) -> bool {
    let core = &connection.server().core;
    let guards = &core.guards;
    if guards.proxy_protocol {
        // Nobody else may claim to be somebody else.
        if !guards.trusts(connection.peer.ip()) {
            return false;
        }
        match header(&connection.stream, core.limits.head_timeout) {
            Ok(Some(source)) => connection.comes_from(source),
            Ok(None) => {}
            Err(_) => return false,
        }
    }
    let source = connection.source();
    // A proxy's connections carry the requests of many: those are counted then.
    if guards.per_address_max.is_none() || guards.trusts(source) {
        return true;
    }
    let fits = guards.count(source);
    if fits {
        connection.is_counted();
    } else {
        refuse(core, &connection.stream, &too_many());
    }
    fits
}

/// Reads the header of the PROXY protocol and not a byte more.
fn header(stream: &TcpStream, timeout: Duration) -> io::Result<Option<SocketAddr>> {
    let begin = Instant::now();
    let (mut bytes, mut taken) = ([0; HEADER_BYTES], 0);
    loop {
        let left = timeout.saturating_sub(begin.elapsed());
        stream.set_read_timeout(Some(left.max(Duration::from_nanos(1))))?;
        let count = stream.peek(&mut bytes[taken..])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let arrived = taken + count;
        let header = proxy::parse(&bytes[..arrived]).map_err(|_| ErrorKind::InvalidData)?;
        let end = header.map_or(arrived, |header| header.len);
        // It has arrived, so this does not wait.
        (&mut &*stream).read_exact(&mut bytes[taken..end])?;
        taken = end;
        if let Some(header) = header {
            return Ok(header.source);
        }
    }
}

/// Answers a connection that is not served, without waiting: what fits into the socket is all that
/// is said, and what has arrived by now all that is read, so that the answer is not lost to a reset
/// on its account.
pub(super) fn refuse(core: &Core, stream: &TcpStream, response: &Response) {
    let mut common = CommonHeaders::new(core.name.as_ref());
    let now = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    common.tick(now.as_secs());
    let mut bytes = Vec::new();
    let text = response.body.in_memory();
    let length = Length::Bytes(text.len() as u64);
    encode::head(&mut bytes, response, &common, length, Persistence::Close);
    bytes.extend_from_slice(text);
    let say = || -> io::Result<()> {
        stream.set_nonblocking(true)?;
        (&mut &*stream).write_all(&bytes)?;
        stream.shutdown(Shutdown::Write)?;
        (&mut &*stream).read(&mut [0; 4096]).map(drop)
    };
    // The connection is closed in any case.
    let _ = say();
    let _ = stream.set_nonblocking(false);
}
