//! Files as bodies, through a real server and through drivers that know no files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use tarae::fs::File;
use tarae_http::conn::{Buffers, Context, Event, Parked};
use tarae_http::{Body, Plan, Request, Response, Server, answer};

use crate::host::Host;
use crate::peer::after_head;

const LARGE: usize = 3_000_001;

/// A file with contents of this length, which goes with this.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, contents: &[u8]) -> Temporary {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("http-{name}-{}", std::process::id()));
        std::fs::write(&path, contents).expect("a file");
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn contents(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// Answers `/FROM/LEN` with that part of the file.
fn parts(path: PathBuf) -> impl Fn(&mut Request) -> Response + Send + Sync + 'static {
    move |request| {
        let mut numbers = request.path().split('/').skip(1);
        let mut next = || {
            numbers
                .next()
                .and_then(|part| part.parse().ok())
                .expect("a number")
        };
        let file = File::open(&path).expect("it is there");
        Response::text("").with_body(Body::from_file(file, next(), next()))
    }
}

const PARTS: &[(usize, usize)] = &[
    (0, 0),
    (0, 1),
    (5, 100),
    (0, 65_536),
    (0, 65_537),
    (1, LARGE - 1),
    (0, LARGE),
    (LARGE - 70_000, 70_000),
];

#[test]
fn parts_of_files_are_sent() {
    let want = contents(LARGE);
    let file = Temporary::new("parts", &want);
    let host = Host::start(1, Server::new(parts(file.0.clone())));
    let mut client = host.client();
    for &(from, len) in PARTS {
        let answered = client.get(&format!("/{from}/{len}"));
        assert!(answered.body == want[from..from + len], "{from} {len}");
        // As it is where sockets are unknown.
        let request = format!("GET /{from}/{len} HTTP/1.1\r\nHost: a\r\n\r\n");
        let bytes = answer(parts(file.0.clone()), request.as_bytes());
        assert!(
            after_head(&bytes) == &want[from..from + len],
            "{from} {len}"
        );
    }
}

/// The driver is asked to send a large one as it is; a small one joins its head.
#[test]
fn large_files_are_not_read() {
    let file = Temporary::new("events", &contents(LARGE));
    let (limits, common) = Default::default();
    let context = Context {
        limits: &limits,
        common: &common,
    };
    for (len, last) in [(65_536, Event::Pull), (65_537, Event::SendFile)] {
        let mut conn = Parked::new(None).resume(Buffers::new());
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        conn.space()[..request.len()].copy_from_slice(request);
        conn.received(request.len());
        assert_eq!(conn.next(context), Event::Plan);
        conn.planned(Plan::default(), context);
        let opened = File::open(&file.0).expect("it is there");
        conn.respond(
            Response::text("").with_body(Body::from_file(opened, 7, len)),
            context,
        );
        if last == Event::SendFile {
            assert_eq!(conn.next(context), Event::Write);
            assert!(
                conn.file_part()
                    .is_some_and(|(_, at, left)| (at, left) == (7, len))
            );
            conn.wrote(conn.output().len());
            assert_eq!(conn.next(context), last);
            conn.sent_file(60_000);
            assert!(
                conn.file_part()
                    .is_some_and(|(_, at, left)| (at, left) == (60_007, 5_537))
            );
            conn.sent_file(5_537);
        } else {
            assert_eq!(conn.next(context), last);
            conn.pull().expect("it is there");
            assert!(
                conn.output()
                    .ends_with(&contents(LARGE)[7..len as usize + 7])
            );
            conn.wrote(conn.output().len());
        }
        assert_eq!(conn.next(context), Event::Idle);
    }
}

/// Pipelined: what follows a file is behind it, and what is before it in front.
#[test]
fn files_stay_in_order() {
    let want = contents(LARGE);
    let file = Temporary::new("order", &want);
    let host = Host::start(1, Server::new(parts(file.0.clone())));
    let mut client = host.client();
    let lengths = [10, 200_000, 20, LARGE, 30];
    for len in lengths {
        client.send(format!("GET /0/{len} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    client.send("HEAD /0/100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    for len in lengths {
        assert!(client.answer().body == want[..len], "{len}");
    }
    let head = client.answer_head();
    assert_eq!(head.field("content-length"), Some("100000"));
}

/// Nobody takes what came for the whole.
#[test]
fn a_file_that_is_too_short_ends_the_connection() {
    let want = contents(200_000);
    let file = Temporary::new("short", &want);
    let host = Host::start(1, Server::new(parts(file.0.clone())));
    for (from, len) in [(100_000, 150_000), (150_000, 60_000), (300_000, 100_000)] {
        let mut client = host.client();
        client.send(format!("GET /{from}/{len} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2));
        let all = client.rest();
        let text = String::from_utf8_lossy(&all);
        assert!(
            text.contains(&format!("Content-Length: {len}\r\n")),
            "{from}"
        );
        assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{from}");
        assert!(after_head(&all) == &want[from.min(200_000)..], "{from}");
    }
}

/// While a client takes its time, others are served by the same worker; and when it goes, nothing
/// of it is left.
#[test]
fn a_client_that_takes_its_time_holds_nobody_up() {
    let want = contents(20_000_000);
    let file = Temporary::new("slow", &want);
    let host = Host::start(1, Server::new(parts(file.0.clone())));
    let mut slow = host.client();
    slow.send("GET /0/20000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let waits = |one: &tarae::inspect::Coroutine| {
        matches!(one.waits_for, tarae::inspect::WaitReason::Writable(_))
    };
    host.until(move |all| all.iter().any(waits));
    let mut gone = host.client();
    gone.send("GET /0/20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    gone.stream.read_exact(&mut [0; 100]).expect("it begins");
    host.until(move |all| all.iter().filter(|one| waits(one)).count() == 2);
    drop(gone);
    let mut other = host.client();
    assert_eq!(other.get("/0/3").body, &want[..3]);
    host.until(move |all| all.iter().filter(|one| waits(one)).count() == 1);
    let all = slow.rest();
    assert!(after_head(&all) == want);
    assert_eq!(other.get("/7/3").body, &want[7..10]);
    let _ = other.stream.flush();
}
