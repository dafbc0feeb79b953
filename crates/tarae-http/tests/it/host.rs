//! A server on a runtime of its own, and a client of std's sockets. Used by the tests of `Server`.
//!
//! Every wait ends after `GIVE_UP`, which only something that hangs ever reaches.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use tarae::inspect::{self, Coroutine};
use tarae::net::TcpListener;
use tarae_http::{Handler, Model, Running, Server, Stopped};

use crate::harness::{Answer, answers};

/// After this something hangs.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(30);

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The model that servers of tests have: that of this variable, if it is set. See `models`.
pub(crate) const MODEL: &str = "TARAE_HTTP_TEST_MODEL";

pub(crate) fn model() -> Model {
    let name = std::env::var(MODEL).ok();
    name.map_or_else(Model::default, |name| name.parse().expect("a model"))
}

/// What the runtime's main coroutine is to do.
type Order = Box<dyn FnOnce(&mut Option<Running>) + Send>;

/// Looks at the sockets of the server at `addr` again and again, until it has read all that was
/// sent.
pub(crate) fn until_read(addr: SocketAddr) {
    let begin = Instant::now();
    let port = format!(":{:04X}", addr.port());
    let is_unread = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let is_ours = words.next().is_some_and(|local| local.ends_with(&port));
        // The remote address and the state stand between.
        let queues = words.nth(2).and_then(|queues| queues.split_once(':'));
        is_ours && queues.is_some_and(|(_, unread)| unread != "00000000")
    };
    loop {
        let all = std::fs::read_to_string("/proc/net/tcp").expect("there are sockets");
        if !all.lines().any(is_unread) {
            return;
        }
        assert!(begin.elapsed() < GIVE_UP, "it does not read");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A running server. Dropping it ends the runtime and waits for that.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    orders: Option<tarae::sync::mpsc::Sender<Order>>,
    ended: Receiver<()>,
}

impl Host {
    pub(crate) fn start(workers: usize, server: Server<impl Handler>) -> Host {
        let server = match model() {
            Model::Coroutine => server,
            other => server.model(other),
        };
        let (orders, to_do) = tarae::sync::mpsc::channel::<Order>();
        let (started, start) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        thread::spawn(move || {
            // Whatever needs the grace to end hangs: so it cannot be mistaken for an orderly end.
            let runtime = tarae::Builder::new()
                .workers(workers)
                .grace(Duration::from_secs(3600));
            let outcome = runtime.run(move || {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                let mut running = Some(server.start(listener).expect("in a runtime"));
                let addr = running.as_ref().map(Running::local_addr);
                started.send(addr).expect("the test waits");
                to_do.iter().for_each(|order| order(&mut running));
            });
            outcome.expect("everything ended");
            // The test is gone if it failed.
            let _ = ends.send(());
        });
        let addr = start.recv_timeout(GIVE_UP).expect("it starts");
        Host {
            addr: addr.expect("it runs"),
            orders: Some(orders),
            ended,
        }
    }

    /// Has `f` called in the runtime; its result comes through the channel.
    pub(crate) fn order<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Option<Running>) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (sender, receiver) = mpsc::channel();
        let order: Order = Box::new(move |running| drop(sender.send(f(running))));
        let orders = self.orders.as_ref().expect("not ended");
        assert!(orders.send(order).is_ok(), "the runtime has ended");
        receiver
    }

    /// Has the server stop. The channel tells when it has.
    pub(crate) fn stop(&self) -> Receiver<Stopped> {
        self.order(|running| running.take().expect("running").stop())
    }

    /// Returns once the server has begun to stop: it accepts no more.
    pub(crate) fn until_refused(&self) {
        let begin = Instant::now();
        while TcpStream::connect(self.addr).is_ok() {
            assert!(begin.elapsed() < GIVE_UP, "it goes on accepting");
            thread::yield_now();
        }
    }

    /// Looks at the connections' coroutines again and again, until `f` is content with them. Where
    /// connections have none: until all that was sent has been read.
    pub(crate) fn until(&self, f: impl Fn(&[Coroutine]) -> bool + Send + 'static) {
        if model() != Model::Coroutine {
            return until_read(self.addr);
        }
        let seen = self.order(move |_| {
            loop {
                let mut all = inspect::coroutines(GIVE_UP);
                all.retain(|coroutine| coroutine.name.is_none());
                if f(&all) {
                    return;
                }
                tarae::thread::sleep(Duration::from_millis(1));
            }
        });
        seen.recv_timeout(GIVE_UP).expect("it comes about");
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Looks at how many connections are open again and again, until it is `count`.
    pub(crate) fn until_open(&self, count: usize) {
        let seen = self.order(move |running| {
            let running = running.as_ref().expect("running");
            while running.connections() != count {
                tarae::thread::sleep(Duration::from_millis(1));
            }
        });
        seen.recv_timeout(GIVE_UP).expect("it comes about");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.orders = None;
        let ended = self.ended.recv_timeout(GIVE_UP);
        if !thread::panicking() {
            ended.expect("the runtime ends without using its grace");
        }
    }
}

/// The other side of a connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// What has arrived and belongs to no answer yet.
    arrived: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        Client::of(TcpStream::connect(addr).expect("it listens"))
    }

    fn of(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("settable");
        stream.set_read_timeout(Some(GIVE_UP)).expect("settable");
        stream.set_write_timeout(Some(GIVE_UP)).expect("settable");
        Client {
            stream,
            arrived: Vec::new(),
        }
    }

    /// Connects from an address of its own; all of 127.0.0.0/8 are this machine's.
    pub(crate) fn from(source: [u8; 4], addr: SocketAddr) -> Client {
        use rustix::net::{bind, connect};
        let socket = inet_socket();
        bind(&socket, &SocketAddr::from((source, 0))).expect("free");
        connect(&socket, &addr).expect("it listens");
        Client::of(socket.into())
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    /// Sends a GET for `path` and reads its answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.answer()
    }

    /// As `get`; nothing if the connection breaks.
    pub(crate) fn try_get(&mut self, path: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.stream.write_all(request.as_bytes()).ok()?;
        let is_there = self.stream.peek(&mut [0]).is_ok_and(|count| count > 0);
        is_there.then(|| self.answer())
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("connected");
    }

    /// Reads the head of an answer, and no more than came with it of the body.
    pub(crate) fn answer_head(&mut self) -> Answer {
        loop {
            let end = self.arrived.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                return answers(&self.arrived[..end + 4], &[true]).remove(0);
            }
            self.read_more();
        }
    }

    /// Reads just one answer, interim ones included.
    pub(crate) fn answer(&mut self) -> Answer {
        loop {
            if let Some(length) = whole(&self.arrived) {
                let rest = self.arrived.split_off(length);
                let one = std::mem::replace(&mut self.arrived, rest);
                return answers(&one, &[false]).remove(0);
            }
            self.read_more();
        }
    }

    fn read_more(&mut self) {
        let mut part = [0; 16 * 1024];
        let bytes = self.stream.read(&mut part).expect("an answer");
        if bytes == 0 {
            let so_far = String::from_utf8_lossy(&self.arrived);
            panic!("closed in the middle of an answer: {so_far:?}");
        }
        self.arrived.extend_from_slice(&part[..bytes]);
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.arrived);
        self.stream
            .read_to_end(&mut rest)
            .expect("closed in order, by the server");
        rest
    }

    /// The statuses of all answers up to the end of the connection.
    pub(crate) fn statuses(self) -> Vec<String> {
        let found = answers(&self.rest(), &[false; 64]);
        found.into_iter().map(|answer| answer.status).collect()
    }
}

/// A TCP socket that the processes of other tests do not inherit.
pub(crate) fn inet_socket() -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
    socket_with(family, SocketType::STREAM, flags, None).expect("a socket")
}

/// The length of the first answer, once all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head in ASCII");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |digits| digits.parse().expect("digits"));
    (bytes.len() >= head + length).then_some(head + length)
}
