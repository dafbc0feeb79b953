//! The raw limit: one thread, one edge-triggered epoll, one canned HTTP answer.
//!
//! `cargo xtask bench limit` runs it beside our own server; nothing else calls it. It is the least
//! a server can do and still answer: it counts the blank lines that end requests and sends that
//! many copies of a constant. It must never grow a feature: whatever it does not need to answer
//! `wrk` would make the yardstick shorter and our ratio better than it is.
//!
//! What keeps it fast: no memory per connection but twelve bytes; one `recv` and one `send` for
//! each batch of pipelined requests; a short read counts as "empty until the next event", unless
//! the peer has hung up; no allocation after start-up.

mod answer;
mod net;

use answer::{BATCH, Scanner, answers};
use net::{Epoll, Received, Sent};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

/// As large as a full window of pipelined requests, so that a full read is rare.
const BUFFER_BYTES: usize = 64 * 1024;

/// What is known of one connection. All answers are equal, so what is owed is a number.
#[derive(Clone, Copy, Default)]
struct Connection {
    scanner: Scanner,
    /// Bytes still to be sent.
    owed: u32,
    /// Where in the stream of equal answers the next byte lies, modulo one answer.
    phase: u16,
    /// The kernel may hold more input; set while reading waits for `owed` to drain.
    more: bool,
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// Indexed by descriptor.
    connections: Vec<Connection>,
    answers: Vec<u8>,
    answer_bytes: usize,
    buffer: Box<[u8]>,
}

fn main() {
    let address = match parse_arguments() {
        Ok(address) => address,
        Err(message) => {
            eprintln!("raw: {message}\nusage: raw --listen ADDRESS");
            std::process::exit(2);
        }
    };
    if let Err(error) = serve(address) {
        eprintln!("raw: {address}: {error}");
        std::process::exit(1);
    }
}

/// Accepts and ignores `--workers 1`, so that both sides of a comparison start alike.
fn parse_arguments() -> Result<SocketAddr, String> {
    let mut address = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--listen" => {
                let parsed = value
                    .parse()
                    .map_err(|_| format!("{value}: not ADDRESS:PORT"))?;
                address = Some(parsed);
            }
            "--workers" if value == "1" => {}
            "--workers" => return Err("there is only one worker".into()),
            _ => return Err(format!("{name}: no such option")),
        }
    }
    address.ok_or_else(|| "--listen is missing".into())
}

fn serve(address: SocketAddr) -> std::io::Result<()> {
    let listener = net::listen(address)?;
    let epoll = Epoll::new()?;
    epoll.add_listener(listener.as_raw_fd())?;
    println!("listening on http://{}", listener.local_addr()?);
    let (answers, answer_bytes) = answers();
    let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
    let connections = Vec::new();
    Server {
        epoll,
        listener,
        connections,
        answers,
        answer_bytes,
        buffer,
    }
    .run()
}

impl Server {
    fn run(mut self) -> std::io::Result<()> {
        let listener = self.listener.as_raw_fd();
        let mut events = net::Events::new();
        loop {
            for index in 0..self.epoll.wait(&mut events)? {
                let (fd, flags) = events.at(index);
                if fd == listener {
                    self.accept()?;
                } else {
                    self.ready(fd, flags);
                }
            }
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        while let Some(stream) = net::accept(self.listener.as_raw_fd())? {
            let fd = stream.as_raw_fd();
            self.epoll.add_connection(fd)?;
            let slot = fd as usize;
            if slot >= self.connections.len() {
                self.connections.resize(slot + 1, Connection::default());
            }
            self.connections[slot] = Connection::default();
            // The loop owns the descriptor from here and closes it in `ready`.
            let _ = stream.into_raw_fd();
        }
        Ok(())
    }

    fn ready(&mut self, fd: RawFd, flags: net::Flags) {
        let mut connection = self.connections[fd as usize];
        let open = self.turn(fd, flags, &mut connection);
        if open {
            self.connections[fd as usize] = connection;
        } else {
            net::close(fd);
        }
    }

    /// One event: drain what is owed, then read and answer until the input is empty.
    /// Gives false when the connection is over.
    fn turn(&mut self, fd: RawFd, flags: net::Flags, connection: &mut Connection) -> bool {
        if connection.owed > 0 && !self.send(fd, connection) {
            return false;
        }
        connection.more |= flags.readable();
        while connection.more && connection.owed == 0 {
            match net::receive(fd, &mut self.buffer) {
                Received::Bytes(count) => {
                    connection.more = count == BUFFER_BYTES || flags.hung_up();
                    let requests = connection.scanner.count(&self.buffer[..count]);
                    connection.owed = (requests * self.answer_bytes) as u32;
                    if requests > 0 && !self.send(fd, connection) {
                        return false;
                    }
                }
                Received::Empty => connection.more = false,
                Received::Over => return false,
            }
        }
        true
    }

    /// Sends what is owed, as far as the socket takes it. False when the connection is broken.
    fn send(&self, fd: RawFd, connection: &mut Connection) -> bool {
        while connection.owed > 0 {
            let phase = connection.phase as usize;
            let length = (connection.owed as usize).min(BATCH * self.answer_bytes - phase);
            match net::send(fd, &self.answers[phase..phase + length]) {
                Sent::Bytes(count) => {
                    connection.owed -= count as u32;
                    connection.phase = ((phase + count) % self.answer_bytes) as u16;
                }
                Sent::Full => return true,
                Sent::Broken => return false,
            }
        }
        true
    }
}
