//! The echo server, and its twin of the standard library: the same tests for both.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use crate::program::{Program, connect, read_all};

const TWINS: [&str; 2] = ["echo", "echo_std"];

#[test]
fn clients_are_served_at_once_in_any_order() {
    for name in TWINS {
        let (_program, address) = Program::server(name);
        let mut clients: Vec<_> = (0..50).map(|_| connect(&address)).collect();
        for round in 0..3 {
            for (number, client) in clients.iter_mut().enumerate() {
                let text = format!("client {number}, round {round}\n");
                client.write_all(text.as_bytes()).expect(name);
            }
            // The last one first: nobody is served only after somebody else has gone.
            for (number, client) in clients.iter_mut().enumerate().rev() {
                let text = format!("client {number}, round {round}\n");
                let mut answer = vec![0; text.len()];
                client.read_exact(&mut answer).expect(name);
                assert_eq!(answer, text.as_bytes(), "{name}");
            }
        }
    }
}

#[test]
fn all_comes_back_after_the_client_has_finished_sending() {
    // More than all buffers on the way hold, so that both sides have to wait for each other.
    let sent: Vec<u8> = (0..16 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    for name in TWINS {
        let (_program, address) = Program::server(name);
        let stream = connect(&address);
        let mut sending = stream.try_clone().expect("a descriptor is free");
        let received = thread::scope(|scope| {
            scope.spawn(|| {
                sending.write_all(&sent).expect(name);
                sending.shutdown(Shutdown::Write).expect(name);
            });
            read_all(&stream)
        });
        assert!(received == sent, "{name}: other bytes came back");
    }
}

#[test]
fn a_client_that_resets_its_connection_harms_nobody_else() {
    for name in TWINS {
        let (_program, address) = Program::server(name);
        for _ in 0..20 {
            let mut rude = connect(&address);
            rude.write_all(b"bye").expect(name);
            let mut one = [0];
            rude.read_exact(&mut one).expect(name);
            // Closing with unread bytes sends a reset.
        }
        let mut client = connect(&address);
        client.write_all(b"still there?").expect(name);
        client.shutdown(Shutdown::Write).expect(name);
        assert_eq!(read_all(&client), b"still there?", "{name}");
    }
}
