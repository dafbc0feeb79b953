//! Handles of these sockets: conversions to std's types and back, clones, blocking modes.
//!
//! Guards that the mode is the handle's own, and that a conversion takes the socket out of the
//! event loop while its clones go on.

use std::fmt::Debug;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::OFlags;
use tarae::net::UdpSocket;
use tarae::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::side::{abstract_name, everywhere};

fn is_nonblocking(fd: impl AsFd) -> bool {
    let flags = rustix::fs::fcntl_getfl(fd).unwrap();
    flags.contains(OFlags::NONBLOCK)
}

fn fails<T: Debug>(result: Result<T, Error>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

/// One failed wait, after which the socket is registered with a worker, if there is one.
macro_rules! register {
    ($socket:expr, $take:expr) => {
        $socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        fails($take($socket), ErrorKind::TimedOut);
        $socket.set_read_timeout(None).unwrap();
    };
}

/// Takes a socket through every conversion, in both modes, registered or not, with and without a
/// clone that goes on. `$give` has something come that `$take` takes.
macro_rules! check {
    ($type:ty, $std:ty, $make:expr, $register:expr, $give:expr, $take:expr) => {
        for case in 0..8 {
            let [nonblocking, registered, cloned] = [1, 2, 4].map(|bit| case & bit != 0);
            let (peer, socket) = $make;
            let (give, take) = ($give, |socket: &$type| $take(socket));
            if registered {
                $register(&socket);
            }
            socket.set_nonblocking(nonblocking).unwrap();
            let clone = cloned.then(|| socket.try_clone().unwrap());
            let number = socket.as_raw_fd();
            assert!(format!("{socket:?}").ends_with(&format!("fd: {number} }}")));
            let std: $std = socket.into_std().unwrap();
            assert_eq!(is_nonblocking(&std), nonblocking, "case {case}");
            assert_eq!(std.as_raw_fd() == number, !cloned, "case {case}");
            // Back again: the mode comes along.
            let socket = <$type>::from_std(std).unwrap();
            if nonblocking {
                fails(take(&socket), ErrorKind::WouldBlock);
            }
            socket.set_nonblocking(false).unwrap();
            let _first = give(&peer);
            take(&socket).unwrap();
            if let Some(clone) = clone {
                clone.set_nonblocking(true).unwrap();
                fails(take(&clone), ErrorKind::WouldBlock);
                clone.set_nonblocking(false).unwrap();
                let _second = give(&peer);
                take(&clone).unwrap();
            }
            let fd = OwnedFd::try_from(socket).unwrap();
            assert!(!is_nonblocking(&fd));
            let socket = <$type>::from(<$std>::from(fd));
            let _third = give(&peer);
            take(&socket).unwrap();
        }
    };
}

#[test]
fn udp_sockets_are_converted() {
    everywhere("udp_sockets_are_converted", |_| {
        fn take(socket: &UdpSocket) -> Result<(), Error> {
            socket.recv(&mut [0; 9]).map(drop)
        }
        check!(
            UdpSocket,
            std::net::UdpSocket,
            {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                (socket.local_addr().unwrap(), socket)
            },
            |socket: &UdpSocket| {
                register!(socket, take);
            },
            |to: &std::net::SocketAddr| {
                let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                sender.send_to(b"x", to).unwrap()
            },
            take
        );
    });
}

#[test]
fn unix_datagrams_are_converted() {
    everywhere("unix_datagrams_are_converted", |_| {
        fn take(socket: &UnixDatagram) -> Result<(), Error> {
            socket.recv(&mut [0; 9]).map(drop)
        }
        check!(
            UnixDatagram,
            std::os::unix::net::UnixDatagram,
            UnixDatagram::pair().unwrap(),
            |socket: &UnixDatagram| {
                register!(socket, take);
            },
            |peer: &UnixDatagram| peer.send(b"x").unwrap(),
            take
        );
    });
}

#[test]
fn unix_streams_are_converted() {
    everywhere("unix_streams_are_converted", |_| {
        fn take(mut socket: &UnixStream) -> Result<(), Error> {
            socket.read_exact(&mut [0])
        }
        check!(
            UnixStream,
            std::os::unix::net::UnixStream,
            UnixStream::pair().unwrap(),
            |socket: &UnixStream| {
                register!(socket, take);
            },
            |mut peer: &UnixStream| peer.write_all(b"x").unwrap(),
            take
        );
    });
}

#[test]
fn unix_listeners_are_converted() {
    everywhere("unix_listeners_are_converted", |_| {
        fn take(socket: &UnixListener) -> Result<(), Error> {
            socket.accept().map(drop)
        }
        check!(
            UnixListener,
            std::os::unix::net::UnixListener,
            {
                let name = abstract_name();
                let listener = UnixListener::bind_addr(&name).unwrap();
                (name, listener)
            },
            |socket: &UnixListener| {
                // It has no time-outs; a look without waiting is all there is.
                socket.set_nonblocking(true).unwrap();
                fails(take(socket), ErrorKind::WouldBlock);
            },
            |name: &tarae::os::unix::net::SocketAddr| UnixStream::connect_addr(name).unwrap(),
            take
        );
    });
}

/// Who waits on a clone is not disturbed when another handle is converted, and gets what comes.
#[test]
fn a_conversion_leaves_waiting_clones_alone() {
    everywhere("a_conversion_leaves_waiting_clones_alone", |side| {
        for _ in 0..50 {
            let (mut a, b) = UnixStream::pair().unwrap();
            let mut clone = b.try_clone().unwrap();
            let reader = side.spawn(move || clone.read(&mut [0; 4]).unwrap());
            reader.until_waiting();
            drop(UnixStream::from_std(b.into_std().unwrap()).unwrap());
            a.write_all(b"abcd").unwrap();
            assert_eq!(reader.join(), 4);
        }
    });
}
