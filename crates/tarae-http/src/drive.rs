//! Drives a connection in direct style: one read, the handlers, one write, in a loop, over
//! anything that is `Read + Write`. For a thread or a process per connection, and for tests
//! without sockets. It never sets timeouts: it honours those the stream has.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::conn::{Buffers, Conn, Context, Event, Parked, Transport};
use crate::handler::{Handler, call_contained, plan_contained};
use crate::{CommonHeaders, Limits};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// How many requests were answered, refused ones not counted.
    pub requests: u32,
    /// Whether the peer may still be sending; see [`Event::Close`].
    pub linger: bool,
}

/// Serves one connection to its end: until the peer closes it, a message is refused, or an
/// answer closes it.
///
/// A read or write that fails with `WouldBlock` or `TimedOut` means that the peer took too
/// long; set timeouts on the stream to get that. A panic in the handler is answered with 500.
///
/// # Errors
///
/// What the stream returned, except for interruptions (repeated) and timeouts (answered).
///
/// ```no_run
/// use std::net::TcpListener;
/// use tarae_http::{CommonHeaders, Limits, Request, Response, serve_stream};
///
/// let hello = |_: &mut Request| Response::text("hello");
/// let listener = TcpListener::bind("127.0.0.1:8080")?;
/// loop {
///     let (mut stream, peer) = listener.accept()?;
///     stream.set_nodelay(true)?;
///     std::thread::spawn(move || {
///         let (limits, mut common) = (Limits::default(), CommonHeaders::default());
///         serve_stream(&mut stream, &hello, &limits, &mut common, Some(peer))
///     });
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn serve_stream<S, H>(
    stream: &mut S,
    handler: &H,
    limits: &Limits,
    common: &mut CommonHeaders,
    peer: Option<SocketAddr>,
) -> io::Result<Served>
where
    S: Read + Write + ?Sized,
    H: Handler + ?Sized,
{
    let mut conn = Parked::new(peer).resume(Buffers::new());
    loop {
        let context = Context { limits, common };
        match conn.next(context) {
            Event::Idle | Event::ReadHead | Event::ReadBody => {
                let result = stream.read(conn.space());
                common.tick(unix_seconds());
                match result {
                    Ok(bytes) => conn.received(bytes),
                    Err(error) => passed_over(error, &mut conn, Context { limits, common })?,
                }
            }
            Event::Plan => {
                let plan = plan_contained(handler, conn.head());
                conn.planned(plan, context);
            }
            Event::Call => {
                let response = call_contained(handler, &mut conn.request());
                conn.respond(response, context);
            }
            Event::CallStreaming => {
                let mut wire = Wire(&mut *stream);
                let mut request = conn.streaming_request(&mut wire, limits);
                let response = call_contained(handler, &mut request);
                conn.respond(response, context);
            }
            Event::Pull | Event::SendFile => {
                // The connection ends by itself if the reader failed.
                let _ = conn.pull();
            }
            Event::Produce => {
                let _ = conn.produce(&mut Wire(&mut *stream));
            }
            Event::Upgrade => conn.upgrade(&mut Wire(&mut *stream)),
            Event::Write => match stream.write(conn.output()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => conn.wrote(bytes),
                Err(error) => passed_over(error, &mut conn, context)?,
            },
            Event::Close { linger } => {
                return Ok(Served {
                    requests: conn.served(),
                    linger,
                });
            }
        }
    }
}

/// The stream, for those who wait on the connection themselves.
struct Wire<'a, S: ?Sized>(&'a mut S);

impl<S: Read + ?Sized> Read for Wire<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<S: Write + ?Sized> Write for Wire<'_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Read + Write + ?Sized> Transport for Wire<'_, S> {}

fn passed_over(error: io::Error, conn: &mut Conn, context: Context<'_>) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => {}
        ErrorKind::WouldBlock | ErrorKind::TimedOut => conn.timed_out(context),
        _ => return Err(error),
    }
    Ok(())
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Gives the bytes a handler would answer with on a connection that carries just `input`: a
/// way to test handlers without sockets. Limits and shared header fields are the defaults.
///
/// ```
/// use tarae_http::{Request, Response, answer};
///
/// let echo = |request: &mut Request| Response::bytes(request.body().to_vec());
/// let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
/// assert!(answer(echo, request).ends_with(b"\r\n\r\nhi"));
/// ```
pub fn answer(handler: impl Handler, input: &[u8]) -> Vec<u8> {
    let mut stream = InMemory {
        input,
        output: Vec::new(),
    };
    let (limits, mut common) = (Limits::default(), CommonHeaders::default());
    // Reading a slice and writing a vector cannot fail.
    let _ = serve_stream(&mut stream, &handler, &limits, &mut common, None);
    stream.output
}

struct InMemory<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for InMemory<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.input.read(buf)
    }
}

impl Write for InMemory<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
