//! The Book's web server: pages, the pool at work, the end after two requests.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::program::{Program, connect, read_all};

/// Longer than any test lasts.
const FOREVER_MS: &str = "86400000";

fn server(arguments: &[&str]) -> (Program, String) {
    let arguments = [&["127.0.0.1:0"], arguments].concat();
    Program::example("book_server", &arguments).announced("listening on http://")
}

fn request(address: &str, path: &str) -> TcpStream {
    let mut stream = connect(address);
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("connected");
    stream
}

fn expected(status: &str, page: &str) -> String {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/book_server");
    let contents = std::fs::read_to_string(pages.join(page)).expect("the page is there");
    let length = contents.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{contents}")
}

#[track_caller]
fn answers(stream: TcpStream, status: &str, page: &str) {
    let answer = String::from_utf8(read_all(stream)).expect("text");
    assert_eq!(answer, expected(status, page));
}

#[test]
fn two_requests_are_answered_and_the_server_ends_in_good_order() {
    let (program, address) = server(&[]);
    answers(request(&address, "/"), "200 OK", "hello.html");
    answers(request(&address, "/nothing"), "404 NOT FOUND", "404.html");
    let want = [
        "Shutting down.",
        "Shutting down worker 0",
        "Shutting down worker 1",
        "Shutting down worker 2",
        "Shutting down worker 3",
    ];
    assert_eq!(program.rest(), want);
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let (program, address) = server(&["2", "300"]);
    let slow = request(&address, "/sleep");
    answers(request(&address, "/"), "200 OK", "hello.html");
    assert_eq!(program.line().as_deref(), Some("Shutting down."));
    answers(slow, "200 OK", "hello.html");
    assert_eq!(program.rest().len(), 4);
}

#[test]
fn sleepers_hold_up_nobody_while_a_worker_is_free() {
    let (program, address) = server(&["10", FOREVER_MS]);
    let _sleepers: Vec<_> = (0..3).map(|_| request(&address, "/sleep")).collect();
    for _ in 0..6 {
        answers(request(&address, "/"), "200 OK", "hello.html");
    }
    assert_eq!(program.threads(), 1, "the pool's workers are coroutines");
}
