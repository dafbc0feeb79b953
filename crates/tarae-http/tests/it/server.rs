//! `Server` over real sockets: what clients of every kind get.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use tarae::inspect::State;
use tarae_http::{Body, Handler, Head, Limits, Plan, Request, Response, Server};

use crate::harness::answers;
use crate::host::{GET, Host};

const LARGE: usize = 5_000_000;

/// The handler of most tests here.
struct Site;

impl Handler for Site {
    fn plan(&self, head: &Head) -> Plan {
        assert_ne!(head.path(), "/panic-in-plan", "asked for");
        Plan::default()
    }

    fn call(&self, request: &mut Request) -> Response {
        match request.path() {
            "/panic" => panic!("asked for"),
            "/large" => Response::bytes(vec![b'x'; LARGE]),
            "/stream" => {
                Response::text("").with_body(Body::from_reader(io::repeat(b'x'), LARGE as u64))
            }
            "/cut" => Response::text("").with_body(Body::from_reader(&b"half"[..], 8)),
            "/fail" => Response::text("").with_body(Body::from_reader(b"half".chain(Failing), 8)),
            "/peer" => Response::text(request.peer_addr().expect("known").to_string()),
            _ => Response::bytes(request.body().to_vec()),
        }
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("asked for"))
    }
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn connections_are_used_again_and_again() {
    for workers in [1, 2] {
        let host = Host::start(workers, Server::new(Site));
        let mut clients: Vec<_> = (0..10).map(|_| host.client()).collect();
        for _ in 0..50 {
            for client in &mut clients {
                let own = client.stream.local_addr().expect("an address").to_string();
                assert_eq!(client.get("/peer").body, own.as_bytes());
            }
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut limits = Limits::default();
    limits.requests_per_connection = None;
    for workers in [1, 2] {
        let host = Host::start(workers, Server::new(Site).limits(limits.clone()));
        // More than a receive buffer of requests, and more than a write of answers.
        let requests: String = (0..2000).map(|number| post(&number.to_string())).collect();
        let mut client = host.client();
        for _ in 0..2 {
            let mut sender = client.stream.try_clone().expect("a free descriptor");
            let requests = requests.clone();
            let sending =
                thread::spawn(move || io::Write::write_all(&mut sender, requests.as_bytes()));
            for number in 0..2000 {
                assert_eq!(client.answer().body, number.to_string().as_bytes());
            }
            sending.join().expect("no panic").expect("sent");
        }
    }
}

#[test]
fn a_request_may_be_cut_anywhere() {
    let host = Host::start(1, Server::new(Site));
    let mut client = host.client();
    let request = post("hello");
    for cut in 1..request.len() {
        client.send(&request[..cut]);
        // The server has seen the first part and waits for the second.
        host.until(|all| all.iter().any(|one| one.state == State::Parked));
        client.send(&request[cut..]);
        assert_eq!(client.answer().body, b"hello", "cut at {cut}");
    }
    for byte in request.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.answer().body, b"hello");
}

#[test]
fn a_client_that_half_closes_gets_the_whole_answer() {
    for workers in [1, 2] {
        let host = Host::start(workers, Server::new(Site));
        for path in ["/large", "/stream", "/small"] {
            let mut client = host.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2));
            client.half_close();
            let found = answers(&client.rest(), &[false; 2]);
            let length = if path == "/small" { 0 } else { LARGE };
            let lengths: Vec<_> = found.iter().map(|answer| answer.body.len()).collect();
            assert_eq!(lengths, [length; 2], "{path}");
        }
    }
}

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    for workers in [1, 2] {
        let host = Host::start(workers, Server::new(Site));
        let mut before = host.client();
        before.get("/");
        for path in ["/panic", "/panic-in-plan"] {
            let mut client = host.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{GET}"));
            let found = answers(&client.rest(), &[false]);
            assert_eq!(found[0].status, "500");
            assert_eq!(found[0].field("connection"), Some("close"));
            assert_eq!(before.get("/").status, "200");
            assert_eq!(host.client().get("/").status, "200");
        }
    }
}

/// What is refused, and how. A good request follows each, and must not be answered.
#[test]
fn refused_messages_end_the_connection() {
    let limits = Limits::default();
    let long = "a".repeat(limits.request_line_bytes);
    let field = format!("X: {}\r\n", "a".repeat(limits.head_bytes));
    let (fields, length) = ("A: b\r\n".repeat(limits.headers), limits.body_bytes + 1);
    let cases = [
        ("400", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("400", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (
            "413",
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
        ),
        ("414", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("431", format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")),
        ("431", format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
        ("505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned()),
    ];
    let host = Host::start(1, Server::new(Site));
    for (status, message) in cases {
        let mut client = host.client();
        client.send(format!("{GET}{message}{GET}"));
        assert_eq!(client.statuses(), ["200", status], "{:.80}", message);
    }
    // The peer is still sending a body that is too long when the answer comes: it must get through.
    let mut client = host.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}",
        "x".repeat(200_000)
    ));
    assert_eq!(client.statuses(), ["413"]);
}

#[test]
fn a_body_that_cannot_be_read_cuts_the_connection() {
    let host = Host::start(1, Server::new(Site));
    let mut other = host.client();
    other.get("/");
    for path in ["/cut", "/fail"] {
        let mut client = host.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{GET}"));
        let got = String::from_utf8(client.rest()).expect("ASCII");
        assert!(got.contains("\r\nContent-Length: 8\r\n"), "{got}");
        assert!(got.ends_with("\r\n\r\nhalf"), "{got}");
        assert_eq!(other.get("/").status, "200");
    }
}

#[test]
fn a_client_may_ask_before_it_sends_a_body() {
    let host = Host::start(1, Server::new(Site));
    let mut client = host.client();
    for _ in 0..2 {
        let fields = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5";
        client.send(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"));
        assert_eq!(client.answer().status, "100");
        client.send("hello");
        assert_eq!(client.answer().body, b"hello");
    }
}

#[test]
fn a_connection_has_so_many_requests() {
    let mut limits = Limits::default();
    limits.requests_per_connection = Some(3);
    let host = Host::start(1, Server::new(Site).limits(limits));
    let mut client = host.client();
    client.get("/");
    client.send(GET.repeat(5));
    let found = answers(&client.rest(), &[false; 5]);
    let fields: Vec<_> = found.iter().map(|one| one.field("connection")).collect();
    assert_eq!(fields, [None, Some("close")]);
}

#[test]
fn the_shared_fields_are_as_set() {
    for (name, want) in [(None, None), (Some("own"), Some("own"))] {
        let host = Host::start(1, Server::new(Site).server_name(name));
        let answer = host.client().get("/");
        assert_eq!(answer.field("server"), want);
        let date = answer.field("date").expect("a date");
        let sent = tarae_http::date::parse(date, SystemTime::now()).expect("an HTTP date");
        let age = sent.elapsed().unwrap_or_default();
        assert!(age.as_secs() < 3600, "{date}");
    }
}

/// The date of an answer is that of the answer, not of when the connection was woken.
#[test]
fn a_late_answer_has_a_late_date() {
    let calls = AtomicU32::new(0);
    let host = Host::start(
        1,
        Server::new(move |_: &mut Request| {
            if calls.fetch_add(1, Ordering::Relaxed) > 0 {
                tarae::thread::sleep(Duration::from_millis(1100));
            }
            Response::text("")
        }),
    );
    let mut client = host.client();
    client.send(GET.repeat(2));
    let [first, second] = [client.answer(), client.answer()];
    assert_ne!(first.field("date"), second.field("date"));
}

/// Connections that wait for a request have no coroutine, whatever happened on them before.
#[test]
fn an_idle_connection_has_no_coroutine() {
    let host = Host::start(2, Server::new(Site));
    let mut clients: Vec<_> = (0..10).map(|_| host.client()).collect();
    for round in 0..3 {
        host.until(|all| all.len() == 10 && all.iter().all(|one| one.state == State::Idle));
        for client in &mut clients {
            match round {
                0 => client.send("\r\n"),
                _ => assert_eq!(client.get("/").status, "200"),
            }
        }
    }
    drop(clients);
    host.until(|all| all.is_empty());
}
