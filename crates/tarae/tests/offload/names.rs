//! Names are looked up in the pool for it, while others go on; addresses never go there.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tarae::Cancelled;
use tarae::net::{TcpListener, TcpStream, ToSocketAddrs};
use tarae::offload::{Builder, Pool, stats};

use crate::support::{Gate, alone, run_on, threads_called, until};

/// One worker, one thread for names, held by a job: the look-up waits, other coroutines do not.
#[test]
fn a_name_is_looked_up_while_others_go_on() {
    alone("names::a_name_is_looked_up_while_others_go_on", || {
        Builder::new(Pool::Dns).threads(1).apply().unwrap();
        run_on(1, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(threads_called("tarae-dns-"), 0);
            let gate = Arc::new(Gate::default());
            let theirs = Arc::clone(&gate);
            let holder = tarae::spawn(move || Pool::Dns.run(|| theirs.pass()));
            until(|| gate.arrived() == 1);
            let client = tarae::spawn(move || TcpStream::connect(format!("localhost:{port}")));
            until(|| stats().dns.queued == 1);
            // The look-up cannot have been made; the worker serves others all the same.
            for round in 0..10 {
                let address = ("127.0.0.1", port);
                let other = tarae::spawn(move || TcpStream::connect(address).unwrap());
                let (_, peer) = listener.accept().unwrap();
                let other = other.join().unwrap();
                assert_eq!(other.local_addr().unwrap(), peer, "round {round}");
            }
            assert!(!client.is_finished());
            gate.open();
            holder.join().unwrap().unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(client.join().unwrap().unwrap().local_addr().unwrap(), peer);
            assert_eq!(threads_called("tarae-dns-"), 1);
        });
    });
}

#[test]
fn a_name_can_be_bound() {
    alone("names::a_name_can_be_bound", || {
        run_on(1, || {
            let listener = TcpListener::bind(("localhost", 0)).unwrap();
            assert!(listener.local_addr().unwrap().ip().is_loopback());
            assert_eq!(threads_called("tarae-dns-"), 1);
        });
    });
}

/// A coroutine that is cancelled while its look-up is queued gets the usual error.
#[test]
fn a_queued_look_up_is_cancelled() {
    alone("names::a_queued_look_up_is_cancelled", || {
        Builder::new(Pool::Dns).threads(1).apply().unwrap();
        run_on(1, || {
            let gate = Arc::new(Gate::default());
            let theirs = Arc::clone(&gate);
            let holder = tarae::spawn(move || Pool::Dns.run(|| theirs.pass()));
            until(|| gate.arrived() == 1);
            let client = tarae::spawn(|| TcpStream::connect("localhost:1").map(drop));
            until(|| stats().dns.queued == 1);
            client.cancel();
            assert!(Cancelled::is(&client.join().unwrap().unwrap_err()));
            gate.open();
            holder.join().unwrap().unwrap();
        });
    });
}

#[track_caller]
fn check(input: impl ToSocketAddrs, want: &[&str]) {
    let got: Vec<_> = input.to_socket_addrs().unwrap().collect();
    let want: Vec<SocketAddr> = want.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(got, want);
}

/// Everything that std takes, and not one thread for it.
#[test]
fn addresses_are_not_looked_up() {
    alone("names::addresses_are_not_looked_up", || {
        run_on(1, || {
            let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
            let other: SocketAddr = "[::1]:81".parse().unwrap();
            check(address, &["127.0.0.1:80"]);
            let reference = &address;
            check(reference, &["127.0.0.1:80"]);
            check(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9), &["127.0.0.1:9"]);
            check((Ipv4Addr::LOCALHOST, 80), &["127.0.0.1:80"]);
            check((Ipv6Addr::LOCALHOST, 80), &["[::1]:80"]);
            check((IpAddr::V6(Ipv6Addr::LOCALHOST), 80), &["[::1]:80"]);
            check("127.0.0.1:80", &["127.0.0.1:80"]);
            check("[::1]:80", &["[::1]:80"]);
            check(String::from("127.0.0.1:80"), &["127.0.0.1:80"]);
            let text = &String::from("127.0.0.1:80");
            check(text, &["127.0.0.1:80"]);
            check(("127.0.0.1", 80), &["127.0.0.1:80"]);
            check(("::1", 80), &["[::1]:80"]);
            check((String::from("127.0.0.1"), 80), &["127.0.0.1:80"]);
            check([address, other], &["127.0.0.1:80", "[::1]:81"]);
            check(&[address, other][..], &["127.0.0.1:80", "[::1]:81"]);
            let both = &[address, other];
            check(both, &["127.0.0.1:80", "[::1]:81"]);
            let none: [SocketAddr; 0] = [];
            check(none, &[]);
            for wrong in ["localhost", "localhost:", "localhost:65536", ""] {
                let error = TcpStream::connect(wrong).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}: {error}");
            }
            assert_eq!((stats().dns.threads, threads_called("tarae-dns")), (0, 0));
        });
        // A plain thread looks a name up itself.
        check_loopback("localhost:80");
        check_loopback(("localhost", 80));
        assert_eq!(stats().dns.threads, 0);
        run_on(1, || {
            check_loopback("localhost:80");
            check_loopback(String::from("localhost:80"));
            check_loopback(("localhost", 80));
            check_loopback((String::from("localhost"), 80));
            assert!(stats().dns.threads > 0);
        });
    });
}

fn check_loopback(input: impl ToSocketAddrs) {
    let found: Vec<_> = input.to_socket_addrs().unwrap().collect();
    let fine = |address: &SocketAddr| address.ip().is_loopback() && address.port() == 80;
    assert!(!found.is_empty() && found.iter().all(fine), "{found:?}");
}
