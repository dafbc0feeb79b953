//! Batches, draining, time limits, parking: what the bytes alone do not show.

use tarae_http::conn::{Buffers, Conn, Context, Event, Parked};
use tarae_http::{CommonHeaders, Limits, Plan, Request, Response};

use crate::harness::{Witness, answers, run};

#[test]
fn a_batch_leaves_in_one_write() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    let ran = run(
        &Witness::default(),
        [input.as_bytes()].into_iter(),
        &Limits::default(),
        false,
    );
    assert_eq!(ran.writes, 1);
    assert_eq!(answers(&ran.output, &[false; 200]).len(), 200);
}

#[test]
fn a_pipeline_longer_than_the_buffer_stays_in_order() {
    let paths = || (0..3000).map(|number| format!("/x{number}"));
    let input: String = paths()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let mut limits = Limits::default();
    limits.requests_per_connection = None;
    for piece in [input.len(), 4999] {
        let witness = Witness::default();
        let ran = run(&witness, input.as_bytes().chunks(piece), &limits, false);
        assert_eq!(ran.state, "open");
        let seen = witness.seen.into_inner().expect("not poisoned");
        let want: Vec<String> = paths().map(|path| format!("GET {path}")).collect();
        assert!(seen.into_iter().map(|seen| seen.line).eq(want));
    }
}

#[test]
fn gathered_output_is_bounded() {
    let handler = |_: &mut Request| Response::bytes(vec![b'x'; 40_000]);
    let input = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10);
    let ran = run(
        &handler,
        [input.as_bytes()].into_iter(),
        &Limits::default(),
        false,
    );
    assert_eq!(answers(&ran.output, &[false; 10]).len(), 10);
    // Two answers pass the bound; each pair leaves in writes of 70,001 bytes at most.
    assert_eq!(ran.writes, 10);
}

/// A connection to which the tests say step by step what happens.
struct Steps {
    conn: Box<Conn>,
    limits: Limits,
    common: CommonHeaders,
}

impl Steps {
    fn new() -> Self {
        Self {
            conn: Parked::new(None).resume(Buffers::new()),
            limits: Limits::default(),
            common: CommonHeaders::default(),
        }
    }

    fn next(&mut self) -> Event {
        self.conn.next(Context {
            limits: &self.limits,
            common: &self.common,
        })
    }

    fn feed(&mut self, input: &str) -> Event {
        self.conn.space()[..input.len()].copy_from_slice(input.as_bytes());
        self.conn.received(input.len());
        self.next()
    }

    fn answer(&mut self, response: Response) -> Event {
        let context = Context {
            limits: &self.limits,
            common: &self.common,
        };
        self.conn.planned(Plan::default(), context);
        assert_eq!(self.conn.next(context), Event::Call);
        self.conn.respond(response, context);
        self.next()
    }

    fn time_out(&mut self) -> Event {
        self.conn.timed_out(Context {
            limits: &self.limits,
            common: &self.common,
        });
        self.next()
    }

    /// Writes everything; gives the status line and what comes next.
    fn write(&mut self) -> (String, Event) {
        let text = String::from_utf8_lossy(self.conn.output()).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        self.conn.wrote(self.conn.output().len());
        (line, self.next())
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn drain_answers_what_has_begun_and_closes() {
    let mut steps = Steps::new();
    steps.conn.drain();
    assert_eq!(steps.next(), Event::Close { linger: false });

    let mut steps = Steps::new();
    assert_eq!(steps.feed("GET /"), Event::ReadHead);
    steps.conn.drain();
    assert_eq!(steps.next(), Event::Close { linger: false });

    let mut steps = Steps::new();
    assert_eq!(steps.feed(GET), Event::Plan);
    steps.conn.drain();
    assert_eq!(steps.answer(Response::text("ok")), Event::Write);
    assert!(String::from_utf8_lossy(steps.conn.output()).contains("\r\nConnection: close\r\n"));
    // The client expected the connection to go on, so it may have sent another request.
    assert_eq!(
        steps.write(),
        ("HTTP/1.1 200 OK".into(), Event::Close { linger: true })
    );
    assert_eq!(steps.conn.served(), 1);
}

#[test]
fn drain_waits_for_a_body_under_way() {
    let mut steps = Steps::new();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(steps.feed(head), Event::Plan);
    steps.conn.drain();
    let context = Context {
        limits: &steps.limits,
        common: &steps.common,
    };
    steps.conn.planned(Plan::default(), context);
    assert_eq!(steps.next(), Event::ReadBody);
    assert_eq!(steps.feed("hi"), Event::Call);
    assert_eq!(steps.conn.request().body(), b"hi");
}

#[test]
fn time_limits() {
    // Idle: nothing was asked, so nothing is answered.
    let mut steps = Steps::new();
    assert_eq!(steps.next(), Event::Idle);
    assert_eq!(steps.time_out(), Event::Close { linger: false });

    let mut steps = Steps::new();
    assert_eq!(steps.feed("GET /"), Event::ReadHead);
    assert_eq!(steps.time_out(), Event::Write);
    let timeout = "HTTP/1.1 408 Request Timeout".to_owned();
    assert_eq!(
        steps.write(),
        (timeout.clone(), Event::Close { linger: true })
    );

    let mut steps = Steps::new();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(steps.feed(head), Event::Plan);
    let context = Context {
        limits: &steps.limits,
        common: &steps.common,
    };
    steps.conn.planned(Plan::default(), context);
    assert_eq!(steps.next(), Event::ReadBody);
    assert_eq!(steps.time_out(), Event::Write);
    assert_eq!(steps.write(), (timeout, Event::Close { linger: true }));

    // The peer does not take its answer.
    let mut steps = Steps::new();
    assert_eq!(steps.feed(GET), Event::Plan);
    assert_eq!(steps.answer(Response::text("ok")), Event::Write);
    assert_eq!(steps.time_out(), Event::Close { linger: false });
    assert!(steps.conn.output().is_empty());

    // Nor does it when it has begun another request meanwhile.
    let mut steps = Steps::new();
    assert_eq!(steps.feed(&format!("{GET}GET /")), Event::Plan);
    assert_eq!(steps.answer(Response::text("ok")), Event::Write);
    assert_eq!(steps.time_out(), Event::Close { linger: false });
}

#[test]
fn a_parked_connection_is_small_and_remembers() {
    assert!(size_of::<Parked>() <= 64, "{}", size_of::<Parked>());
    let mut steps = Steps::new();
    assert_eq!(steps.feed(GET), Event::Plan);
    assert!(!steps.conn.is_idle());
    assert_eq!(steps.answer(Response::text("ok")), Event::Write);
    assert!(!steps.conn.is_idle());
    assert_eq!(steps.write().1, Event::Idle);
    assert!(steps.conn.is_idle());
    let (parked, _) = steps.conn.park();
    assert_eq!(parked.served(), 1);
    assert_eq!(parked.resume(Buffers::new()).served(), 1);
}

#[test]
#[should_panic(expected = "only an idle connection can be parked")]
fn a_busy_connection_cannot_be_parked() {
    let mut steps = Steps::new();
    assert_eq!(steps.feed("G"), Event::ReadHead);
    let _ = steps.conn.park();
}

#[test]
fn buffers_that_grew_are_not_kept() {
    let mut steps = Steps::new();
    steps.limits.body_bytes = 10_000_000;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    assert_eq!(steps.feed(head), Event::Plan);
    let context = Context {
        limits: &steps.limits,
        common: &steps.common,
    };
    steps.conn.planned(Plan::default(), context);
    let mut left = 1_000_000;
    while left > 0 {
        assert_eq!(steps.next(), Event::ReadBody);
        let bytes = steps.conn.space().len().min(left);
        steps.conn.received(bytes);
        left -= bytes;
    }
    assert_eq!(steps.next(), Event::Call);
    assert_eq!(steps.conn.request().body().len(), 1_000_000);
    let context = Context {
        limits: &steps.limits,
        common: &steps.common,
    };
    steps.conn.respond(Response::text("ok"), context);
    assert_eq!(steps.next(), Event::Write);
    assert_eq!(steps.write().1, Event::Idle);
    let (parked, buffers) = steps.conn.park();
    let mut conn = parked.resume(buffers);
    assert!(conn.space().len() <= 64 * 1024);
}

#[test]
fn chunk_heads_do_not_pile_up_in_memory() {
    let mut steps = Steps::new();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(steps.feed(head), Event::Plan);
    let context = Context {
        limits: &steps.limits,
        common: &steps.common,
    };
    steps.conn.planned(Plan::default(), context);
    // 10,000 bytes of body in 60,000 bytes of input.
    for _ in 0..10_000 {
        assert_eq!(steps.feed("1\r\nx\r\n"), Event::ReadBody);
    }
    assert!(steps.conn.space().len() < 16 * 1024);
    assert_eq!(steps.feed("0\r\n\r\n"), Event::Call);
    assert_eq!(steps.conn.request().body().len(), 10_000);
    assert!(steps.conn.request().body().iter().all(|&byte| byte == b'x'));
}
