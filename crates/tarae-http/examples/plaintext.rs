//! The plaintext and JSON servers of the TechEmpower benchmarks, for `cargo xtask bench limit`.
//!
//! ```text
//! cargo run --release -p tarae-http --example plaintext -- --listen 127.0.0.1:8080 --workers 1
//! ```

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use tarae::net::TcpListener;
use tarae_http::http::StatusCode;
use tarae_http::http::header::{CONTENT_TYPE, HeaderValue};
use tarae_http::{Limits, Model, Request, Response, Server};

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

fn answer(request: &mut Request) -> Response {
    match request.path() {
        "/plaintext" => Response::text("Hello, World!"),
        "/json" => json(&Message {
            message: "Hello, World!",
        }),
        _ => Response::new(StatusCode::NOT_FOUND),
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => Response::bytes(bytes)
            .with_header(CONTENT_TYPE, HeaderValue::from_static("application/json")),
        Err(_) => Response::new(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn run(listen: &str, model: Model, workers: usize) -> std::io::Result<()> {
    let serve = || {
        let listener = TcpListener::bind(listen)?;
        println!("listening on http://{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let mut limits = Limits::default();
        limits.requests_per_connection = None;
        let server = Server::new(answer).limits(limits);
        server.model(model).serve(listener)
    };
    match model {
        Model::Coroutine => tarae::Builder::new().workers(workers).run(serve)?,
        _ => serve(),
    }
}

fn main() -> ExitCode {
    let (mut listen, mut workers) = (String::from("127.0.0.1:8080"), 1);
    let mut model = Model::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        match (name.as_str(), value) {
            ("--listen", Some(address)) => listen = address,
            ("--workers", Some(count)) if count.parse().is_ok_and(|n: usize| n > 0) => {
                workers = count.parse().expect("checked");
            }
            ("--model", Some(name)) if name.parse::<Model>().is_ok() => {
                model = name.parse().expect("checked");
            }
            (name, value) => {
                eprintln!(
                    "plaintext: cannot use `{name} {}`",
                    value.unwrap_or_default()
                );
                eprintln!("usage: plaintext [--listen ADDRESS] [--model MODEL] [--workers N]");
                return ExitCode::from(2);
            }
        }
    }
    match run(&listen, model, workers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plaintext: cannot serve {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}
