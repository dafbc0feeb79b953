//! The final web server of *The Rust Programming Language* (chapter 21), ported.
//!
//! After the Book's listings (<https://doc.rust-lang.org/book/>, MIT or Apache-2.0). The port is
//! `use std::` → `use tarae::` and the attribute on `main`. The four workers of the pool become
//! coroutines, here of a single thread: a sleep parks one of them and holds up nobody else. As in
//! the Book it answers two requests and ends when both are done; give it another number to go on
//! for longer.
//!
//! ```text
//! cargo run -p tarae --example book_server -- [ADDRESS [REQUESTS [SLEEP_MS]]]
//! ```

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::thread;

mod pool;

use pool::ThreadPool;

/// Where the pages are.
const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/book_server");

fn handle_connection(mut stream: TcpStream, sleep: Duration) -> io::Result<()> {
    let mut request_line = String::new();
    BufReader::new(&stream).read_line(&mut request_line)?;

    let (status_line, filename) = match request_line.trim_end() {
        "GET / HTTP/1.1" => ("HTTP/1.1 200 OK", "hello.html"),
        "GET /sleep HTTP/1.1" => {
            thread::sleep(sleep);
            ("HTTP/1.1 200 OK", "hello.html")
        }
        _ => ("HTTP/1.1 404 NOT FOUND", "404.html"),
    };

    let contents = fs::read_to_string(format!("{PAGES}/{filename}"))?;
    let length = contents.len();
    let response = format!("{status_line}\r\nContent-Length: {length}\r\n\r\n{contents}");
    stream.write_all(response.as_bytes())
}

/// The argument at `place`, or `default`; an error that names it if it is no number.
fn number(place: usize, default: u64) -> io::Result<u64> {
    std::env::args().nth(place).map_or(Ok(default), |text| {
        text.parse()
            .map_err(|_| io::Error::other(format!("`{text}` is not a number")))
    })
}

#[tarae::main(workers = 1)]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".into());
    let requests = number(2, 2)?;
    let sleep = Duration::from_millis(number(3, 5_000)?);

    let listener = TcpListener::bind(&address)
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;

    let pool = ThreadPool::new(4);
    for stream in listener.incoming().take(requests as usize) {
        let stream = stream?;
        pool.execute(move || {
            if let Err(error) = handle_connection(stream, sleep) {
                eprintln!("a connection was lost: {error}");
            }
        });
    }

    println!("Shutting down.");
    Ok(())
}
