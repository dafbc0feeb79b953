//! The bounds a connection is held to. Read by the parser, the connection state machine and
//! whatever drives it. Plain data: nothing here measures or enforces anything itself.

use std::time::Duration;

/// What one connection may cost the server. What all of them together may is set by methods of
/// [`Server`](crate::Server); the repository's `docs/limits.md` has everything in one table, beside
/// the defaults of other servers.
///
/// | field | default | beyond it |
/// | --- | --- | --- |
/// | `request_line_bytes` | 8 KiB | 414 |
/// | `head_bytes` | 16 KiB | 431 |
/// | `headers` | 100 | 431 |
/// | `body_bytes` | 1 MiB | 413 |
/// | `chunk_extension_bytes` | 4 KiB per body | 400 |
/// | `trailer_bytes` | 4 KiB per body | 431 |
/// | `requests_per_connection` | 1,000 | `Connection: close` on the last answer |
/// | `head_timeout` | 10 s | 408 |
/// | `body_timeout` | 30 s without progress | 408 |
/// | `write_timeout` | 30 s without progress | closed |
/// | `rate_min` | 240 bytes/s once these times are used up | as for these |
/// | `request_timeout` | 60 s | the handler's waits end |
/// | `idle_timeout` | 60 s | closed |
///
/// ```
/// let mut limits = tarae_http::Limits::default();
/// limits.body_bytes = 16 * 1024;
/// assert_eq!(limits.headers, 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Length of the request line in bytes, its CRLF not counted.
    pub request_line_bytes: usize,
    /// Length of the whole head in bytes: request line, fields and the final empty line.
    pub head_bytes: usize,
    /// Number of header fields. Values above 100 mean 100.
    pub headers: usize,
    /// Length of a decoded body in bytes, where the handler's plan names no other limit.
    pub body_bytes: usize,
    /// All chunk extensions of one body together, in bytes.
    pub chunk_extension_bytes: usize,
    /// The trailer section of one body, in bytes.
    pub trailer_bytes: usize,
    /// Requests answered on one connection before it is closed; `None` for no bound.
    pub requests_per_connection: Option<u32>,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// Between two arrivals of body bytes.
    pub body_timeout: Duration,
    /// Between two moments at which the peer takes bytes of an answer.
    pub write_timeout: Duration,
    /// Bytes per second that the peer must send of a body, or take of an answer, on average over
    /// the time that is spent waiting for it. The first `body_timeout` or `write_timeout` of that
    /// is free. 0 for none.
    pub rate_min: u64,
    /// From the call of the handler until it returns: a deadline around it, which ends its waits,
    /// as [`tarae::deadline`] does, and those of all that it calls; `None` for none. What it
    /// returns then is the answer.
    pub request_timeout: Option<Duration>,
    /// Between the end of an answer and the first byte of the next request.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 8 * 1024,
            head_bytes: 16 * 1024,
            headers: 100,
            body_bytes: 1024 * 1024,
            chunk_extension_bytes: 4 * 1024,
            trailer_bytes: 4 * 1024,
            requests_per_connection: Some(1_000),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            rate_min: 240,
            request_timeout: Some(Duration::from_secs(60)),
            idle_timeout: Duration::from_secs(60),
        }
    }
}
