//! What the fuzz targets assert, and what they begin with. Called by the targets in `fuzz/` for
//! whatever libFuzzer thinks of, and by the tests here for the committed corpus, on stable. It
//! must hold for any input: it names no verdict, only what verdicts have to agree with.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tarae_http::{Handler, Head, Limits, Plan, Request, Response, multipart};

use crate::harness::{PIECES, Ran, Seen, Witness, run, status};
use crate::{conformance, multipart as forms};

/// The head of a message whose body the target `chunks` makes.
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// Notes every head and how much had been received by then, and refuses the body.
#[derive(Default)]
struct Heads {
    received: Arc<AtomicUsize>,
    seen: Mutex<Vec<(String, usize)>>,
}

impl Handler for Heads {
    fn plan(&self, head: &Head) -> Plan {
        let mut text = format!("{} {} {:?} ", head.method(), head.path(), head.query());
        text += &format!("{} {:?}", head.host(), head.version());
        for (name, value) in head.headers() {
            text += &format!("\n{name}: {}", value.escape_ascii());
        }
        let received = self.received.load(Ordering::Relaxed);
        self.seen
            .lock()
            .expect("not poisoned")
            .push((text, received));
        Plan::reject(Response::new(status(403)))
    }

    fn call(&self, _: &mut Request) -> Response {
        unreachable!("every plan refuses")
    }
}

fn heads(input: &[u8], piece: usize) -> (Vec<(String, usize)>, Ran) {
    let heads = Heads::default();
    let received = Arc::clone(&heads.received);
    let count = |piece: &&[u8]| {
        received.fetch_add(piece.len(), Ordering::Relaxed);
    };
    let ran = run(
        &heads,
        input.chunks(piece).inspect(count),
        &Limits::default(),
        false,
    );
    (heads.seen.into_inner().expect("not poisoned"), ran)
}

/// Heads: the verdict does not depend on the cuts, and what follows one is left alone.
pub(crate) fn head(input: &[u8]) {
    let texts = |seen: &[(String, usize)]| -> Vec<String> {
        seen.iter().map(|(text, _)| text.clone()).collect()
    };
    let (seen, ran) = heads(input, usize::MAX);
    let (bytewise, ran_bytewise) = heads(input, 1);
    let (cut, ran_cut) = heads(input, 7);
    for (other, ran_other) in [(&bytewise, ran_bytewise), (&cut, ran_cut)] {
        assert_eq!(texts(other), texts(&seen));
        assert_eq!(
            (&ran_other.output, ran_other.state),
            (&ran.output, ran.state)
        );
    }
    let Some((_, end)) = bytewise.first() else {
        return;
    };
    // Read byte by byte, a head is understood at its last byte: that is where it ends.
    let (first, rest) = input.split_at(*end);
    let (alone, ran_alone) = heads(first, usize::MAX);
    assert_eq!(texts(&alone), texts(&seen[..1]));
    if ran_alone.state == "open" {
        let (after, ran_after) = heads(rest, usize::MAX);
        assert_eq!(texts(&after), texts(&seen[1..]));
        assert_eq!(ran_after.state, ran.state);
        assert_eq!([ran_alone.output, ran_after.output].concat(), ran.output);
    }
}

/// Everything a connection shows: the answers, the state, what the handler saw.
fn shown(input: &[u8], piece: usize, limits: &Limits, end: bool) -> (Vec<u8>, String, Vec<Seen>) {
    let witness = Witness::default();
    let ran = run(&witness, input.chunks(piece), limits, end);
    let summary = ran.summary(&witness, input);
    (
        ran.output,
        summary,
        witness.seen.into_inner().expect("not poisoned"),
    )
}

/// Bodies in chunks: as a plain reading of the grammar says, however they are cut, and what
/// follows one is the next request.
pub(crate) fn chunks(input: &[u8]) {
    let limits = Limits::default();
    let want = body_in_chunks(input);
    let message = [CHUNKED, input].concat();
    for piece in PIECES {
        let (_, summary, seen) = shown(&message, piece, &limits, false);
        let body = seen.first().map(|seen| &seen.body);
        assert_eq!(body, want.as_ref().map(|(body, _)| body), "{summary}");
    }
    if let Some((body, length)) = want {
        let message = [CHUNKED, &input[..length], NEXT].concat();
        let (_, summary, seen) = shown(&message, usize::MAX, &limits, false);
        assert_eq!((seen.len(), &seen[0].body), (2, &body), "{summary}");
        assert_eq!(
            (&*seen[1].line, summary.ends_with("200 200 open")),
            ("GET /next", true)
        );
    }
}

/// The body and the length of its coded form, if `input` begins with a whole one. Written from
/// RFC 9112, 7.1, line by line, without regard to speed.
fn body_in_chunks(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut rest) = (Vec::new(), input);
    loop {
        let (line, after) = line(rest)?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if !(1..=16).contains(&digits) || !are_extensions(&line[digits..]) {
            return None;
        }
        let size = std::str::from_utf8(&line[..digits]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("16 digits");
        rest = after;
        if size == 0 {
            break;
        }
        let (data, after) = rest.split_at_checked(size)?;
        body.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((body, input.len() - rest.len()));
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        if !is_token(name) || !value.iter().all(|&byte| is_text(byte)) {
            return None;
        }
    }
}

fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.windows(2).position(|two| two == b"\r\n")?;
    Some((&input[..end], &input[end + 2..]))
}

fn are_extensions(text: &[u8]) -> bool {
    let Some(rest) = skip_blanks(text).strip_prefix(b";") else {
        return text.is_empty();
    };
    let rest = skip_blanks(rest);
    let name = rest.iter().take_while(|&&byte| is_token(&[byte])).count();
    let (name, rest) = rest.split_at(name);
    let value = match skip_blanks(rest).strip_prefix(b"=") {
        None => return !name.is_empty() && are_extensions(rest),
        Some(value) => skip_blanks(value),
    };
    let length = match value.strip_prefix(b"\"") {
        Some(quoted) => match quoted_length(quoted) {
            Some(length) => length + 1,
            None => return false,
        },
        None => value.iter().take_while(|&&byte| is_token(&[byte])).count(),
    };
    !name.is_empty() && length > 0 && are_extensions(&value[length..])
}

/// Up to and with the closing quote.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if !is_text(byte) => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    &text[blanks..]
}

fn is_token(text: &[u8]) -> bool {
    let is = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Whole connections: the answers are whole, and all is the same however the input was cut. The
/// first byte sets the limits, the end of input and one of the cuts.
pub(crate) fn connection(input: &[u8]) {
    let Some((&how, input)) = input.split_first() else {
        return;
    };
    let mut limits = Limits::default();
    if how & 1 != 0 {
        (limits.request_line_bytes, limits.head_bytes, limits.headers) = (40, 100, 4);
        (limits.body_bytes, limits.chunk_extension_bytes) = (20, 8);
        (limits.trailer_bytes, limits.requests_per_connection) = (10, Some(3));
    }
    let end = how & 2 != 0;
    let whole = shown(input, usize::MAX, &limits, end);
    for piece in [1, 7, usize::from(how >> 2) + 1] {
        assert_eq!(
            shown(input, piece, &limits, end),
            whole,
            "in pieces of {piece}"
        );
    }
}

/// Forms: the same parts and the same verdict however the input was cut. The first line is the
/// boundary.
pub(crate) fn multipart(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n');
    let (boundary, body) = input.split_at(end.unwrap_or(0));
    let content_type = [b"multipart/form-data; boundary=\"", boundary, b"\""].concat();
    let Some(boundary) = multipart::boundary(&content_type) else {
        return;
    };
    let mut limits = multipart::Limits::default();
    (limits.parts, limits.header_bytes, limits.field_bytes) = (4, 200, 100);
    let whole = forms::came_of(&body[1..], boundary, usize::MAX, &limits);
    for piece in [1, 7, 73] {
        assert_eq!(forms::came_of(&body[1..], boundary, piece, &limits), whole);
    }
}

/// A fuzz target: its name, what it asserts, and what it begins with.
pub(crate) type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All targets.
pub(crate) const TARGETS: [Target; 4] = [
    ("head", head, inputs),
    ("chunks", chunks, bodies),
    ("connection", connection, || {
        inputs()
            .into_iter()
            .map(|input| [&[0], &input[..]].concat())
            .collect()
    }),
    ("multipart", multipart, || {
        let body = b"x\n--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\
            Content-Type: text/plain\r\n\r\ncontent\r\n--x\r\n\
            Content-Disposition: form-data; name=c\r\n\r\n--x--\r\n";
        vec![body.to_vec()]
    }),
];

fn inputs() -> Vec<Vec<u8>> {
    conformance::all().map(|case| case.input).collect()
}

fn bodies() -> Vec<Vec<u8>> {
    let inputs = inputs();
    let bodies = inputs
        .iter()
        .filter_map(|input| input.strip_prefix(CHUNKED));
    bodies.map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn the_corpus_holds_on_stable_too() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (name, check, seeds) in TARGETS {
            seeds().iter().for_each(|seed| check(seed));
            let mut files = 0;
            for entry in fs::read_dir(corpus.join(name)).expect("a corpus") {
                check(&fs::read(entry.expect("a file").path()).expect("readable"));
                files += 1;
            }
            assert!(files > 0, "the corpus of `{name}` is empty");
        }
    }
}
