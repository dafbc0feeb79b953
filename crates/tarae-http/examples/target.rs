//! A server to try clients, attacks and conformance suites on.
//!
//! ```text
//! cargo run --release -p tarae-http --example target -- --listen 127.0.0.1:8080
//! ```
//!
//! `GET /` answers `OK`, `POST /` the body. Any method on `/echo` answers the head as it was
//! received, one `Name: value` a line, and on `/cookie` the cookies, one `name=value` a line. What
//! is in the table below is set by flags; the rest are the defaults of [`Limits`].

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tarae::net::TcpListener;
use tarae_http::http::header::{ALLOW, HeaderValue};
use tarae_http::http::{Method, StatusCode};
use tarae_http::{Limits, Model, Request, Response, Server};

const USAGE: &str = "usage: target [--listen ADDRESS] [--model MODEL] [--workers N]
  [--head-timeout SECONDS] [--body-timeout SECONDS] [--write-timeout SECONDS]
  [--idle-timeout SECONDS] [--request-timeout SECONDS|none] [--rate BYTES-PER-SECOND]
  [--requests N|none] [--body-limit BYTES]";

fn answer(request: &mut Request) -> Response {
    match (request.path(), request.method()) {
        ("/", &Method::GET | &Method::HEAD) => Response::text("OK"),
        ("/", &Method::POST) => Response::bytes(request.body().to_vec()),
        ("/", _) => Response::new(StatusCode::METHOD_NOT_ALLOWED)
            .with_header(ALLOW, HeaderValue::from_static("GET, HEAD, POST")),
        ("/echo", _) => Response::bytes(lines(request.headers(), b": ")),
        ("/cookie", _) => Response::bytes(lines(request.cookies(), b"=")),
        _ => Response::new(StatusCode::NOT_FOUND),
    }
}

fn lines<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    pairs: impl Iterator<Item = (N, V)>,
    between: &[u8],
) -> Vec<u8> {
    let line = |(name, value): (N, V)| [name.as_ref(), between, value.as_ref(), b"\n"].concat();
    pairs.flat_map(line).collect()
}

struct Options {
    listen: String,
    model: Model,
    /// Of the runtime, for the model that has one.
    workers: usize,
    limits: Limits,
}

/// Gives none if the value is not one for this option, or there is no such option.
fn set(options: &mut Options, name: &str, value: &str) -> Option<()> {
    let limits = &mut options.limits;
    let seconds = || {
        let seconds = value.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    match name {
        "--listen" if !value.is_empty() => options.listen = value.to_owned(),
        "--model" => options.model = value.parse().ok()?,
        "--workers" => options.workers = value.parse().ok().filter(|count| *count > 0)?,
        "--head-timeout" => limits.head_timeout = seconds()?,
        "--body-timeout" => limits.body_timeout = seconds()?,
        "--write-timeout" => limits.write_timeout = seconds()?,
        "--idle-timeout" => limits.idle_timeout = seconds()?,
        "--request-timeout" if value == "none" => limits.request_timeout = None,
        "--request-timeout" => limits.request_timeout = Some(seconds()?),
        "--rate" => limits.rate_min = value.parse().ok()?,
        "--requests" if value == "none" => limits.requests_per_connection = None,
        "--requests" => limits.requests_per_connection = Some(value.parse().ok()?),
        "--body-limit" => limits.body_bytes = value.parse().ok()?,
        _ => return None,
    }
    Some(())
}

fn run(options: Options) -> std::io::Result<()> {
    let (model, workers) = (options.model, options.workers);
    let serve = || {
        let listener = TcpListener::bind(options.listen)?;
        println!("listening on http://{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let server = Server::new(answer).limits(options.limits);
        server.model(model).serve(listener)
    };
    match model {
        Model::Coroutine => tarae::Builder::new().workers(workers).run(serve)?,
        _ => serve(),
    }
}

fn main() -> ExitCode {
    let mut options = Options {
        listen: "127.0.0.1:8080".into(),
        model: Model::default(),
        workers: 1,
        limits: Limits::default(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        if set(&mut options, &name, &value).is_none() {
            let reason = match value.parse::<Model>() {
                Err(error) if name == "--model" => format!(": {error}"),
                _ => String::new(),
            };
            eprintln!("target: cannot use `{name} {value}`{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("target: {error}");
            ExitCode::FAILURE
        }
    }
}
