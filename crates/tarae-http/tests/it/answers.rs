//! What goes out: header fields, bodies and their absence (RFC 9110, 6.4, 8.6, 9.3.2, 15).

use std::io::{self, Read};

use tarae_http::http::{HeaderValue, StatusCode, header};
use tarae_http::{Body, Limits, Request, Response, answer};

use crate::harness::{Answer, answers, run, status};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The one answer to `input`, and the state after it.
fn one(
    input: &[u8],
    handler: impl Fn(&mut Request) -> Response + Send + Sync + 'static,
) -> (Answer, &'static str) {
    let ran = run(&handler, [input].into_iter(), &Limits::default(), false);
    let mut found = answers(&ran.output, &[input.starts_with(b"HEAD")]);
    assert_eq!(found.len(), 1);
    (found.remove(0), ran.state)
}

#[test]
fn the_fields_of_a_plain_answer() {
    let (answer, state) = one(GET, |_| Response::text("hello"));
    assert_eq!((answer.status.as_str(), state), ("200", "open"));
    assert_eq!(answer.body, b"hello");
    assert_eq!(answer.field("content-length"), Some("5"));
    assert_eq!(
        answer.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.field("server"), Some("tarae"));
    assert_eq!(answer.field("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(answer.field("connection"), None);
    assert_eq!(answer.fields.len(), 4);
}

#[test]
fn connection_is_said_where_the_version_does_not_imply_it() {
    let said = |input: &[u8]| {
        let (answer, _) = one(input, |_| Response::text("hello"));
        answer.field("connection").map(str::to_owned)
    };
    assert_eq!(said(GET), None);
    assert_eq!(said(b"GET / HTTP/1.0\r\n\r\n"), Some("close".into()));
    let kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(said(kept), Some("keep-alive".into()));
    let closed = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(said(closed), Some("close".into()));
    assert_eq!(said(b"GET / HTTP/1.1\r\n\r\n"), Some("close".into()));
}

#[test]
fn statuses_without_a_body() {
    for (code, length) in [(204, None), (304, None), (205, Some("0"))] {
        let (answer, state) = one(GET, move |_| {
            Response::text("body").with_status(status(code))
        });
        assert_eq!(answer.status, code.to_string());
        assert_eq!(answer.field("content-length"), length, "{code}");
        assert_eq!(state, "open");
    }
}

#[test]
fn head_gets_the_fields_of_get() {
    let (answer, state) = one(HEAD, |_| Response::text("hello"));
    assert_eq!(answer.field("content-length"), Some("5"));
    assert_eq!((answer.body.len(), state), (0, "open"));
    let reader = |_: &mut Request| {
        Response::new(StatusCode::OK).with_body(Body::from_reader(io::empty(), 1 << 40))
    };
    let (answer, state) = one(HEAD, reader);
    assert_eq!(answer.field("content-length"), Some("1099511627776"));
    assert_eq!((answer.body.len(), state), (0, "open"));
    // A refused HEAD has no body either.
    let output = tarae_http::answer(reader, b"HEAD / HTTP/1.1\r\n\r\n");
    assert!(output.starts_with(b"HTTP/1.1 400 ") && output.ends_with(b"\r\n\r\n"));
}

#[test]
fn a_tunnel_is_not_opened() {
    let (answer, state) = one(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", |_| {
        Response::text("x")
    });
    assert_eq!(answer.field("content-length"), None);
    assert_eq!((answer.body.len(), state), (0, "closed"));
    let refuse = |_: &mut Request| Response::text("no").with_status(StatusCode::FORBIDDEN);
    let (answer, state) = one(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", refuse);
    assert_eq!((answer.body.as_slice(), state), (&b"no"[..], "open"));
}

#[test]
fn an_interim_status_is_no_answer() {
    let (answer, state) = one(GET, |_| Response::new(StatusCode::CONTINUE));
    assert_eq!((answer.status.as_str(), state), ("500", "open"));
}

#[test]
fn fields_of_the_handler() {
    let (answer, _) = one(GET, |_| {
        Response::html("<p>")
            .with_header(header::SERVER, HeaderValue::from_static("mine"))
            .with_header(header::DATE, HeaderValue::from_static("today"))
            .with_header(header::SET_COOKIE, HeaderValue::from_static("a=b"))
            .with_header(header::SET_COOKIE, HeaderValue::from_static("c=d"))
            .with_header(header::CONTENT_TYPE, HeaderValue::from_static("text/x"))
            .with_header(header::CONTENT_LENGTH, HeaderValue::from_static("99"))
            .with_header(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            )
            .with_header(header::CONNECTION, HeaderValue::from_static("close"))
    });
    let named: Vec<(&str, &str)> = answer
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("server", "mine"),
            ("date", "today"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("content-type", "text/x"),
            ("content-length", "3"),
        ]
    );
}

#[test]
fn bodies_of_every_kind_and_size() {
    static LARGE: [u8; 300_000] = [b's'; 300_000];
    let large = || vec![b'o'; 300_000];
    type Case = (&'static str, fn() -> Body, usize);
    let cases: [Case; 9] = [
        ("empty", Body::empty, 0),
        ("text", || "text".into(), 4),
        ("string", || String::from("text").into(), 4),
        ("static", || LARGE.as_slice().into(), 300_000),
        ("owned", || vec![b'o'; 65_537].into(), 65_537),
        ("reader", || Body::from_reader(io::repeat(b'r'), 5), 5),
        (
            "large reader",
            || Body::from_reader(io::repeat(b'r'), 300_000),
            300_000,
        ),
        ("empty reader", || Body::from_reader(io::empty(), 0), 0),
        ("one byte a time", || Body::from_reader(Dribble, 3000), 3000),
    ];
    for (name, body, length) in cases {
        let handler = move |_: &mut Request| Response::new(StatusCode::OK).with_body(body());
        let ran = run(&handler, [GET, GET].into_iter(), &Limits::default(), false);
        let found = answers(&ran.output, &[false, false]);
        assert_eq!((found.len(), ran.state), (2, "open"), "{name}");
        for answer in found {
            assert_eq!(answer.body.len(), length, "{name}");
        }
    }
    let (answer, _) = one(GET, move |_| Response::bytes(large()));
    assert!(answer.body == vec![b'o'; 300_000]);
}

/// Gives one byte at a time and is interrupted in between.
struct Dribble;

impl Read for Dribble {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        buf[0] = b'd';
        Ok(1)
    }
}

#[test]
fn a_small_reader_joins_its_head_in_one_write() {
    let handler = |_: &mut Request| {
        Response::new(StatusCode::OK).with_body(Body::from_reader(io::repeat(1), 9))
    };
    let ran = run(&handler, [GET].into_iter(), &Limits::default(), false);
    assert_eq!(ran.writes, 1);
}

#[test]
fn a_reader_with_more_than_promised_is_cut() {
    let (answer, state) = one(GET, |_| {
        Response::text("").with_body(Body::from_reader(io::repeat(b'r'), 7))
    });
    assert_eq!((answer.body.as_slice(), state), (&b"rrrrrrr"[..], "open"));
}

#[test]
fn a_reader_with_less_than_promised_closes_the_connection() {
    for failing in [false, true] {
        let handler = move |_: &mut Request| {
            let tail: Box<dyn Read + Send> = if failing {
                Box::new(Failing)
            } else {
                Box::new(io::empty())
            };
            let reader = io::repeat(b'r').take(70_000).chain(tail);
            Response::text("").with_body(Body::from_reader(reader, 100_000))
        };
        let ran = run(&handler, [GET, GET].into_iter(), &Limits::default(), false);
        assert_eq!(ran.state, "closed");
        let text = String::from_utf8_lossy(&ran.output);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("Content-Length: 100000"));
        assert_eq!(body.len(), 70_000, "nothing may follow the broken body");
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn a_reader_that_lies_about_its_count_cannot_break_the_framing() {
    struct Lying;
    impl Read for Lying {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            Ok(buf.len() + 1000)
        }
    }
    let (answer, state) = one(GET, |_| {
        Response::text("").with_body(Body::from_reader(Lying, 100))
    });
    assert_eq!((answer.body.len(), state), (100, "open"));
}

#[test]
fn a_panic_in_the_handler_is_answered_and_closes() {
    let handler = |_: &mut Request| -> Response { panic!("expected by the test") };
    let output = answer(handler, &GET.repeat(2));
    let found = answers(&output, &[false]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].status, "500");
    assert_eq!(found[0].field("connection"), Some("close"));
}

#[test]
fn refusals_say_why_in_a_short_text() {
    let ran = run(
        &|_: &mut Request| Response::text(""),
        [&b"BAD\r\n"[..]].into_iter(),
        &Limits::default(),
        false,
    );
    let found = answers(&ran.output, &[false]);
    assert_eq!(found[0].body, b"400 Bad Request\n");
    assert_eq!(found[0].field("connection"), Some("close"));
    assert_eq!(
        found[0].field("date"),
        Some("Thu, 01 Jan 1970 00:00:00 GMT")
    );
}
