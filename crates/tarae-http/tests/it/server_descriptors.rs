//! Servers that run out of descriptors, and whose system calls fail: nobody is lost without a word,
//! and well-behaved clients go on.

use std::fs::File;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tarae_http::{Request, Response, Server};

use crate::host::Client;
use crate::program::Program;
use crate::served::served;

static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Takes what descriptors there are, or gives them all back.
fn take(request: &mut Request) -> Response {
    let mut taken = TAKEN.lock().expect("not poisoned");
    match request.path() {
        "/take" => taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok())),
        "/give" => taken.clear(),
        _ => {}
    }
    Response::text(taken.len().to_string())
}

#[test]
fn out_of_descriptors_everybody_is_told() {
    const NAME: &str = "server_descriptors::out_of_descriptors_everybody_is_told";
    let Some(server) = served(NAME, "-n 200", || Server::new(take).max_connections(1000)) else {
        return;
    };
    let mut open: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for client in &mut open {
        assert_eq!(client.get("/").status, "200");
    }
    for _ in 0..3 {
        assert_ne!(open[0].get("/take").body, b"0");
        for _ in 0..5 {
            let refused = server.client().get("/");
            assert_eq!(refused.status, "503");
            assert_eq!(refused.field("connection"), Some("close"));
            assert!(refused.field("retry-after").is_some());
            for client in &mut open {
                assert_eq!(client.get("/").status, "200");
            }
        }
        assert_eq!(open[1].get("/give").body, b"0");
        let mut welcome = server.client();
        assert_eq!(welcome.get("/").status, "200");
        open.push(welcome);
    }
}

/// A server that stops while it is out of descriptors closes what waits all the same.
#[test]
fn out_of_descriptors_it_stops() {
    const NAME: &str = "server_descriptors::out_of_descriptors_it_stops";
    let Some(server) = served(NAME, "-n 200", || Server::new(take).max_connections(1000)) else {
        return;
    };
    let mut client = server.client();
    assert_ne!(client.get("/take").body, b"0");
    server.signal(rustix::process::Signal::TERM);
    assert!(client.rest().is_empty());
    assert_eq!(server.end().0, Some(0));
}

/// Failures that strace makes, in each so many calls; and the answers that clients may get then.
#[test]
fn failing_calls_end_one_connection_at_most() {
    const CLIENTS: usize = 30;
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("not checked: `strace`, which has the system calls fail, is not installed");
        return;
    }
    for (inject, answers, lost_max) in [
        ("accept4:error=ECONNABORTED:when=2+3", &["200"][..], 0),
        ("accept4:error=ECONNRESET:when=2+3", &["200"], 0),
        ("accept4:error=EINTR:when=2+3", &["200"], 0),
        ("accept4:error=EMFILE:when=5..7", &["200", "503"], 0),
        ("accept4:error=ENFILE:when=5..7", &["200", "503"], 0),
        ("accept4:error=ENOMEM:when=5..7", &["200"], 0),
        ("recvfrom:error=EINTR:when=2+2", &["200"], 0),
        ("sendto:error=EINTR:when=2+2", &["200"], 0),
        ("recvfrom:error=ECONNRESET:when=20", &["200"], 1),
        ("sendto:error=EPIPE:when=20", &["200"], 1),
    ] {
        let inject = format!("inject={inject}");
        let trace = inject.split([':', '=']).nth(1).expect("a call");
        let trace = format!("trace={trace}");
        let launcher = [
            "strace",
            "-D",
            "-f",
            "-q",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        let program = Program::start(&launcher, "1");
        let mut lost = 0;
        for _ in 0..CLIENTS {
            lost += usize::from(!is_served(program.client(), answers));
        }
        assert!(lost <= lost_max, "{inject}: {lost} clients are lost");
    }
}

/// Asks three times. False if the connection breaks.
fn is_served(mut client: Client, answers: &[&str]) -> bool {
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("settable");
    for _ in 0..3 {
        let Some(answer) = client.try_get("/plaintext") else {
            return false;
        };
        assert!(answers.contains(&&*answer.status), "{}", answer.status);
        if answer.field("connection") == Some("close") {
            break;
        }
    }
    true
}
