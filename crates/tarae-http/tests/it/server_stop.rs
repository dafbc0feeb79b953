//! `Running::stop` and the end of the runtime: what is answered, what is closed, and that both end.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use tarae::inspect::State;
use tarae::net::TcpListener;
use tarae_http::{Limits, Request, Response, Server};

use crate::harness::answers;
use crate::host::{Client, GET, GIVE_UP, Host};

/// Holds requests for `/held` in their handler until it is opened; others pass.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    held: Arc<AtomicUsize>,
    opened: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) fn server(&self) -> Server<impl tarae_http::Handler + use<>> {
        let gate = self.clone();
        let handler = move |request: &mut Request| {
            if request.path() == "/held" {
                gate.held.fetch_add(1, Ordering::SeqCst);
                while !gate.opened.load(Ordering::SeqCst) {
                    tarae::time::sleep(Duration::from_millis(1));
                }
            }
            Response::bytes(request.body().to_vec())
        };
        let mut limits = Limits::default();
        // None of them may be what ends a connection here.
        limits.head_timeout = Duration::from_secs(3600);
        limits.body_timeout = Duration::from_secs(3600);
        limits.idle_timeout = Duration::from_secs(3600);
        Server::new(handler).limits(limits)
    }

    pub(crate) fn until_held(&self, count: usize) {
        let begin = Instant::now();
        while self.held.load(Ordering::SeqCst) < count {
            assert!(begin.elapsed() < GIVE_UP, "the requests do not come");
            thread::yield_now();
        }
    }

    pub(crate) fn open(&self) {
        self.opened.store(true, Ordering::SeqCst);
    }
}

pub(crate) const HELD: &str = "GET /held HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_in_flight_are_answered_and_told_that_it_is_the_end() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let host = Host::start(workers, gate.server());
        let mut busy: Vec<Client> = (0..5).map(|_| host.client()).collect();
        for client in &mut busy {
            client.send(format!("{HELD}{GET}"));
        }
        gate.until_held(5);
        let stopped = host.stop();
        host.until_refused();
        let early = stopped.recv_timeout(Duration::ZERO);
        assert_eq!(early, Err(RecvTimeoutError::Timeout), "requests are held");
        gate.open();
        for client in busy {
            // What is pipelined behind the last answer has to be asked again.
            let found = answers(&client.rest(), &[false]);
            assert_eq!(found[0].field("connection"), Some("close"));
        }
        stopped.recv_timeout(GIVE_UP).expect("all are answered");
        assert!(TcpStream::connect(host.addr).is_err());
    }
}

/// A body that is on its way when the server stops is waited for.
#[test]
fn a_request_whose_head_has_come_is_answered() {
    let gate = Gate::default();
    let host = Host::start(1, gate.server());
    let mut client = host.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf");
    host.until(|all| all.iter().any(|one| one.state == State::Parked));
    let stopped = host.stop();
    host.until_refused();
    client.send("half");
    let found = answers(&client.rest(), &[false]);
    assert_eq!(found[0].body, b"halfhalf");
    assert_eq!(found[0].field("connection"), Some("close"));
    stopped.recv_timeout(GIVE_UP).expect("it is answered");
}

#[test]
fn connections_that_wait_are_closed_at_once() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let host = Host::start(workers, gate.server());
        let mut clients: Vec<Client> = (0..20).map(|_| host.client()).collect();
        // Never used; idle after an answer; in the middle of a head, the first or a second one.
        for (number, client) in clients.iter_mut().enumerate() {
            match number % 4 {
                0 => {}
                1 => drop(client.get("/")),
                2 => client.send(&GET[..9]),
                _ => {
                    client.send(format!("{GET}{}", &GET[..9]));
                    client.answer();
                }
            }
        }
        host.until(|all| {
            let count = |state| all.iter().filter(|one| one.state == state).count();
            count(State::Idle) == 10 && count(State::Parked) == 10
        });
        let stopped = host.stop();
        stopped
            .recv_timeout(GIVE_UP)
            .expect("nothing is waited for");
        // By the server, not by the end of the runtime, which goes on.
        host.until(|all| all.is_empty());
        for client in clients {
            assert!(client.rest().is_empty(), "there was nothing to answer");
        }
    }
}

/// What the client has sent before the server stops counts, even if nobody has looked at it yet.
#[test]
fn requests_that_have_arrived_are_answered() {
    let gate = Gate::default();
    let host = Host::start(1, gate.server());
    let mut clients: Vec<Client> = (0..10).map(|_| host.client()).collect();
    host.until(|all| all.len() == 10 && all.iter().all(|one| one.state == State::Idle));
    let (blocked, block) = std::sync::mpsc::channel();
    let (unblock, unblocked) = std::sync::mpsc::channel::<()>();
    let stopped = host.order(move |running| {
        // The only worker does nothing else until all requests have arrived.
        blocked.send(()).expect("the test waits");
        unblocked.recv_timeout(GIVE_UP).expect("the test goes on");
        running.take().expect("running").stop();
    });
    block.recv_timeout(GIVE_UP).expect("it begins");
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf");
    }
    unblock.send(()).expect("the worker waits");
    host.until_refused();
    for mut client in clients {
        // A head has arrived, so its body is waited for.
        client.send("half");
        let found = answers(&client.rest(), &[false]);
        assert_eq!(found[0].body, b"halfhalf");
        assert_eq!(found[0].field("connection"), Some("close"));
    }
    stopped.recv_timeout(GIVE_UP).expect("all are answered");
}

/// The grace is an hour here: an end that needed it would hang.
#[test]
fn the_runtime_ends_while_connections_wait() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let host = Host::start(workers, gate.server());
        let mut idle: Vec<Client> = (0..10).map(|_| host.client()).collect();
        idle[0].get("/");
        let mut half = host.client();
        half.send(&GET[..9]);
        host.until(|all| {
            all.len() == 11 && all.iter().filter(|one| one.state == State::Parked).count() == 1
        });
        drop(host);
        idle.push(half);
        for client in idle {
            assert!(client.rest().is_empty());
        }
    }
}

/// What is in flight when the runtime ends is cancelled, and still gets its answer.
#[test]
fn the_runtime_ends_while_a_request_is_held() {
    let server = Server::new(|_: &mut Request| {
        // Cut short by the end of the runtime, and by nothing else.
        tarae::time::sleep(Duration::from_secs(3600));
        Response::text("late")
    });
    let host = Host::start(1, server);
    let mut client = host.client();
    client.send(GET);
    host.until(|all| all.iter().any(|one| one.state == State::Parked));
    drop(host);
    assert_eq!(client.answer().body, b"late");
    assert!(client.rest().is_empty());
}

/// `serve` ends when its own coroutine is cancelled, and takes what waits with it.
#[test]
fn serving_ends_with_its_coroutine() {
    let gate = Gate::default();
    let host = Host::start(2, gate.server());
    let server = gate.server();
    let serving = host.order(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let serving = thread_named("serving", move || server.serve(listener));
        (addr, serving)
    });
    let (addr, serving) = serving.recv_timeout(GIVE_UP).expect("it starts");
    let (mut idle, mut busy) = (Client::connect(addr), Client::connect(addr));
    idle.get("/");
    busy.send(HELD);
    gate.until_held(1);
    let ended = host.order(move |_| {
        serving.cancel();
        serving.join().expect("no panic").is_ok()
    });
    assert_eq!(ended.recv_timeout(GIVE_UP), Ok(true));
    assert!(TcpStream::connect(addr).is_err());
    assert!(idle.rest().is_empty());
    gate.open();
    let found = answers(&busy.rest(), &[false]);
    assert_eq!(found[0].field("connection"), Some("close"));
}

fn thread_named<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> tarae::thread::JoinHandle<T> {
    let builder = tarae::thread::Builder::new().name(name.to_owned());
    builder.spawn(f).expect("in a runtime")
}
