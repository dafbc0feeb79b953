//! The table's rows of sockets and signals: each socket is brought into a state in which the call
//! has to wait.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tarae::event::{EventLoop, Reactor};
use tarae::fs::File;
use tarae::net::{TcpListener, TcpStream, UdpSocket, Wake, park_until_readable};
use tarae::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use tarae::signal::{Signal, Signals};

use crate::table::{Case, Cut, io, iteration};

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const FAR: Duration = crate::support::FAR;

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Writes until there is no more room.
macro_rules! fill {
    ($socket:expr, $write:expr) => {{
        $socket.set_nonblocking(true).unwrap();
        let full = (0..100_000).any(|_| $write.is_err());
        assert!(full, "there is always room");
        $socket.set_nonblocking(false).unwrap();
    }};
}

/// A call on a stream from which nothing can be read, and into which nothing fits.
fn on_tcp(cut: Cut, call: impl FnOnce(&TcpStream) -> std::io::Result<usize>) -> &'static str {
    let (stream, _other) = tcp();
    fill!(stream, (&stream).write(&[0; 65_536]));
    io(cut.run(|| call(&stream)))
}

fn on_unix<T>(cut: Cut, call: impl FnOnce(&UnixStream) -> std::io::Result<T>) -> &'static str {
    let (stream, _other) = UnixStream::pair().unwrap();
    fill!(stream, (&stream).write(&[0; 65_536]));
    io(cut.run(|| call(&stream)))
}

/// A call on an event loop that waits for an hour to pass.
fn on_loop(cut: Cut, call: fn(&EventLoop) -> std::io::Result<()>) -> &'static str {
    let events = EventLoop::new().unwrap();
    events.after(FAR, |_| ());
    io(cut.run(|| call(&events)))
}

/// Calls `connect` for a listener that has no room for another connection.
fn on_full_backlog(
    cut: Cut,
    connect: fn(std::net::SocketAddr) -> Result<(), std::io::Error>,
) -> &'static str {
    let listener = std::net::TcpListener::bind(LOCAL).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let _only = std::net::TcpStream::connect(address).unwrap();
    io(cut.run(|| connect(address)))
}

fn path() -> std::path::PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    let name = format!("tarae-table-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

fn unix_connect(cut: Cut, by_address: bool) -> &'static str {
    let path = path();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _only = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let report = io(cut.run(|| match by_address {
        true => UnixStream::connect_addr(&SocketAddr::from_pathname(&path).unwrap()),
        false => UnixStream::connect(&path),
    }));
    std::fs::remove_file(&path).unwrap();
    report
}

/// A UDP socket to which nobody has sent anything.
fn on_udp<T>(cut: Cut, call: impl FnOnce(&UdpSocket) -> std::io::Result<T>) -> &'static str {
    let socket = UdpSocket::bind(LOCAL).unwrap();
    io(cut.run(|| call(&socket)))
}

/// The loopback device takes every datagram, so no UDP socket has to wait with one. Made of the
/// descriptor of a full TCP stream, which disregards addresses, it has to.
fn on_full_udp(cut: Cut, call: impl FnOnce(&UdpSocket) -> std::io::Result<usize>) -> &'static str {
    let (stream, _other) = tcp();
    fill!(stream, (&stream).write(&[0; 65_536]));
    let socket = UdpSocket::from(OwnedFd::try_from(stream).unwrap());
    io(cut.run(|| call(&socket)))
}

/// Two datagram sockets, the other one full, which is bound to a path.
fn on_datagram<T>(
    cut: Cut,
    call: impl FnOnce(&UnixDatagram, &std::path::Path) -> std::io::Result<T>,
) -> &'static str {
    let path = path();
    let (one, other) = (
        UnixDatagram::unbound().unwrap(),
        UnixDatagram::bind(&path).unwrap(),
    );
    one.connect(&path).unwrap();
    fill!(one, one.send(&[0; 1_000]));
    let report = io(cut.run(|| call(&one, &path)));
    drop(other);
    std::fs::remove_file(&path).unwrap();
    report
}

fn address(path: &std::path::Path) -> SocketAddr {
    SocketAddr::from_pathname(path).unwrap()
}

fn accept_unix(cut: Cut, iterate: bool) -> &'static str {
    let path = path();
    let listener = UnixListener::bind(&path).unwrap();
    let report = match iterate {
        true => iteration(&mut listener.incoming(), cut),
        false => io(cut.run(|| listener.accept())),
    };
    std::fs::remove_file(&path).unwrap();
    report
}

/// A regular file.
fn program() -> File {
    File::from_std(std::fs::File::open("/proc/self/exe").unwrap())
}

fn put_aside(cut: Cut) -> &'static str {
    let (stream, mut other) = tcp();
    let (told, tells) = tarae::sync::mpsc::channel();
    cut.run(|| {
        park_until_readable(stream, None, move |_, wake| told.send(wake).unwrap());
    });
    // Time enough to be told of what does not concern it.
    (0..100).for_each(|_| tarae::yield_now());
    other.write_all(b"x").unwrap();
    match tells.recv().unwrap() {
        Wake::Ready => "goes on",
        _ => "told",
    }
}

fn listener() -> TcpListener {
    TcpListener::bind(LOCAL).unwrap()
}

#[rustfmt::skip]
pub(crate) const CASES: &[(&str, Case)] = &[
    ("TcpStream::connect", |cut| on_full_backlog(cut, |to| TcpStream::connect(to).map(drop))),
    ("TcpStream::connect_timeout", |cut| on_full_backlog(cut, |to| {
        TcpStream::connect_timeout(&to, FAR).map(drop)
    })),
    ("TcpStream::read", |cut| on_tcp(cut, |mut s| s.read(&mut [0]))),
    ("TcpStream::read_vectored", |cut| on_tcp(cut, |mut s| {
        s.read_vectored(&mut [IoSliceMut::new(&mut [0])])
    })),
    ("TcpStream::peek", |cut| on_tcp(cut, |s| s.peek(&mut [0]))),
    ("TcpStream::write", |cut| on_tcp(cut, |mut s| s.write(&[0]))),
    ("TcpStream::write_vectored", |cut| on_tcp(cut, |mut s| {
        s.write_vectored(&[IoSlice::new(&[0])])
    })),
    ("TcpStream::send_file", |cut| {
        let file = program();
        on_tcp(cut, |s| s.send_file(&file, 0, 100_000).map(|count| count as usize))
    }),
    ("TcpListener::accept", |cut| { let l = listener(); io(cut.run(|| l.accept())) }),
    ("TcpListener::incoming", |cut| iteration(&mut listener().incoming(), cut)),
    ("TcpListener::into_incoming", |cut| iteration(&mut listener().into_incoming(), cut)),
    ("UdpSocket::send", |cut| on_full_udp(cut, |s| s.send(&[0; 1_000]))),
    ("UdpSocket::send_to", |cut| on_full_udp(cut, |s| s.send_to(&[0; 1_000], LOCAL))),
    ("UdpSocket::recv", |cut| on_udp(cut, |s| s.recv(&mut [0]))),
    ("UdpSocket::recv_from", |cut| on_udp(cut, |s| s.recv_from(&mut [0]))),
    ("UdpSocket::peek", |cut| on_udp(cut, |s| s.peek(&mut [0]))),
    ("UdpSocket::peek_from", |cut| on_udp(cut, |s| s.peek_from(&mut [0]))),
    ("UnixStream::connect", |cut| unix_connect(cut, false)),
    ("UnixStream::connect_addr", |cut| unix_connect(cut, true)),
    ("UnixStream::read", |cut| on_unix(cut, |mut s| s.read(&mut [0]))),
    ("UnixStream::read_vectored", |cut| on_unix(cut, |mut s| {
        s.read_vectored(&mut [IoSliceMut::new(&mut [0])])
    })),
    ("UnixStream::peek", |cut| on_unix(cut, |s| s.peek(&mut [0]))),
    ("UnixStream::write", |cut| on_unix(cut, |mut s| s.write(&[0; 65_536]))),
    ("UnixStream::write_vectored", |cut| on_unix(cut, |mut s| {
        s.write_vectored(&[IoSlice::new(&[0; 65_536])])
    })),
    ("UnixStream::send_file", |cut| {
        let file = program();
        on_unix(cut, |s| s.send_file(&file, 0, 100_000))
    }),
    ("UnixStream::send_fds", |cut| on_unix(cut, |s| s.send_fds(&[0; 65_536], &[s.as_fd()]))),
    ("UnixStream::recv_fds", |cut| on_unix(cut, |s| s.recv_fds(&mut [0], 1))),
    ("UnixListener::accept", |cut| accept_unix(cut, false)),
    ("UnixListener::incoming", |cut| accept_unix(cut, true)),
    ("UnixDatagram::send", |cut| on_datagram(cut, |s, _| s.send(&[0; 1_000]))),
    ("UnixDatagram::send_to", |cut| on_datagram(cut, |s, to| s.send_to(&[0; 1_000], to))),
    ("UnixDatagram::send_to_addr", |cut| on_datagram(cut, |s, to| {
        s.send_to_addr(&[0; 1_000], &address(to))
    })),
    ("UnixDatagram::send_fds", |cut| on_datagram(cut, |s, _| {
        s.send_fds(&[0; 1_000], &[s.as_fd()])
    })),
    ("UnixDatagram::send_fds_to_addr", |cut| on_datagram(cut, |s, to| {
        s.send_fds_to_addr(&[0; 1_000], &[s.as_fd()], &address(to))
    })),
    ("UnixDatagram::recv", |cut| on_datagram(cut, |s, _| s.recv(&mut [0]))),
    ("UnixDatagram::recv_from", |cut| on_datagram(cut, |s, _| s.recv_from(&mut [0]))),
    ("UnixDatagram::peek", |cut| on_datagram(cut, |s, _| s.peek(&mut [0]))),
    ("UnixDatagram::peek_from", |cut| on_datagram(cut, |s, _| s.peek_from(&mut [0]))),
    ("UnixDatagram::recv_fds", |cut| on_datagram(cut, |s, _| s.recv_fds(&mut [0], 1))),
    ("UnixDatagram::recv_fds_from", |cut| on_datagram(cut, |s, _| s.recv_fds_from(&mut [0], 1))),
    ("Signals::wait", |cut| {
        let signals = Signals::new(&[Signal::USER2]).unwrap();
        io(cut.run(|| signals.wait()))
    }),
    ("EventLoop::run", |cut| on_loop(cut, EventLoop::run)),
    ("Reactor::run", |cut| {
        let reactor = Reactor::new().unwrap();
        reactor.events().after(FAR, |_| ());
        io(cut.run(|| reactor.run()))
    }),
    ("EventLoop::run_once", |cut| on_loop(cut, |events| events.run_once(None).map(drop))),
    ("EventLoop::next_event", |cut| on_loop(cut, |events| events.next_event().map(drop))),
    ("EventLoop::next_event_timeout", |cut| on_loop(cut, |events| {
        events.next_event_timeout(FAR).map(drop)
    })),
    ("net::park_until_readable", put_aside),
];
