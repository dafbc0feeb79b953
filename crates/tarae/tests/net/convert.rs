//! Conversions to and from std's types and bare descriptors.
//!
//! Guards the blocking mode that the user set, which is the handle's and not the description's,
//! and that a conversion takes the socket out of every event loop while clones go on.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use tarae::net::{TcpListener, TcpStream};

use super::support::{everywhere, pair, std_pair};

fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd)
        .unwrap()
        .contains(OFlags::NONBLOCK)
}

/// Makes the stream's registration exist: one failed wait on it.
fn register(stream: &TcpStream) {
    let mode = stream.try_clone().unwrap();
    mode.set_nonblocking(false).unwrap();
    mode.set_read_timeout(Some(std::time::Duration::from_millis(1)))
        .unwrap();
    assert_eq!(
        (&mode).read(&mut [0]).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    mode.set_read_timeout(None).unwrap();
}

/// Both modes, registered or not, with and without a clone that goes on.
#[test]
fn a_stream_keeps_its_blocking_mode() {
    everywhere("a_stream_keeps_its_blocking_mode", || {
        for case in 0..16 {
            let [nonblocking, registered, cloned, connected] =
                [1, 2, 4, 8].map(|bit| case & bit != 0);
            let (mut client, server) = if connected {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (client, listener.accept().unwrap().0)
            } else {
                pair()
            };
            server.set_nonblocking(nonblocking).unwrap();
            if registered {
                register(&server);
            }
            let clone = cloned.then(|| server.try_clone().unwrap());
            let number = server.as_raw_fd();
            let mut std = server.into_std().unwrap();
            assert_eq!(is_nonblocking(&std), nonblocking, "case {case}");
            assert_eq!(std.as_raw_fd() == number, !cloned, "case {case}");
            if nonblocking {
                let kind = std.read(&mut [0]).unwrap_err().kind();
                assert_eq!(kind, ErrorKind::WouldBlock);
            }
            client.write_all(b"ab").unwrap();
            std.read_exact(&mut [0]).unwrap();
            if let Some(mut clone) = clone {
                // Whatever mode the description has now, the clone keeps its own.
                clone.read_exact(&mut [0]).unwrap();
                client.write_all(b"c").unwrap();
                clone.set_nonblocking(false).unwrap();
                clone.read_exact(&mut [0]).unwrap();
                register(&clone);
                clone.set_nonblocking(true).unwrap();
                let kind = clone.read(&mut [0]).unwrap_err().kind();
                assert_eq!(kind, ErrorKind::WouldBlock);
            }
        }
    });
}

#[test]
fn a_listener_keeps_its_blocking_mode() {
    everywhere("a_listener_keeps_its_blocking_mode", || {
        for case in 0..4 {
            let [nonblocking, cloned] = [1, 2].map(|bit| case & bit != 0);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            listener.set_nonblocking(nonblocking).unwrap();
            let clone = cloned.then(|| listener.try_clone().unwrap());
            let std = listener.into_std().unwrap();
            assert_eq!(is_nonblocking(&std), nonblocking, "case {case}");
            let connection = std::net::TcpStream::connect(address).unwrap();
            std.accept().unwrap();
            if let Some(clone) = clone {
                clone.set_nonblocking(true).unwrap();
                // The description may be in blocking mode by now: this must not wait even so.
                let kind = clone.accept().unwrap_err().kind();
                assert_eq!(kind, ErrorKind::WouldBlock);
                clone.set_nonblocking(false).unwrap();
                let other = std::net::TcpStream::connect(address).unwrap();
                clone.accept().unwrap();
                drop(other);
            }
            drop(connection);
        }
    });
}

/// A socket of std's keeps its mode as the handle's, and has it again when it goes back.
#[test]
fn a_mode_set_before_is_taken_over() {
    everywhere("a_mode_set_before_is_taken_over", || {
        for nonblocking in [true, false] {
            let (mut client, server) = std_pair();
            server.set_nonblocking(nonblocking).unwrap();
            let mut stream = TcpStream::from_std(server).unwrap();
            if nonblocking {
                let kind = stream.read(&mut [0]).unwrap_err().kind();
                assert_eq!(kind, ErrorKind::WouldBlock);
            } else {
                register(&stream);
            }
            client.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            assert_eq!(is_nonblocking(stream.into_std().unwrap()), nonblocking);

            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(nonblocking).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            if nonblocking {
                let kind = listener.accept().unwrap_err().kind();
                assert_eq!(kind, ErrorKind::WouldBlock);
            }
            let address = listener.local_addr().unwrap();
            let connection = std::net::TcpStream::connect(address).unwrap();
            listener.accept().unwrap();
            drop(connection);
            assert_eq!(is_nonblocking(listener.into_std().unwrap()), nonblocking);
        }
    });
}

/// To an owned descriptor and back, as often as one likes, in the middle of a stream.
#[test]
fn descriptors_go_out_and_come_back() {
    everywhere("descriptors_go_out_and_come_back", || {
        let (mut client, mut server) = pair();
        for turn in 0..50_u8 {
            register(&server);
            client.write_all(&[turn, turn]).unwrap();
            server.read_exact(&mut [0]).unwrap();
            let fd = OwnedFd::try_from(server).unwrap();
            assert!(!is_nonblocking(&fd));
            server = TcpStream::from(fd);
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [turn]);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from(OwnedFd::try_from(listener).unwrap());
        let connection = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(
            listener.accept().unwrap().1,
            connection.local_addr().unwrap()
        );
    });
}

/// The bare number is that of the open socket, in the user's mode: it outlives the handle.
#[test]
fn a_bare_descriptor_outlives_its_handle() {
    everywhere("a_bare_descriptor_outlives_its_handle", || {
        let (mut client, server) = pair();
        register(&server);
        let number = server.as_raw_fd();
        assert_eq!(server.into_raw_fd(), number);
        let this = rustix::process::getpid();
        let process = rustix::process::pidfd_open(this, PidfdFlags::empty()).unwrap();
        let found =
            rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).unwrap();
        assert!(!is_nonblocking(&found));
        let mut stream = TcpStream::from(found);
        client.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    });
}

/// Who waits on a clone is not disturbed when another handle is converted, and gets what comes.
#[test]
fn a_conversion_leaves_waiting_clones_alone() {
    use super::support::{guarded, spawn_named, until_parked};
    guarded("a_conversion_leaves_waiting_clones_alone", || {
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                for _ in 0..200 {
                    let (mut client, server) = pair();
                    let mut clone = server.try_clone().unwrap();
                    let reader = spawn_named("reader", move || clone.read(&mut [0; 4]).unwrap());
                    until_parked("reader");
                    let std = server.into_std().unwrap();
                    let back = TcpStream::from_std(std).unwrap();
                    drop(back);
                    client.write_all(b"abcd").unwrap();
                    assert_eq!(reader.join().unwrap(), 4);
                }
            })
            .unwrap();
    });
}
