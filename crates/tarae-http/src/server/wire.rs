//! The socket of a connection, with the time limits of a message under way.
//!
//! Used by `exchange`, and by handlers that read their request's body or write their answer's
//! themselves. Decides nothing about the protocol: who is too slow gets `TimedOut`.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use tarae::net::TcpStream;
use tarae::time::Instant;

use crate::Limits;
use crate::conn::Transport;

/// How long the peer has had us wait for one message, and how much of it that has moved.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// How long the next wait may be: `timeout`, or less where the peer has been slow so far.
    pub(super) fn patience(&self, timeout: Duration, rate_min: u64) -> Duration {
        timeout.min(self.left(timeout, rate_min))
    }

    /// How long all waits to come may be together, which grows with what is moved.
    pub(super) fn left(&self, timeout: Duration, rate_min: u64) -> Duration {
        let earned = match self.bytes.checked_div(rate_min) {
            Some(seconds) => {
                let rest = self.bytes % rate_min * 1_000_000_000 / rate_min;
                timeout.saturating_add(Duration::new(seconds, rest as u32))
            }
            None => Duration::MAX,
        };
        earned.saturating_sub(self.waited)
    }

    pub(super) fn moved(&mut self, since: Instant, bytes: u64) {
        self.waited = self.waited.saturating_add(since.elapsed());
        self.bytes += bytes;
    }
}

/// A connection's socket, for those who wait on it themselves.
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    /// None: another protocol, which has limits of its own.
    limits: Option<&'a Limits>,
    read: Pace,
    write: Pace,
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: &'a TcpStream, limits: &'a Limits) -> Wire<'a> {
        Wire {
            stream,
            limits: Some(limits),
            read: Pace::default(),
            write: Pace::default(),
        }
    }

    pub(super) fn unlimited(stream: &'a TcpStream) -> Wire<'a> {
        // None is never refused.
        let _ = stream.set_read_timeout(None);
        let _ = stream.set_write_timeout(None);
        Wire {
            stream,
            limits: None,
            read: Pace::default(),
            write: Pace::default(),
        }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(limits) = self.limits else {
            return (&mut &*self.stream).read(buf);
        };
        let patience = self.read.patience(limits.body_timeout, limits.rate_min);
        self.stream.set_read_timeout(Some(positive(patience)))?;
        let begin = Instant::now();
        let count = (&mut &*self.stream).read(buf)?;
        self.read.moved(begin, count as u64);
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(limits) = self.limits else {
            return (&mut &*self.stream).write(bytes);
        };
        let patience = self.write.patience(limits.write_timeout, limits.rate_min);
        self.stream.set_write_timeout(Some(positive(patience)))?;
        let begin = Instant::now();
        let count = (&mut &*self.stream).write(bytes)?;
        self.write.moved(begin, count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Wire<'_> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.stream)
    }
}

/// Sockets refuse a time-out of zero, which here means: do not wait.
pub(super) fn positive(timeout: Duration) -> Duration {
    timeout.max(Duration::from_nanos(1))
}

/// What is read and thrown away of a peer that goes on sending after the last answer.
pub(super) const LINGER_BYTES: usize = 256 * 1024;
/// How long such a peer may be silent.
pub(super) const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// How long all that may take.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(5);

/// Lets the peer read the last answer before the connection is closed on what it still sends.
pub(super) fn linger(stream: &TcpStream, time: Duration) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let end = Instant::now() + time;
    let (mut total, mut buffer) = (0, [0; 4096]);
    while total < LINGER_BYTES {
        let left = end.duration_since(Instant::now());
        stream.set_read_timeout(Some(positive(left.min(LINGER_SILENCE))))?;
        match (&mut &*stream).read(&mut buffer)? {
            0 => break,
            count => total += count,
        }
    }
    Ok(())
}
