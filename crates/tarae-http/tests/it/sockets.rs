//! `serve_stream` over real sockets of std, where one thread serves and the test is the client,
//! and over scripted streams, where every kind of trouble happens at a known moment.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tarae_http::{Body, CommonHeaders, Limits, Request, Response, Served, serve_stream};

use crate::harness::answers;

/// No wait in these tests is ever meant to last: this ends one that does.
const GIVE_UP: Duration = Duration::from_secs(30);

fn handler(request: &mut Request) -> Response {
    match request.path() {
        "/peer" => Response::text(
            request
                .peer_addr()
                .map_or(String::new(), |at| at.to_string()),
        ),
        "/large" => Response::text("").with_body(Body::from_reader(io::repeat(b'x'), 5_000_000)),
        _ => Response::bytes(request.body().to_vec()),
    }
}

/// Serves one connection on a thread; gives the client's end.
fn serve(timeout: Option<Duration>) -> (TcpStream, JoinHandle<io::Result<Served>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    client.set_read_timeout(Some(GIVE_UP)).expect("settable");
    let (mut stream, peer) = listener.accept().expect("accepted");
    let server = thread::spawn(move || {
        stream.set_read_timeout(Some(timeout.unwrap_or(GIVE_UP)))?;
        stream.set_write_timeout(Some(GIVE_UP))?;
        let (limits, mut common) = (Limits::default(), CommonHeaders::default());
        serve_stream(&mut stream, &handler, &limits, &mut common, Some(peer))
    });
    (client, server)
}

fn read_to_end(mut client: TcpStream) -> Vec<u8> {
    let mut output = Vec::new();
    client.read_to_end(&mut output).expect("the server closes");
    output
}

fn ended(server: JoinHandle<io::Result<Served>>) -> (u32, bool) {
    let served = server.join().expect("no panic").expect("no error");
    (served.requests, served.linger)
}

#[test]
fn a_client_that_half_closes_gets_all_its_answers() {
    let (mut client, server) = serve(None);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    client.write_all(post.repeat(3).as_bytes()).expect("sent");
    client.shutdown(Shutdown::Write).expect("shut down");
    let found = answers(&read_to_end(client), &[false; 3]);
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|answer| answer.body == b"hi"));
    assert_ne!(
        found[0].field("date"),
        Some("Thu, 01 Jan 1970 00:00:00 GMT")
    );
    assert_eq!(ended(server), (3, false));
}

#[test]
fn a_connection_is_used_again_and_again() {
    let (mut client, server) = serve(None);
    let own = client.local_addr().expect("an address").to_string();
    for _ in 0..100 {
        client
            .write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(own.as_bytes()) {
            let mut part = [0; 1000];
            let bytes = client.read(&mut part).expect("an answer");
            assert_ne!(bytes, 0, "closed too early");
            answer.extend_from_slice(&part[..bytes]);
        }
    }
    drop(client);
    assert_eq!(ended(server), (100, false));
}

#[test]
fn a_large_answer_arrives_whole() {
    let (mut client, server) = serve(None);
    let get = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(get).expect("sent");
    let found = answers(&read_to_end(client), &[false]);
    assert_eq!(found[0].body.len(), 5_000_000);
    assert_eq!(ended(server), (1, false));
}

#[test]
fn a_refused_message_ends_the_connection() {
    let (mut client, server) = serve(None);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let found = answers(&read_to_end(client), &[false]);
    assert_eq!(found[0].status, "400");
    assert_eq!(ended(server), (0, true));
}

#[test]
fn an_idle_connection_is_closed_in_silence() {
    let (client, server) = serve(Some(Duration::from_millis(10)));
    assert!(read_to_end(client).is_empty());
    assert_eq!(ended(server), (0, false));
}

/// Gives the reads one after the other, then the end; takes three bytes in each write.
struct Script {
    reads: VecDeque<io::Result<&'static [u8]>>,
    writes: VecDeque<io::Result<usize>>,
    output: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reads.pop_front().unwrap_or(Ok(b""))?;
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Some(result) = self.writes.pop_front() {
            return result;
        }
        self.output.write(&buf[..buf.len().min(3)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The statuses answered, and how it ended.
fn script(
    reads: impl IntoIterator<Item = io::Result<&'static [u8]>>,
    writes: impl IntoIterator<Item = io::Result<usize>>,
) -> (Vec<String>, Result<(u32, bool), ErrorKind>) {
    let (reads, writes) = (reads.into_iter().collect(), writes.into_iter().collect());
    let mut stream = Script {
        reads,
        writes,
        output: Vec::new(),
    };
    let (limits, mut common) = (Limits::default(), CommonHeaders::default());
    let end = serve_stream(&mut stream, &handler, &limits, &mut common, None);
    let statuses = answers(&stream.output, &[false; 9])
        .into_iter()
        .map(|answer| answer.status);
    let end = end
        .map(|served| (served.requests, served.linger))
        .map_err(|error| error.kind());
    (statuses.collect(), end)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_stalled_head_or_body_is_answered_with_408() {
    for begun in [
        &GET[..9],
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh",
    ] {
        for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            let (statuses, end) = script([Ok(GET), Ok(begun), Err(kind.into())], []);
            assert_eq!(statuses, ["200", "408"]);
            assert_eq!(end, Ok((1, true)));
        }
    }
}

#[test]
fn interruptions_and_short_writes_change_nothing() {
    fn interrupted<T>() -> io::Result<T> {
        Err(ErrorKind::Interrupted.into())
    }
    let reads = [
        interrupted(),
        Ok(&GET[..5]),
        interrupted(),
        Ok(&GET[5..]),
        Ok(GET),
    ];
    let (statuses, end) = script(reads, [interrupted(), interrupted()]);
    assert_eq!((statuses.len(), end), (2, Ok((2, false))));
}

#[test]
fn errors_of_the_stream_are_returned() {
    let reset = ErrorKind::ConnectionReset;
    assert_eq!(
        script([Ok(GET), Err(reset.into())], []),
        (vec!["200".into()], Err(reset))
    );
    assert_eq!(script([Ok(GET)], [Err(reset.into())]), (vec![], Err(reset)));
    assert_eq!(
        script([Ok(GET)], [Ok(0)]),
        (vec![], Err(ErrorKind::WriteZero))
    );
    // A peer that does not take its answer in time gets no second one.
    assert_eq!(
        script([Ok(GET), Ok(GET)], [Err(ErrorKind::TimedOut.into())]),
        (vec![], Ok((1, false)))
    );
}
