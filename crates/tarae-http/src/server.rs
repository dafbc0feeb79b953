//! The server on Tarae's coroutines: accepts, drives connections, drains.
//!
//! Used by programs. One acceptor hands each connection to the worker with the fewest. A connection
//! that is idle is its state and nothing else: no coroutine, no stack, no buffer; when data comes,
//! a coroutine is made for it and borrows buffers from its worker's pool. All protocol decisions
//! are `conn`'s; nothing here looks at bytes.

mod connections;
mod exchange;
mod local;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tarae::Cancelled;
use tarae::net::TcpListener;
use tarae::thread::{self, JoinHandle};
use tarae::time::{Instant, sleep_until};

use crate::{Handler, Limits};
use connections::{Connections, Open};
use exchange::begin;

/// How long the acceptor rests when the process is out of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// An HTTP/1.1 server: a handler, limits, and a listener to serve.
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::net::{TcpListener, TcpStream};
/// use tarae_http::{Request, Response, Server};
///
/// tarae::run(|| -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = Server::new(|_: &mut Request| Response::text("hello")).start(listener)?;
///
///     let mut client = TcpStream::connect(server.local_addr())?;
///     client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer)?;
///     assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"));
///
///     server.stop();
///     Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing until it is started"]
pub struct Server<H> {
    handler: H,
    limits: Limits,
    name: Option<HeaderValue>,
}

impl<H: Handler> Server<H> {
    /// A server with the default [`Limits`] that calls itself `tarae`.
    pub fn new(handler: H) -> Server<H> {
        Server {
            handler,
            limits: Limits::default(),
            name: Some(HeaderValue::from_static("tarae")),
        }
    }

    /// Sets the bounds that connections are held to.
    pub fn limits(mut self, limits: Limits) -> Server<H> {
        self.limits = limits;
        self
    }

    /// Sets the value of the `Server` header field; `None` leaves it out.
    ///
    /// # Panics
    ///
    /// When the text has characters that a header field may not have.
    pub fn server_name(mut self, name: Option<&'static str>) -> Server<H> {
        self.name = name.map(HeaderValue::from_static);
        self
    }

    /// Serves `listener` in the calling coroutine until that is cancelled, for instance because the
    /// runtime ends. What is being answered then goes on; everything else is closed.
    ///
    /// # Errors
    ///
    /// When the listener fails for good, or no runtime is running; see [`start`](Server::start).
    pub fn serve(self, listener: TcpListener) -> io::Result<()> {
        let shared = self.into_shared();
        let result = accept(&listener, &shared);
        drop(listener);
        shared.core.begin_stop();
        shared.connections.end_waiting();
        result
    }

    /// Starts serving `listener` in coroutines of their own.
    ///
    /// Errors of single connections end those and nothing else. When the process is out of
    /// descriptors or memory the acceptor rests for a moment and tries again; the connections wait
    /// in the listener's queue meanwhile.
    ///
    /// # Errors
    ///
    /// When the listener has no address, or no runtime is running.
    pub fn start(self, listener: TcpListener) -> io::Result<Running> {
        let local_addr = listener.local_addr()?;
        let shared = self.into_shared();
        let stop: Arc<dyn Stop> = Arc::clone(&shared) as _;
        let acceptor = thread::Builder::new()
            .name(format!("acceptor of {local_addr}"))
            .spawn(move || accept(&listener, &shared))?;
        Ok(Running {
            stop,
            acceptor,
            local_addr,
        })
    }

    fn into_shared(self) -> Arc<Shared<H>> {
        let core = Core {
            limits: self.limits,
            name: self.name,
            stopping: AtomicBool::new(false),
        };
        Arc::new(Shared {
            handler: self.handler,
            core: Arc::new(core),
            connections: Connections::default(),
        })
    }
}

/// A server that runs. Dropping it lets it go on.
pub struct Running {
    stop: Arc<dyn Stop>,
    acceptor: JoinHandle<io::Result<()>>,
    local_addr: SocketAddr,
}

impl Running {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits until the server ends: by a failure of its listener, or because this coroutine is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// That of the listener.
    pub fn wait(self) -> io::Result<()> {
        match self.acceptor.join() {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Stops accepting and waits until every connection is closed: at once where nothing of a
    /// request has arrived, or not yet its whole head; elsewhere when the request has been
    /// answered, with `Connection: close`. (What is pipelined behind that one is not: the peer
    /// knows by that field that it has to ask again.) Returns early when the calling coroutine is
    /// cancelled.
    pub fn stop(self) {
        self.stop.begin();
        self.acceptor.cancel();
        // The listener is closed when this returns; how it ended does not matter any more.
        let _ = self.acceptor.join();
        self.stop.finish();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// How a server is stopped, whatever its handler is.
trait Stop: Send + Sync {
    fn begin(&self);

    /// Once nothing is accepted any more.
    fn finish(&self);
}

impl<H: Handler> Stop for Shared<H> {
    fn begin(&self) {
        self.core.begin_stop();
    }

    fn finish(&self) {
        self.connections.end_waiting();
        self.connections.wait_until_empty();
    }
}

/// What a server shares between its connections, whatever its handler is.
#[derive(Debug)]
struct Core {
    limits: Limits,
    name: Option<HeaderValue>,
    /// See `connections::Connection` for the order in which this and the sockets are looked at.
    stopping: AtomicBool,
}

impl Core {
    fn begin_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Shared<H> {
    handler: H,
    core: Arc<Core>,
    connections: Connections<H>,
}

fn accept<H: Handler>(listener: &TcpListener, shared: &Arc<Shared<H>>) -> io::Result<()> {
    // While connections keep coming `accept` does not wait, and so cannot be cancelled.
    while !shared.core.is_stopping() {
        match listener.accept() {
            Ok((stream, peer)) => {
                let open = Open::new(stream, peer, shared);
                thread::Builder::new().spawn(move || begin(open))?;
            }
            Err(error) if Cancelled::is(&error) => break,
            Err(error) => match error.raw_os_error().map(io_cause) {
                Some(Cause::Connection) => {}
                Some(Cause::Resources) if rest() => {}
                Some(Cause::Resources) => break,
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

/// Waits for descriptors or memory to be freed. False if cancelled.
fn rest() -> bool {
    let until = Instant::now() + BACK_OFF;
    sleep_until(until);
    // A sleep is cut short by a cancellation and by nothing else.
    Instant::now() >= until
}

enum Cause {
    /// It went before it was accepted.
    Connection,
    /// Descriptors or memory are used up.
    Resources,
    Listener,
}

/// What an error of accept is about, by its number on Linux; see accept(2).
fn io_cause(code: i32) -> Cause {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    const EBADF: i32 = 9;
    const EINVAL: i32 = 22;
    const ENOTSOCK: i32 = 88;
    const EOPNOTSUPP: i32 = 95;
    match code {
        ENOMEM | ENFILE | EMFILE | ENOBUFS => Cause::Resources,
        EBADF | EINVAL | ENOTSOCK | EOPNOTSUPP => Cause::Listener,
        _ => Cause::Connection,
    }
}
