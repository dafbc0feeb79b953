//! `Server` and clients that take their time. The server's limits are short, the tests' patience
//! is long, and each outcome has one cause only.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use tarae::inspect::State;
use tarae_http::{Body, Limits, Request, Response, Server};

use crate::harness::answers;
use crate::host::{GET, Host};

const SHORT: Duration = Duration::from_millis(50);

/// Limits of which only those that `set` changes can ever be reached.
fn host(set: impl FnOnce(&mut Limits)) -> Host {
    let mut limits = Limits::default();
    let long = Duration::from_secs(3600);
    limits.head_timeout = long;
    limits.body_timeout = long;
    limits.write_timeout = long;
    limits.idle_timeout = long;
    set(&mut limits);
    let handler = |request: &mut Request| match request.path() {
        // More than the sockets' buffers can ever take.
        "/endless" => Response::text("").with_body(Body::from_reader(io::repeat(b'x'), 1 << 40)),
        _ => Response::bytes(request.body().to_vec()),
    };
    Host::start(1, Server::new(handler).limits(limits))
}

#[test]
fn a_head_that_does_not_come_is_answered_with_408() {
    let host = host(|limits| limits.head_timeout = SHORT);
    for begun in ["G", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        let mut client = host.client();
        client.send(begun);
        assert_eq!(client.statuses(), ["408"]);
        // The same behind an answered request.
        let mut client = host.client();
        client.send(format!("{GET}{begun}"));
        assert_eq!(client.statuses(), ["200", "408"]);
    }
}

/// Its time runs from the first byte: further ones do not extend it.
#[test]
fn a_head_that_trickles_is_answered_with_408() {
    let host = host(|limits| {
        limits.head_timeout = 4 * SHORT;
        limits.request_line_bytes = 2000;
    });
    let mut client = host.client();
    client.send("GET /");
    // If each byte had the time of a head, this would go on to the limit: five seconds at least.
    for _ in 0..2500 {
        let mut peeked = [0];
        client.stream.set_nonblocking(true).expect("settable");
        let answered = client.stream.peek(&mut peeked).is_ok();
        client.stream.set_nonblocking(false).expect("settable");
        if answered {
            break;
        }
        // It may have been closed just now.
        let _ = client.stream.write(b"a");
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.answer().status, "408");
}

/// Time before the first byte of a head is not the head's.
#[test]
fn idle_time_is_no_part_of_a_heads_time() {
    let host = host(|limits| limits.head_timeout = SHORT);
    let mut client = host.client();
    for _ in 0..2 {
        host.until(|all| all.len() == 1 && all[0].state == State::Idle);
        thread::sleep(2 * SHORT);
        assert_eq!(client.get("/").status, "200");
    }
}

#[test]
fn a_body_that_does_not_come_is_answered_with_408() {
    let host = host(|limits| limits.body_timeout = SHORT);
    for begun in ["", "hal"] {
        let mut client = host.client();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n";
        client.send(format!("{GET}{head}{begun}"));
        assert_eq!(client.statuses(), ["200", "408"]);
    }
    let mut client = host.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhal");
    assert_eq!(client.statuses(), ["408"]);
}

#[test]
fn an_idle_connection_is_closed_in_silence() {
    let host = host(|limits| limits.idle_timeout = SHORT);
    assert!(host.client().rest().is_empty());
    let mut client = host.client();
    client.send(GET);
    assert_eq!(client.statuses(), ["200"]);
    host.until_open(0);
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let host = host(|limits| limits.write_timeout = SHORT);
    let mut client = host.client();
    let mut other = host.client();
    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().status, "200");
    other.get("/");
    // Nothing more is read: the other connection is the only one left.
    host.until_open(1);
    assert_eq!(other.get("/").status, "200");
    let mut rest = Vec::new();
    // The end, in order or not, of an answer that has no end.
    let _ = client.stream.read_to_end(&mut rest);
}

/// A limit of zero means that nothing is waited for; it must not keep answers from being written.
#[test]
fn a_time_of_zero_is_short_and_no_error() {
    let host = host(|limits| {
        limits.head_timeout = Duration::ZERO;
        limits.body_timeout = Duration::ZERO;
        limits.write_timeout = Duration::ZERO;
    });
    let mut client = host.client();
    client.send(format!("{GET}{GET}G"));
    assert_eq!(client.statuses(), ["200", "200", "408"]);
    let mut client = host.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhal");
    let found = answers(&client.rest(), &[false]);
    assert_eq!(found[0].status, "408");
}
