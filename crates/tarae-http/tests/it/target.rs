//! `examples/target`, which clients and attacks are tried on: what it answers, and its flags.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tarae_http::Model;

use crate::harness::Answer;
use crate::host::{Client, GET, GIVE_UP};
use crate::program::{ANY_PORT, Program, path};

fn start(flags: &[&str]) -> Program {
    Program::example("target", &[], &[&["--listen", ANY_PORT], flags].concat())
}

fn ask(client: &mut Client, line: &str, fields: &str, body: &str) -> Answer {
    client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"));
    client.answer()
}

#[test]
fn its_routes_are_as_promised() {
    for model in Model::ALL {
        routes_of(start(&["--model", model.name(), "--workers", "2"]));
    }
}

fn routes_of(program: Program) {
    let mut client = program.client();
    assert_eq!(client.get("/").body, b"OK");
    let posted = ask(&mut client, "POST /", "Content-Length: 5\r\n", "hello");
    assert_eq!((&*posted.status, &*posted.body), ("200", &b"hello"[..]));
    let chunks = "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let posted = ask(
        &mut client,
        "POST /",
        "Transfer-Encoding: chunked\r\n",
        chunks,
    );
    assert_eq!((&*posted.status, &*posted.body), ("200", &b"hello"[..]));
    for method in ["GET", "POST", "DELETE", "OPTIONS", "BREW"] {
        let fields = "X-One: 1\r\nx-two:  2 \r\nX-One: 3\r\nContent-Length: 2\r\n";
        let echoed = ask(&mut client, &format!("{method} /echo"), fields, "hi");
        let want = "Host: a\nX-One: 1\nx-two: 2\nX-One: 3\nContent-Length: 2\n";
        assert_eq!(echoed.status, "200", "{method}");
        assert_eq!(String::from_utf8_lossy(&echoed.body), want, "{method}");
    }
    let cookies = "Cookie: a=1; b=two\r\nCookie: c=3\r\n";
    let parsed = ask(&mut client, "GET /cookie", cookies, "");
    assert_eq!(parsed.body, b"a=1\nb=two\nc=3\n");
    assert!(client.get("/cookie").body.is_empty());
    for path in ["/other", "//", "/echo/", "/ech"] {
        assert_eq!(client.get(path).status, "404", "{path}");
    }
    let refused = ask(&mut client, "PUT /", "", "");
    assert_eq!(refused.status, "405");
    assert_eq!(refused.field("allow"), Some("GET, HEAD, POST"));
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let head = client.answer_head();
    assert_eq!(
        (&*head.status, head.field("content-length")),
        ("200", Some("2"))
    );
}

const SHORT: &str = "0.05";
const LONG: &str = "3600";

/// Each time limit is short in a program in which the others are never reached.
fn with_short(flag: &str) -> Program {
    let all = [
        "--head-timeout",
        "--body-timeout",
        "--write-timeout",
        "--idle-timeout",
    ];
    let of = |name| [name, if name == flag { SHORT } else { LONG }];
    let flags: Vec<&str> = all.into_iter().flat_map(of).collect();
    start(&[&flags[..], &["--body-limit", "100000000"]].concat())
}

#[test]
fn time_limits_are_set_by_flags() {
    let program = with_short("--head-timeout");
    let mut client = program.client();
    client.send(&GET[..20]);
    assert_eq!(client.statuses(), ["408"]);

    let program = with_short("--body-timeout");
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
    assert_eq!(client.statuses(), ["408"]);

    let program = with_short("--idle-timeout");
    assert!(program.client().rest().is_empty());

    // More than the sockets' buffers take of a client that does not read.
    const LARGE: usize = 50_000_000;
    let program = with_short("--write-timeout");
    // What the server opens when it starts is there once it has answered, and waited, and answered.
    let mut other = program.client();
    (0..2).for_each(|_| assert_eq!(other.get("/").status, "200"));
    let idle = program.descriptors_below(usize::MAX);
    let mut client = program.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
    ));
    for _ in 0..LARGE / 1_000_000 {
        client.send(vec![b'b'; 1_000_000]);
    }
    assert_eq!(client.answer_head().status, "200");
    let begin = Instant::now();
    while program.descriptors_below(usize::MAX) > idle {
        assert!(begin.elapsed() < GIVE_UP, "the connection stays");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(client.rest().len() < LARGE);
}

/// A body that comes steadily, and faster than the default asks for.
#[test]
fn a_rate_is_set_by_a_flag() {
    const PIECES: usize = 1_000;
    let program = start(&["--body-timeout", "1", "--rate", "1000000"]);
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    client.stream.set_nonblocking(true).expect("settable");
    for _ in 0..PIECES {
        if client.stream.peek(&mut [0]).is_ok() {
            break;
        }
        client.send([b'b'; 100]);
        thread::sleep(Duration::from_millis(5));
    }
    client.stream.set_nonblocking(false).expect("settable");
    assert_eq!(client.answer().status, "408");
}

#[test]
fn other_limits_are_set_by_flags() {
    let program = start(&[
        "--requests",
        "3",
        "--body-limit",
        "4",
        "--request-timeout",
        "5",
    ]);
    let mut client = program.client();
    client.send(GET.repeat(5));
    let all = String::from_utf8(client.rest()).expect("ASCII");
    assert_eq!(all.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(all.matches("Connection: close\r\n").count(), 1);
    let mut client = program.client();
    let taken = ask(&mut client, "POST /", "Content-Length: 4\r\n", "four");
    assert_eq!(taken.status, "200");
    let refused = ask(&mut client, "POST /", "Content-Length: 5\r\n", "");
    assert_eq!(refused.status, "413");

    let program = start(&["--requests", "none", "--request-timeout", "none"]);
    let mut client = program.client();
    for _ in 0..20 {
        client.send(GET.repeat(100));
        for _ in 0..100 {
            assert_eq!(client.answer().body, b"OK");
        }
    }
}

#[test]
fn a_wrong_flag_ends_with_2_and_the_usage() {
    for (flags, words) in [
        (&["--frob", "1"][..], "`--frob 1`"),
        (
            &["--model", "fork"],
            "`--model fork`: no model is called \"fork\": there are thread, event-loop, reactor",
        ),
        (&["--model"], "`--model `"),
        (&["--listen"], "`--listen `"),
        (&["--workers", "0"], "`--workers 0`"),
        (&["--workers", "two"], "`--workers two`"),
        (&["--head-timeout", "-1"], "`--head-timeout -1`"),
        (&["--body-timeout", "soon"], "`--body-timeout soon`"),
        (&["--write-timeout", "none"], "`--write-timeout none`"),
        (&["--idle-timeout", "inf"], "`--idle-timeout inf`"),
        (&["--request-timeout", "NaN"], "`--request-timeout NaN`"),
        (&["--rate", "fast"], "`--rate fast`"),
        (&["--requests", "-1"], "`--requests -1`"),
        (&["--body-limit", "1k"], "`--body-limit 1k`"),
        (&["--workers", "1", "--rate"], "`--rate `"),
    ] {
        let output = Command::new(path("target")).args(flags).output();
        let output = output.expect("started");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(
            said.contains(words) && said.contains("\nusage: target "),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}
