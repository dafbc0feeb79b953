//! UDP: datagrams whole or cut, peers that are not there, multicast within this machine, several
//! who receive from one socket.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tarae::net::UdpSocket;

use super::side::everywhere;
use super::support::{guarded, join_each, one_on_each};

fn local() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn connected() -> (UdpSocket, UdpSocket) {
    let (a, b) = (local(), local());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

/// One call takes one datagram, whatever the sizes; the rest of one that is cut never shows up in
/// the next. The largest of 65,507 bytes fits.
#[test]
fn datagrams_keep_their_bounds() {
    everywhere("datagrams_keep_their_bounds", |_| {
        let (a, b) = connected();
        let mut buffer = vec![0; 70_000];
        for (sent, room) in [
            (5, 9),
            (9, 5),
            (0, 9),
            (9, 0),
            (0, 0),
            (65_507, 70_000),
            (1, 1),
        ] {
            let data: Vec<u8> = (0..sent).map(|i| i as u8).collect();
            assert_eq!(a.send(&data).unwrap(), sent);
            let got = b.recv(&mut buffer[..room]).unwrap();
            assert_eq!(got, sent.min(room), "{sent} into {room}");
            assert_eq!(buffer[..got], data[..got]);
        }
        a.set_nonblocking(true).unwrap();
        assert_eq!(
            a.recv(&mut [0; 9]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// An empty buffer waits for a datagram, and takes it; a stream's read of nothing does not wait.
#[test]
fn an_empty_buffer_waits() {
    everywhere("an_empty_buffer_waits", |side| {
        let (a, b) = connected();
        let receiver = side.spawn(move || (b.recv(&mut []).unwrap(), b.recv(&mut [0; 9]).unwrap()));
        receiver.until_waiting();
        a.send(b"cut to nothing").unwrap();
        a.send(b"whole").unwrap();
        assert_eq!(receiver.join(), (0, 5));
    });
}

/// A connected socket learns that nobody is there, in a call that waits already too.
#[test]
fn a_peer_that_is_gone_refuses() {
    everywhere("a_peer_that_is_gone_refuses", |side| {
        let (a, b) = connected();
        let other = a.try_clone().unwrap();
        let receiver = side.spawn(move || other.recv(&mut [0; 9]).unwrap_err().kind());
        receiver.until_waiting();
        drop(b);
        a.send(b"anybody?").unwrap();
        assert_eq!(receiver.join(), ErrorKind::ConnectionRefused);
        // Once told, the next one has nothing to report but the answer to its own datagram.
        assert!(a.take_error().unwrap().is_none());
        a.send(b"anybody?").unwrap();
        let error = a.recv(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// A connected socket hears its peer only.
#[test]
fn strangers_are_not_heard() {
    everywhere("strangers_are_not_heard", |_| {
        let (a, b) = connected();
        let stranger = local();
        stranger
            .send_to(b"stranger", b.local_addr().unwrap())
            .unwrap();
        a.send(b"friend").unwrap();
        let (count, from) = b.recv_from(&mut [0; 99]).unwrap();
        assert_eq!((count, from), (6, a.local_addr().unwrap()));
        b.set_nonblocking(true).unwrap();
        assert_eq!(
            b.recv(&mut [0; 9]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// Through the loopback interface only: the sender is bound to it, and zero hops are allowed. The
/// group is this process's own, since all processes hear of a group what they have not left.
#[test]
fn multicast_within_this_machine() {
    everywhere("multicast_within_this_machine", |side| {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let group = Ipv4Addr::new(239, 192 + side as u8, high, low);
        let member = UdpSocket::bind((group, 0)).unwrap();
        member
            .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        let to = member.local_addr().unwrap();
        let sender = local();
        sender.set_multicast_ttl_v4(0).unwrap();
        let from = sender.local_addr().unwrap();
        let clone = member.try_clone().unwrap();
        let receiver = side.spawn(move || clone.recv_from(&mut [0; 9]).unwrap());
        receiver.until_waiting();
        sender.send_to(b"all", to).unwrap();
        assert_eq!(receiver.join(), (3, from));

        member
            .leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to(b"unheard", to).unwrap();
        member.set_nonblocking(true).unwrap();
        let kind = member.recv(&mut [0; 9]).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::WouldBlock);
    });
}

/// Of IPv6 groups only the membership, as the kernel lists it, where the machine has IPv6: a
/// loopback interface mostly has no route for them. The group's scope never leaves the interface.
#[test]
fn multicast_v6_membership() {
    everywhere("multicast_v6_membership", |side| {
        let Ok(socket) = UdpSocket::bind("[::1]:0") else {
            return eprintln!("no IPv6 on this machine: nothing to test");
        };
        const LOOPBACK: u32 = 1;
        let number = u128::from(std::process::id()) << 8 | side as u128;
        let group = Ipv6Addr::from_bits(0xff01 << 112 | number);
        let listed = || {
            let all = std::fs::read_to_string("/proc/net/igmp6").unwrap();
            all.contains(&format!("{:032x}", group.to_bits()))
        };
        assert!(!listed());
        socket.join_multicast_v6(&group, LOOPBACK).unwrap();
        assert!(listed());
        socket.leave_multicast_v6(&group, LOOPBACK).unwrap();
        assert!(!listed());
        assert!(socket.multicast_loop_v6().unwrap());
        socket.set_multicast_loop_v6(false).unwrap();
        assert!(!socket.multicast_loop_v6().unwrap());
    });
}

/// One socket, received from by coroutines of two workers and a plain thread at once: each datagram
/// goes to one of them, none is lost, and nobody stays asleep over one.
#[test]
fn one_socket_many_receivers() {
    guarded("one_socket_many_receivers", || {
        const EACH: u32 = 100;
        let socket = Arc::new(local());
        let to: SocketAddr = socket.local_addr().unwrap();
        // Each receiver ends with one of the empty datagrams.
        let receive = |socket: &UdpSocket| {
            let mut got = Vec::new();
            loop {
                let mut buffer = [0; 9];
                match socket.recv(&mut buffer).unwrap() {
                    4 => got.push(u32::from_ne_bytes(buffer[..4].try_into().unwrap())),
                    _ => return got,
                }
                std::thread::yield_now();
            }
        };
        let thread = {
            let socket = Arc::clone(&socket);
            std::thread::spawn(move || receive(&socket))
        };
        let sender = std::thread::spawn(move || {
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for number in 0..EACH {
                sender.send_to(&number.to_ne_bytes(), to).unwrap();
            }
            for _ in 0..3 {
                sender.send_to(b"", to).unwrap();
            }
        });
        let shared = Arc::clone(&socket);
        let runtime = tarae::Builder::new().workers(2);
        let mut got: Vec<u32> = runtime
            .run(move || join_each(one_on_each(2, move |_| receive(&shared))))
            .unwrap()
            .concat();
        got.extend(thread.join().unwrap());
        sender.join().unwrap();
        assert_eq!(got.len(), EACH as usize, "none twice");
        assert_eq!(got.into_iter().collect::<HashSet<_>>().len(), EACH as usize);
    });
}
