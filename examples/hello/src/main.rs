//! A server to start from. Plain blocking code: one coroutine for each connection.

use tarae::net::TcpListener;
use tarae_http::{CommonHeaders, Limits, Request, Response, serve_stream};

fn hello(request: &mut Request) -> Response {
    Response::text(format!("Hello from {}\n", request.path()))
}

#[tarae::main]
fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (mut stream, peer) = listener.accept()?;
        tarae::spawn(move || {
            let mut common = CommonHeaders::default();
            serve_stream(
                &mut stream,
                &hello,
                &Limits::default(),
                &mut common,
                Some(peer),
            )
        });
    }
}
