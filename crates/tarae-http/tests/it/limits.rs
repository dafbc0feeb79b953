//! Limits are enforced where they are passed, however much follows: what is too long for the
//! conformance cases.

use tarae_http::Limits;

use crate::harness::check_with;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.request_line_bytes = 40;
    limits.head_bytes = 100;
    limits
}

#[test]
fn request_line() {
    check_with("a".repeat(100_000), &limits(), "| 414 closed");
    check_with("a".repeat(100_000), &Limits::default(), "| 414 closed");
}

#[test]
fn head() {
    let request = |bytes: usize| {
        let value = "v".repeat(bytes - "GET / HTTP/1.1\r\nHost: a\r\nV: \r\n\r\n".len());
        format!("GET / HTTP/1.1\r\nHost: a\r\nV: {value}\r\n\r\n")
    };
    check_with(request(5000), &limits(), "| 431 closed");
    check_with(request(16 * 1024), &Limits::default(), "GET / | 200 open");
    check_with(request(16 * 1024 + 1), &Limits::default(), "| 431 closed");
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nV: {}", "v".repeat(20_000));
    check_with(&endless, &Limits::default(), "| 431 closed");
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
    check_with(request(100), &limits(100), "GET / | 200 open");
    check_with(request(101), &limits(100), "| 431 closed");
    check_with(request(101), &limits(1000), "| 431 closed");
    check_with("GET / HTTP/1.0\r\n\r\n", &limits(0), "GET / @ | 200 closed");
}
