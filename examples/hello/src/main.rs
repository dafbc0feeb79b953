//! A server to start from: plain blocking code, and a coroutine for each request under way.

use tarae::net::TcpListener;
use tarae_http::{Request, Response, Server};

fn hello(request: &mut Request) -> Response {
    Response::text(format!("Hello from {}\n", request.path()))
}

#[tarae::main]
fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening on http://{}", listener.local_addr()?);
    Server::new(hello).serve(listener)
}
