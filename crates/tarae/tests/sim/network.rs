//! The simulated network does what the real one does: the same scripts run on both, and must write
//! down the same.

use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::Builder;

/// What a script saw.
#[derive(Default)]
struct Transcript(Vec<String>);

impl Transcript {
    /// A result as text; of an error, its kind and number.
    fn add<T: Debug>(&mut self, what: &str, result: io::Result<T>) {
        let text = result.map_err(|error| (error.kind(), error.raw_os_error()));
        self.0.push(format!("{what}: {text:?}"));
    }
}

/// Runs the script on a connection, on the real network and on simulated ones.
#[track_caller]
fn same(script: impl Fn(&mut Transcript, TcpListener, TcpStream, TcpStream)) {
    let connected = || {
        let mut transcript = Transcript::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        script(&mut transcript, listener, client, server);
        transcript.0
    };
    let real = tarae::run(connected).unwrap();
    assert!(!real.is_empty());
    for seed in 0..10 {
        let simulated = Builder::new(seed).no_faults().run(connected).unwrap();
        assert_eq!(simulated.value, real, "seed {seed}");
    }
}

#[test]
fn bytes_go_through_both_ways_and_end() {
    same(|t, _, mut client, mut server| {
        t.add("write", client.write(b"hello"));
        t.add("write nothing", client.write(b""));
        let mut buffer = [0; 3];
        t.add("peek", server.peek(&mut buffer));
        t.add("read", server.read(&mut buffer));
        t.add("", Ok(buffer));
        t.add("half-close", client.shutdown(Shutdown::Write));
        t.add("write after it", client.write(b"x"));
        let mut text = String::new();
        t.add("read to the end", server.read_to_string(&mut text));
        t.add(&text, server.read(&mut buffer));
        t.add("answer", server.write(b"answer"));
        drop(server);
        text.clear();
        t.add("read the answer", client.read_to_string(&mut text));
        t.add(&text, client.read(&mut buffer));
    });
}

#[test]
fn vectored_calls_fill_slice_after_slice() {
    same(|t, _, mut client, mut server| {
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        t.add("write", client.write_vectored(&slices));
        let (mut one, mut other) = ([0; 1], [0; 9]);
        let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
        t.add("read", server.read_vectored(&mut buffers));
        t.add("read nothing", server.read_vectored(&mut []));
        t.add("", Ok((one, other)));
    });
}

#[test]
fn nobody_there_and_addresses_taken() {
    same(|t, listener, _client, _server| {
        let address = listener.local_addr().unwrap();
        t.add("bind again", TcpListener::bind(address).map(drop));
        drop(listener);
        t.add("connect", TcpStream::connect(address).map(drop));
        let long = Duration::from_secs(60);
        t.add(
            "connect",
            TcpStream::connect_timeout(&address, long).map(drop),
        );
        t.add("bind", TcpListener::bind(address).map(drop));
    });
}

#[test]
fn calls_that_must_not_wait_do_not() {
    same(|t, listener, mut client, mut server| {
        client.set_nonblocking(true).unwrap();
        listener.set_nonblocking(true).unwrap();
        t.add("read", client.read(&mut [0]));
        t.add("peek", client.peek(&mut [0]));
        t.add("accept", listener.accept().map(drop));
        let data = [7; 8192];
        let mut sent = 0;
        let error = loop {
            match client.write(&data) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
            assert!(sent < 100_000_000, "there is no end to the buffers");
        };
        t.add("write", Err::<(), _>(error));
        // Once there is room again the rest goes too.
        client.set_nonblocking(false).unwrap();
        let mut rest = vec![0; sent];
        let writer = tarae::spawn(move || client.write_all(&[8; 300_000]));
        t.add("read", server.read_exact(&mut rest));
        rest = vec![0; 300_000];
        t.add("read", server.read_exact(&mut rest));
        t.add("all", Ok(rest.iter().all(|byte| *byte == 8)));
        t.add("writer", writer.join().unwrap());
    });
}

#[test]
fn closing_on_unread_bytes_resets() {
    same(|t, _, mut client, mut server| {
        t.add("write", client.write(b"unread"));
        t.add("write", server.write(b"last"));
        drop(server);
        let mut buffer = [0; 9];
        t.add("read", client.read(&mut buffer));
        t.add("read", client.read(&mut buffer));
        t.add("read", client.read(&mut buffer));
        t.add("write", client.write(b"x"));
        t.add("peer", client.peer_addr());
        t.add("shutdown", client.shutdown(Shutdown::Both));
    });
}

#[test]
fn writing_to_whom_has_closed_resets() {
    same(|t, _, mut client, server| {
        drop(server);
        t.add("read", client.read(&mut [0]));
        t.add("write", client.write(b"x"));
        t.add("write", client.write(b"x"));
        t.add(
            "error",
            client
                .take_error()
                .map(|error| error.map(|error| error.kind())),
        );
        t.add("read", client.read(&mut [0]));
    });
}

#[test]
fn a_reset_is_told_once_and_by_any_call() {
    same(|t, _, mut client, mut server| {
        t.add("write", client.write(b"unread"));
        drop(server.read(&mut [0]));
        drop(server);
        t.add(
            "error",
            client
                .take_error()
                .map(|error| error.map(|error| error.kind())),
        );
        t.add(
            "error",
            client
                .take_error()
                .map(|error| error.map(|error| error.kind())),
        );
        t.add("read", client.read(&mut [0]));
    });
    same(|t, _, mut client, server| {
        t.add("write", client.write(b"unread"));
        drop(server);
        t.add("write", client.write(b"x"));
        t.add("write", client.write(b"x"));
    });
}

#[test]
fn shutting_the_reading_side_down_ends_reads_and_wakes_who_waits() {
    same(|t, _, client, mut server| {
        let reader = client.try_clone().unwrap();
        let waiting = tarae::spawn(move || (&reader).read(&mut [0]));
        tarae::yield_now();
        t.add("shutdown", client.shutdown(Shutdown::Read));
        t.add("woken", waiting.join().unwrap());
        t.add("read", (&client).read(&mut [0]));
        t.add("write", (&client).write(b"on"));
        let mut buffer = [0; 2];
        t.add("read", server.read_exact(&mut buffer));
        t.add("shutdown", client.shutdown(Shutdown::Both));
        t.add("read", server.read(&mut buffer));
    });
}

#[test]
fn a_listener_that_goes_resets_who_was_not_accepted() {
    same(|t, listener, _client, _server| {
        let mut late = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener);
        t.add("read", late.read(&mut [0]));
        t.add("read", late.read(&mut [0]));
    });
}

#[test]
fn options_keep_what_they_are_set_to() {
    same(|t, listener, client, _server| {
        t.add("ttl", client.ttl());
        t.add("nodelay", client.nodelay());
        t.add("set", client.set_ttl(9).and(client.set_nodelay(true)));
        t.add("ttl", client.ttl());
        t.add("nodelay", client.nodelay());
        t.add("listener", listener.set_ttl(7).and(listener.ttl()));
    });
}
