//! Clients that are slow, but never silent, and handlers that take too long; in simulated runs,
//! where an hour takes no time.

use std::io::{Read, Write};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::Builder;
use tarae::time::{Instant, sleep};
use tarae_http::{Body, BodyError, Handler, Head, Limits, Plan, Request, Response, Server};

const SECOND: Duration = Duration::from_secs(1);

/// Reads bodies as the path says, and answers with ten megabytes in the form it names.
struct Site;

impl Handler for Site {
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/stream" | "/unread" => Plan::stream(u64::MAX).timeout(None),
            "/sleep/10" => Plan::default().timeout(Some(10 * SECOND)),
            _ => Plan::default(),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        const MUCH: usize = 10_000_000;
        let body: Body = match request.path() {
            "/stream" => {
                let copied = std::io::copy(&mut request.body_reader(), &mut std::io::sink());
                return match copied {
                    Ok(bytes) => Response::text(bytes.to_string()),
                    Err(error) => BodyError::answer(&error),
                };
            }
            "/sleep" | "/sleep/10" => {
                let begin = Instant::now();
                sleep(3600 * SECOND);
                return Response::text(begin.elapsed().as_secs().to_string());
            }
            "/bytes" => vec![b'x'; MUCH].into(),
            "/reader" => Body::from_reader(std::io::repeat(b'x'), MUCH as u64),
            "/file" => {
                // A hole: it takes no room.
                let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
                let path = path.join(format!("http-pace-{}", std::process::id()));
                let file = std::fs::File::create(&path).expect("a file");
                file.set_len(MUCH as u64).expect("its length");
                let file = tarae::fs::File::open(&path).expect("it is there");
                std::fs::remove_file(path).expect("it is there");
                Body::from_file(file, 0, MUCH as u64)
            }
            "/writer" => Body::from_writer(|out| out.write_all(&vec![b'x'; MUCH])),
            _ => return Response::text(request.body().len().to_string()),
        };
        Response::text("").with_body(body)
    }
}

/// Runs `client` beside a server, without faults of the network.
fn with_client<T: Send>(limits: Limits, client: impl FnOnce(TcpStream) -> T + Send) -> T {
    let quiet = Builder::new(1).no_faults();
    let report = quiet.run(|| {
        let listener = TcpListener::bind("10.1.2.3:80").expect("a free port");
        let server = Server::new(Site).limits(limits);
        let server = server.start(listener).expect("it starts");
        client(TcpStream::connect(server.local_addr()).expect("it listens"))
    });
    report.unwrap_or_else(|error| panic!("{error}")).value
}

/// Sends so many bytes of a body each second; gives the status and after how many seconds it came.
fn send_slowly(path: &'static str, per_second: usize, total: usize) -> (String, u64) {
    with_client(Limits::default(), move |mut stream| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let begin = Instant::now();
        let mut sender = stream.try_clone().expect("a handle");
        tarae::spawn(move || {
            let mut sent = 0;
            while sent < total {
                sleep(SECOND);
                let count = per_second.min(total - sent);
                // The server may have had enough.
                if sender.write_all(&vec![b'b'; count]).is_err() {
                    break;
                }
                sent += count;
            }
        });
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        let text = String::from_utf8_lossy(&answer[9..]).into_owned();
        (text, begin.elapsed().as_secs())
    })
}

#[test]
fn a_body_that_trickles_is_given_up() {
    for path in ["/whole", "/stream"] {
        // 30 s, and what was earned meanwhile.
        let (status, after) = send_slowly(path, 1, 100_000);
        assert_eq!(status, "408", "{path}");
        assert!((30..=32).contains(&after), "{path}: {after} s");
        let (status, after) = send_slowly(path, 120, 100_000);
        assert_eq!(status, "408", "{path}");
        assert!((59..=62).contains(&after), "{path}: {after} s");
        // Slow, but fast enough: as long as it takes.
        assert_eq!(
            send_slowly(path, 1_000, 100_000),
            ("200".into(), 100),
            "{path}"
        );
    }
}

/// Each has its own time, however slow the one before was.
#[test]
fn slow_bodies_one_after_the_other() {
    let statuses = with_client(Limits::default(), |mut stream| {
        for _ in 0..3 {
            let head = "POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("sent");
            for _ in 0..20 {
                sleep(SECOND);
                stream.write_all(b"b").expect("sent");
            }
        }
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("connected");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answers");
        text.matches("HTTP/1.1 200 ").count()
    });
    assert_eq!(statuses, 3);
}

#[test]
fn an_answer_that_is_taken_by_drops_is_given_up() {
    for path in ["/bytes", "/reader", "/file", "/writer"] {
        for (per_second, is_slow) in [(100, true), (300_000, false)] {
            let (taken, open_early) = with_client(Limits::default(), move |mut stream| {
                let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).expect("sent");
                let (mut taken, mut buffer) = (0, vec![0; per_second]);
                let mut open_early = false;
                for second in 0..2_000 {
                    sleep(SECOND);
                    open_early |= second == 29 && server_side() == 1;
                    if server_side() == 0 {
                        break;
                    }
                    taken += stream.read(&mut buffer).unwrap_or(0);
                }
                // What was on its way.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                (taken + rest.len(), open_early)
            });
            assert!(open_early, "{path}");
            assert_eq!(taken < 10_000_000, is_slow, "{path}: {taken}");
        }
    }
}

/// How many coroutines or idle states connections have.
fn server_side() -> usize {
    let all = tarae::inspect::coroutines(SECOND);
    all.iter()
        .filter(|coroutine| coroutine.name.is_none())
        .count()
}

#[test]
fn a_handler_inherits_the_deadline_of_its_request() {
    let sleep_for = |path: &'static str, request_timeout| {
        let mut limits = Limits::default();
        limits.request_timeout = request_timeout;
        with_client(limits, move |mut stream| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer");
            text.rsplit("\r\n").next().expect("a body").to_owned()
        })
    };
    assert_eq!(Limits::default().request_timeout, Some(60 * SECOND));
    assert_eq!(sleep_for("/sleep", Some(60 * SECOND)), "60");
    assert_eq!(sleep_for("/sleep", Some(5 * SECOND)), "5");
    assert_eq!(sleep_for("/sleep", None), "3600");
    assert_eq!(sleep_for("/sleep/10", Some(60 * SECOND)), "10");
    assert_eq!(sleep_for("/sleep/10", None), "10");
}

/// However long the body took before that.
#[test]
fn the_deadline_counts_from_the_call() {
    let slept = with_client(Limits::default(), |mut stream| {
        let head = "POST /sleep HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let head = format!("{head}Content-Length: 40\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        for _ in 0..40 {
            sleep(SECOND / 2);
            stream.write_all(b"b").expect("sent");
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text.rsplit("\r\n").next().expect("a body").to_owned()
    });
    assert_eq!(slept, "60");
}

/// The rest of a body that nobody reads is waited for no longer than one that is read.
#[test]
fn what_is_thrown_away_has_a_time_too() {
    let elapsed = with_client(Limits::default(), |mut stream| {
        let head = "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx";
        let begin = Instant::now();
        stream.write_all(head.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an orderly end");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
        begin.elapsed().as_secs()
    });
    assert_eq!(elapsed, 30);
}
