//! Bodies in pieces and their end: RFC 9112, 6.3 and 7.1; `Expect`: RFC 9110, 10.1.1.

use crate::harness::{check, check_then_end};

fn chunked(body: &str, want: &str) {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(format!("{head}{body}"), want);
}

#[test]
fn chunks() {
    chunked("0\r\n\r\n", "POST / | 200 open");
    chunked("2\r\nhi\r\n0\r\n\r\n", "POST / [hi] | 200 open");
    chunked(
        "2\r\nhi\r\n1;a=b\r\n!\r\n000\r\nA: b\r\n\r\n",
        "POST / [hi!] | 200 open",
    );
    chunked(
        "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "POST / [01234567890123456789] | 200 open",
    );
    chunked("2\r\nhi", "| body");
    chunked("2\r\nhi\r\n0\r\n", "| body");
    chunked("2\r\nhi\r\n0\r\n\r", "| body");
    for body in [
        "2\nhi\r\n0\r\n\r\n",
        "2\r\nhi\n0\r\n\r\n",
        "2\r\nhi\r\n0\n\n",
        "2\r\nhi\r\n0\r\n\n",
        "2\rhi\r\n0\r\n\r\n",
        "3\r\nhi\r\n0\r\n\r\n",
        "1\r\nhi\r\n0\r\n\r\n",
        "-2\r\nhi\r\n0\r\n\r\n",
        "+2\r\nhi\r\n0\r\n\r\n",
        "0x2\r\nhi\r\n0\r\n\r\n",
        "2 \r\nhi\r\n0\r\n\r\n",
        " 2\r\nhi\r\n0\r\n\r\n",
        "\r\n2\r\nhi\r\n0\r\n\r\n",
        "2;\r\nhi\r\n0\r\n\r\n",
        "2;a\nhi\r\n0\r\n\r\n",
        "2;a=\"\n\"\r\nhi\r\n0\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: \0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        chunked(body, "| 400 closed");
    }
    chunked("ffffffffffffffff\r\n", "| 413 closed");
    chunked("100001\r\n", "| 413 closed");
}

#[test]
fn what_follows_a_body_is_the_next_request() {
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    chunked(
        &format!("2\r\nhi\r\n0\r\n\r\n{next}"),
        "POST / [hi], GET /next | 200 200 open",
    );
    chunked(
        &format!("0\r\nHost: b\r\n\r\n{next}"),
        "POST /, GET /next | 200 200 open",
    );
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    check(
        format!("{post}{next}"),
        "POST / [abc], GET /next | 200 200 open",
    );
    check(
        format!("{post}\r\n{next}"),
        "POST / [abc], GET /next | 200 200 open",
    );
    check(
        format!("{post}\r\n\r\n{next}"),
        "POST / [abc] | 200 400 closed",
    );
    check(
        format!("{post}x{next}"),
        "POST / [abc], xGET /next | 200 200 open",
    );
    // A body on a method that gives it no meaning is still not the next request.
    let get = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    check(
        format!("{get}{next}"),
        "GET / [abc], GET /next | 200 200 open",
    );
}

#[test]
fn what_follows_a_refused_message_is_not_read() {
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    check(format!("GET / HTTP/1.1\r\n\r\n{next}"), "| 400 closed");
    check(format!("GET / HTTP/9.9\r\n\r\n{next}"), "| 505 closed");
    chunked(&format!("x\r\n{next}"), "| 400 closed");
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    check(
        format!("POST / HTTP/1.1\r\nHost: a\r\n{both}\r\n\r\n0\r\n\r\n{next}"),
        "| 400 closed",
    );
    let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n";
    check(format!("{large}{next}"), "| 413 closed");
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    check(
        format!("{good}BAD\r\n\r\n{next}"),
        "GET /good | 200 400 closed",
    );
}

#[test]
fn plans() {
    let post = |path: &str, fields: &str, body: &str, want: &str| {
        check(
            format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"),
            want,
        );
    };
    post(
        "/small",
        "Content-Length: 4\r\n",
        "abcd",
        "POST /small [abcd] | 200 open",
    );
    post("/small", "Content-Length: 5\r\n", "abcde", "| 413 closed");
    post("/small", "Content-Length: 5\r\n", "", "| 413 closed");
    let chunked = "Transfer-Encoding: chunked\r\n";
    post(
        "/small",
        chunked,
        "4\r\nabcd\r\n0\r\n\r\n",
        "POST /small [abcd] | 200 open",
    );
    post("/small", chunked, "4\r\nabcd\r\n1\r\n", "| 413 closed");
    post("/small", chunked, "5\r\n", "| 413 closed");
    post("/reject", "Content-Length: 4\r\n", "", "| 403 body");
    post("/reject", chunked, "", "| 403 body");
    post("/reject", "", "", "| 403 open");
    post(
        "/reject",
        "",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / | 403 200 open",
    );
}

#[test]
fn expectations() {
    let post = |path: &str, fields: &str, body: &str, want: &str| {
        let expect = "Expect: 100-continue\r\n";
        check(
            format!("POST {path} HTTP/1.1\r\nHost: a\r\n{expect}{fields}\r\n{body}"),
            want,
        );
    };
    post("/", "Content-Length: 2\r\n", "", "| 100 body");
    post(
        "/",
        "Content-Length: 2\r\n",
        "hi",
        "POST / [hi] | 100 200 open",
    );
    post(
        "/",
        "Transfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
        "POST / | 100 200 open",
    );
    post("/", "", "", "POST / | 200 open");
    post("/", "Content-Length: 0\r\n", "", "POST / | 200 open");
    post("/reject", "Content-Length: 2\r\n", "", "| 403 closed");
    post("/small", "Content-Length: 5\r\n", "", "| 413 closed");
    post("/", "Content-Length: x\r\n", "", "| 400 closed");
    let expect = |version: &str, value: &str, want: &str| {
        let fields = format!("Host: a\r\nExpect: {value}\r\nContent-Length: 2");
        check(format!("POST / HTTP/{version}\r\n{fields}\r\n\r\nhi"), want);
    };
    expect("1.1", "100-Continue", "POST / [hi] | 100 200 open");
    expect("1.0", "100-continue", "POST / [hi] | 200 closed");
    expect("1.1", "200-ok", "| 417 closed");
}

#[test]
fn the_input_ends() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    check_then_end("", "| closed");
    check_then_end(get, "GET / | 200 closed");
    check_then_end(format!("{get}{get}"), "GET /, GET / | 200 200 closed");
    check_then_end("GET / HT", "| 400 closed");
    check_then_end(format!("{get}GET"), "GET / | 200 400 closed");
    check_then_end(format!("{get}\r\n"), "GET / | 200 closed");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    check_then_end(format!("{post}hi"), "POST / [hi] | 200 closed");
    check_then_end(format!("{post}h"), "| 400 closed");
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_then_end(
        format!("{chunked}2\r\nhi\r\n0\r\n\r\n"),
        "POST / [hi] | 200 closed",
    );
    check_then_end(format!("{chunked}2\r\nhi\r\n0\r\n"), "| 400 closed");
}
