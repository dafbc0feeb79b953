//! Running out of descriptors, and of room in a listener's queue.
//!
//! Guards that a connection which could not be accepted is not forgotten: no new edge tells of it.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tarae::net::{TcpListener, TcpStream};

use super::support::{alone, everywhere, spawn_named, until_parked};

/// `EMFILE`: this process has as many descriptors as it may.
const TOO_MANY: i32 = 24;

fn unconnected() -> OwnedFd {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

fn lower_limit(descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(descriptors),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Takes every descriptor there is below the limit.
fn take_all(like: &impl AsFd) -> Vec<OwnedFd> {
    std::iter::from_fn(|| like.as_fd().try_clone_to_owned().ok()).collect()
}

/// Connects all clients, has `accept` fail for want of a descriptor, frees some, and expects the
/// same listener to give every connection that waits.
fn recover(listener: &TcpListener, clients: &[OwnedFd], mut first: impl FnMut() -> Option<i32>) {
    let address: SocketAddr = listener.local_addr().unwrap();
    let fillers = take_all(listener);
    for client in clients {
        rustix::net::connect(client, &address).unwrap();
    }
    assert_eq!(first(), Some(TOO_MANY));
    for _ in 0..3 {
        let again = listener.accept().unwrap_err();
        assert_eq!(again.raw_os_error(), Some(TOO_MANY));
    }
    drop(fillers);
    for _ in clients {
        let (stream, _) = listener.accept().unwrap();
        (&stream).write_all(b"welcome").unwrap();
    }
    listener.set_nonblocking(true).unwrap();
    let kind = listener.accept().unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::WouldBlock);
}

fn at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = [unconnected(), unconnected(), unconnected()];
    recover(&listener, &clients, || {
        listener.accept().unwrap_err().raw_os_error()
    });
}

fn after_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = [unconnected(), unconnected(), unconnected()];
    let clone = listener.try_clone().unwrap();
    let mut acceptor = Some(spawn_named("acceptor", move || {
        clone.accept().unwrap_err().raw_os_error()
    }));
    until_parked("acceptor");
    recover(&listener, &clients, || {
        acceptor.take().unwrap().join().unwrap()
    });
}

#[test]
fn a_listener_recovers_from_emfile() {
    alone("exhaustion::a_listener_recovers_from_emfile", || {
        lower_limit(128);
        at_once();
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                at_once();
                after_waiting();
                // Its event loop has the listener's readiness cached by now, or not: both ways.
                after_waiting();
                at_once();
            })
            .unwrap();
    });
}

/// A connection that cannot get into the listener's queue stays pending: the call gives up by its
/// time-out, without leaving a descriptor or a waiter behind.
#[test]
fn connecting_times_out() {
    everywhere("connecting_times_out", || {
        let socket = unconnected();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = std::net::TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut connected = Vec::new();
        let outcome = loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(60)) {
                Ok(stream) if connected.len() < 8 => connected.push(stream),
                result => break result,
            }
        };
        assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert!(!connected.is_empty(), "not even one connection came about");
        let zero = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn connecting_is_refused() {
    everywhere("connecting_is_refused", || {
        // A bound socket that does not listen keeps its port from everybody else.
        let socket = unconnected();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = std::net::TcpStream::from(socket.try_clone().unwrap())
            .local_addr()
            .unwrap();
        let refused = std::io::ErrorKind::ConnectionRefused;
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), refused);
        let timeout = Duration::from_secs(20);
        let error = TcpStream::connect_timeout(&address, timeout).unwrap_err();
        assert_eq!(error.kind(), refused);
        // The next address is tried, and the last error is the one given.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let second = listener.local_addr().unwrap();
        let stream = TcpStream::connect(&[address, second][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), second);
        let none = TcpStream::connect(&[][..] as &[SocketAddr]).unwrap_err();
        assert_eq!(none.kind(), std::io::ErrorKind::InvalidInput);
    });
}
