//! Streams through a real server: both directions at once, backpressure, another protocol.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tarae_http::http::HeaderValue;
use tarae_http::{Body, Handler, Head, Plan, Request, Response, Server};

use crate::host::{GIVE_UP, Host};
use crate::peer::{after_head, unchunk};

/// Sums up what it is sent, and answers with what it is asked for.
struct Site {
    /// Bytes read or written by handlers.
    moved: Arc<AtomicUsize>,
}

impl Handler for Site {
    fn plan(&self, _: &Head) -> Plan {
        Plan::stream(u64::MAX)
    }

    fn call(&self, request: &mut Request) -> Response {
        match request.path() {
            "/count" => {
                let (mut total, mut buffer) = (0, [0; 50_000]);
                let mut body = request.body_reader();
                while let count @ 1.. = body.read(&mut buffer).expect("a whole body") {
                    self.moved.fetch_add(count, Ordering::Relaxed);
                    total += count;
                }
                Response::text(total.to_string())
            }
            "/endless" => {
                let written = Arc::clone(&self.moved);
                Response::text("").with_body(Body::from_writer(move |out| {
                    loop {
                        out.write_all(&[b'x'; 10_000])?;
                        written.fetch_add(10_000, Ordering::Relaxed);
                    }
                }))
            }
            "/lines" => Response::text("").with_body(Body::from_writer(|out| {
                (0..50_000).try_for_each(|number| writeln!(out, "line {number}"))
            })),
            _ => Response::switching_protocols(HeaderValue::from_static("echo"), |peer| {
                let early = peer.early().to_vec();
                let mut stream = peer.tcp().expect("a socket");
                // Both directions at once.
                let (sender, receiver) = tarae::sync::mpsc::channel::<Vec<u8>>();
                tarae::scope(|scope| {
                    scope.spawn(move || {
                        receiver
                            .iter()
                            .try_for_each(|piece| stream.write_all(&piece))
                    });
                    sender.send(early).expect("it listens");
                    let mut buffer = [0; 1_000];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        sender.send(buffer[..count].to_vec()).expect("it listens");
                    }
                    drop(sender);
                });
            }),
        }
    }
}

fn start(workers: usize) -> (Host, Arc<AtomicUsize>) {
    let moved = Arc::<AtomicUsize>::default();
    let site = Site {
        moved: Arc::clone(&moved),
    };
    (Host::start(workers, Server::new(site)), moved)
}

/// The client sends a piece only when the handler has had the one before: so none waits for the
/// whole.
#[test]
fn a_large_body_is_read_while_it_comes() {
    const PIECE: usize = 100_000;
    let (host, moved) = start(1);
    let mut client = host.client();
    for round in 1..=2 {
        let total = 100 * PIECE;
        client.send(format!(
            "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n"
        ));
        for piece in 0..100 {
            let before = (round - 1) * total + piece * PIECE;
            let begin = Instant::now();
            while moved.load(Ordering::Relaxed) < before {
                assert!(begin.elapsed() < GIVE_UP, "{piece} pieces are not read");
                std::thread::yield_now();
            }
            client.send([b'b'; PIECE]);
        }
        assert_eq!(client.answer().body, total.to_string().as_bytes());
    }
}

#[test]
fn an_answer_in_chunks_arrives_whole() {
    let want: String = (0..50_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    for workers in [1, 2] {
        let (host, _) = start(workers);
        let mut client = host.client();
        client.send(
            "GET /lines HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)
                + "GET /lines HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        let all = client.rest();
        let mut rest = &all[..];
        for _ in 0..3 {
            let (body, _, after) = unchunk(after_head(rest)).expect("a last chunk");
            assert!(body == want.as_bytes());
            rest = after;
        }
        assert!(rest.is_empty());
    }
}

/// The writer of a client that does not read waits, and ends when that one goes; others are served
/// by the same worker meanwhile.
#[test]
fn a_writer_waits_for_its_client() {
    let (host, written) = start(1);
    let mut client = host.client();
    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = [0; 100];
    client.stream.read_exact(&mut first).expect("it begins");
    // Once it waits it goes no further.
    host.until(|all| {
        let waits = |one: &&tarae::inspect::Coroutine| {
            matches!(one.waits_for, tarae::inspect::WaitReason::Writable(_))
        };
        all.iter().filter(waits).count() == 1
    });
    let so_far = written.load(Ordering::Relaxed);
    for _ in 0..10 {
        let mut other = host.client();
        other.send("PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(other.answer().body, b"2");
    }
    // What the others have sent.
    assert_eq!(written.load(Ordering::Relaxed), so_far + 20);
    drop(client);
    host.until(|all| {
        all.iter()
            .all(|one| !matches!(one.waits_for, tarae::inspect::WaitReason::Writable(_)))
    });
}

#[test]
fn another_protocol_reads_and_writes_at_once() {
    let (host, _) = start(1);
    let mut client = host.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly,");
    assert_eq!(client.answer_head().status, "101");
    let payload: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut sender = client.stream.try_clone().expect("a free descriptor");
    let theirs = payload.clone();
    let sending = std::thread::spawn(move || {
        sender.write_all(&theirs).expect("sent");
        sender
            .shutdown(std::net::Shutdown::Write)
            .expect("connected");
    });
    let all = client.rest();
    sending.join().expect("no panic");
    assert!(after_head(&all) == [b"early,", &payload[..]].concat());
}
