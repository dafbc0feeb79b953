//! `examples/plaintext`, which the benchmarks call: what it answers, what that costs, and how a
//! server fares that runs out of descriptors.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::host::{Client, GET, GIVE_UP};
use crate::program::{Program, path};

const HELLO: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

/// A whole answer, its date replaced by `DATE`.
fn raw(addr: std::net::SocketAddr, path: &str) -> String {
    let mut client = Client::connect(addr);
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    let text = String::from_utf8(client.rest()).expect("ASCII");
    let (before, after) = text.split_once("\r\nDate: ").expect("a date");
    let (date, after) = after.split_at(29);
    let now = std::time::SystemTime::now();
    assert!(tarae_http::date::parse(date, now).is_some(), "{date}");
    format!("{before}\r\nDate: DATE{after}")
}

#[test]
fn the_answers_are_as_promised() {
    let program = Program::start(&[], "2");
    assert_eq!(
        raw(program.addr, "/plaintext"),
        "HTTP/1.1 200 OK\r\nServer: tarae\r\nDate: DATE\r\n\
         Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
         Content-Length: 13\r\n\r\nHello, World!"
    );
    assert_eq!(
        raw(program.addr, "/json?x=y"),
        "HTTP/1.1 200 OK\r\nServer: tarae\r\nDate: DATE\r\n\
         Content-Type: application/json\r\nConnection: close\r\n\
         Content-Length: 27\r\n\r\n{\"message\":\"Hello, World!\"}"
    );
    for path in ["/", "/plaintext/", "/jso"] {
        let answer = raw(program.addr, path);
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    }
    // No bound on requests per connection.
    let mut client = program.client();
    for _ in 0..20 {
        client.send(HELLO.repeat(100));
        for _ in 0..100 {
            assert_eq!(client.answer().body, b"Hello, World!");
        }
    }
}

#[test]
fn a_signal_ends_it() {
    const SIGTERM: i32 = 15;
    let program = Program::start(&[], "2");
    let mut client = program.client();
    assert_eq!(client.get("/plaintext").status, "200");
    let id = program.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status();
    assert!(sent.expect("POSIX has it").success());
    let (status, printed) = program.end();
    assert_eq!((status.signal(), printed.as_str()), (Some(SIGTERM), ""));
    assert!(client.rest().is_empty());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let program = Program::start(&[], "1");
    let addr = program.addr.to_string();
    let output = Command::new(path("plaintext"))
        .args(["--listen", &addr])
        .output()
        .expect("started");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!output.status.success());
    assert!(said.contains(&addr), "{said}");
}

/// Of its descriptors a server leaves some to the program. Beyond the rest it goes on answering on
/// the connections it has; those that wait in the listener's queue get their turn when others end,
/// with no help from outside.
#[test]
fn connections_wait_for_descriptors() {
    // See `Server::max_connections`.
    const LIMIT: usize = 40;
    const CONNECTIONS: usize = LIMIT - 32;
    let command = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
    for workers in ["1", "2"] {
        let program = Program::start(&["sh", "-c", &command], workers);
        let mut first = program.client();
        assert_eq!(first.get("/plaintext").status, "200");
        let idle = program.descriptors_below(LIMIT) - 1;
        let mut open = vec![first];
        while open.len() < CONNECTIONS {
            let mut client = program.client();
            assert_eq!(client.get("/plaintext").status, "200");
            open.push(client);
        }
        let mut waiting: Vec<Client> = (0..5).map(|_| program.client()).collect();
        for client in &mut waiting {
            client.send(GET);
        }
        for _ in 0..20 {
            for client in &mut open {
                assert_eq!(client.get("/plaintext").body, b"Hello, World!");
            }
        }
        let used = program.descriptors_below(LIMIT);
        assert_eq!(used - idle, CONNECTIONS, "{used} of {LIMIT} are in use");
        for mut client in waiting {
            drop(open.pop());
            // One has made room for one: they are accepted in the order in which they came.
            assert_eq!(client.answer().status, "404");
            open.push(client);
            open.rotate_right(1);
        }
    }
}

/// At steady state a request costs one receive and one send, and nothing else but the wait.
#[test]
fn a_request_costs_one_receive_and_one_send() {
    const REQUESTS: usize = 200;
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("not checked: `strace`, which counts the system calls, is not installed");
        return;
    }
    let name = format!("tarae-plaintext-{}.trace", std::process::id());
    let trace = std::env::temp_dir().join(name);
    let file = trace.to_str().expect("UTF-8");
    // With `-D` the program is this process's child, and strace a bystander that ends with it.
    let program = Program::start(&["strace", "-D", "-f", "-q", "-o", file], "1");
    let mut client = program.client();
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/plaintext").status, "200");
    }
    let mut last = program.client();
    assert_eq!(last.get("/json").status, "200");
    drop(program);
    let begin = Instant::now();
    let text = loop {
        let text = fs::read_to_string(&trace).expect("written by strace");
        if text.contains("+++ killed by SIGKILL +++") {
            break text;
        }
        assert!(begin.elapsed() < GIVE_UP, "strace does not end");
        thread::yield_now();
    };
    fs::remove_file(&trace).expect("ours");
    let calls: Vec<&str> = text.lines().filter_map(call).collect();
    let first = calls
        .iter()
        .position(|name| *name == "sendto")
        .expect("an answer");
    let end = calls
        .iter()
        .rposition(|name| name.starts_with("accept"))
        .expect("two connections");
    let begin = calls[..end]
        .iter()
        .rposition(|name| *name == "sendto")
        .expect("an answer");
    let steady = &calls[first + 1..=begin];
    let count = |name| steady.iter().filter(|call| **call == name).count();
    let (receives, sends) = (count("recvfrom"), count("sendto"));
    assert_eq!((receives, sends), (REQUESTS - 1, REQUESTS - 1));
    // The timer of far deadlines is set anew every few seconds, not with every request.
    assert!(count("timerfd_settime") < REQUESTS / 4, "{steady:?}");
    const EXPECTED: [&str; 5] = [
        "recvfrom",
        "sendto",
        "epoll_wait",
        "epoll_pwait",
        "timerfd_settime",
    ];
    let others: Vec<_> = steady
        .iter()
        .filter(|name| !EXPECTED.contains(name))
        .collect();
    // The first time that a connection is put aside it is registered.
    assert!(others.len() <= 1, "{others:?}");
}

/// The name in a line of strace: `PID NAME(ARGUMENTS) = RESULT`.
fn call(line: &str) -> Option<&str> {
    let (before, _) = line.split_once('(')?;
    before.split_whitespace().last()
}
