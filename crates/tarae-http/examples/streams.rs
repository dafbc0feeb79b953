//! Bodies that never lie in memory as a whole: uploads, forms with files, downloads, events.
//!
//! ```text
//! cargo run -p tarae-http --example streams -- 127.0.0.1:8080
//! curl -T large.iso http://127.0.0.1:8080/upload     # counts lines and bytes while they come
//! curl -F note=hi -F file=@photo.jpg http://127.0.0.1:8080/form
//! curl http://127.0.0.1:8080/self > program          # a file, sent by the kernel
//! curl -N http://127.0.0.1:8080/events               # a line each second, until you leave
//! ```

use std::io::{self, Read, Write};
use std::time::Duration;

use tarae::fs::File;
use tarae::net::TcpListener;
use tarae::thread::{is_cancelled, sleep};
use tarae_http::http::StatusCode;
use tarae_http::multipart::{Limits, Multipart, boundary};
use tarae_http::{Body, BodyError, Handler, Head, Plan, Request, Response, Server};

struct Streams;

impl Handler for Streams {
    /// Decided when the head is there: only these two take a body, and read it themselves.
    fn plan(&self, head: &Head) -> Plan {
        match head.path() {
            "/upload" => Plan::stream(u64::MAX).timeout(None),
            "/form" => Plan::stream(100 << 20),
            _ => Plan::default(),
        }
    }

    fn call(&self, request: &mut Request) -> Response {
        match request.path() {
            "/upload" => upload(request).unwrap_or_else(|error| BodyError::answer(&error)),
            "/form" => form(request),
            "/self" => file().unwrap_or_else(|_| status(StatusCode::NOT_FOUND)),
            "/events" => Response::text("").with_body(Body::from_writer(events)),
            _ => status(StatusCode::NOT_FOUND),
        }
    }
}

fn status(status: StatusCode) -> Response {
    Response::text(format!("{status}\n")).with_status(status)
}

/// Sixteen kilobytes at a time, whatever comes.
fn upload(request: &mut Request) -> io::Result<Response> {
    let (mut lines, mut total, mut buffer) = (0, 0, [0; 16 * 1024]);
    let mut body = request.body_reader();
    loop {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            return Ok(Response::text(format!("{lines} lines, {total} bytes\n")));
        }
        lines += buffer[..count]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        total += count;
    }
}

/// One part after the other, none of which is kept.
fn form(request: &mut Request) -> Response {
    let content_type = request.header("content-type").unwrap_or_default();
    let Some(boundary) = boundary(content_type).map(<[u8]>::to_vec) else {
        return status(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    };
    let mut parts = Multipart::new(request.body_reader(), &boundary, Limits::default());
    let mut answer = String::new();
    loop {
        let counted = parts.next_part().and_then(|part| {
            let Some(mut part) = part else {
                return Ok(None);
            };
            let (name, file) = (part.name().to_owned(), part.file_name().map(str::to_owned));
            let bytes = io::copy(&mut part, &mut io::sink())?;
            let file = file.map_or(String::new(), |file| format!(" ({file})"));
            Ok(Some(format!("{name}{file}: {bytes} bytes\n")))
        });
        match counted {
            Ok(Some(line)) => answer.push_str(&line),
            Ok(None) => return Response::text(answer),
            Err(error) => return BodyError::answer(&error),
        }
    }
}

fn file() -> io::Result<Response> {
    let file = File::open(std::env::current_exe()?)?;
    let length = file.metadata()?.len();
    Ok(Response::bytes(&[][..]).with_body(Body::from_file(file, 0, length)))
}

/// Ends when the client has gone, which a write tells, or when the server stops.
fn events(out: &mut tarae_http::BodyWriter) -> io::Result<()> {
    for number in 1_u64.. {
        writeln!(out, "event {number}")?;
        out.flush()?;
        sleep(Duration::from_secs(1));
        if is_cancelled() {
            break;
        }
    }
    Ok(())
}

#[tarae::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;
    Server::new(Streams).serve(listener)
}
