//! Header fields: RFC 9110, 5 and 7.2; RFC 9112, 5 and 6.

use std::sync::Mutex;

use tarae_http::{Limits, Request, Response};

use crate::harness::{check, check_with, run, status};

fn with(fields: &str, want: &str) {
    check(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), want);
}

#[test]
fn syntax() {
    with("A: b\r\n", "GET / | 200 open");
    with("A:b\r\n", "GET / | 200 open");
    with("A:\r\n", "GET / | 200 open");
    with("A: \t \r\n", "GET / | 200 open");
    with("A: \t b\tc  \r\n", "GET / | 200 open");
    with("!#$%&'*+-.^_`|~09aZ: b\r\n", "GET / | 200 open");
    with("A: \u{e9}\r\n", "GET / | 200 open");
    for fields in [
        "A : b\r\n",
        "A\t: b\r\n",
        ": b\r\n",
        "A\r\n",
        "A b: c\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "A: b\r\n \r\n",
        "A: b\nB: c\r\n",
        "A: b\n",
        "A:\n",
        "A: b\rc\r\n",
        "A: b\r\r\n",
        "A: \r\n\nB: c\r\n",
        "A: b\0\r\n",
        "A\0: b\r\n",
        "A: \x01\r\n",
        "A: \x0b\r\n",
        "A: \x7f\r\n",
        "A(: b\r\n",
        "A\u{e9}: b\r\n",
        "\"A\": b\r\n",
        "A/B: c\r\n",
        "[A]: b\r\n",
    ] {
        with(fields, "| 400 closed");
    }
    // The empty line must be CRLF too.
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", "| 400 closed");
    check("GET / HTTP/1.1\r\nHost: a\n\r\n", "| 400 closed");
    check("GET / HTTP/1.1\r\nHost: a \n\n", "| 400 closed");
    check("GET / HTTP/1.1\n\n", "| 400 closed");
    check("GET / HTTP/1.0\r\n\n", "| 400 closed");
    check("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "| 400 closed");
}

#[test]
fn host() {
    check("GET / HTTP/1.1\r\n\r\n", "| 400 closed");
    check("GET / HTTP/1.0\r\n\r\n", "GET / | 200 closed");
    check("GET http://b/ HTTP/1.1\r\n\r\n", "| 400 closed");
    with("Host: a\r\n", "| 400 closed");
    with("hOST: b\r\n", "| 400 closed");
    check(
        "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        "| 400 closed",
    );
    for host in [
        "",
        "a",
        "A.b-c.example:8080",
        "[::1]:80",
        "127.0.0.1",
        "a:",
        "\ta\t",
    ] {
        check(
            format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n"),
            "GET / | 200 open",
        );
    }
    for host in [
        "a b", "a, b", "a/b", "u@a", "a:b", "http://a", "[::1", "[x]", "a?b", "a#b", "<a>",
    ] {
        check(
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            "| 400 closed",
        );
        check(
            format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"),
            "| 400 closed",
        );
    }
}

#[test]
fn content_length() {
    let post = |field: &str, rest: &str, want: &str| {
        check(
            format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n{rest}"),
            want,
        );
    };
    post("Content-Length: 0", "", "POST / | 200 open");
    post("Content-Length: 2", "hi", "POST / [hi] | 200 open");
    post("Content-Length: 2", "h", "| body");
    post("content-length:002", "hi", "POST / [hi] | 200 open");
    post(
        "Content-Length: 2\r\nContent-Length: 2",
        "hi",
        "POST / [hi] | 200 open",
    );
    post("Content-Length: 2, 2", "hi", "POST / [hi] | 200 open");
    post(
        "Content-Length: 99999999999999999999999",
        "",
        "| 413 closed",
    );
    post("Content-Length: 18446744073709551615", "", "| 413 closed");
    for value in [
        "",
        "+2",
        "-2",
        "2 2",
        "2a",
        "0x2",
        "2.0",
        "2,3",
        "2,",
        ",2",
        "2,,2",
        "2;2",
        "\"2\"",
        "two",
        "2\r\nContent-Length: 3",
        "3\r\nContent-Length: 2, 3",
        "\u{b2}",
    ] {
        post(&format!("Content-Length: {value}"), "hi", "| 400 closed");
    }
}

#[test]
fn transfer_encoding() {
    let post = |fields: &str, want: &str| {
        let body = "2\r\nhi\r\n0\r\n\r\n";
        check(
            format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}"),
            want,
        );
    };
    post("Transfer-Encoding: chunked", "POST / [hi] | 200 open");
    post("transfer-encoding:CHUNKED", "POST / [hi] | 200 open");
    post("Transfer-Encoding: , chunked ,", "POST / [hi] | 200 open");
    post("Transfer-Encoding: gzip, chunked", "| 501 closed");
    post(
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "| 501 closed",
    );
    post("Transfer-Encoding: identity, chunked", "| 501 closed");
    post("Transfer-Encoding: x;q=\"1\", chunked", "| 501 closed");
    for fields in [
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 12",
        "Content-Length: 12\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 12\r\nTransfer-Encoding: gzip",
        "Transfer-Encoding:\r\nContent-Length: 12",
    ] {
        post(fields, "| 400 closed");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check(old, "| 400 closed");
}

#[test]
fn what_the_handler_sees_of_a_head() {
    let seen = Mutex::new(String::new());
    let handler = move |request: &mut Request| {
        let mut seen = seen.lock().expect("not poisoned");
        *seen = format!(
            "{} {} {:?} {:?} {:?}\n",
            request.method(),
            request.path(),
            request.query(),
            request.host(),
            request.version(),
        );
        for (name, value) in request.headers() {
            *seen += &format!("{name}={}\n", String::from_utf8_lossy(value));
        }
        let cookie = request.header("COOKIE").map(String::from_utf8_lossy);
        *seen += &format!(
            "{cookie:?} {:?} {:?}",
            request.header("none"),
            request.peer_addr()
        );
        // Not a success, which would have no body for CONNECT.
        Response::text(seen.clone()).with_status(status(403))
    };
    let see = |input: &str, want: &str| {
        for piece in [input.len(), 1, 7] {
            let ran = run(
                &handler,
                input.as_bytes().chunks(piece),
                &Limits::default(),
                false,
            );
            let text = String::from_utf8(ran.output).expect("text");
            let body = text.split_once("\r\n\r\n").expect("a body").1;
            assert_eq!(body, want, "in pieces of {piece}");
        }
    };
    see(
        "GET /a%20b?c=d?e HTTP/1.1\r\nHost:x:80\r\nCookie:  1 \t2  \r\ncookie: 3\r\nE:\r\n\r\n",
        "GET /a%20b Some(\"c=d?e\") \"x:80\" HTTP/1.1\nHost=x:80\nCookie=1 \t2\ncookie=3\nE=\n\
         Some(\"1 \\t2\") None None",
    );
    see(
        "GET http://y:1?q HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / Some(\"q\") \"y:1\" HTTP/1.1\nHost=x\nNone None None",
    );
    see(
        "GET /? HTTP/1.0\r\n\r\n",
        "GET / Some(\"\") \"\" HTTP/1.0\nNone None None",
    );
    see(
        "CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n",
        "CONNECT b:443 None \"b:443\" HTTP/1.1\nHost=b\nNone None None",
    );
}

#[test]
fn number_of_fields() {
    let limits = |headers: usize| {
        let mut limits = Limits::default();
        limits.headers = headers;
        limits
    };
    let request = |fields: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(fields - 1)
        )
    };
    check(request(100), "GET / | 200 open");
    check(request(101), "| 431 closed");
    check_with(request(101), &limits(1000), "| 431 closed");
    check_with(request(3), &limits(3), "GET / | 200 open");
    check_with(request(4), &limits(3), "| 431 closed");
    check_with("GET / HTTP/1.0\r\n\r\n", &limits(0), "GET / | 200 closed");
}
