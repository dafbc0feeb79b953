//! The same calls on std's sockets and on ours, with the same results.
//!
//! Guards the surface: names, signatures, values that options have at first and after being set,
//! and the kinds of errors. What differs on purpose is tested elsewhere and not in these tables.

use super::side::everywhere;

/// Turns a list of calls into what each of them said.
macro_rules! said {
    ($($call:expr;)*) => {
        vec![$((
            stringify!($call),
            format!("{:?}", $call.map_err(|error: std::io::Error| error.kind())),
        )),*]
    };
}

type Said = Vec<(&'static str, String)>;

fn compare(ours: Said, theirs: Said) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
}

const SHORT: Option<std::time::Duration> = Some(std::time::Duration::from_millis(1));
const ZERO: Option<std::time::Duration> = Some(std::time::Duration::ZERO);

macro_rules! udp_calls {
    ($net:path) => {{
        use std::net::Ipv4Addr;
        use $net as net;
        let a = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let b = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to_b = b.local_addr().unwrap();
        let group = Ipv4Addr::new(239, 255, 77, 2);
        said! {
            net::UdpSocket::bind("256.0.0.1:0").map(drop);
            net::UdpSocket::bind(&[][..] as &[std::net::SocketAddr]).map(drop);
            net::UdpSocket::bind(to_b).map(drop);
            net::UdpSocket::bind(&[to_b, "127.0.0.1:0".parse().unwrap()][..]).map(drop);
            a.local_addr().map(|address| (address.ip(), address.port() != 0));
            a.peer_addr();
            a.send(b"x");
            a.send_to(b"x", &[][..] as &[std::net::SocketAddr]);
            a.broadcast(); a.set_broadcast(true); a.broadcast(); a.set_broadcast(false);
            a.ttl(); a.set_ttl(3); a.ttl(); a.set_ttl(64);
            a.multicast_loop_v4(); a.set_multicast_loop_v4(false); a.multicast_loop_v4();
            a.multicast_ttl_v4(); a.set_multicast_ttl_v4(0); a.multicast_ttl_v4();
            a.multicast_loop_v6(); a.set_multicast_loop_v6(true);
            a.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST);
            a.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
            a.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
            a.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
            a.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
            a.join_multicast_v6(&"ff01::7702".parse().unwrap(), 1);
            a.leave_multicast_v6(&"ff01::7702".parse().unwrap(), 1);
            a.read_timeout(); a.set_read_timeout(ZERO); a.set_read_timeout(SHORT);
            a.write_timeout(); a.set_write_timeout(ZERO); a.set_write_timeout(SHORT);
            a.set_read_timeout(None); a.read_timeout(); a.set_write_timeout(None);
            a.write_timeout();
            a.take_error().map(|error| error.is_some());
            a.set_nonblocking(true);
            a.recv(&mut [0; 9]); a.recv_from(&mut [0; 9]); a.peek(&mut [0; 9]);
            a.peek_from(&mut [0; 9]); a.recv(&mut []);
            a.set_nonblocking(false);
            a.send_to(b"one", to_b); a.send_to(b"", to_b); a.send_to(b"three", to_b);
            b.peek(&mut [0; 9]); b.peek(&mut [0; 2]); b.recv(&mut [0; 9]);
            b.peek_from(&mut []).map(|(count, from)| (count, from == a.local_addr().unwrap()));
            b.recv(&mut [0; 9]); b.recv(&mut [0; 2]);
            a.connect(to_b); a.peer_addr().map(|address| address == to_b); a.send(b"");
            b.recv_from(&mut [0; 9]).map(|(count, from)| (count, from == a.local_addr().unwrap()));
            a.send(&[0; 70_000]);
            a.try_clone().and_then(|clone| clone.send(b"from a clone")); b.recv(&mut [0; 99]);
        }
    }};
}

#[test]
fn udp_is_as_std_has_it() {
    everywhere("udp_is_as_std_has_it", |_| {
        compare(udp_calls!(tarae::net), udp_calls!(std::net));
    });
}

macro_rules! stream_calls {
    ($net:path) => {{
        use std::io::{IoSlice, IoSliceMut, Read, Write};
        use std::net::Shutdown;
        use $net as net;
        let folder = super::side::Folder::new();
        let path = folder.path("socket");
        let long = "x".repeat(108);
        let left = folder.path("left");
        drop(net::UnixListener::bind(&left).unwrap());
        let listener = net::UnixListener::bind(&path).unwrap();
        let client = net::UnixStream::connect(&path).unwrap();
        let (server, from) = listener.accept().unwrap();
        let (mut a, mut b) = net::UnixStream::pair().unwrap();
        let is_path = |address: net::SocketAddr| address.as_pathname() == Some(path.as_path());
        said! {
            net::UnixListener::bind(&path).map(drop); net::UnixListener::bind(&left).map(drop);
            net::UnixListener::bind(&long).map(drop); net::UnixListener::bind("a\0b").map(drop);
            net::UnixListener::bind(folder.path("none/socket")).map(drop);
            net::UnixStream::connect(&left).map(drop);
            net::UnixStream::connect(&long).map(drop);
            net::UnixStream::connect(folder.path("none")).map(drop);
            net::UnixStream::connect_addr(&super::side::abstract_name()).map(drop);
            listener.local_addr().map(is_path); client.peer_addr().map(is_path);
            server.local_addr().map(is_path); server.peer_addr().map(|name| name.is_unnamed());
            client.local_addr().map(|name| name.is_unnamed());
            std::io::Result::Ok(from.is_unnamed());
            a.local_addr().map(|name| name.is_unnamed());
            listener.take_error().map(|error| error.is_some());
            listener.try_clone().map(drop); listener.set_nonblocking(true);
            listener.accept().map(drop); listener.incoming().next().unwrap().map(drop);
            (&listener).into_iter().next().unwrap().map(drop);
            a.read_timeout(); a.set_read_timeout(ZERO); a.set_read_timeout(None);
            a.write_timeout(); a.set_write_timeout(ZERO); a.set_write_timeout(None);
            a.take_error().map(|error| error.is_some());
            a.set_nonblocking(true); a.read(&mut [0; 9]); a.set_nonblocking(false);
            a.write(b"abc"); (&a).write_vectored(&[IoSlice::new(b"de"), IoSlice::new(b"f")]);
            b.read(&mut [0; 2]);
            (&b).read_vectored(&mut [IoSliceMut::new(&mut [0; 1]), IoSliceMut::new(&mut [0; 9])]);
            a.try_clone().and_then(|mut clone| clone.write(b"xy")); b.read(&mut [0; 9]);
            a.flush(); a.write(b""); a.shutdown(Shutdown::Write); a.write(b"x");
            b.read(&mut [0; 9]); b.write(b"answer"); a.read(&mut [0; 9]);
            b.shutdown(Shutdown::Both); b.read(&mut [0; 9]); a.read(&mut [0; 9]);
            b.write(b"x"); a.shutdown(Shutdown::Read); a.shutdown(Shutdown::Both);
        }
    }};
}

#[test]
fn unix_streams_are_as_std_has_them() {
    everywhere("unix_streams_are_as_std_has_them", |_| {
        compare(
            stream_calls!(tarae::os::unix::net),
            stream_calls!(std::os::unix::net),
        );
    });
}

macro_rules! datagram_calls {
    ($net:path) => {{
        use std::net::Shutdown;
        use std::os::linux::net::SocketAddrExt;
        use $net as net;
        let folder = super::side::Folder::new();
        let path = folder.path("socket");
        let left = folder.path("left");
        drop(net::UnixDatagram::bind(&left).unwrap());
        let server = net::UnixDatagram::bind(&path).unwrap();
        let name = super::side::abstract_name();
        let named = net::UnixDatagram::bind_addr(&name).unwrap();
        let nobody = net::UnixDatagram::unbound().unwrap();
        let (a, b) = net::UnixDatagram::pair().unwrap();
        let is_path = |address: net::SocketAddr| address.as_pathname() == Some(path.as_path());
        let is_name = |it: net::SocketAddr| it.as_abstract_name() == name.as_abstract_name();
        said! {
            net::UnixDatagram::bind(&path).map(drop); net::UnixDatagram::bind(&left).map(drop);
            net::UnixDatagram::bind_addr(&name).map(drop);
            nobody.connect(&left); nobody.connect(folder.path("none")); nobody.send(b"x");
            nobody.connect("x".repeat(108)); nobody.send_to(b"x", &left);
            nobody.send_to(b"x", folder.path("none")); nobody.peer_addr().map(drop);
            nobody.connect_addr(&super::side::abstract_name());
            server.local_addr().map(is_path); named.local_addr().map(is_name);
            nobody.local_addr().map(|name| name.is_unnamed());
            nobody.send_to(b"one", &path); nobody.send_to(b"", &path);
            named.send_to(b"three", &path);
            server.recv_from(&mut [0; 9]).map(|(count, from)| (count, from.is_unnamed()));
            server.recv(&mut [0; 9]);
            server.recv_from(&mut [0; 2]).map(|(count, from)| (count, is_name(from)));
            server.send_to_addr(b"back", &name);
            named.recv_from(&mut [0; 9]).map(|(count, from)| (count, is_path(from)));
            nobody.connect(&path); nobody.peer_addr().map(is_path); nobody.send(b"x");
            server.recv(&mut []);
            a.read_timeout(); a.set_read_timeout(ZERO); a.set_read_timeout(None);
            a.write_timeout(); a.set_write_timeout(ZERO); a.set_write_timeout(None);
            a.set_nonblocking(true); a.recv(&mut [0; 9]); a.recv_from(&mut [0; 9]).map(drop);
            a.set_nonblocking(false); a.take_error().map(|error| error.is_some());
            a.try_clone().and_then(|clone| clone.send(b"x")); b.recv(&mut [0; 9]);
            a.send(&vec![0; 10_000_000]);
            a.shutdown(Shutdown::Read); a.recv(&mut [0; 9]); a.send(b"still");
            a.recv_from(&mut [0; 9]).map(|(count, from)| (count, from.is_unnamed()));
            b.shutdown(Shutdown::Write); b.send(b"x"); b.recv(&mut [0; 9]);
        }
    }};
}

#[test]
fn unix_datagrams_are_as_std_has_them() {
    everywhere("unix_datagrams_are_as_std_has_them", |_| {
        compare(
            datagram_calls!(tarae::os::unix::net),
            datagram_calls!(std::os::unix::net),
        );
    });
}
