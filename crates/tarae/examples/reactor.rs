//! A server as the reactor pattern has it: one thread runs an event loop, and pool threads run the
//! handlers that take long.
//!
//! Called from the command line with the address to listen on, `127.0.0.1:7007` if there is none:
//!
//! ```text
//! cargo run -p tarae --example reactor -- 127.0.0.1:7007
//! ```
//!
//! Two kinds of handlers: whoever connects is accepted on the loop, which is short and waits for
//! nothing; each connection's lines are answered on a thread of the pool, where it does not matter
//! how long that takes. A line is echoed, and
//!
//! * `slow PATH` reads a file first, to its end: if that is a pipe, until its writer closes it.
//!   The thread of the pool is blocked meanwhile, the others are answered.
//! * `quit` ends the server.
//!
//! Each answer says which thread gave it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tarae::event::{Handler, Interest, Reactor};

/// How long a line may be.
const LINE_MAX: usize = 4096;

/// What the loop is told when a connection has been served.
enum Served {
    Goes,
    Ended,
    Quit,
}

/// Answers one line: it may take long, and block.
fn answer(line: &str) -> String {
    let text = match line.strip_prefix("slow ") {
        Some(path) => std::fs::read_to_string(path).map_or_else(
            |error| format!("{path}: {error}"),
            |text| text.trim_end().to_owned(),
        ),
        None => line.to_owned(),
    };
    let thread = thread::current();
    format!("{}: {text}\n", thread.name().unwrap_or_default())
}

/// Reads what has come on a connection and answers the lines that are whole. `begun` is what has
/// come of the next one.
fn serve(stream: &mut TcpStream, begun: &mut Vec<u8>) -> io::Result<Served> {
    let mut buffer = [0; 1024];
    // Something has come, so this does not block.
    let count = stream.read(&mut buffer)?;
    if count == 0 {
        return Ok(Served::Ended);
    }
    begun.extend_from_slice(&buffer[..count]);
    while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = begun.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        if line.trim_end() == "quit" {
            return Ok(Served::Quit);
        }
        stream.write_all(answer(line.trim_end()).as_bytes())?;
    }
    if begun.len() > LINE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line too long",
        ));
    }
    Ok(Served::Goes)
}

/// Has a connection served by the pool, one event after the other.
fn welcome(reactor: &Reactor, stream: TcpStream) {
    let mut begun = Vec::new();
    let handler = Handler::new(move |stream, _| serve(stream, &mut begun));
    // Back on the thread of the loop.
    let handler = handler.then(|reactor, _, served| match served {
        Ok(Served::Goes) => {}
        Ok(Served::Quit) => reactor.events().stop(),
        Ok(Served::Ended) => reactor.events().remove_current(),
        Err(error) => {
            eprintln!("a connection: {error}");
            reactor.events().remove_current();
        }
    });
    if let Err(error) = reactor.add(stream, Interest::READ, handler) {
        eprintln!("a connection: {error}");
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7007");
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let reactor = Reactor::new()?;
    // A call of Tarae that would block the loop is an error.
    reactor.events().set_strict(true);
    let accept = Handler::new(|listener: &mut TcpListener, _| listener.accept())
        .on_loop()
        .then(|reactor, _, accepted| match accepted {
            Ok((stream, _)) => welcome(reactor, stream),
            // Whoever was there has gone again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => eprintln!("accept: {error}"),
        });
    reactor.add(listener, Interest::READ, accept)?;
    reactor.run()
}
