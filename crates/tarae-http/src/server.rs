//! The server: what it is made of, and how it is started.
//!
//! Used by programs. `acceptor` takes connections and gives them to one of the `models`, `arrival`
//! looks at who comes, `exchange` reads, calls and writes, `drain` ends it all; `guards` are the
//! limits, `connections` and `roster` say who is there. All protocol decisions are `conn`'s;
//! nothing here looks at bytes.

mod acceptor;
mod arrival;
mod connections;
mod drain;
mod evented;
mod exchange;
mod guards;
mod local;
mod looping;
mod models;
mod roster;
mod wire;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tarae::cancel::CancelToken;
use tarae::net::TcpListener;

use crate::{Handler, Limits, Network};
use connections::Connections;
pub use drain::{Running, Stopped};
use guards::Guards;
pub use models::{Model, ParseModelError};
use roster::Roster;

/// How long requests in flight may take to be answered when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How many handlers may be on the pool at once, and how many requests in line for it.
const POOL_THREADS: usize = 64;
const POOL_QUEUE: usize = 1024;

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
    guards: Guards,
    drain_timeout: Duration,
    model: Model,
    stack_size: Option<usize>,
    pool_threads: usize,
    pool_queue: usize,
    strict: bool,
}

impl<H: Handler> Server<H> {
    /// A server with the default [`Limits`] that calls itself `tarae`.
    pub fn new(handler: H) -> Server<H> {
        Server {
            handler,
            limits: Limits::default(),
            name: Some(HeaderValue::from_static("tarae")),
            guards: Guards::default(),
            drain_timeout: DRAIN_TIMEOUT,
            model: Model::default(),
            stack_size: None,
            pool_threads: POOL_THREADS,
            pool_queue: POOL_QUEUE,
            strict: false,
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

    /// How many connections may be open at once, at least one. Further ones wait in the listener's
    /// queue, unanswered, until one of them ends; nothing is lost.
    ///
    /// The default is the number of descriptors that the process may have (RLIMIT_NOFILE, the soft
    /// limit, when the server is made) less an eighth of it, which is left to the program for its
    /// own files and sockets: at least 32 and at most 1,024. Of 1,024 descriptors connections get
    /// 896; half as many where a thread serves each, since a thread that waits has a descriptor of
    /// its own. Set it lower if handlers open a descriptor for each request.
    ///
    /// # Panics
    ///
    /// When it is zero.
    pub fn max_connections(mut self, max: usize) -> Server<H> {
        assert!(max > 0, "a server needs at least one connection");
        self.guards.connections_max = max;
        self.guards.connections_set = true;
        self
    }

    /// How many connections one IP address may have at once; `None`, the default: any number. All
    /// addresses of an IPv6 network of 64 bits are one. A further connection is answered with 429,
    /// as far as that is possible without waiting, and closed.
    ///
    /// A [trusted proxy](Server::trusted_proxies) may have any number. If it names its client for
    /// each connection ([`proxy_protocol`](Server::proxy_protocol)), the connection counts for that
    /// one. Else each request counts for the client that it is from, from its head to the end of
    /// its handler; a further one is answered with 429, and its connection kept.
    pub fn max_connections_per_address(mut self, max: Option<u32>) -> Server<H> {
        self.guards.per_address_max = max;
        self
    }

    /// How many requests may be in handlers at once; `None`, the default: any number. If there are
    /// as many when the head of a further one has arrived, it is answered with 503 and
    /// `Retry-After`, and the handler is not asked. The connection is kept, as far as
    /// [`Plan::reject`](crate::Plan::reject) keeps it if a body follows.
    pub fn max_in_flight(mut self, max: Option<usize>) -> Server<H> {
        self.guards.in_flight_max = max;
        self
    }

    /// Whose word counts for who a client is. Default: nobody's.
    ///
    /// For connections from these networks, [`Request::client_ip`](crate::Request::client_ip) is
    /// the rightmost address in `X-Forwarded-For` that is not in one of them; if all are, the
    /// leftmost. If that field is missing, or what is looked at of it is no address, it is the
    /// proxy's own. From everybody else the field is ignored.
    ///
    /// ```
    /// use tarae_http::{Request, Response, Server};
    ///
    /// let server = Server::new(|_: &mut Request| Response::text("hello"))
    ///     .trusted_proxies(["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()])
    ///     .max_connections_per_address(Some(100));
    /// # let _ = server;
    /// ```
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = Network>) -> Server<H> {
        self.guards.trusted = networks.into_iter().collect();
        self
    }

    /// Whether connections begin with a header of the PROXY protocol, of version 1 or 2, that says
    /// who the client is. Default: no.
    ///
    /// Each has to, and each has to come from a [trusted proxy](Server::trusted_proxies): others
    /// are closed without an answer. So are those whose header is malformed, longer than 2 KiB, or
    /// has not arrived within [`Limits::head_timeout`]. If the header names nobody (`LOCAL`,
    /// `UNKNOWN`), the client is the proxy.
    pub fn proxy_protocol(mut self, yes: bool) -> Server<H> {
        self.guards.proxy_protocol = yes;
        self
    }

    /// How long requests in flight may go on when the server stops; then they are cancelled.
    /// Default: 30 seconds. See [`Running::stop`].
    pub fn drain_timeout(mut self, timeout: Duration) -> Server<H> {
        self.drain_timeout = timeout;
        self
    }

    /// Sets what serves a connection: [`Model::Coroutine`] unless it is set. The handler, the
    /// limits and what clients see are the same under each; only coroutines need a runtime.
    ///
    /// ```no_run
    /// use tarae::net::TcpListener;
    /// use tarae_http::{Model, Request, Response, Server};
    ///
    /// // On a plain thread: there is no runtime.
    /// let listener = TcpListener::bind("127.0.0.1:8080")?;
    /// Server::new(|_: &mut Request| Response::text("hello"))
    ///     .model(Model::Thread)
    ///     .serve(listener)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn model(mut self, model: Model) -> Server<H> {
        self.model = model;
        self
    }

    /// The size of the stack of a thread that serves a connection, in bytes, where the
    /// [model](Server::model) has such threads. Default: that of `std::thread`, 2 MiB. (Those of
    /// coroutines are the runtime's: [`tarae::Builder::stack_size`].)
    pub fn thread_stack_size(mut self, bytes: usize) -> Server<H> {
        self.stack_size = Some(bytes);
        self
    }

    /// How many handlers may run on threads of the pool at once under [`Model::Reactor`]; 64 unless
    /// it is set. They are threads of the [blocking pool](tarae::offload::Pool::Blocking).
    ///
    /// # Panics
    ///
    /// When it is zero.
    pub fn pool_threads(mut self, max: usize) -> Server<H> {
        assert!(max > 0, "a pool needs at least one thread");
        self.pool_threads = max;
        self
    }

    /// How many requests may stand in line for the pool under [`Model::Reactor`]; 1,024 unless it
    /// is set. A further one is answered with 503 and `Retry-After`, and its connection kept.
    pub fn pool_queue(mut self, max: usize) -> Server<H> {
        self.pool_queue = max;
        self
    }

    /// Whether calls of Tarae's that would block the thread of an event loop fail with
    /// [`WouldBlockLoop`](tarae::event::WouldBlockLoop) instead of being reported on standard
    /// error, once for each place. Default: no. Only models that call handlers on a loop have such
    /// a thread.
    pub fn strict(mut self, yes: bool) -> Server<H> {
        self.strict = yes;
        self
    }

    /// Serves `listener` in the calling coroutine until that is cancelled, for instance because the
    /// runtime ends. What is being answered then goes on; everything else is closed.
    ///
    /// # Errors
    ///
    /// When the listener fails for good, or no runtime is running; see [`start`](Server::start).
    pub fn serve(self, listener: TcpListener) -> io::Result<()> {
        let shared = self.into_shared()?;
        let result = shared.core.model.serve(listener, &shared);
        shared.core.begin_stop();
        shared.connections.end_waiting();
        result
    }

    /// Serves `listener` in the calling coroutine until SIGINT or SIGTERM, then stops as
    /// [`Running::stop`] does. `ready` is called once connections and signals are taken.
    ///
    /// A second signal ends the process at once, with the exit code
    /// [`Stopped::AT_ONCE`]. If handlers ignore their cancellation, they are named on standard
    /// error, and the process ends with [`Stopped::STRAGGLERS`], also if they hold every worker.
    /// For that there is a thread from the first signal on. (A worker that is held when the first
    /// signal comes sees it when it is released.)
    ///
    /// # Errors
    ///
    /// When the listener fails for good, signals cannot be caught, or as [`start`](Server::start).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tarae::net::TcpListener;
    /// use tarae_http::{Request, Response, Server};
    ///
    /// fn main() -> std::io::Result<()> {
    ///     tarae::run(|| {
    ///         let listener = TcpListener::bind("127.0.0.1:8080")?;
    ///         Server::new(|_: &mut Request| Response::text("hello"))
    ///             .serve_until_signal(listener, |address| println!("http://{address}"))
    ///     })?
    /// }
    /// ```
    pub fn serve_until_signal(
        self,
        listener: TcpListener,
        ready: impl FnOnce(SocketAddr),
    ) -> io::Result<()> {
        drain::serve_until_signal(&self.into_shared()?, listener, ready)
    }

    /// Starts serving `listener` in coroutines of their own.
    ///
    /// Errors of single connections end those and nothing else.
    ///
    /// When the process is out of descriptors although not
    /// [all connections](Server::max_connections) are open, those that wait to be accepted are
    /// answered with 503 and `Retry-After`, one by one, by means of a descriptor that is kept in
    /// reserve; those that are open go on. Out of memory the acceptor rests for a moment and tries
    /// again.
    ///
    /// # Errors
    ///
    /// When the listener has no address, no runtime is running, or the
    /// [PROXY protocol](Server::proxy_protocol) is asked for and nobody is trusted.
    pub fn start(self, listener: TcpListener) -> io::Result<Running> {
        drain::start(self.into_shared()?, listener)
    }

    fn into_shared(self) -> io::Result<Arc<Shared<H>>> {
        if self.guards.proxy_protocol && self.guards.trusted.is_empty() {
            let reason = "the PROXY protocol needs proxies that are trusted";
            return Err(io::Error::new(ErrorKind::InvalidInput, reason));
        }
        let core = Core {
            limits: self.limits,
            name: self.name,
            guards: self.guards.complete(self.model.descriptors()),
            drain_timeout: self.drain_timeout,
            model: self.model,
            stack_size: self.stack_size,
            pool_threads: self.pool_threads,
            pool_queue: self.pool_queue,
            strict: self.strict,
            ended: Mutex::new(None),
            cancelled: CancelToken::new(),
            roster: Roster::default(),
            stopping: AtomicBool::new(false),
        };
        Ok(Arc::new(Shared {
            handler: self.handler,
            core: Arc::new(core),
            connections: Connections::default(),
        }))
    }
}

/// What a server shares between its connections, whatever its handler is.
#[derive(Debug)]
struct Core {
    limits: Limits,
    name: Option<HeaderValue>,
    guards: Guards,
    drain_timeout: Duration,
    model: Model,
    stack_size: Option<usize>,
    pool_threads: usize,
    pool_queue: usize,
    strict: bool,
    /// How it has ended, where the model has seen to that.
    ended: Mutex<Option<Stopped>>,
    /// Threads that serve connections run inside of it.
    cancelled: CancelToken,
    roster: Roster,
    /// See `connections::Connection` for the order in which this and the sockets are looked at.
    stopping: AtomicBool,
}

impl Core {
    fn ended(&self) -> MutexGuard<'_, Option<Stopped>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
