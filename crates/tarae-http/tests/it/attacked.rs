//! Well-behaved clients beside those of bad will: nothing is lost, memory is bounded, and all that
//! the attackers held is given back. By counts; only with `TARAE_SOAK` is time looked at, as the
//! ratio of attacked to quiet seconds of one run.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tarae_http::{Body, Handler, Limits, Model, Request, Response, Server};

use crate::attackers::{Attack, Kind};
use crate::host::{Client, GIVE_UP, model};
use crate::served::{Served, served};

/// Well-behaved clients, and how often each of them asks.
const CLIENTS: usize = 16;
const EVERY: Duration = Duration::from_millis(10);
/// Time limits that would take half a minute otherwise.
const SHORT: Duration = Duration::from_secs(1);
/// What is no phase: nothing is measured, or all is over.
const BETWEEN: usize = usize::MAX - 1;
const OVER: usize = usize::MAX;

/// Requests of well-behaved clients that have reached the handler.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Endless answers that have been given up.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

/// The body of an endless answer.
struct Endless(io::Repeat);

impl Read for Endless {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        self.0.read(part)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        GIVEN_UP.fetch_add(1, Ordering::Relaxed);
    }
}

fn answer(request: &mut Request) -> Response {
    match request.path() {
        "/endless" => {
            let body = Endless(io::repeat(b'x'));
            Response::text("").with_body(Body::from_reader(body, 1 << 40))
        }
        "/given-up" => Response::text(GIVEN_UP.load(Ordering::Relaxed).to_string()),
        // A panic without a message.
        "/panic" => resume_unwind(Box::new("asked for")),
        "/calls" => Response::text(CALLS.load(Ordering::Relaxed).to_string()),
        "/coroutines" => Response::text(tarae::inspect::coroutines(GIVE_UP).len().to_string()),
        path if path.starts_with("/kept/") => {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Response::text(path.to_owned())
        }
        _ => Response::bytes(request.body().to_vec()),
    }
}

fn server() -> Server<impl Handler> {
    let mut limits = Limits::default();
    limits.head_timeout = SHORT;
    limits.body_timeout = SHORT;
    limits.write_timeout = SHORT;
    Server::new(answer).limits(limits)
}

/// The name of the attack by clients that take next to nothing of what they asked for.
const SLOW_READING: &str = "slow reading";

/// All attacks, with so many connections each of those that are slow. In a long run slow readers
/// begin anew after four seconds, else the server alone ends their answers.
fn kinds(slow: usize, soak: bool) -> Vec<Arc<Kind>> {
    let kind = |name, connections, visits, first: &str, then: &str, status| Kind {
        name,
        connections,
        visits,
        first: first.into(),
        then: then.into(),
        reads_little: false,
        resets_at: None,
        status,
    };
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let body = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let endless = "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n";
    let flood = "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n".repeat(16);
    let panic = "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n";
    let refused = "GET / HTTP/1.1\r\n\r\n";
    let all = [
        kind("slow heads", slow, 1, head, "a", Some("408")),
        kind("slow bodies", slow, 1, body, "a", Some("408")),
        Kind {
            reads_little: true,
            resets_at: soak.then_some(8),
            ..kind(SLOW_READING, slow, 2, endless, "", Some("200"))
        },
        Kind {
            resets_at: Some(1),
            ..kind("resets", 1, 500, head, "", None)
        },
        kind("pipelines", 4, 50, "", &flood, Some("200")),
        kind("panics", 16, 20, panic, "", Some("500")),
        kind("refused heads", 50, 4, refused, "", Some("400")),
    ];
    all.into_iter().map(Arc::new).collect()
}

/// What one well-behaved client has to say.
struct Kept {
    requests: usize,
    /// Each with the phase that it fell into.
    latencies: Vec<(usize, Duration)>,
}

/// Asks at its rate until it is told that all is over. Each answer must be the one to its request.
fn keep_asking(addr: SocketAddr, name: usize, phase: &AtomicUsize) -> Kept {
    let mut client = Client::connect(addr);
    let (mut requests, mut latencies) = (0, Vec::new());
    let mut due = Instant::now();
    loop {
        due += EVERY;
        let early = due.saturating_duration_since(Instant::now());
        thread::sleep(early);
        // Who is late because of an earlier answer has waited since it was due.
        let begin = if early.is_zero() { due } else { Instant::now() };
        let current = phase.load(Ordering::Relaxed);
        if current == OVER {
            break;
        }
        let path = format!("/kept/{name}/{requests}");
        let answer = client.get(&path);
        latencies.push((current, begin.elapsed()));
        assert_eq!((&*answer.status, &*answer.body), ("200", path.as_bytes()));
        requests += 1;
        if answer.field("connection") == Some("close") {
            assert!(client.rest().is_empty(), "more than was asked for");
            client = Client::connect(addr);
        }
    }
    client.half_close();
    assert!(client.rest().is_empty(), "more than was asked for");
    Kept {
        requests,
        latencies,
    }
}

/// The well-behaved clients, each on a thread.
struct Crowd {
    phase: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Kept>>,
}

impl Crowd {
    fn start(addr: SocketAddr) -> Crowd {
        let phase = Arc::new(AtomicUsize::new(BETWEEN));
        let own = |name| {
            let phase = Arc::clone(&phase);
            thread::spawn(move || keep_asking(addr, name, &phase))
        };
        let threads = (0..CLIENTS).map(own).collect();
        Crowd { phase, threads }
    }

    fn enter(&self, phase: usize) {
        assert!(self.threads.iter().all(|thread| !thread.is_finished()));
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// Ends it. Gives the number of requests and, for each phase, the latencies in order.
    fn end(self, phases: usize) -> (usize, Vec<Vec<Duration>>) {
        self.enter(OVER);
        let (mut requests, mut latencies) = (0, vec![Vec::new(); phases]);
        for thread in self.threads {
            let kept = thread.join().expect("served");
            requests += kept.requests;
            for (phase, latency) in kept.latencies {
                if let Some(those) = latencies.get_mut(phase) {
                    those.push(latency);
                }
            }
        }
        latencies.iter_mut().for_each(|those| those.sort_unstable());
        (requests, latencies)
    }
}

/// Looks again and again until `f` holds.
fn until(what: &str, mut f: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !f() {
        assert!(
            begin.elapsed() < 4 * GIVE_UP,
            "{what}: it does not come about"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Attacks until each kind has had as many connections ended as it has at a time, and those that
/// were told anything were told what the limits say. Slow readers never see an end, since it stands
/// behind what they do not take: of them the server says how many it has given up.
fn withstand(attacks: &[Attack], server: &Served) {
    for attack in attacks {
        let kind = &attack.kind;
        let status = kind.status.map(str::to_owned);
        until(kind.name, || {
            let told = attack.told();
            let others = told.keys().find(|key| key.is_some() && **key != status);
            assert_eq!(others, None, "{}: {told:?}", kind.name);
            if kind.name == SLOW_READING {
                return number(&mut server.client(), "/given-up") >= kind.connections;
            }
            told.get(&status) >= Some(&kind.connections)
        });
    }
}

/// A figure that the server has under this path.
fn number(client: &mut Client, path: &str) -> usize {
    let body = client.get(path).body;
    String::from_utf8_lossy(&body).parse().expect("digits")
}

/// What a server holds: coroutines, that of the question among them, and descriptors.
fn held(server: &Served) -> (usize, usize) {
    let mut client = server.client();
    let coroutines = number(&mut client, "/coroutines");
    (coroutines, server.descriptors())
}

#[test]
fn well_behaved_clients_go_on_beside_attackers() {
    const NAME: &str = "attacked::well_behaved_clients_go_on_beside_attackers";
    let soak = std::env::var_os("TARAE_SOAK").is_some();
    let (slow, descriptors, rounds) = if soak {
        (500, 3000, 10)
    } else {
        (100, 1000, 1)
    };
    let limit = format!("-n {descriptors}");
    let Some(server) = served(NAME, &limit, server) else {
        return;
    };
    if soak {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let own = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, own).expect("up to the hard limit");
    }
    let kinds = kinds(slow, soak);
    let base = held(&server);
    let memory = server.status("VmRSS:");
    let crowd = Crowd::start(server.addr);
    for round in 0..rounds {
        crowd.enter(2 * round);
        if soak {
            thread::sleep(3 * SHORT);
        }
        crowd.enter(BETWEEN);
        let start = |kind| Attack::start(kind, server.addr);
        let attacks: Vec<_> = kinds.iter().map(start).collect();
        if soak {
            // All have called when these begin, and some have been ended.
            thread::sleep(SHORT);
            crowd.enter(2 * round + 1);
            thread::sleep(3 * SHORT);
            crowd.enter(BETWEEN);
        }
        withstand(&attacks, &server);
        drop(attacks);
        until("they are gone", || {
            server.descriptors() <= base.1 + 2 * CLIENTS
        });
    }
    let (requests, latencies) = crowd.end(2 * rounds);
    assert_eq!(number(&mut server.client(), "/calls"), requests);
    // Of a pool and of signals: threads stay for a while, each with what it waits with.
    let of_threads = match model() {
        Model::Coroutine => 0,
        Model::Reactor => 66,
        _ => 2,
    };
    until("nothing is left", || {
        let (coroutines, descriptors) = held(&server);
        coroutines == base.0 && (base.1..=base.1 + of_threads).contains(&descriptors)
    });
    let connections: usize = kinds.iter().map(|kind| kind.connections).sum();
    let grown = server.status("VmHWM:") - memory;
    println!("{requests} requests; {connections} attackers; {grown} KiB more at the most");
    // An answer's part, a head's buffer and a stack for each; and what the program itself takes.
    assert!(grown < 4096 + 128 * connections, "{grown} KiB more");
    if soak {
        compare(&latencies);
    }
}

/// Prints the latencies, and judges them.
fn compare(latencies: &[Vec<Duration>]) {
    let at = |those: &[Duration], percent: usize| those[those.len() * percent / 100];
    let median = |percent: usize, attacked: usize| {
        let rounds = latencies.iter().skip(attacked).step_by(2);
        let mut each: Vec<_> = rounds.map(|those| at(those, percent)).collect();
        each.sort_unstable();
        each[each.len() / 2]
    };
    println!("| latency | quiet, µs | attacked, µs | ratio |\n| --- | --- | --- | --- |");
    for percent in [50, 90, 99] {
        let (quiet, attacked) = (median(percent, 0), median(percent, 1));
        let ratio = attacked.as_secs_f64() / quiet.as_secs_f64();
        let (quiet, attacked) = (quiet.as_micros(), attacked.as_micros());
        println!("| p{percent} | {quiet} | {attacked} | {ratio:.2} |");
        assert!(percent < 99 || ratio <= 2.0, "p99 is {ratio:.2} ×");
    }
}
