//! Streams through a real server: both directions at once, backpressure, another protocol.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tarae_http::http::HeaderValue;
use tarae_http::{Body, Handler, Head, Plan, Request, Response, Server};

use crate::host::Host;
use crate::peer::{after_head, unchunk};

/// Sums up what it is sent, and answers with what it is asked for.
struct Site {
    written: Arc<AtomicUsize>,
}

impl Handler for Site {
    fn plan(&self, _: &Head) -> Plan {
        Plan::stream(u64::MAX)
    }

    fn call(&self, request: &mut Request) -> Response {
        match request.path() {
            "/count" => {
                let count = io::copy(&mut request.body_reader(), &mut io::sink());
                Response::text(count.expect("a whole body").to_string())
            }
            "/endless" => {
                let written = Arc::clone(&self.written);
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
    let written = Arc::<AtomicUsize>::default();
    let site = Site {
        written: Arc::clone(&written),
    };
    (Host::start(workers, Server::new(site)), written)
}

#[test]
fn a_large_body_goes_through_little_memory() {
    const TOTAL: usize = 50_000_000;
    let (host, _) = start(1);
    let mut client = host.client();
    for _ in 0..2 {
        let before = memory();
        client.send(format!(
            "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: {TOTAL}\r\n\r\n"
        ));
        for _ in 0..TOTAL / 100_000 {
            client.send([b'b'; 100_000]);
        }
        assert_eq!(client.answer().body, TOTAL.to_string().as_bytes());
        let grown = memory().saturating_sub(before);
        assert!(grown < TOTAL / 4, "{grown} bytes more");
    }
}

/// Bytes of the process's memory that are there.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.expect("a size").trim().trim_end_matches(" kB");
    digits.parse::<usize>().expect("digits") * 1024
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
    assert_eq!(written.load(Ordering::Relaxed), so_far);
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
