//! What a server as a whole is held to: connections, connections of one address, requests in
//! handlers. Each refusal has its cause in what others hold, never in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tarae_http::{Request, Response, Server};

use crate::harness::answers;
use crate::host::{Client, GET, GIVE_UP, Host};
use crate::program::Program;
use crate::served::figure;
use crate::server_stop::{Gate, HELD};

fn hello() -> Server<impl tarae_http::Handler> {
    Server::new(|_: &mut Request| Response::text("hello"))
}

/// Whether nothing comes of the connection, however often one looks.
fn is_silent(client: &Client) -> bool {
    client.stream.set_nonblocking(true).expect("settable");
    let silent = (0..20).all(|_| {
        thread::yield_now();
        client.stream.peek(&mut [0]).is_err()
    });
    client.stream.set_nonblocking(false).expect("settable");
    silent
}

#[test]
fn connections_beyond_the_limit_wait() {
    for workers in [1, 2] {
        let host = Host::start(workers, hello().max_connections(3));
        let mut open: Vec<Client> = (0..3).map(|_| host.client()).collect();
        for client in &mut open {
            assert_eq!(client.get("/").status, "200");
        }
        let mut waiting: Vec<Client> = (0..4).map(|_| host.client()).collect();
        for client in &mut waiting {
            client.send(GET);
        }
        for client in &mut open {
            assert_eq!(client.get("/").status, "200");
        }
        assert!(waiting.iter().all(is_silent), "nobody has made room");
        host.until_open(3);
        for mut client in waiting {
            drop(open.remove(0));
            assert_eq!(client.answer().status, "200");
            open.push(client);
        }
        host.until_open(3);
        // Nor does the end wait for those in the queue.
        let queued = host.client();
        host.stop().recv_timeout(GIVE_UP).expect("it stops");
        drop(queued);
    }
}

/// The server stops while its acceptor waits for room, and a request is in flight.
#[test]
fn a_full_server_stops() {
    let gate = Gate::default();
    let host = Host::start(1, gate.server().max_connections(1));
    let mut client = host.client();
    client.send(HELD);
    gate.until_held(1);
    let stopped = host.stop();
    host.until_refused();
    gate.open();
    assert_eq!(client.statuses(), ["200"]);
    stopped.recv_timeout(GIVE_UP).expect("it stops");
}

/// Far more clients than connections: all are served, and there never are more.
#[test]
fn a_crowd_is_served_by_and_by() {
    // The number of descriptors leaves so many connections; see `Server::max_connections`.
    let soak = std::env::var_os("TARAE_SOAK").is_some();
    let (descriptors, limit, attempts) = if soak {
        (1142, 1000, 20_000)
    } else {
        (132, 100, 2_000)
    };
    let command = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
    let program = Program::start(&["sh", "-c", &command], "2");
    let addr = program.addr;
    drop(program.client().get("/plaintext"));
    let before = program.descriptors_below(descriptors);
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    // Twice as many at once as there may be.
    let (threads, at_once) = (40, limit / 20);
    let rounds = attempts / threads / at_once;
    let crowd: Vec<_> = (0..threads)
        .map(|_| {
            let served = Arc::clone(&served);
            thread::spawn(move || {
                for _ in 0..rounds {
                    let mut clients: Vec<_> = (0..at_once).map(|_| Client::connect(addr)).collect();
                    let request = "GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                    clients.iter_mut().for_each(|client| client.send(request));
                    for client in clients {
                        assert_eq!(client.statuses(), ["200"]);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        most = most.max(program.descriptors_below(descriptors));
        over.store(crowd.iter().all(|one| one.is_finished()), Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
    crowd
        .into_iter()
        .for_each(|one| one.join().expect("served"));
    assert_eq!(served.load(Ordering::Relaxed), attempts);
    // What was there before includes the connection that was used to see it, or not.
    assert!(
        most <= before + limit,
        "{most} descriptors, {before} before"
    );
    let peak = figure(program.id(), "VmHWM:");
    // A worker's pages, and less than 64 KiB for each that may be open.
    assert!(peak < 32 * 1024 + 64 * limit, "{peak} KiB at the most");
}

#[test]
fn one_address_has_its_share() {
    for workers in [1, 2] {
        let host = Host::start(workers, hello().max_connections_per_address(Some(3)));
        let from = |last| Client::from([127, 0, 0, last], host.addr);
        let mut open: Vec<Client> = (0..3).map(|_| from(2)).collect();
        for client in &mut open {
            assert_eq!(client.get("/").status, "200");
        }
        for _ in 0..5 {
            let found = answers(&from(2).rest(), &[false]);
            assert_eq!(found[0].status, "429");
            assert_eq!(found[0].field("connection"), Some("close"));
            assert!(found[0].field("retry-after").is_some());
            assert!(found[0].field("date").is_some());
        }
        // Others are untouched, and so are those that are there.
        let mut others: Vec<Client> = (3..6).map(from).collect();
        for client in others.iter_mut().chain(&mut open) {
            assert_eq!(client.get("/").status, "200");
        }
        drop(open.pop());
        host.until_open(5);
        assert_eq!(from(2).get("/").status, "200");
    }
}

#[test]
fn requests_beyond_those_in_flight_are_shed() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let host = Host::start(workers, gate.server().max_in_flight(Some(2)));
        let mut busy: Vec<Client> = (0..2).map(|_| host.client()).collect();
        busy.iter_mut().for_each(|client| client.send(HELD));
        gate.until_held(2);
        let mut client = host.client();
        for _ in 0..3 {
            let shed = client.get("/held");
            assert_eq!(shed.status, "503");
            assert!(shed.field("retry-after").is_some());
            assert_eq!(shed.field("connection"), None);
        }
        // Nobody waits for the body of a request that is shed.
        let mut posting = host.client();
        posting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(posting.answer().status, "503");
        gate.until_held(2);
        gate.open();
        for client in &mut busy {
            assert_eq!(client.answer().status, "200");
        }
        // The same connection as before; and what was shed has left nothing behind.
        for _ in 0..5 {
            assert_eq!(client.get("/held").status, "200");
        }
    }
}

/// A body that is on its way holds nobody's place; when it is there, there may be no room left.
#[test]
fn a_body_on_its_way_holds_no_place() {
    let gate = Gate::default();
    let host = Host::start(1, gate.server().max_in_flight(Some(1)));
    let mut slow = host.client();
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha");
    host.until(|all| {
        all.iter()
            .any(|one| one.state == tarae::inspect::State::Parked)
    });
    let mut quick = host.client();
    assert_eq!(quick.get("/").status, "200");
    quick.send(HELD);
    gate.until_held(1);
    slow.send("lf");
    assert_eq!(slow.answer().status, "503");
    gate.open();
    assert_eq!(quick.answer().status, "200");
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhalf");
    assert_eq!(slow.answer().body, b"half");
}

/// A panic gives its place back.
#[test]
fn a_panic_holds_no_place() {
    let handler = |request: &mut Request| {
        assert_ne!(request.path(), "/panic", "asked for");
        Response::text("hello")
    };
    let host = Host::start(1, Server::new(handler).max_in_flight(Some(1)));
    for _ in 0..3 {
        assert_eq!(host.client().get("/panic").status, "500");
    }
    assert_eq!(host.client().get("/").status, "200");
}
