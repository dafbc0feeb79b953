//! Answers whose length is not known before they are sent, and those that end HTTP.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tarae_http::conn::{Buffers, Context, Event, Parked};
use tarae_http::http::{HeaderName, HeaderValue, StatusCode, header};
use tarae_http::{Body, Handler, Head, Plan, Request, Response};

use crate::peer::{Peer, after_head, unchunk};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Everything that is sent in answer to `input`.
fn output(input: &[u8], handler: &impl Handler) -> Vec<u8> {
    let mut peer = Peer::new([input]);
    peer.serve(handler);
    peer.output
}

/// Gives its bytes in steps of a prime number.
struct Steps(usize);

impl Read for Steps {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.min(buf.len()).min(9_973);
        for (at, byte) in buf[..count].iter_mut().enumerate() {
            *byte = (self.0 - at) as u8;
        }
        self.0 -= count;
        Ok(count)
    }
}

fn steps(count: usize) -> Vec<u8> {
    (0..count).map(|at| (count - at) as u8).collect()
}

#[test]
fn a_reader_is_sent_to_its_end() {
    for count in [0, 1, 15, 16, 17, 4_096, 9_973, 100_000, 1_000_000] {
        let handler =
            move |_: &mut Request| Response::text("").with_body(Body::until_end(Steps(count)));
        // Twice, so that something must follow the last chunk.
        let sent = output(&[GET, GET].concat(), &handler);
        let head = String::from_utf8_lossy(&sent).to_lowercase();
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert!(!head.contains("content-length"));
        let (body, _, rest) = unchunk(after_head(&sent)).expect("a last chunk");
        assert!(body == steps(count), "{count}");
        let (body, _, rest) = unchunk(after_head(rest)).expect("a last chunk");
        assert!(body == steps(count) && rest.is_empty(), "{count}");
    }
}

#[test]
fn http_1_0_ends_it_with_the_connection() {
    let handler = |_: &mut Request| Response::text("").with_body(Body::until_end(Steps(100_000)));
    let input = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    let sent = output(input, &handler);
    assert!(String::from_utf8_lossy(&sent).contains("Connection: close\r\n\r\n"));
    assert!(after_head(&sent) == steps(100_000));
    let writes = |_: &mut Request| {
        Response::text("").with_body(Body::from_writer(|out| {
            out.trailer(HeaderName::from_static("x-a"), HeaderValue::from(1));
            out.write_all(&steps(100_000))
        }))
    };
    assert!(after_head(&output(input, &writes)) == steps(100_000));
}

#[test]
fn no_body_no_call() {
    let called = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&called);
    let handler = move |request: &mut Request| {
        let called = Arc::clone(&theirs);
        let code = request.path()[1..].parse().unwrap_or(200);
        let body = Body::from_writer(move |out| {
            called.fetch_add(1, Ordering::Relaxed);
            out.write_all(b"never")
        });
        let status = StatusCode::from_u16(code).expect("a status");
        Response::text("").with_body(body).with_status(status)
    };
    for request in ["HEAD /", "GET /204", "GET /304", "GET /205"] {
        let input = format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n");
        let sent = output(input.as_bytes(), &handler);
        assert_eq!(after_head(&sent), b"", "{request}");
        let head = String::from_utf8_lossy(&sent);
        assert_eq!(head.contains("chunked"), request == "HEAD /", "{request}");
    }
    assert_eq!(called.load(Ordering::Relaxed), 0);
}

#[test]
fn a_writer_writes_what_it_likes() {
    let handler = |_: &mut Request| {
        Response::text("").with_body(Body::from_writer(|out| {
            (0..1_000).try_for_each(|number| write!(out, "{number},"))?;
            out.flush()?;
            out.flush()?;
            out.write_all(&[])?;
            out.write_all(&steps(100_000))?;
            out.write_all(b"end")
        }))
    };
    let sent = output(&[GET, GET].concat(), &handler);
    let numbers: String = (0..1_000).map(|number| format!("{number},")).collect();
    let want = [numbers.as_bytes(), &steps(100_000), b"end"].concat();
    let (body, trailers, rest) = unchunk(after_head(&sent)).expect("a last chunk");
    assert!(body == want && trailers.is_empty());
    // Small pieces do not make small chunks.
    assert!(after_head(&sent).starts_with(b"f32\r\n0,1,2,"));
    let (body, _, rest) = unchunk(after_head(rest)).expect("a last chunk");
    assert!(body == want && rest.is_empty());
}

/// What is flushed is there before the writer goes on.
#[test]
fn flush_sends() {
    struct Noting(Arc<Mutex<Vec<u8>>>);
    impl Read for Noting {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = GET.len().min(buf.len());
            buf[..count].copy_from_slice(&GET[..count]);
            // Once.
            match self.0.lock().expect("not poisoned").is_empty() {
                true => Ok(count),
                false => Ok(0),
            }
        }
    }
    impl Write for Noting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("not poisoned")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sent = Arc::<Mutex<Vec<u8>>>::default();
    let seen = Arc::clone(&sent);
    let handler = move |_: &mut Request| {
        let seen = Arc::clone(&seen);
        Response::text("").with_body(Body::from_writer(move |out| {
            out.write_all(b"early")?;
            assert!(seen.lock().expect("not poisoned").is_empty());
            out.flush()?;
            assert!(
                seen.lock()
                    .expect("not poisoned")
                    .ends_with(b"\r\n\r\n5\r\nearly\r\n")
            );
            Ok(())
        }))
    };
    let (limits, mut common) = Default::default();
    let mut stream = Noting(Arc::clone(&sent));
    tarae_http::serve_stream(&mut stream, &handler, &limits, &mut common, None).expect("served");
    assert!(
        sent.lock()
            .expect("not poisoned")
            .ends_with(b"early\r\n0\r\n\r\n")
    );
}

#[test]
fn trailers() {
    let handler = |_: &mut Request| {
        Response::text("").with_body(Body::from_writer(|out| {
            out.trailer(HeaderName::from_static("x-sum"), HeaderValue::from(1));
            for name in [
                header::CONTENT_LENGTH,
                header::SET_COOKIE,
                header::HOST,
                header::TRAILER,
            ] {
                out.trailer(name, HeaderValue::from(2));
            }
            out.write_all(b"body")?;
            out.trailer(HeaderName::from_static("x-sum"), HeaderValue::from(3));
            Ok(())
        }))
    };
    let sent = output(&[GET, GET].concat(), &handler);
    let (body, trailers, rest) = unchunk(after_head(&sent)).expect("a last chunk");
    assert_eq!(
        (body.as_slice(), trailers.as_str()),
        (&b"body"[..], "x-sum: 1\r\nx-sum: 3")
    );
    assert!(rest.starts_with(b"HTTP/1.1 200 "));
}

/// The client must see that something is missing, and nothing else may be taken for the rest.
#[test]
fn a_body_that_fails_has_no_end() {
    struct Failing(bool);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0 {
                panic_or_fail()?;
            }
            self.0 = true;
            buf[..4].copy_from_slice(b"half");
            Ok(4)
        }
    }
    fn panic_or_fail() -> io::Result<()> {
        Err(io::Error::other("no more"))
    }
    type Make = fn() -> Body;
    let bodies: [Make; 4] = [
        || Body::until_end(Failing(false)),
        || Body::until_end(b"half".chain(Panicking)),
        || Body::from_writer(|out| out.write_all(b"half").and_then(|()| panic_or_fail())),
        || {
            Body::from_writer(|out| {
                out.write_all(b"half")?;
                out.flush()?;
                std::panic::resume_unwind(Box::new("a writer"))
            })
        },
    ];
    for (number, make) in bodies.into_iter().enumerate() {
        let handler = move |_: &mut Request| Response::text("").with_body(make());
        let sent = output(&[GET, GET].concat(), &handler);
        assert_eq!(unchunk(after_head(&sent)), None, "{number}");
        assert_eq!(
            String::from_utf8_lossy(&sent).matches("HTTP/1.1").count(),
            1,
            "{number}"
        );
    }
}

struct Panicking;

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        std::panic::resume_unwind(Box::new("a reader"))
    }
}

/// A client that takes no more ends the writer; one that ignores that cannot end the body.
#[test]
fn a_writer_learns_that_nobody_listens() {
    for ignores in [false, true] {
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let handler = move |_: &mut Request| {
            let rounds = Arc::clone(&counted);
            Response::text("").with_body(Body::from_writer(move |out| {
                for _ in 0..1_000 {
                    let written = out.write_all(&[0; 10_000]);
                    if !ignores {
                        written?;
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }))
        };
        let mut peer = Peer::new([GET, GET]);
        peer.broken_after = 50_000;
        peer.serve(&handler);
        assert_eq!(peer.output.len(), 50_000);
        assert_eq!(rounds.load(Ordering::Relaxed) == 1_000, ignores);
        assert!(ignores || rounds.load(Ordering::Relaxed) < 10);
    }
}

/// One that takes more later gets no end of a body of which a piece is missing.
#[test]
fn a_body_with_a_hole_has_no_end() {
    let handler = |_: &mut Request| {
        Response::text("").with_body(Body::from_writer(|out| {
            (0..10).for_each(|_| drop(out.write_all(&[b'x'; 20_000])));
            Ok(())
        }))
    };
    let mut peer = Peer::new([GET, GET]);
    (peer.broken_after, peer.recovers) = (50_000, true);
    peer.serve(&handler);
    assert_eq!(peer.output.len(), 50_000);
}

// ---- other protocols ------------------------------------------------------------------------

/// Answers each line in capitals.
fn shouting(_: &mut Request) -> Response {
    Response::switching_protocols(HeaderValue::from_static("shout"), |peer| {
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("text");
        peer.write_all(text.to_uppercase().as_bytes())
            .expect("sent");
    })
}

fn asking(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn another_protocol_has_the_connection() {
    let head = asking("Connection: keep-alive, Upgrade\r\nUpgrade: other, SHOUT\r\n");
    // What comes early and late, and looks like a request.
    let all = format!("{head}get / http/1.1\r\n\r\n");
    for pieces in [vec![all.as_bytes()], all.as_bytes().chunks(1).collect()] {
        let mut peer = Peer::new(pieces);
        peer.serve(&shouting);
        let text = peer.text();
        assert!(
            text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{text}"
        );
        assert!(text.to_lowercase().contains("upgrade: shout\r\n"), "{text}");
        assert!(text.contains("Connection: upgrade\r\n"), "{text}");
        assert!(
            !text.contains("Content-Length") && !text.contains("chunked"),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), "{text}");
    }
}

#[test]
fn nobody_is_upgraded_who_did_not_ask() {
    for fields in [
        "",
        "Upgrade: shout\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: whisper\r\n",
    ] {
        let input = format!("{}{}", asking(fields), asking("Connection: close\r\n"));
        let text = String::from_utf8_lossy(&output(input.as_bytes(), &shouting)).into_owned();
        // HTTP goes on.
        assert_eq!(text.matches("HTTP/1.1 426 ").count(), 2, "{fields}: {text}");
        assert!(text.to_lowercase().contains("upgrade: shout\r\n"), "{text}");
    }
    let old = "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
    assert!(output(old.as_bytes(), &shouting).starts_with(b"HTTP/1.1 426 "));
}

/// What the connection would have done after the answer does not matter any more.
#[test]
fn an_upgrade_that_would_close_otherwise() {
    let input = asking("Connection: close, upgrade\r\nUpgrade: shout\r\n") + "early";
    let sent = output(input.as_bytes(), &shouting);
    assert!(sent.starts_with(b"HTTP/1.1 101 ") && sent.ends_with(b"\r\n\r\nEARLY"));
}

/// Nobody could tell the rest of the body from the other protocol.
#[test]
fn no_upgrade_in_the_middle_of_a_body() {
    struct Unread;
    impl Handler for Unread {
        fn plan(&self, _: &Head) -> Plan {
            Plan::stream(100)
        }
        fn call(&self, request: &mut Request) -> Response {
            shouting(request)
        }
    }
    let head = asking("Connection: upgrade\r\nUpgrade: shout\r\nContent-Length: 5\r\n");
    let sent = output(format!("{head}hello{head}hello").as_bytes(), &Unread);
    assert_eq!(
        String::from_utf8_lossy(&sent)
            .matches("HTTP/1.1 426 ")
            .count(),
        2
    );
}

#[test]
fn no_upgrade_while_the_server_stops() {
    let (limits, common) = Default::default();
    let context = Context {
        limits: &limits,
        common: &common,
    };
    for (stops, status) in [(false, "101"), (true, "426")] {
        let mut conn = Parked::new(None).resume(Buffers::new());
        let request = asking("Connection: upgrade\r\nUpgrade: shout\r\n");
        conn.space()[..request.len()].copy_from_slice(request.as_bytes());
        conn.received(request.len());
        assert_eq!(conn.next(context), Event::Plan);
        conn.planned(Plan::default(), context);
        if stops {
            conn.drain();
        }
        let response = shouting(&mut conn.request());
        conn.respond(response, context);
        assert_eq!(&conn.output()[9..12], status.as_bytes());
    }
}

#[test]
fn answers_before_an_upgrade_are_sent_first() {
    let mixed = |request: &mut Request| match request.path() {
        "/" => shouting(request),
        _ => Response::text("plain"),
    };
    let first = "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = format!(
        "{first}{}hi",
        asking("Connection: upgrade\r\nUpgrade: shout\r\n")
    );
    let text = String::from_utf8_lossy(&output(input.as_bytes(), &mixed)).into_owned();
    let (plain, shout) = (
        text.find("plain").expect("sent"),
        text.find("101 ").expect("sent"),
    );
    assert!(plain < shout && text.ends_with("\r\n\r\nHI"), "{text}");
}

#[test]
fn a_tunnel_is_for_connect() {
    let tunnel = |_: &mut Request| {
        Response::tunnel(|peer| {
            let mut text = Vec::new();
            peer.read_to_end(&mut text).expect("it ends");
            text.reverse();
            peer.write_all(&text).expect("sent");
        })
    };
    let sent = output(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nabc", &tunnel);
    assert!(sent.starts_with(b"HTTP/1.1 200 ") && sent.ends_with(b"\r\n\r\ncba"));
    let sent = output(&[GET, GET].concat(), &tunnel);
    assert_eq!(
        String::from_utf8_lossy(&sent)
            .matches("Content-Length: 0\r\n")
            .count(),
        2
    );
}

#[test]
fn a_panic_in_another_protocol_ends_its_connection() {
    let handler = |_: &mut Request| {
        Response::switching_protocols(HeaderValue::from_static("shout"), |_| {
            std::panic::resume_unwind(Box::new("in another protocol"))
        })
    };
    let input = asking("Connection: upgrade\r\nUpgrade: shout\r\n");
    let mut peer = Peer::new([input.as_bytes()]);
    assert_eq!(peer.serve(&handler).requests, 1);
}
