//! All models are held to the same: the conformance cases over sockets, and the tests of the
//! server.
//!
//! Each test of the server runs in a process of this program's own once more, which is told the
//! model. What is left out is listed with its reason. In a long run the cases are sent in small
//! pieces, too.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tarae::event::WouldBlockLoop;
use tarae::net::TcpListener;
use tarae_http::{Handler, Head, Model, Plan, Request, Response, Server};

use crate::conformance::{Case, all};
use crate::harness::{PIECES, Witness, answered};
use crate::host::{Client, GIVE_UP, Host, MODEL, until_read};

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// What is the same whenever it is answered.
fn without_dates(bytes: &[u8]) -> Vec<u8> {
    let is_date = |line: &&[u8]| line.starts_with(b"Date: ");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| !is_date(line))
        .flatten()
        .copied()
        .collect()
}

/// What a server answers to `input`, which is sent in pieces. If it `closes` by itself, the end is
/// not sent.
fn asked(addr: SocketAddr, input: &[u8], piece: usize, closes: bool) -> Vec<u8> {
    let Client { mut stream, .. } = Client::connect(addr);
    for part in input.chunks(piece) {
        // It may have been closed on what was sent before.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    if !closes {
        // As above.
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut output = Vec::new();
    stream.read_to_end(&mut output).expect("the end, in order");
    output
}

/// Sends the case over a socket; gives what is wrong.
fn fault(case: &Case, addr: SocketAddr, piece: usize) -> Option<String> {
    let closes = case.want.ends_with(" closed") && !case.end;
    let mut input = case.input.clone();
    // What follows is the next message, or nothing.
    if closes || case.want.ends_with(" open") {
        input.extend_from_slice(NEXT);
    }
    let want = without_dates(&answered(&input, &case.limits()));
    let got = without_dates(&asked(addr, &input, piece, closes));
    let shown = |bytes: &[u8]| bytes[..bytes.len().min(500)].escape_ascii().to_string();
    (got != want).then(|| {
        let (input, got, want) = (shown(&input), shown(&got), shown(&want));
        format!(
            "{}: {input} in pieces of {piece}:\n`{got}`, not\n`{want}`",
            case.name
        )
    })
}

/// A server for each set of limits; all of them see every case that is theirs.
fn conforms(model: Model) {
    let soak = std::env::var_os("TARAE_SOAK").is_some();
    let pieces = if soak { &PIECES[..] } else { &PIECES[..1] };
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut faults = Vec::new();
    for case in all() {
        let limits = case.limits();
        let host = hosts.entry(format!("{limits:?}")).or_insert_with(|| {
            let server = Server::new(Witness::default()).limits(limits);
            Host::start(1, server.model(model))
        });
        let each = pieces
            .iter()
            .filter_map(|piece| fault(&case, host.addr, *piece));
        faults.extend(each);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn coroutines_conform() {
    conforms(Model::Coroutine);
}

#[test]
fn threads_conform() {
    conforms(Model::Thread);
}

#[test]
fn an_event_loop_conforms() {
    conforms(Model::EventLoop);
}

#[test]
fn a_reactor_conforms() {
    conforms(Model::Reactor);
}

/// The modules with tests of the server.
const TESTS: &[&str] = &[
    "attacked::",
    "connections::",
    "half_close::",
    "proxies::",
    "server::",
    "server_",
];

/// Tests of the runtime's coroutines, and why no other model can have them.
const COROUTINES: &[(&str, &str)] = &[
    ("an_idle_connection_has_no_coroutine", "says so"),
    ("a_thousand_idle_connections_own_no_coroutine", "says so"),
    ("the_runtime_ends", "others do not end with it"),
    ("serving_ends_with_its_coroutine", "as above"),
    (
        "a_client_that_takes_its_time_holds_nobody_up",
        "looks at what coroutines wait for",
    ),
    ("a_writer_waits_for_its_client", "as above"),
    (
        "a_request_costs_one_receive_and_one_send",
        "a thread looks again once it is woken",
    ),
];

/// Runs the tests of the server under a model.
fn holds(model: Model, left_out: &[(&str, &str)]) {
    let own = std::env::current_exe().expect("a running program has a path");
    let mut tests = Command::new(own);
    tests.args(TESTS).env(MODEL, model.name());
    for (name, why) in COROUTINES.iter().chain(left_out) {
        println!("left out: {name}: {why}");
        tests.args(["--skip", name]);
    }
    let output = tests.output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(!said.contains(" 0 passed"), "{said}");
}

#[test]
fn threads_are_held_to_all_of_it() {
    holds(Model::Thread, &[]);
}

/// Tests whose handlers wait: on a loop that is all that happens.
const WAITING: &[(&str, &str)] = &[
    (
        "a_client_behind_a_proxy_has_its_share",
        "handlers that wait hold up the loop",
    ),
    ("a_full_server_stops", "as above"),
    ("a_handler_that_ignores_it_is_named", "as above"),
    ("at_the_deadline_handlers_are_cancelled", "as above"),
    ("what_is_in_flight_is_answered", "as above"),
    ("a_body_on_its_way_holds_no_place", "as above"),
    ("requests_beyond_those_in_flight_are_shed", "as above"),
    ("requests_in_flight_are_answered_and_told", "as above"),
    (
        "no_descriptor_is_left",
        "handlers that open files are reported on standard error",
    ),
];

#[test]
fn an_event_loop_is_held_to_all_of_it() {
    holds(Model::EventLoop, WAITING);
}

#[test]
fn a_reactor_is_held_to_all_of_it() {
    let results = [(
        "at_the_limit_the_acceptor_waits",
        "results of the pool are events, too",
    )];
    holds(Model::Reactor, &results);
}

/// Waits for a moment, where it may.
fn blocks() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Nobody calls.
    let accepted = tarae::timeout(Duration::from_millis(1), || listener.accept());
    accepted
        .unwrap_or_else(tarae::TimedOut::into_inner)
        .map(drop)
}

/// Notes the thread that each handler is called by.
struct Witnessed {
    threads: mpsc::Sender<(String, ThreadId)>,
}

impl Handler for Witnessed {
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/short" | "/blocks" => Plan::default().on_loop(),
            "/upload" => Plan::stream(100),
            "/waits" => Plan::default().off_loop(),
            _ => Plan::default(),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        let path = request.path().to_owned();
        let here = thread::current().id();
        self.threads
            .send((path.clone(), here))
            .expect("the test waits");
        match &*path {
            "/blocks" | "/waits" => match blocks() {
                Err(error) if WouldBlockLoop::is(&error) => Response::text("refused"),
                other => Response::text(format!("{other:?}")),
            },
            "/upload" => {
                let mut text = String::new();
                let read = request.body_reader().read_to_string(&mut text);
                Response::text(format!("{} bytes", read.unwrap_or_default()))
            }
            _ => Response::text("well"),
        }
    }
}

/// Who has called the handlers for these requests, in order, and what they answered.
fn called_by(model: Model, requests: &[&str]) -> (Vec<ThreadId>, Vec<String>) {
    let (threads, noted) = mpsc::channel();
    let host = Host::start(
        1,
        Server::new(Witnessed { threads }).strict(true).model(model),
    );
    let mut client = host.client();
    let (mut callers, mut answers) = (Vec::new(), Vec::new());
    for path in requests {
        let body = "Content-Length: 5\r\n\r\nhello";
        client.send(format!("PUT {path} HTTP/1.1\r\nHost: a\r\n{body}"));
        answers.push(String::from_utf8(client.answer().body).expect("text"));
        let (of, caller) = noted.recv_timeout(GIVE_UP).expect("it was called");
        assert_eq!(of, *path);
        callers.push(caller);
    }
    (callers, answers)
}

/// The loop's thread calls all handlers but those that stream.
#[test]
fn an_event_loop_calls_handlers_itself() {
    let requests = ["/", "/short", "/upload", "/", "/blocks", "/", "/waits", "/"];
    let (callers, answers) = called_by(Model::EventLoop, &requests);
    let own = callers[0];
    let by_itself: Vec<bool> = callers.iter().map(|caller| *caller == own).collect();
    assert_eq!(
        by_itself,
        [true, true, false, true, true, true, false, true]
    );
    assert_eq!([&*answers[2], &answers[4]], ["5 bytes", "refused"]);
    assert!(
        answers[6].contains("TimedOut"),
        "it has waited: {}",
        answers[6]
    );
}

/// Only what is marked is called by the loop's thread.
#[test]
fn a_reactor_calls_what_is_marked_itself() {
    let requests = ["/short", "/", "/blocks", "/upload", "/short"];
    let (callers, answers) = called_by(Model::Reactor, &requests);
    let own = callers[0];
    let by_itself: Vec<bool> = callers.iter().map(|caller| *caller == own).collect();
    assert_eq!(by_itself, [true, false, true, false, true]);
    assert_eq!(answers, ["well", "well", "refused", "5 bytes", "well"]);
}

/// A handler that blocks holds up a thread of the pool and nobody else; beyond those on the pool
/// and those in line, requests are shed.
#[test]
fn a_reactor_goes_on_beside_handlers_that_block() {
    let (entered, entries) = mpsc::channel();
    let gate = Arc::new(tarae::sync::Semaphore::new(0));
    let handler = Blocking {
        entered,
        gate: Arc::clone(&gate),
    };
    let server = Server::new(handler).pool_threads(2).pool_queue(1);
    let host = Host::start(1, server.model(Model::Reactor));
    let mut held: Vec<Client> = (0..3).map(|_| host.client()).collect();
    for client in &mut held {
        client.send("GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for _ in 0..2 {
        entries.recv_timeout(GIVE_UP).expect("two are on the pool");
    }
    until_read(host.addr);
    let mut other = host.client();
    assert_eq!(other.get("/short").body, b"well");
    let shed = other.get("/blocks");
    assert_eq!(
        (&*shed.status, shed.field("retry-after")),
        ("503", Some("1"))
    );
    assert_eq!(other.get("/short").body, b"well");
    assert!(entries.try_recv().is_err(), "the third is in line");
    gate.add_permits(4);
    for client in &mut held {
        assert_eq!(client.answer().body, b"held");
    }
    assert_eq!(other.get("/blocks").body, b"held");
}

struct Blocking {
    entered: mpsc::Sender<()>,
    gate: Arc<tarae::sync::Semaphore>,
}

impl Handler for Blocking {
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/short" => Plan::default().on_loop(),
            _ => Plan::default(),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        if request.path() == "/short" {
            return Response::text("well");
        }
        self.entered.send(()).expect("the test waits");
        let _ = self.gate.acquire().map(|permit| permit.forget());
        Response::text("held")
    }
}
