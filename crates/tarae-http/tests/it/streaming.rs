//! Bodies that the handler reads itself: piece by piece, in part, or not at all.

use std::io::{ErrorKind, Read};
use std::sync::Mutex;

use tarae_http::{BodyError, Handler, Head, Plan, Request, Response};

use crate::peer::Peer;

/// Reads so much of each body, in reads of `step` bytes, and notes it. Announced in the path:
/// `/READ/STEP/LIMIT`.
#[derive(Default)]
struct Reader {
    seen: Mutex<Vec<String>>,
}

fn numbers(path: &str) -> [u64; 3] {
    let mut numbers = path.split('/').skip(1).map(|part| part.parse().ok());
    std::array::from_fn(|_| numbers.next().flatten().unwrap_or(u64::MAX))
}

impl Handler for Reader {
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/whole" => Plan::default(),
            path => Plan::stream(numbers(path)[2]),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        let [read, step, _] = numbers(request.path());
        let mut body = Vec::new();
        let mut buffer = vec![0; step.min(100_000) as usize];
        let mut reader = request.body_reader().take(read);
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break None,
                Ok(count) => body.extend_from_slice(&buffer[..count]),
                Err(error) => break Some(error),
            }
        };
        // The head is as it was, however much has gone through the buffer behind it.
        let named = String::from_utf8_lossy(request.header("x-name").unwrap_or_default());
        let mut seen = self.seen.lock().expect("not poisoned");
        seen.push(match &error {
            Some(error) => format!("{named} {} {:?}", body.len(), error.kind()),
            None => format!("{named} {} {}", body.len(), sum(&body)),
        });
        match error {
            Some(error) => BodyError::answer(&error),
            None => Response::text("ok"),
        }
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let steps = bytes.iter().zip(1_u64..);
    steps.fold(0, |sum, (byte, at)| sum ^ (u64::from(*byte) * at))
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 7 % 251) as u8).collect()
}

fn sized(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nX-Name: s\r\n");
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nX-Name: c\r\n");
    let mut all = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(30_011) {
        all.extend_from_slice(format!("{:x};e=\"1\"\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\nX-Trailer: t\r\n\r\n");
    all
}

const NEXT: &str = "GET /9/9 HTTP/1.1\r\nHost: a\r\nX-Name: next\r\n\r\n";

/// Serves `input` in pieces of several sizes; all must agree. Gives what the handler saw and the
/// statuses.
#[track_caller]
fn serve(input: &[u8]) -> (Vec<String>, Vec<String>) {
    let run = |piece: usize| {
        let handler = Reader::default();
        let mut peer = Peer::new(input.chunks(piece));
        peer.serve(&handler);
        (
            handler.seen.into_inner().expect("not poisoned"),
            peer.statuses(),
        )
    };
    let whole = run(input.len());
    let sizes: &[usize] = if input.len() > 50_000 {
        &[4_093, 70_000]
    } else {
        &[1, 7, 1_000]
    };
    for piece in sizes {
        assert_eq!(run(*piece), whole, "in pieces of {piece}");
    }
    whole
}

fn says_close(input: &[u8]) -> bool {
    let mut peer = Peer::new([input]);
    peer.serve(&Reader::default());
    peer.text().contains("Connection: close\r\n")
}

#[track_caller]
fn check(input: &[u8], seen: &[&str], statuses: &[&str]) {
    let (saw, sent) = serve(input);
    assert_eq!(
        (saw.as_slice(), sent.as_slice()),
        (
            seen.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .as_slice(),
            statuses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .as_slice(),
        )
    );
}

#[test]
fn a_body_is_read_piece_by_piece() {
    for count in [0, 1, 5, 4_095, 4_096, 4_097, 16_384, 300_000] {
        let body = bytes(count);
        for step in [1_000, 4_095, 4_096, 100_000] {
            for (name, make) in [("s", sized as fn(&str, &[u8]) -> Vec<u8>), ("c", chunked)] {
                let path = format!("/x/{step}");
                let input = [make(&path, &body), make(&path, &body), NEXT.into()].concat();
                let seen = format!("{name} {count} {}", sum(&body));
                check(&input, &[&seen, &seen, "next 0 0"], &["200", "200", "200"]);
            }
        }
    }
}

#[test]
fn a_whole_body_has_a_reader_too() {
    for make in [sized as fn(&str, &[u8]) -> Vec<u8>, chunked] {
        let body = bytes(40_000);
        let (seen, _) = serve(&make("/whole", &body));
        assert_eq!(seen[0][2..], format!("40000 {}", sum(&body)));
    }
}

/// A little is thrown away, so that the connection goes on; for much it is not worth it.
#[test]
fn what_is_left_unread() {
    for make in [sized as fn(&str, &[u8]) -> Vec<u8>, chunked] {
        for (count, read, goes_on) in [
            (10, 0, true),
            (10, 3, true),
            (60_000, 0, true),
            (60_000, 59_999, true),
            (200_000, 0, false),
            (200_000, 10, false),
            (200_000, 190_000, true),
        ] {
            let body = bytes(count);
            let input = [make(&format!("/{read}/100"), &body), NEXT.into()].concat();
            let (seen, statuses) = serve(&input);
            assert!(
                seen[0].ends_with(&format!("{read} {}", sum(&body[..read]))),
                "{seen:?}"
            );
            let want = if goes_on { 2 } else { 1 };
            assert_eq!((seen.len(), statuses.len()), (want, want), "{count} {read}");
            // Where the length was announced the client is told.
            if seen[0].starts_with('s') {
                assert_eq!(says_close(&input), !goes_on, "{count} {read}");
            }
        }
    }
}

/// Nothing in a body is ever taken for a request, read or not.
#[test]
fn a_body_is_no_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Name: smuggled\r\n\r\n".repeat(3);
    for make in [sized as fn(&str, &[u8]) -> Vec<u8>, chunked] {
        for read in [0, 1, 20, smuggled.len()] {
            let input = [
                make(&format!("/{read}/7"), smuggled.as_bytes()),
                NEXT.into(),
            ]
            .concat();
            let (seen, _) = serve(&input);
            assert_eq!(seen.len(), 2);
            assert_eq!(seen[1], "next 0 0");
        }
    }
}

#[test]
fn the_client_is_told_to_go_on_by_the_first_read() {
    let head = |path: &str, length: usize| {
        let fields = format!("Host: a\r\nExpect: 100-continue\r\nContent-Length: {length}");
        format!("POST {path} HTTP/1.1\r\n{fields}\r\n\r\n")
    };
    let handler = Reader::default();
    let first = head("/x/10", 5);
    let mut peer = Peer::new([first.as_bytes(), b"hello", NEXT.as_bytes()]);
    peer.serve(&handler);
    assert_eq!(peer.statuses(), ["100", "200", "200"]);
    // It had been told when the body was read.
    assert_eq!(
        peer.at_reads[..2],
        [0, "HTTP/1.1 100 Continue\r\n\r\n".len()]
    );
    // A handler that does not want it says so at once; whether it comes is unknown then.
    let unread = head("/0/10", 5);
    let mut peer = Peer::new([unread.as_bytes(), NEXT.as_bytes()]);
    peer.serve(&handler);
    assert_eq!(peer.statuses(), ["200"]);
    assert!(peer.text().contains("Connection: close\r\n"));
    // One that has come already needs no telling.
    let here = head("/x/10", 5) + "hello";
    let mut peer = Peer::new([here.as_bytes(), NEXT.as_bytes()]);
    peer.serve(&handler);
    assert_eq!(peer.statuses(), ["200", "200"]);
    assert_eq!(handler.seen.into_inner().expect("not poisoned").len(), 5);
}

#[test]
fn a_malformed_body_ends_the_connection() {
    let head = "POST /x/10 HTTP/1.1\r\nHost: a\r\nX-Name: c\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "GET / HTTP/1.1\r\nHost: a\r\nX-Name: never\r\n\r\n";
    for bad in [
        "x",
        "5\r\nhello!",
        "5\r\nhello\r\n-1\r\n",
        "5\r\nhello\r\n0\r\n bad: x\r\n",
    ] {
        let (seen, statuses) = serve(format!("{head}{bad}{next}").as_bytes());
        let read = if bad == "x" { 0 } else { 5 };
        assert_eq!(seen, [format!("c {read} InvalidData")]);
        assert_eq!(statuses, ["400"]);
        assert!(says_close(format!("{head}{bad}{next}").as_bytes()));
    }
    // Cut short.
    let (seen, statuses) = serve(format!("{head}5\r\nhel").as_bytes());
    assert_eq!(
        (seen, statuses),
        (vec!["c 3 InvalidData".to_owned()], vec!["400".to_owned()])
    );
    let (seen, statuses) = serve(
        sized("/x/10", b"hello")
            .strip_suffix(b"lo")
            .expect("its end"),
    );
    assert_eq!(
        (seen, statuses),
        (vec!["s 3 InvalidData".to_owned()], vec!["400".to_owned()])
    );
}

#[test]
fn a_body_beyond_the_plans_limit() {
    // Announced: the handler is not called.
    check(&sized("/x/10/4", b"hello"), &[], &["413"]);
    check(
        &sized("/x/10/5", b"hello"),
        &[&format!("s 5 {}", sum(b"hello"))],
        &["200"],
    );
    // Found out: it gets what there is room for.
    let (seen, statuses) = serve(&[chunked("/x/10/4", b"hello"), NEXT.into()].concat());
    assert_eq!(
        (seen, statuses),
        (vec!["c 0 InvalidData".to_owned()], vec!["413".to_owned()])
    );
    // In many chunks, read or not, and counted over all of them.
    let much = chunked("/x/50000/60000", &bytes(70_000));
    assert_eq!(serve(&much).1, ["413"]);
}

#[test]
fn a_silent_client_is_a_time_out() {
    let handler = Reader::default();
    let request = sized("/x/10", b"hello");
    let mut peer = Peer::new([&request[..request.len() - 2]]).silent_at_the_end();
    peer.serve(&handler);
    assert_eq!(peer.statuses(), ["408"]);
    assert_eq!(
        handler.seen.into_inner().expect("not poisoned"),
        ["s 3 TimedOut"]
    );
}

/// Into a large buffer a large body is read without a detour; a small one, and one in chunks, as
/// little at a time as ever.
#[test]
fn a_large_buffer_is_read_into_itself() {
    for (make, step, is_wide) in [
        (sized as fn(&str, &[u8]) -> Vec<u8>, 100_000, true),
        (sized, 1_000, false),
        (chunked, 100_000, false),
    ] {
        let request = make(&format!("/x/{step}"), &bytes(300_000));
        let mut peer = Peer::new(request.chunks(50_000));
        peer.serve(&Reader::default());
        assert_eq!(peer.statuses(), ["200"]);
        assert_eq!(
            peer.widest_read >= 99_000,
            is_wide,
            "{step} {}",
            peer.widest_read
        );
    }
}

/// The client sends the body only when it has the answer to the request before.
#[test]
fn answers_before_the_body_are_sent_first() {
    let handler = Reader::default();
    let request = sized("/x/10", b"hello");
    let (head, body) = request.split_at(request.len() - 5);
    let first = [NEXT.as_bytes(), head].concat();
    let mut peer = Peer::new([&first[..], body]);
    peer.serve(&handler);
    assert_eq!(peer.statuses(), ["200", "200"]);
    assert_eq!(peer.at_reads[0], 0);
    assert!(peer.at_reads[1] > 0, "it waits for ever otherwise");
}

/// After an error there is no more of the body, whatever comes.
#[test]
fn a_failed_body_stays_failed() {
    struct Twice;
    impl Handler for Twice {
        fn plan(&self, _: &Head) -> Plan {
            Plan::stream(100)
        }
        fn call(&self, request: &mut Request) -> Response {
            let mut buffer = [0; 10];
            let kinds = [(); 2].map(|()| {
                request
                    .body_reader()
                    .read(&mut buffer)
                    .map_err(|e| e.kind())
            });
            assert_eq!(
                kinds,
                [Err(ErrorKind::TimedOut), Err(ErrorKind::InvalidData)]
            );
            Response::text("seen")
        }
    }
    let request = sized("/", b"hello");
    let mut peer = Peer::new([&request[..request.len() - 5]]).silent_at_the_end();
    peer.serve(&Twice);
    assert_eq!(peer.statuses(), ["200"]);
}
