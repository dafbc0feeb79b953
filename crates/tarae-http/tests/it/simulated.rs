//! `Server` in simulated runs: hundreds of seeds of slow, cut, overtaking and breaking connections,
//! and time limits to the millisecond. Nothing here waits for real.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::{Builder, Report, random};
use tarae::time::{Instant, sleep};
use tarae_http::{Limits, Request, Response, Running, Server};

use crate::harness::answers;

/// Clients of a run, and requests of each.
const CLIENTS: usize = 6;
const REQUESTS: usize = 8;

fn seeds() -> std::ops::Range<u64> {
    let soak = std::env::var_os("TARAE_SOAK").is_some();
    0..if soak { 5_000 } else { 200 }
}

fn below(bound: u64) -> u64 {
    random().expect("in a simulated run") % bound
}

fn echo(request: &mut Request) -> Response {
    // Some answers take their time.
    sleep(Duration::from_millis(below(3) * below(20)));
    Response::bytes(request.body().to_vec())
}

fn start(handler: fn(&mut Request) -> Response) -> Running {
    let listener = TcpListener::bind("10.1.2.3:80").expect("a free port");
    Server::new(handler).start(listener).expect("it starts")
}

fn body(client: usize, number: usize) -> String {
    // Of every length: one that fits a segment, one that fits no buffer.
    let length = [0, 10, 1_000, 9_000][(client + number) % 4];
    format!("{client}/{number} {}", "x".repeat(length))
}

/// One client's requests, one by one or many at once, with pauses. Gives what came back.
fn client(address: SocketAddr, client: usize) -> (Vec<u8>, io::Result<()>) {
    let (mut received, mut complete) = (Vec::new(), 0);
    let mut talk = || -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let mut number = 0;
        while number < REQUESTS {
            let most = (REQUESTS - number).min(1 + below(3) as usize);
            let mut requests = String::new();
            for number in number..number + most {
                let body = body(client, number);
                let length = body.len();
                let head =
                    format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}");
                requests.push_str(&format!("{head}\r\n\r\n{body}"));
            }
            number += most;
            stream.write_all(requests.as_bytes())?;
            for _ in 0..most {
                complete = loop {
                    if let Some(end) = end_of_answer(&received, complete) {
                        break end;
                    }
                    let mut buffer = [0; 20_000];
                    match stream.read(&mut buffer)? {
                        0 => return Err(ErrorKind::UnexpectedEof.into()),
                        count => received.extend_from_slice(&buffer[..count]),
                    }
                };
            }
            // Sometimes long enough to be put aside, never long enough to be closed.
            sleep(Duration::from_secs(below(50)) * (below(2) as u32));
        }
        Ok(())
    };
    let result = talk();
    (received, result)
}

/// Where the answer that begins at `from` ends, if all of it is there.
fn end_of_answer(bytes: &[u8], from: usize) -> Option<usize> {
    let end = from
        + bytes[from..]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[from..end]).expect("a head in ASCII");
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.expect("a length").1.parse().expect("digits");
    Some(end + 4 + length).filter(|end| *end <= bytes.len())
}

/// The bytes of the answers that are there in full.
fn without_rest(bytes: &[u8]) -> &[u8] {
    let ends = std::iter::successors(Some(0), |from| end_of_answer(bytes, *from));
    &bytes[..ends.last().expect("it begins with 0")]
}

/// What came back is right and in order as far as it goes. Gives how many answers there are.
#[track_caller]
fn check_answers(seed: u64, number: usize, received: &[u8]) -> usize {
    let answers = answers(without_rest(received), &[false; REQUESTS]);
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, "200", "seed {seed}, client {number}");
        let same = answer.body == body(number, at).as_bytes();
        assert!(
            same,
            "seed {seed}, client {number}: answer {at} is another one"
        );
    }
    answers.len()
}

type Outcomes = Vec<(Vec<u8>, io::Result<()>)>;

fn crowd(simulation: Builder) -> Report<Outcomes> {
    let report = simulation.run(|| {
        let server = start(echo);
        let address = server.local_addr();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| tarae::spawn(move || client(address, number)))
            .collect();
        let outcomes = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        let outcomes = outcomes.collect();
        server.stop();
        outcomes
    });
    report.expect("it ends")
}

#[test]
fn whoever_is_not_reset_gets_the_right_answers_in_order() {
    let (mut whole, mut broken, mut put_aside) = (0, 0, 0);
    for seed in seeds() {
        let resets = if seed % 2 == 0 { 0.0 } else { 0.01 };
        let report = crowd(
            Builder::new(seed)
                .workers(1 + (seed % 3) as usize)
                .resets(resets),
        );
        put_aside += report.trace.as_str().matches("models/coroutine.rs").count();
        for (number, (received, result)) in report.value.into_iter().enumerate() {
            let count = check_answers(seed, number, &received);
            match result {
                Ok(()) => {
                    assert_eq!(count, REQUESTS, "seed {seed}, client {number}");
                    assert_eq!(
                        without_rest(&received).len(),
                        received.len(),
                        "nothing more"
                    );
                    whole += 1;
                }
                Err(error) => {
                    assert!(resets > 0.0, "seed {seed}, client {number}: {error}");
                    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                    assert!(kinds.contains(&error.kind()), "seed {seed}: {error}");
                    broken += 1;
                }
            }
        }
    }
    assert!(
        whole > broken && broken > 0,
        "{whole} whole, {broken} broken"
    );
    assert!(
        put_aside > 1_000,
        "connections wait without a coroutine: {put_aside}"
    );
}

#[test]
fn a_run_of_the_server_can_be_repeated() {
    for seed in 0..10 {
        let run = || crowd(Builder::new(seed).resets(0.01));
        let (one, other) = (run(), run());
        assert_eq!(one.trace.as_str(), other.trace.as_str(), "seed {seed}");
        assert_eq!(idle_at_the_end(seed), idle_at_the_end(seed), "seed {seed}");
    }
}

/// Sends `bytes` on a new connection, then waits for the end. Gives the text that came, and when
/// the end did, counted from the moment at which the server had everything.
fn until_the_end(seed: u64, bytes: &'static [u8]) -> (String, Duration) {
    let quiet = Builder::new(seed).no_faults();
    let report = quiet.run(move || {
        let server = start(|_| Response::text("hello"));
        let mut stream = TcpStream::connect(server.local_addr()).expect("it listens");
        stream.write_all(bytes).expect("sent");
        let start = Instant::now();
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an orderly end");
        (text, start.elapsed())
    });
    report.expect("it ends").value
}

#[test]
fn time_limits_are_kept_to_the_millisecond() {
    let limits = Limits::default();
    assert_eq!(limits.idle_timeout, Duration::from_secs(60));
    for seed in 0..50 {
        let (text, end) = until_the_end(seed, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert_eq!(
            end, limits.idle_timeout,
            "seed {seed}: idle after an answer"
        );
        assert!(
            text.contains("Date: Sat, 01 Jan 2000 00:00:00 GMT"),
            "{text}"
        );

        let (text, end) = until_the_end(seed, b"");
        assert_eq!(
            (text.as_str(), end),
            ("", limits.idle_timeout),
            "idle from the start"
        );

        let (text, end) = until_the_end(seed, b"GET / HTTP/1.1\r\nHo");
        assert!(text.starts_with("HTTP/1.1 408"), "{text}");
        assert_eq!(
            end, limits.head_timeout,
            "seed {seed}: a head that never ends"
        );

        let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        let (text, end) = until_the_end(seed, request);
        assert!(text.starts_with("HTTP/1.1 408"), "{text}");
        assert_eq!(
            end, limits.body_timeout,
            "seed {seed}: a body that never ends"
        );
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_after_the_write_timeout() {
    for seed in 0..20 {
        let quiet = Builder::new(seed).no_faults();
        let report = quiet.run(|| {
            let server = start(|_| Response::bytes(vec![b'x'; 1_000_000]));
            let mut stream = TcpStream::connect(server.local_addr()).expect("it listens");
            let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.write_all(request).expect("sent");
            sleep(Duration::from_millis(29_999));
            assert_eq!(server_side(), 1, "not given up yet");
            sleep(Duration::from_millis(2));
            assert_eq!(server_side(), 0, "given up");
        });
        report.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// How many coroutines or idle states connections have.
fn server_side() -> usize {
    let all = tarae::inspect::coroutines(Duration::from_secs(1));
    all.iter()
        .filter(|coroutine| coroutine.name.is_none())
        .count()
}

#[test]
fn stopping_drains() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let (mut answered, mut cut_off) = (0, 0);
    for seed in seeds() {
        CALLS.store(0, Ordering::Relaxed);
        let report = Builder::new(seed).run(|| {
            let server = start(|request| {
                CALLS.fetch_add(1, Ordering::Relaxed);
                echo(request)
            });
            let address = server.local_addr();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| tarae::spawn(move || client(address, number)))
                .collect();
            sleep(Duration::from_millis(below(300) * (1 + 100 * below(2))));
            let begin = Instant::now();
            server.stop();
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "it waits for nobody idle"
            );
            let refused = TcpStream::connect(address).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let outcomes = clients
                .into_iter()
                .map(|client| client.join().expect("no panic"));
            outcomes.collect::<Outcomes>()
        });
        let outcomes = report.unwrap_or_else(|error| panic!("{error}")).value;
        let mut count = 0;
        for (number, (received, result)) in outcomes.iter().enumerate() {
            count += check_answers(seed, number, received);
            let rest = received.len() - without_rest(received).len();
            assert_eq!(rest, 0, "seed {seed}, client {number}: half an answer");
            cut_off += usize::from(result.is_err());
        }
        let calls = CALLS.load(Ordering::Relaxed);
        assert_eq!(
            count, calls,
            "seed {seed}: what was handled was answered, in full"
        );
        answered += count;
    }
    assert!(
        answered > 1_000 && cut_off > 100,
        "{answered} answered, {cut_off} cut off"
    );
}

#[test]
fn idle_connections_end_with_the_server_at_once() {
    (0..50).for_each(|seed| drop(idle_at_the_end(seed)));
}

fn idle_at_the_end(seed: u64) -> Report<()> {
    let report = Builder::new(seed).run(|| {
        let server = start(echo);
        let (address, closed) = (server.local_addr(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..CLIENTS {
            let closed = Arc::clone(&closed);
            tarae::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("it listens");
                assert_eq!(stream.read(&mut [0]).expect("an orderly end"), 0);
                closed.fetch_add(1, Ordering::Relaxed);
            });
        }
        sleep(Duration::from_secs(30));
        let begin = Instant::now();
        server.stop();
        assert_eq!(
            begin.elapsed(),
            Duration::ZERO,
            "nobody had to be waited for"
        );
        sleep(Duration::from_secs(1));
        assert_eq!(closed.load(Ordering::Relaxed), CLIENTS);
    });
    report.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_has_arrived_before_the_end_is_answered() {
    for seed in 0..50 {
        let quiet = Builder::new(seed).no_faults();
        let report = quiet.run(|| {
            let server = start(echo);
            let mut stream = TcpStream::connect(server.local_addr()).expect("it listens");
            sleep(Duration::from_secs(30));
            let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlast";
            stream.write_all(request).expect("sent");
            server.stop();
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an orderly end");
            text
        });
        let text = report.unwrap_or_else(|error| panic!("{error}")).value;
        assert!(text.ends_with("\r\n\r\nlast"), "seed {seed}: {text}");
        assert!(text.contains("onnection: close"), "seed {seed}: {text}");
    }
}
