//! Clients that break off in the middle, system calls that are interrupted or fail, and handlers
//! that panic, each beside clients that behave: those are answered, every time, and nothing of the
//! others is left.

use std::io::{self, Read, Write};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, net::SocketAddr, thread};

use rustix::process::Signal;
use tarae::inspect;
use tarae_http::http::HeaderValue;
use tarae_http::{Body, Handler, Head, Limits, Plan, Request, Response, Server};

use crate::host::{Client, GET, GIVE_UP, Host};
use crate::program::{ANY_PORT, Program};
use crate::served::served;

/// Well more than the buffers of two sockets, if the client does not read.
static LARGE: [u8; 32 << 20] = [0; 32 << 20];

/// As `panic!`, but without a message on standard error.
fn panics() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Gives something, then panics.
struct Panics(usize);

impl Read for Panics {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.min(buf.len());
        if count == 0 {
            panics();
        }
        self.0 -= count;
        Ok(count)
    }
}

/// `/` is for those that behave.
#[derive(Default)]
struct Site {
    answered: Arc<AtomicUsize>,
}

impl Handler for Site {
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/upload" | "/panic-in-upload" => Plan::stream(u64::MAX),
            "/panic-in-plan" => panics(),
            _ => Plan::default(),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        let with = |body| Response::text("").with_body(body);
        match request.path() {
            "/memory" => Response::bytes(&LARGE[..]),
            "/file" => {
                let path = std::env::current_exe().expect("a program");
                let len = fs::metadata(&path).expect("it is there").len();
                let file = tarae::fs::File::open(&path).expect("it is there");
                with(Body::from_file(file, 0, len))
            }
            "/sized" => with(Body::from_reader(io::repeat(b'x'), 1 << 40)),
            "/reader" => with(Body::until_end(io::repeat(b'x'))),
            "/writer" => with(Body::from_writer(|out| {
                loop {
                    out.write_all(&[b'x'; 10_000])?;
                }
            })),
            "/upload" => {
                let copied = io::copy(&mut request.body_reader(), &mut io::sink());
                Response::text(copied.unwrap_or_default().to_string())
            }
            "/panic-in-upload" => {
                let _ = request.body_reader().read(&mut [0; 10]);
                panics()
            }
            "/panic" => panics(),
            "/panic-in-sized" => with(Body::from_reader(Panics(100_000), 200_000)),
            "/panic-in-reader" => with(Body::until_end(Panics(100_000))),
            "/panic-in-writer" => with(Body::from_writer(|out| {
                out.write_all(&[b'x'; 100_000])?;
                panics()
            })),
            "/echo" => Response::switching_protocols(HeaderValue::from_static("echo"), |peer| {
                let mut byte = [0];
                while let Ok(1) = peer.read(&mut byte) {
                    if byte == *b"!" {
                        panics();
                    }
                    // The peer may be gone.
                    let _ = peer.write_all(&byte);
                }
            }),
            _ => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                Response::text("well")
            }
        }
    }
}

/// Places are few in comparison with the faults, so that one that is lost each time is missed.
const PLACES: u32 = 64;
const ROUNDS: usize = 30;

fn server(site: Site) -> Server<Site> {
    let mut limits = Limits::default();
    limits.requests_per_connection = None;
    Server::new(site)
        .limits(limits)
        .max_in_flight(Some(PLACES as usize))
        .max_connections_per_address(Some(PLACES))
        .max_connections(PLACES as usize)
}

/// Has the clients that behave come to their end, if the faults fail too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `faults` beside clients that behave. Gives how many answers those have had.
fn beside(addr: SocketAddr, faults: impl FnOnce()) -> usize {
    const BEHAVED: usize = 4;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let behave = || {
            let mut client = Client::connect(addr);
            let mut count = 0;
            while count < 50 || !over.load(Ordering::Relaxed) {
                let answer = client.get("/");
                assert_eq!((&*answer.status, &*answer.body), ("200", &b"well"[..]));
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..BEHAVED).map(|_| scope.spawn(behave)).collect();
        let end = End(&over);
        faults();
        drop(end);
        let counts = threads.into_iter().map(|thread| thread.join());
        counts.map(|count| count.expect("all is answered")).sum()
    })
}

/// Closes a connection as a crash of the client would.
fn reset(client: Client) {
    rustix::net::sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO))
        .expect("settable");
}

const UPGRADE: &str =
    "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

/// Breaks off in the middle of a head, a body, an answer, another protocol.
fn resets(addr: SocketAddr) {
    for path in ["/memory", "/file", "/sized", "/reader", "/writer"] {
        let mut client = Client::connect(addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.answer_head().status, "200", "{path}");
        reset(client);
    }
    for path in ["/", "/upload", "/memory"] {
        for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
            let mut client = Client::connect(addr);
            client.send(format!(
                "PUT {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n1000\r\nxxx"
            ));
            reset(client);
        }
    }
    let mut client = Client::connect(addr);
    client.send(&GET[..20]);
    reset(client);
    let mut client = Client::connect(addr);
    client.send(UPGRADE);
    assert_eq!(client.answer_head().status, "101");
    client.send("abc");
    reset(client);
}

/// Has everything panic that is the handler's. Whoever has not been told anything yet is told 500.
fn panics_everywhere(addr: SocketAddr) {
    for path in ["/panic", "/panic-in-plan", "/panic-in-upload"] {
        let mut client = Client::connect(addr);
        client.send(format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        ));
        assert_eq!(client.statuses(), ["500"], "{path}");
    }
    for path in ["/panic-in-sized", "/panic-in-reader", "/panic-in-writer"] {
        let mut client = Client::connect(addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2));
        assert_eq!(client.answer_head().status, "200", "{path}");
        let all = client.rest();
        let text = String::from_utf8_lossy(&all);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{path}");
        assert!(!text.ends_with("\r\n0\r\n\r\n"), "{path}");
    }
    let mut client = Client::connect(addr);
    client.send(format!("{UPGRADE}abc!def"));
    assert_eq!(client.answer_head().status, "101");
    assert!(client.rest().ends_with(b"abc"));
}

/// How many coroutines there are, those of the test apart.
fn coroutines(host: &Host) -> usize {
    let count = host.order(|_| {
        let all = inspect::coroutines(GIVE_UP);
        all.iter().filter(|one| one.name.is_none()).count()
    });
    count.recv_timeout(GIVE_UP).expect("it is counted")
}

fn check_nothing_is_left(faults: fn(SocketAddr)) {
    for workers in [1, 2] {
        let site = Site::default();
        let answered = Arc::clone(&site.answered);
        let host = Host::start(workers, server(site));
        let before = coroutines(&host);
        let count = beside(host.addr, || (0..ROUNDS).for_each(|_| faults(host.addr)));
        host.until_open(0);
        host.until(move |all| all.len() <= before);
        // A whole body that was broken off is none.
        assert_eq!(answered.load(Ordering::Relaxed), count);
    }
}

#[test]
fn clients_that_break_off_leave_nothing() {
    check_nothing_is_left(resets);
}

#[test]
fn panics_leave_nothing() {
    check_nothing_is_left(panics_everywhere);
}

/// In a process of its own, since descriptors are the process's.
#[test]
fn no_descriptor_is_left() {
    let name = "server_faults::no_descriptor_is_left";
    let Some(process) = served(name, "-c 0", || server(Site::default())) else {
        return;
    };
    let all = || {
        resets(process.addr);
        panics_everywhere(process.addr);
    };
    let until = |is_so: &dyn Fn(usize) -> bool| {
        let begin = Instant::now();
        while !is_so(process.descriptors()) {
            assert!(begin.elapsed() < GIVE_UP, "{}", process.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    };
    let before = process.descriptors();
    // What is opened once, such as a pool's, is there then.
    beside(process.addr, all);
    until(&|count| count <= before + 8);
    let settled = process.descriptors();
    beside(process.addr, || (0..ROUNDS).for_each(|_| all()));
    until(&|count| count <= settled);
    process.signal(Signal::TERM);
    assert_eq!(process.end(), (Some(0), String::new()));
}

/// Starts `target` under strace, which has system calls fail as `rules` say. Gives the program and
/// the file with the calls; nothing if there is no strace.
fn injected(name: &str, rules: &[&str]) -> Option<(Program, std::path::PathBuf)> {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        eprintln!("not checked: `strace`, which has system calls fail, is not installed");
        return None;
    }
    let trace = format!("tarae-{name}-{}.trace", std::process::id());
    let trace = std::env::temp_dir().join(trace);
    let file = trace.to_str().expect("UTF-8");
    let mut launcher = vec!["strace", "-D", "-f", "-q", "-o", file];
    launcher.extend(rules.iter().flat_map(|rule| ["-e", rule]));
    let limits = ["--requests", "none", "--body-limit", "100000000"];
    let arguments = [&["--listen", ANY_PORT], &limits[..]].concat();
    let program = Program::example("target", &launcher, &arguments);
    Some((program, trace))
}

/// All calls, as strace has them. The program has ended.
fn calls(trace: &std::path::Path) -> String {
    let begin = Instant::now();
    let text = loop {
        let text = fs::read_to_string(trace).expect("written by strace");
        if text.contains("+++ killed by SIGKILL +++") {
            break text;
        }
        assert!(begin.elapsed() < GIVE_UP, "strace does not end");
        thread::yield_now();
    };
    fs::remove_file(trace).expect("ours");
    text
}

/// How many calls were made to fail.
fn failures(calls: &str) -> usize {
    calls.matches("(INJECTED)").count()
}

#[test]
fn interrupted_calls_are_made_again() {
    const ALL: &str = "recvfrom,sendto,accept4,epoll_wait,epoll_pwait,epoll_pwait2";
    let rule = format!("inject={ALL}:error=EINTR:when=2+3");
    let Some((program, trace)) = injected("interrupted", &["trace=all", &rule]) else {
        return;
    };
    let body = "b".repeat(100_000);
    for _ in 0..20 {
        let mut client = program.client();
        for _ in 0..10 {
            assert_eq!(client.get("/").body, b"OK");
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{body}"
            ));
            assert!(client.answer().body == body.as_bytes());
        }
    }
    drop(program);
    let count = failures(&calls(&trace));
    assert!(count > 100, "{count} calls were interrupted");
}

/// Each failure costs the request on whose connection it comes, and no other.
#[test]
fn a_connection_that_fails_is_the_only_one() {
    let rules = [
        "trace=all",
        "inject=recvfrom:error=ECONNRESET:when=10+10",
        "inject=sendto:error=ECONNRESET:when=15+10",
    ];
    let Some((program, trace)) = injected("reset", &rules) else {
        return;
    };
    const REQUESTS: usize = 400;
    let mut clients: Vec<Client> = (0..8).map(|_| program.client()).collect();
    let mut lost = 0;
    for at in 0..REQUESTS {
        let client = &mut clients[at % 8];
        match client.try_get("/") {
            Some(answer) => assert_eq!(answer.body, b"OK"),
            None => {
                lost += 1;
                *client = program.client();
            }
        }
    }
    drop((clients, program));
    let count = failures(&calls(&trace));
    assert!(
        0 < lost && lost <= count,
        "{lost} requests, {count} failures"
    );
    assert!(count < REQUESTS / 3, "{count} failures");
}

/// To a client with little room, of which others notice nothing.
#[test]
fn short_writes_are_gone_on_with() {
    let Some((program, trace)) = injected("short", &["trace=sendto"]) else {
        return;
    };
    let body: Vec<u8> = (0..251).cycle().take(16 << 20).collect();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}",
        body.len()
    );
    let request = [head.as_bytes(), b"\r\n\r\n", &body].concat();
    let mut other = program.client();
    for _ in 0..3 {
        let mut client = program.client();
        rustix::net::sockopt::set_socket_recv_buffer_size(&client.stream, 64 * 1024)
            .expect("settable");
        for _ in 0..2 {
            client.send(&request);
            assert_eq!(client.answer_head().status, "200");
            assert_eq!(other.get("/").body, b"OK");
            assert!(client.answer().body == body);
        }
    }
    drop(program);
    let short = |line: &&str| {
        let (before, sent) = line.rsplit_once(" = ")?;
        let mut arguments = before.rsplit(", ");
        let asked: usize = arguments.nth(3)?.parse().ok()?;
        (sent.parse::<usize>().ok()? < asked).then_some(())
    };
    let calls = calls(&trace);
    let count = calls.lines().filter(|line| short(line).is_some()).count();
    assert!(count > 6, "{count} were short: {calls}");
}
