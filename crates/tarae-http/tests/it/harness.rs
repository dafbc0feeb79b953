//! Runs bytes through a connection without sockets and writes down what happened. Used by all
//! tests of the protocol; must treat whole and cut input alike.

use std::sync::Mutex;

use tarae_http::conn::{Buffers, Conn, Context, Event, Parked};
use tarae_http::http::HeaderName;
use tarae_http::{CommonHeaders, Handler, Head, Limits, Plan, Request, Response};

/// What the handler saw, in its answer.
const SEEN: HeaderName = HeaderName::from_static("x-seen");

/// More steps than any test needs: a connection that goes round in circles fails here.
const STEPS_MAX: usize = 1_000_000;

/// The sizes of the pieces in which all input is sent: whole, byte by byte, and cut unevenly.
pub(crate) const PIECES: [usize; 3] = [usize::MAX, 1, 7];

/// Runs `input` in all [`PIECES`]. `want` is written as `conformance` says, for instance
/// `GET /, POST /a [body] | 200 200 open`.
#[track_caller]
pub(crate) fn check_with(input: impl AsRef<[u8]>, limits: &Limits, want: &str) {
    let input = input.as_ref();
    for piece in PIECES {
        let shown = String::from_utf8_lossy(&input[..input.len().min(300)]).into_owned();
        let got = came_of(input, piece, limits, false);
        assert_eq!(got, want, "\n{shown:?}\nin pieces of {piece}");
    }
}

/// What came of `input`, written as `conformance` says.
pub(crate) fn came_of(input: &[u8], piece: usize, limits: &Limits, end: bool) -> String {
    let witness = Witness::default();
    run(&witness, input.chunks(piece), limits, end).summary(&witness, input)
}

/// What is answered to `input` and the end of the peer's side.
pub(crate) fn answered(input: &[u8], limits: &Limits) -> Vec<u8> {
    let pieces = input.chunks(usize::MAX);
    run(&Witness::default(), pieces, limits, true).output
}

/// A handler that notes what it is called with and answers `ok`, with the note in a field; a path
/// that is a number asks for that status.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// For each head that was understood, whether its method is HEAD.
    heads: Mutex<Vec<bool>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) host: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// `METHOD target`, with ` @host` unless that is `a`, and ` [body]` unless it is empty.
    fn described(&self) -> String {
        let mut text = self.line.clone();
        if self.host != "a" {
            text += &format!(" @{}", self.host);
        }
        if !self.body.is_empty() {
            text += &format!(" [{}]", String::from_utf8_lossy(&self.body));
        }
        text
    }
}

impl Handler for Witness {
    fn plan(&self, head: &Head) -> Plan {
        let mut heads = self.heads.lock().expect("not poisoned");
        heads.push(head.method() == "HEAD");
        match head.path() {
            "/reject" => Plan::reject(Response::text("no").with_status(status(403))),
            "/small" => Plan::body_limit(4),
            _ => Plan::default(),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        let line = format!("{} {}", request.method(), request.target());
        let host = request.host().to_owned();
        let body = request.body().to_vec();
        let status = request.path()[1..]
            .parse()
            .ok()
            .filter(|code| (100..1000).contains(code));
        let seen = Seen { line, host, body };
        let note = seen.described().escape_default().to_string();
        let note = note.parse().expect("a field's value");
        self.seen.lock().expect("not poisoned").push(seen);
        let response = Response::text("ok").with_header(SEEN, note);
        match (status, request.path()) {
            (Some(code), _) => response.with_status(self::status(code)),
            (None, "/close") => response.with_close(),
            _ => response,
        }
    }
}

pub(crate) fn status(code: u16) -> tarae_http::http::StatusCode {
    tarae_http::http::StatusCode::from_u16(code).expect("a status")
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) output: Vec<u8>,
    pub(crate) state: &'static str,
    /// How many writes the answers took.
    pub(crate) writes: usize,
}

impl Ran {
    /// `what the handler saw | statuses state`
    pub(crate) fn summary(&self, witness: &Witness, input: &[u8]) -> String {
        let seen = witness.seen.lock().expect("not poisoned");
        let described: Vec<String> = seen.iter().map(Seen::described).collect();
        let mut is_head = witness.heads.lock().expect("not poisoned").clone();
        // A head that was not understood is answered last: without a body if it was HEAD.
        let no_body = self.output.ends_with(b"\r\n\r\n");
        is_head.push(no_body && String::from_utf8_lossy(input).contains("HEAD "));
        let mut parts = vec![described.join(", "), "|".to_owned()];
        parts.extend(
            answers(&self.output, &is_head)
                .iter()
                .map(|answer| answer.status.clone()),
        );
        parts.push(self.state.to_owned());
        parts.join(" ").trim_start().to_owned()
    }
}

/// Feeds the pieces one by one, each only when the connection asks for input.
pub(crate) fn run<'a>(
    handler: &impl Handler,
    mut pieces: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
    end: bool,
) -> Ran {
    let common = CommonHeaders::default();
    let context = Context {
        limits,
        common: &common,
    };
    let mut conn = Parked::new(None).resume(Buffers::new());
    let (mut piece, mut ended) = (&[][..], !end);
    let (mut output, mut writes) = (Vec::new(), 0);
    for _ in 0..STEPS_MAX {
        let event = conn.next(context);
        assert_eq!(
            conn.next(context),
            event,
            "asking twice must not change anything"
        );
        let state = match event {
            Event::Idle => "open",
            Event::ReadHead => "head",
            Event::ReadBody => "body",
            Event::Close { .. } => {
                return Ran {
                    output,
                    state: "closed",
                    writes,
                };
            }
            event => {
                writes += usize::from(event == Event::Write);
                act(&mut conn, event, handler, context, &mut output);
                continue;
            }
        };
        if event == Event::Idle {
            // Parking must lose nothing.
            let (parked, buffers) = conn.park();
            conn = parked.resume(buffers);
        }
        if piece.is_empty() {
            piece = pieces.next().unwrap_or_default();
        }
        if piece.is_empty() && ended {
            return Ran {
                output,
                state,
                writes,
            };
        }
        ended |= piece.is_empty();
        let space = conn.space();
        let bytes = piece.len().min(space.len());
        space[..bytes].copy_from_slice(&piece[..bytes]);
        conn.received(bytes);
        piece = &piece[bytes..];
    }
    panic!("no end after {STEPS_MAX} steps");
}

fn act(
    conn: &mut Conn,
    event: Event,
    handler: &impl Handler,
    context: Context<'_>,
    output: &mut Vec<u8>,
) {
    match event {
        Event::Plan => {
            let plan = handler.plan(conn.head());
            conn.planned(plan, context);
        }
        Event::Call => {
            let response = handler.call(&mut conn.request());
            conn.respond(response, context);
        }
        Event::Pull => drop(conn.pull()),
        _ => {
            // Writes of an odd size, so that partial ones are covered.
            let bytes = conn.output().len().min(70_001);
            output.extend_from_slice(&conn.output()[..bytes]);
            conn.wrote(bytes);
        }
    }
}

/// One answer as a client reads it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(field, _)| field == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} must come once");
        first
    }
}

/// Cuts the output into answers; panics where a client would stumble. `is_head` says for each
/// final answer whether the request was HEAD.
pub(crate) fn answers(mut output: &[u8], is_head: &[bool]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut is_head = is_head.iter();
    while !output.is_empty() {
        let end = output
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("an end of head");
        let head = std::str::from_utf8(&output[..end]).expect("a head in ASCII");
        output = &output[end + 4..];
        let mut lines = head.split("\r\n");
        let line = lines.next().expect("a status line");
        let status = line.strip_prefix("HTTP/1.1 ").expect("a version")[..3].to_owned();
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            fields,
            body: Vec::new(),
        };
        if !answer.status.starts_with('1') {
            let length = answer
                .field("content-length")
                .map(|value| value.parse().expect("digits"));
            let is_head = *is_head.next().expect("no more answers than requests");
            let length = if is_head { 0 } else { length.unwrap_or(0) };
            answer.body = output[..length].to_vec();
            output = &output[length..];
        }
        answers.push(answer);
    }
    answers
}

/// Steps through 1 to `max`, the same in every run.
pub(crate) struct Xorshift(pub(crate) u64);

impl Xorshift {
    pub(crate) fn below(&mut self, max: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % max as u64) as usize
    }
}
