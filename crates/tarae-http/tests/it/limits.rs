//! Limits are enforced where they are passed, not at the end of what passes them.

use tarae_http::Limits;

use crate::harness::check_with;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.request_line_bytes = 40;
    limits.head_bytes = 100;
    limits.body_bytes = 10;
    limits.chunk_extension_bytes = 8;
    limits.trailer_bytes = 10;
    limits
}

#[test]
fn request_line() {
    let request = |bytes: usize| {
        let path = "a".repeat(bytes - "GET / HTTP/1.1".len());
        (
            format!("GET /{path} HTTP/1.1"),
            format!("GET /{path} | 200 open"),
        )
    };
    let (line, want) = request(40);
    check_with(format!("{line}\r\nHost: a\r\n\r\n"), &limits(), &want);
    let (line, _) = request(41);
    check_with(
        format!("{line}\r\nHost: a\r\n\r\n"),
        &limits(),
        "| 414 closed",
    );
    // Without an end it is refused as soon as it is too long, and not before.
    check_with("a".repeat(41), &limits(), "| head");
    check_with("a".repeat(42), &limits(), "| 414 closed");
    check_with("a".repeat(100_000), &limits(), "| 414 closed");
    check_with("a".repeat(100_000), &Limits::default(), "| 414 closed");
    // The first thing wrong decides.
    check_with(format!("{}\n", "a".repeat(41)), &limits(), "| 400 closed");
    check_with(format!("{}\n", "a".repeat(42)), &limits(), "| 414 closed");
}

#[test]
fn head() {
    let request = |bytes: usize| {
        let value = "v".repeat(bytes - "GET / HTTP/1.1\r\nHost: a\r\nV: \r\n\r\n".len());
        format!("GET / HTTP/1.1\r\nHost: a\r\nV: {value}\r\n\r\n")
    };
    check_with(request(100), &limits(), "GET / | 200 open");
    check_with(request(101), &limits(), "| 431 closed");
    check_with(request(5000), &limits(), "| 431 closed");
    check_with(request(16 * 1024), &Limits::default(), "GET / | 200 open");
    check_with(request(16 * 1024 + 1), &Limits::default(), "| 431 closed");
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nV: {}", "v".repeat(20_000));
    check_with(&endless, &Limits::default(), "| 431 closed");
    check_with(&endless[..100], &limits(), "| head");
    check_with(&endless[..101], &limits(), "| 431 closed");
    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(10_000));
    check_with(many, &limits(), "| 431 closed");
}

#[test]
fn the_head_limit_may_be_the_tighter_one() {
    let mut limits = limits();
    limits.request_line_bytes = 1000;
    for bytes in [99, 100, 101, 102, 103, 2000] {
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(bytes - 16));
        let want = match bytes {
            ..=100 => "| head",
            // Its end is what does not fit: the line itself has the allowed length.
            101 => "| 431 closed",
            _ => "| 414 closed",
        };
        check_with(line, &limits, want);
    }
}

#[test]
fn body() {
    let post = |fields: &str, body: &str, want: &str| {
        check_with(
            format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"),
            &limits(),
            want,
        );
    };
    post(
        "Content-Length: 10\r\n",
        "0123456789",
        "POST / [0123456789] | 200 open",
    );
    post("Content-Length: 11\r\n", "", "| 413 closed");
    let chunked = "Transfer-Encoding: chunked\r\n";
    post(
        chunked,
        "a\r\n0123456789\r\n0\r\n\r\n",
        "POST / [0123456789] | 200 open",
    );
    post(chunked, "b\r\n", "| 413 closed");
    post(chunked, "9\r\n012345678\r\n2\r\n", "| 413 closed");
    post(chunked, "0;1234567\r\n\r\n", "POST / | 200 open");
    post(chunked, "0;12345678\r\n", "| 400 closed");
    post(chunked, "0\r\nA: 456\r\n\r\n", "POST / | 200 open");
    post(chunked, "0\r\nA: 4567\r\n\r\n", "| 431 closed");
    post(chunked, "0\r\nA: 456789012345", "| 431 closed");
}

#[test]
fn requests_per_connection() {
    let mut limits = Limits::default();
    limits.requests_per_connection = Some(2);
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    check_with(get, &limits, "GET / | 200 open");
    check_with(get.repeat(2), &limits, "GET /, GET / | 200 200 closed");
    check_with(get.repeat(3), &limits, "GET /, GET / | 200 200 closed");
}
