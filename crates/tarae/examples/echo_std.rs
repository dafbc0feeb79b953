//! An echo server as one writes it with the standard library: a thread for each connection.
//!
//! `echo.rs` beside it is the same program on coroutines; a test holds the two to the same lines.
//! Sends back whatever a client sends, until the client has finished.
//!
//! ```text
//! cargo run -p tarae --example echo_std -- 127.0.0.1:7007
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = TcpListener::bind(&address)
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                thread::spawn(move || echo(stream));
            }
            Err(error) => eprintln!("a connection was lost: {error}"),
        }
    }
    Ok(())
}
