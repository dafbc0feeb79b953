//! Who waits on a Unix socket, and what ends the wait: data, room, the end, a time-out, a
//! cancellation; and where the connections of a listener go.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tarae::Cancelled;
use tarae::net::{Wake, park_until_readable};
use tarae::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use tarae::time::Instant;

use super::side::{Folder, Side, abstract_name, everywhere};
use super::support::{guarded, look, spawn_named, until_parked};

/// What ends the wait of a reader at `b`, whose peer is `a`.
type Cause = fn(a: UnixStream, b: UnixStream);

#[test]
fn readers_are_woken() {
    everywhere("readers_are_woken", |side| {
        let causes: [(&str, usize, Cause); 5] = [
            ("data", 3, |mut a, _| a.write_all(b"abc").unwrap()),
            ("the peer ends", 0, |a, b| {
                a.shutdown(Shutdown::Write).unwrap();
                drop(b);
                // Kept until the reader has come back: its other direction is open.
                std::mem::forget(a);
            }),
            ("the peer is dropped", 0, |a, _| drop(a)),
            ("its own end", 0, |a, b| {
                b.shutdown(Shutdown::Read).unwrap();
                std::mem::forget(a);
            }),
            ("both ends", 0, |a, b| {
                b.shutdown(Shutdown::Both).unwrap();
                std::mem::forget(a);
            }),
        ];
        for (what, want, cause) in causes {
            let (a, b) = UnixStream::pair().unwrap();
            let mut clone = b.try_clone().unwrap();
            let reader = side.spawn(move || clone.read(&mut [0; 9]).unwrap());
            reader.until_waiting();
            cause(a, b);
            assert_eq!(reader.join(), want, "{what}");
        }
    });
}

/// Fills the stream and gives how much went in.
fn fill(mut stream: &UnixStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut filled = 0;
    while let Ok(count) = stream.write(&[0; 1000]) {
        filled += count;
    }
    stream.set_nonblocking(false).unwrap();
    filled
}

#[test]
fn writers_are_woken() {
    everywhere("writers_are_woken", |side| {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let filled = fill(&a);
        let writer = side.spawn(move || {
            a.write_all(b"x").unwrap();
            a
        });
        writer.until_waiting();
        b.read_exact(&mut vec![0; filled + 1]).unwrap();
        let mut a = writer.join();

        fill(&a);
        let writer = side.spawn(move || a.write_all(b"x").unwrap_err().kind());
        writer.until_waiting();
        drop(b);
        assert_eq!(writer.join(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn waits_have_a_limit() {
    everywhere("waits_have_a_limit", |_| {
        const LIMIT: Duration = Duration::from_millis(3);
        fn check<T: Debug>(what: &str, call: impl FnOnce() -> std::io::Result<T>) {
            let start = Instant::now();
            let kind = call().unwrap_err().kind();
            assert_eq!(kind, ErrorKind::TimedOut, "{what}");
            assert!(start.elapsed() >= LIMIT, "{what}: early");
        }
        let (a, _b) = UnixStream::pair().unwrap();
        fill(&a);
        a.set_read_timeout(Some(LIMIT)).unwrap();
        let clone = a.try_clone().unwrap();
        clone.set_write_timeout(Some(LIMIT)).unwrap();
        assert_eq!(a.write_timeout().unwrap(), Some(LIMIT), "handles share it");
        check("write", || (&a).write(b"x"));
        check("send_fds", || a.send_fds(b"x", &[]));
        check("read", || (&a).read(&mut [0]));
        check("peek", || a.peek(&mut [0]));
        check("recv_fds", || a.recv_fds(&mut [0], 1));

        let (a, _b) = UnixDatagram::pair().unwrap();
        a.set_read_timeout(Some(LIMIT)).unwrap();
        check("recv", || a.recv(&mut [0]));
        check("peek", || a.peek(&mut [0]));
        check("recv_from", || a.recv_from(&mut [0]));
        check("peek_from", || a.peek_from(&mut [0]));
        check("recv_fds", || a.recv_fds(&mut [0], 1));

        let socket = tarae::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        check("UDP recv", || socket.recv(&mut [0]));
        check("UDP peek", || socket.peek(&mut [0]));
        check("UDP recv_from", || socket.recv_from(&mut [0]));
        check("UDP peek_from", || socket.peek_from(&mut [0]));
    });
}

/// A listener with room for one: who comes later waits until somebody is accepted.
#[test]
fn connecting_waits_for_the_listeners_queue() {
    everywhere("connecting_waits_for_the_listeners_queue", |side| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let fd = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&fd, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&fd, 0).unwrap();
        let listener = UnixListener::from(fd);
        let first = UnixStream::connect(&path).unwrap();
        let second = side.spawn(move || UnixStream::connect(&path).unwrap());
        second.until_waiting();
        listener.accept().unwrap();
        listener.accept().unwrap();
        drop((first, second.join()));
    });
}

/// Every wait of these sockets ends when its coroutine is cancelled, and so does `incoming`.
#[test]
fn waits_are_cancelled() {
    fn cancelled<T>(result: std::io::Result<T>) {
        assert!(Cancelled::is(
            &result.err().expect("it should have been cancelled")
        ));
    }
    guarded("waits_are_cancelled", || {
        let waits: Vec<(&str, fn())> = vec![
            ("accept", || {
                let listener = UnixListener::bind_addr(&abstract_name()).unwrap();
                cancelled(listener.accept());
                assert!(listener.incoming().next().is_none());
            }),
            ("read", || {
                let (mut a, _b) = UnixStream::pair().unwrap();
                cancelled(a.read(&mut [0]));
                cancelled(a.recv_fds(&mut [0], 1));
            }),
            ("write", || {
                let (mut a, _b) = UnixStream::pair().unwrap();
                fill(&a);
                cancelled(a.write(&[0]));
            }),
            ("receive", || {
                let (a, _b) = UnixDatagram::pair().unwrap();
                cancelled(a.recv_from(&mut [0]));
            }),
            ("send", || {
                let name = abstract_name();
                let _receiver = UnixDatagram::bind_addr(&name).unwrap();
                let sender = UnixDatagram::unbound().unwrap();
                cancelled((0..).try_for_each(|_| sender.send_to_addr(b"x", &name).map(drop)));
            }),
            ("UDP", || {
                let socket = tarae::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                cancelled(socket.recv(&mut [0]));
            }),
        ];
        let runtime = tarae::Builder::new().workers(1);
        let ended = runtime.run(|| {
            for (name, wait) in waits {
                let handle = spawn_named(name, wait);
                until_parked(name);
                handle.cancel();
                handle.join().unwrap();
            }
        });
        ended.unwrap();
    });
}

/// A connection that nobody accepts, over a queue that is full: cancelled in its pause.
#[test]
fn connecting_is_cancelled() {
    guarded("connecting_is_cancelled", || {
        let runtime = tarae::Builder::new().workers(1);
        let ended = runtime.run(|| {
            let folder = Folder::new();
            let path = folder.path("socket");
            let fd = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            rustix::net::bind(&fd, &SocketAddrUnix::new(&path).unwrap()).unwrap();
            rustix::net::listen(&fd, 0).unwrap();
            let _first = UnixStream::connect(&path).unwrap();
            let second = tarae::spawn(move || {
                let error = UnixStream::connect(&path).unwrap_err();
                assert!(Cancelled::is(&error));
            });
            look();
            second.cancel();
            second.join().unwrap();
        });
        ended.unwrap();
    });
}

/// A wait without a coroutine, ended by data, by the end and by its deadline.
#[test]
fn parked_streams_are_woken() {
    everywhere("parked_streams_are_woken", |side| {
        type Cause = fn(UnixStream);
        let causes: [(&str, Cause, Option<u64>, Wake); 3] = [
            (
                "data",
                |mut a| a.write_all(b"x").unwrap(),
                None,
                Wake::Ready,
            ),
            ("the end", drop, None, Wake::Ready),
            ("nothing", std::mem::forget, Some(3), Wake::TimedOut),
        ];
        for (what, cause, limit_ms, want) in causes {
            let (a, b) = UnixStream::pair().unwrap();
            let deadline = limit_ms.map(|limit| Instant::now() + Duration::from_millis(limit));
            let parked = side.spawn(move || {
                let (tell, told) = tarae::sync::mpsc::channel();
                park_until_readable(b, deadline, move |_, wake| tell.send(wake).unwrap());
                told.recv().unwrap()
            });
            if side == Side::Thread && want == Wake::Ready {
                parked.until_waiting();
            }
            if side == Side::Coroutine {
                look();
            }
            cause(a);
            assert_eq!(parked.join(), want, "{what}");
        }
    });
}

/// The connections of a listener are spread over the workers, as those of a `TcpListener` are: the
/// coroutine spawned after an `accept` counts as the connection's.
#[test]
fn connections_are_spread_evenly() {
    guarded("connections_are_spread_evenly", || {
        const TOTAL: usize = 64;
        let runtime = tarae::Builder::new().workers(2);
        let counts = runtime.run(|| {
            let name = abstract_name();
            let listener = UnixListener::bind_addr(&name).unwrap();
            let (tell, told) = tarae::sync::mpsc::channel();
            let mut clients = Vec::new();
            for _ in 0..TOTAL {
                clients.push(UnixStream::connect_addr(&name).unwrap());
                let (mut stream, _) = listener.accept().unwrap();
                let tell = tell.clone();
                tarae::spawn(move || {
                    tell.send(std::thread::current().id()).unwrap();
                    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
                });
            }
            let mut counts = HashMap::new();
            for _ in 0..TOTAL {
                *counts.entry(told.recv().unwrap()).or_insert(0) += 1;
            }
            drop(clients);
            counts.into_values().collect::<Vec<usize>>()
        });
        assert_eq!(counts.unwrap(), [TOTAL / 2; 2]);
    });
}
