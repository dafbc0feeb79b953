//! The server on Tarae's coroutines: accepts, drives connections, drains.
//!
//! Used by programs. One acceptor hands each connection to the worker with the fewest. A connection
//! that is idle is its state and nothing else: no coroutine, no stack, no buffer; when data comes,
//! a coroutine is made for it and borrows buffers from its worker's pool. All protocol decisions
//! are `conn`'s; nothing here looks at bytes.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use tarae::net::{AsSocket, BorrowedSocket, TcpListener, TcpStream, park_until_readable};
use tarae::sync::mpsc;
use tarae::thread::{self, JoinHandle};
use tarae::time::{Instant, sleep};
use tarae::{Cancelled, Wake};

use crate::conn::{Buffers, Conn, Context, Event, Parked};
use crate::handler::call_contained;
use crate::{CommonHeaders, Handler, Limits};

/// Buffers a worker keeps for its connections.
const POOL_MAX: usize = 256;
/// What is read and thrown away of a peer that goes on sending after the last answer.
const LINGER_BYTES: usize = 256 * 1024;
/// How long such a peer may be silent.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
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

    /// Serves `listener` until the calling coroutine is cancelled, for instance because the runtime
    /// ends.
    ///
    /// # Errors
    ///
    /// When the listener fails for good; see [`start`](Server::start).
    pub fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.start(listener)?.wait()
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
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let local_addr = listener.local_addr()?;
        let core = Arc::new(Core {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            limits: self.limits,
            name: self.name,
            stopping: AtomicBool::new(false),
            busy: (0..BUSY_SHARDS).map(|_| Shard::default()).collect(),
            on_idle: Mutex::new(None),
        });
        let shared = Arc::new(Shared {
            handler: self.handler,
            core: Arc::clone(&core),
        });
        let acceptor = thread::Builder::new()
            .name(format!("acceptor of {local_addr}"))
            .spawn(move || accept(&listener, &shared))?;
        Ok(Running {
            core,
            acceptor,
            local_addr,
        })
    }
}

/// A server that runs. Dropping it lets it go on.
#[derive(Debug)]
pub struct Running {
    core: Arc<Core>,
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

    /// Stops accepting, and waits until every request whose head has arrived has been answered.
    /// Connections are told that they will be closed; idle ones end with the runtime. Returns early
    /// when the calling coroutine is cancelled.
    pub fn stop(self) {
        let core = &self.core;
        let (sender, receiver) = mpsc::channel();
        *core.on_idle() = Some(sender);
        core.stopping.store(true, Ordering::SeqCst);
        self.acceptor.cancel();
        // The listener is closed when this returns; how it ended does not matter any more.
        let _ = self.acceptor.join();
        while core
            .busy
            .iter()
            .any(|shard| shard.0.load(Ordering::SeqCst) > 0)
        {
            if receiver.recv().is_err() {
                return;
            }
        }
    }
}

const BUSY_SHARDS: usize = 16;

/// A counter with a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicUsize);

/// What a server shares between its connections, but for the handler.
#[derive(Debug)]
struct Core {
    id: u64,
    limits: Limits,
    name: Option<HeaderValue>,
    stopping: AtomicBool,
    /// Connections that are not idle, counted by worker.
    busy: Box<[Shard]>,
    /// Told of each that ceases to be busy once the server stops.
    on_idle: Mutex<Option<mpsc::Sender<()>>>,
}

impl Core {
    fn on_idle(&self) -> MutexGuard<'_, Option<mpsc::Sender<()>>> {
        self.on_idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Shared<H> {
    handler: H,
    core: Arc<Core>,
}

/// Counts a connection as busy while it exists.
struct Busy<'a> {
    core: &'a Core,
    shard: &'a AtomicUsize,
}

impl<'a> Busy<'a> {
    fn new(core: &'a Core) -> Busy<'a> {
        let index = tarae::inspect::worker_index().unwrap_or(0) % BUSY_SHARDS;
        let shard = &core.busy[index].0;
        shard.fetch_add(1, Ordering::SeqCst);
        Busy { core, shard }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.shard.fetch_sub(1, Ordering::SeqCst);
        if self.core.stopping.load(Ordering::SeqCst)
            && let Some(sender) = &*self.core.on_idle()
        {
            // If nobody listens any more, nobody needs to know.
            let _ = sender.send(());
        }
    }
}

fn accept<H: Handler>(listener: &TcpListener, shared: &Arc<Shared<H>>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let shared = Arc::clone(shared);
                let parked = Parked::new(Some(peer));
                tarae::spawn(move || {
                    begin(Connection {
                        stream,
                        parked,
                        shared,
                    })
                });
            }
            Err(error) if Cancelled::is(&error) => return Ok(()),
            Err(error) => match error.raw_os_error().map(io_cause) {
                Some(Cause::Connection) => {}
                Some(Cause::Resources) => sleep(BACK_OFF),
                _ => return Err(error),
            },
        }
    }
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

/// A connection between two requests.
struct Connection<H> {
    stream: TcpStream,
    parked: Parked,
    shared: Arc<Shared<H>>,
}

impl<H> AsSocket for Connection<H> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.stream.as_socket()
    }
}

/// What a worker keeps for the connections of one server.
struct Local {
    server: u64,
    pool: Vec<Buffers>,
    common: Rc<CommonHeaders>,
    /// When the date was last looked at.
    ticked: Instant,
}

thread_local! {
    static LOCAL: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` on this worker's part of the server. `f` must not wait.
fn with_local<R>(core: &Core, f: impl FnOnce(&mut Local) -> R) -> R {
    LOCAL.with_borrow_mut(|locals| {
        let found = locals.iter().position(|local| local.server == core.id);
        let index = found.unwrap_or_else(|| {
            let mut common = CommonHeaders::new(core.name.as_ref());
            common.tick(unix_seconds());
            locals.push(Local {
                server: core.id,
                pool: Vec::new(),
                common: Rc::new(common),
                ticked: Instant::coarse(),
            });
            locals.len() - 1
        });
        f(&mut locals[index])
    })
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl Local {
    /// The shared header fields with the present date. The clock is read once per round of the
    /// worker, the date formatted once per second.
    fn common(&mut self) -> Rc<CommonHeaders> {
        let now = Instant::coarse();
        if now != self.ticked {
            self.ticked = now;
            Rc::make_mut(&mut self.common).tick(unix_seconds());
        }
        Rc::clone(&self.common)
    }
}

/// A connection's first moments: on its worker, in the coroutine that the acceptor spawned.
fn begin<H: Handler>(connection: Connection<H>) {
    // Answers leave at once; without the option they still leave.
    let _ = connection.stream.set_nodelay(true);
    resume(connection, Wake::Ready);
}

/// Goes on with an idle connection, in a coroutine made for it.
fn resume<H: Handler>(connection: Connection<H>, wake: Wake) {
    if wake == Wake::TimedOut {
        return;
    }
    let Connection {
        stream,
        parked,
        shared,
    } = connection;
    let core = Arc::clone(&shared.core);
    let busy = Busy::new(&core);
    let (buffers, common) = with_local(&core, |local| {
        (local.pool.pop().unwrap_or_default(), local.common())
    });
    let mut exchange = Exchange {
        stream: &stream,
        handler: &shared.handler,
        core: &core,
        common,
        conn: parked.resume(buffers),
        head_deadline: None,
        looked: false,
        last: wake == Wake::Cancelled,
    };
    let idle = exchange.run();
    let conn = exchange.conn;
    let give_back = |buffers| {
        with_local(&core, |local| {
            if local.pool.len() < POOL_MAX {
                local.pool.push(buffers);
            }
        });
    };
    if idle {
        let (parked, buffers) = conn.park();
        give_back(buffers);
        drop(busy);
        let deadline = Instant::coarse().checked_add(core.limits.idle_timeout);
        let connection = Connection {
            stream,
            parked,
            shared,
        };
        park_until_readable(connection, deadline, resume);
    } else {
        give_back(conn.into_buffers());
    }
}

/// A connection with its buffers, while there is something to do.
struct Exchange<'a, H> {
    stream: &'a TcpStream,
    handler: &'a H,
    core: &'a Core,
    common: Rc<CommonHeaders>,
    conn: Conn,
    /// Until when the head that has begun must be complete.
    head_deadline: Option<Instant>,
    /// The socket has been read since the connection was resumed.
    looked: bool,
    /// The runtime ends: what has arrived is answered, nothing more.
    last: bool,
}

impl<H: Handler> Exchange<'_, H> {
    /// Reads, calls, writes until there is nothing more to do now. True: the connection is idle;
    /// false: it is to be closed.
    fn run(&mut self) -> bool {
        let common = Rc::clone(&self.common);
        let context = Context {
            limits: &self.core.limits,
            common: &common,
        };
        loop {
            self.drain_if_last();
            match self.conn.next(context) {
                // After an answer the driver knows better than a further system call whether there
                // is more to read.
                Event::Idle if self.looked => return true,
                Event::Idle => match self.read_at_once() {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(_) => return false,
                },
                event @ (Event::ReadHead | Event::ReadBody) => {
                    if self.read(event, context).is_err() {
                        return false;
                    }
                }
                Event::Plan => {
                    self.head_deadline = None;
                    let plan = self.handler.plan(self.conn.head());
                    self.conn.planned(plan, context);
                }
                Event::Call => {
                    let response = call_contained(self.handler, self.conn.request());
                    self.drain_if_last();
                    self.conn.respond(response, context);
                }
                Event::Pull => {
                    // The connection ends by itself if the reader failed.
                    let _ = self.conn.pull();
                }
                Event::Write => {
                    if self.write(context).is_err() {
                        return false;
                    }
                }
                Event::Close { linger } => {
                    if linger {
                        self.linger();
                    }
                    return false;
                }
            }
        }
    }

    /// Has the connection end after what it is at, once the server stops. What has arrived before
    /// that counts, so the socket is looked at first.
    fn drain_if_last(&mut self) {
        if self.looked && (self.last || self.core.is_stopping()) {
            self.conn.drain();
        }
    }

    /// Takes what has arrived, without waiting. False if nothing has.
    fn read_at_once(&mut self) -> io::Result<bool> {
        self.looked = true;
        self.stream.set_nonblocking(true)?;
        let result = (&mut &*self.stream).read(self.conn.space());
        self.stream.set_nonblocking(false)?;
        match result {
            Ok(count) => {
                self.conn.received(count);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for more of a head or a body.
    fn read(&mut self, event: Event, context: Context<'_>) -> io::Result<()> {
        let limits = context.limits;
        let timeout = if event == Event::ReadBody {
            limits.body_timeout
        } else {
            let now = Instant::now();
            let until = self
                .head_deadline
                .or_else(|| now.checked_add(limits.head_timeout));
            self.head_deadline = until;
            let left = until.map_or(Duration::MAX, |until| until.duration_since(now));
            left.max(Duration::from_nanos(1))
        };
        self.stream.set_read_timeout(Some(timeout))?;
        match (&mut &*self.stream).read(self.conn.space()) {
            Ok(count) => self.conn.received(count),
            Err(error) if error.kind() == ErrorKind::TimedOut => self.conn.timed_out(context),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write(&mut self, context: Context<'_>) -> io::Result<()> {
        self.stream
            .set_write_timeout(Some(context.limits.write_timeout))?;
        match (&mut &*self.stream).write(self.conn.output()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => self.conn.wrote(count),
            Err(error) if error.kind() == ErrorKind::TimedOut => self.conn.timed_out(context),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Lets the peer read the last answer before the connection is closed on what it still sends.
    fn linger(&mut self) {
        let read = || -> io::Result<()> {
            self.stream.shutdown(Shutdown::Write)?;
            self.stream.set_read_timeout(Some(LINGER_SILENCE))?;
            let (mut total, mut buffer) = (0, [0; 4096]);
            while total < LINGER_BYTES {
                match (&mut &*self.stream).read(&mut buffer)? {
                    0 => break,
                    count => total += count,
                }
            }
            Ok(())
        };
        // The answer has been sent; whatever goes wrong now is the peer's affair.
        let _ = read();
    }
}
