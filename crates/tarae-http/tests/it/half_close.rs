//! A client that shuts down its writing side right behind its request has not gone: it gets the
//! whole answer, of whatever kind, from the server on coroutines and from `serve_stream`.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use tarae_http::http::{HeaderName, HeaderValue};
use tarae_http::{
    Body, CommonHeaders, Handler, Head, Limits, Plan, Request, Response, Server, serve_stream,
};

use crate::host::{Client, GIVE_UP, Host};
use crate::peer::{after_head, unchunk};

const LARGE: usize = 20_000_000;
const SMALLER: usize = 5_000_000;

fn contents(count: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).collect();
    let mut bytes = period.repeat(count / 251 + 1);
    bytes.truncate(count);
    bytes
}

/// A file that is removed with this.
struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Site {
        let name = format!("http-half-close-{name}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, contents(LARGE)).expect("a file");
        Site(path)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Handler for Site {
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/stream" => Plan::stream(u64::MAX),
            _ => Plan::body_limit(LARGE),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        let body = match request.path() {
            "/small" => return Response::bytes(contents(10)),
            "/large" => return Response::bytes(contents(SMALLER)),
            "/whole" => return Response::bytes(request.body().to_vec()),
            "/stream" => {
                let mut taken = Vec::new();
                let count = io::copy(&mut request.body_reader(), &mut taken);
                assert_eq!(count.expect("a whole body"), taken.len() as u64);
                return Response::bytes(taken);
            }
            "/file" => {
                let file = tarae::fs::File::open(&self.0).expect("it is there");
                Body::from_file(file, 0, LARGE as u64)
            }
            "/sized" => Body::from_reader(io::Cursor::new(contents(SMALLER)), SMALLER as u64),
            "/reader" => Body::until_end(io::Cursor::new(contents(SMALLER))),
            _ => Body::from_writer(|out| {
                let all = contents(SMALLER);
                all.chunks(3_000)
                    .try_for_each(|piece| out.write_all(piece))?;
                out.trailer(HeaderName::from_static("x-end"), HeaderValue::from(1));
                Ok(())
            }),
        };
        Response::text("").with_body(body)
    }
}

/// What is sent, and the body of what has to come.
fn requests() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let upload = |path: &str| {
        let mut request = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        request.extend_from_slice(format!("Content-Length: {SMALLER}\r\n\r\n").as_bytes());
        request.extend_from_slice(&contents(SMALLER));
        request
    };
    let mut chunked = b"PUT /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n".to_vec();
    for piece in contents(SMALLER).chunks(10_000) {
        chunked.extend_from_slice(format!("\r\n{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
    }
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    vec![
        ("small", get("/small"), contents(10)),
        ("large", get("/large"), contents(SMALLER)),
        ("file", get("/file"), contents(LARGE)),
        ("sized reader", get("/sized"), contents(SMALLER)),
        ("reader", get("/reader"), contents(SMALLER)),
        ("writer", get("/writer"), contents(SMALLER)),
        ("whole upload", upload("/whole"), contents(SMALLER)),
        ("streaming upload", upload("/stream"), contents(SMALLER)),
        ("chunked upload", chunked, contents(SMALLER)),
        (
            "head only",
            b"HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            Vec::new(),
        ),
    ]
}

/// The body of the first answer, and what follows it.
fn body<'a>(name: &str, output: &'a [u8], len: usize) -> (Vec<u8>, &'a [u8]) {
    assert!(output.starts_with(b"HTTP/1.1 200 "), "{name}");
    let rest = after_head(output);
    let head = String::from_utf8_lossy(&output[..output.len() - rest.len()]);
    if head.contains("Transfer-Encoding: chunked\r\n") {
        let (body, trailers, rest) = unchunk(rest).unwrap_or_else(|| panic!("{name}: cut short"));
        let want = if name == "writer" { "x-end: 1" } else { "" };
        assert_eq!(trailers, want, "{name}");
        return (body, rest);
    }
    assert!(rest.len() >= len, "{name}: {} of {len} bytes", rest.len());
    (rest[..len].to_vec(), &rest[len..])
}

#[track_caller]
fn check(name: &str, output: &[u8], want: &[u8]) {
    let (got, rest) = body(name, output, want.len());
    assert!(got == want && rest.is_empty(), "{name}");
}

#[test]
fn the_server_answers_whole() {
    for workers in [1, 2] {
        let host = Host::start(workers, Server::new(Site::new(&format!("whole-{workers}"))));
        for (name, request, want) in requests() {
            let mut client = host.client();
            client.send(&request);
            client.half_close();
            check(name, &client.rest(), &want);
        }
        host.until_open(0);
    }
}

/// The end of the input comes while the answer is being written, to a client with little room.
#[test]
fn the_server_goes_on_in_the_middle_of_an_answer() {
    let host = Host::start(1, Server::new(Site::new("middle")));
    for (name, request, want) in requests() {
        let mut client = host.client();
        rustix::net::sockopt::set_socket_recv_buffer_size(&client.stream, 64 * 1024)
            .expect("settable");
        client.send(&request);
        assert_eq!(client.answer_head().status, "200", "{name}");
        client.half_close();
        check(name, &client.rest(), &want);
    }
    host.until_open(0);
}

#[test]
fn the_server_answers_all_that_was_pipelined() {
    let host = Host::start(1, Server::new(Site::new("pipelined")));
    let client = host.client();
    let mut sender = client.stream.try_clone().expect("a free descriptor");
    // The client has to read meanwhile: the server reads no further than it has answered.
    let sending = thread::spawn(move || {
        for (_, request, _) in requests() {
            sender.write_all(&request).expect("sent");
        }
        sender.shutdown(Shutdown::Write).expect("connected");
    });
    let all = client.rest();
    sending.join().expect("no panic");
    let mut rest = &all[..];
    for (name, _, want) in requests() {
        let (got, after) = body(name, rest, want.len());
        assert!(got == want, "{name}");
        rest = after;
    }
    assert!(rest.is_empty());
    host.until_open(0);
}

#[test]
fn a_stream_is_answered_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let site = Site::new("stream");
        for (name, ..) in requests() {
            let (mut stream, peer): (TcpStream, _) = listener.accept().expect("accepted");
            stream.set_read_timeout(Some(GIVE_UP)).expect("settable");
            stream.set_write_timeout(Some(GIVE_UP)).expect("settable");
            let (limits, mut common) = (Limits::default(), CommonHeaders::default());
            let served = serve_stream(&mut stream, &site, &limits, &mut common, Some(peer));
            assert_eq!(served.expect("no error").requests, 1, "{name}");
        }
    });
    for (name, request, want) in requests() {
        let mut client = Client::connect(addr);
        client.send(&request);
        client.half_close();
        check(name, &client.rest(), &want);
    }
    server.join().expect("no panic");
}
