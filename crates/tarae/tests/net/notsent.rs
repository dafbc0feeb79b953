//! The bound on what the kernel takes of a client that does not read.
//!
//! Guards that connections inherit it from their listener, and that a writer who waits for room
//! under it is woken: there is none until less than half of the bound is left.

use std::io::{ErrorKind, Read, Write};

use tarae::net::{TcpListener, TcpStream};

use super::support::everywhere;

const BOUND: u32 = 16 * 1024;
const PART: [u8; 4096] = [b'x'; 4096];

/// A connection, and the client at its other end.
fn accepted(listener: &TcpListener) -> (TcpStream, std::net::TcpStream) {
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

/// How much the kernel takes before it refuses.
fn taken(mut stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut count = 0;
    loop {
        match stream.write(&PART) {
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    count
}

#[test]
fn the_kernel_takes_less() {
    everywhere("the_kernel_takes_less", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (without, _client) = accepted(&listener);
        listener.set_notsent_lowat(BOUND).unwrap();
        let (with, _client) = accepted(&listener);
        let (without, with) = (taken(&without), taken(&with));
        assert!(4 * with < without, "{with} and {without} bytes");
    });
}

#[test]
fn a_writer_is_woken() {
    const TOTAL: usize = 4 << 20;
    everywhere("a_writer_is_woken", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_notsent_lowat(BOUND).unwrap();
        let (mut stream, mut client) = accepted(&listener);
        let full = taken(&stream);
        let reader = std::thread::spawn(move || client.read_to_end(&mut Vec::new()).unwrap());
        let all = vec![b'x'; TOTAL - full];
        stream.write_all(&all).unwrap();
        drop(stream);
        assert_eq!(reader.join().unwrap(), TOTAL);
    });
}
