//! What does not belong in a simulated run says so, or runs in a way that can be repeated.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tarae::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use tarae::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use tarae::signal::{Signal, Signals};
use tarae::sim::{Builder, run};

/// The error is `Unsupported` and says what it is about.
#[track_caller]
fn refused<T>(result: io::Result<T>, what: &str) {
    let error = result.err().expect("it does not belong in a simulated run");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains(what), "{error}");
    assert!(error.to_string().contains("tarae::sim"), "{error}");
}

#[test]
fn other_sockets_signals_and_names_are_refused() {
    let std_stream = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    };
    let path = std::env::temp_dir().join("tarae-sim-never-made");
    let program = || {
        refused(UdpSocket::bind("127.0.0.1:0"), "UDP");
        refused(UnixStream::pair(), "Unix");
        refused(UnixStream::connect(&path), "Unix");
        refused(UnixListener::bind(&path), "Unix");
        refused(UnixDatagram::bind(&path), "Unix");
        refused(UnixDatagram::unbound(), "Unix");
        refused(UnixDatagram::pair(), "Unix");
        refused(Signals::new(&[Signal::USER1]), "signals");
        refused("example.org:80".to_socket_addrs(), "example.org");
        refused(("example.org", 80).to_socket_addrs(), "example.org");
        let localhost: Vec<_> = "localhost:80".to_socket_addrs().unwrap().collect();
        assert_eq!(localhost, ["127.0.0.1:80".parse().unwrap()]);
        refused(TcpStream::from_std(std_stream), "std");
    };
    run(1, program).unwrap();
    assert!(!path.exists());
}

#[test]
fn real_sockets_do_not_work_inside_nor_simulated_ones_outside() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut real = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let report = run(1, || {
        refused(real.read(&mut [0]), "outside");
        refused(listener.accept(), "outside");
        let listener = TcpListener::bind("127.0.0.1:9").unwrap();
        let stream = TcpStream::connect("127.0.0.1:9").unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let outside = std::thread::spawn(move || {
            refused(peer.read(&mut [0]), "its own run");
            refused(peer.peek(&mut [0]), "its own run");
        });
        outside.join().unwrap();
        (listener, stream)
    });
    let (listener, mut stream) = report.unwrap().value;
    refused(stream.read(&mut [0]), "its own run");
    refused(listener.accept(), "its own run");
    tarae::run(|| refused(stream.read(&mut [0]), "its own run")).unwrap();
    run(2, || refused(stream.read(&mut [0]), "outside")).unwrap();
}

#[test]
fn a_simulated_socket_has_no_descriptor() {
    let report = run(1, || {
        let listener = TcpListener::bind("127.0.0.1:9").unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| listener.as_raw_fd())).unwrap_err();
        let text = *panic.downcast_ref::<&str>().unwrap();
        assert!(text.contains("no descriptor (see `tarae::sim`)"), "{text}");
        assert!(format!("{listener:?}").contains("127.0.0.1:9"));
        refused(listener.into_std(), "descriptor");
    });
    report.unwrap();
}

#[test]
fn a_run_starts_in_no_other_and_no_other_in_it() {
    let report = run(1, || {
        assert!(run(2, || ()).unwrap_err().is_nested());
        assert!(tarae::run(|| ()).unwrap_err().is_nested());
    });
    report.unwrap();
    tarae::run(|| assert!(run(1, || ()).unwrap_err().is_nested())).unwrap();
}

#[test]
fn offloaded_closures_run_in_their_caller_and_others_go_on() {
    let mut others_first = 0;
    for seed in 0..20 {
        let report = Builder::new(seed).workers(1).run(|| {
            let other = tarae::spawn(|| ());
            let here = std::thread::current().id();
            let mut borrowed = 1;
            let there = tarae::offload(|| {
                borrowed += 1;
                assert_eq!(tarae::offload(|| 7).unwrap(), 7, "one inside the other");
                std::thread::current().id()
            });
            assert_eq!((there.unwrap(), borrowed), (here, 2));
            let panic = catch_unwind(|| tarae::offload(|| panic!("of the closure")));
            assert!(panic.is_err());
            let waits = tarae::spawn(|| {
                tarae::thread::park();
                tarae::offload(|| unreachable!("it was cancelled before"))
            });
            tarae::yield_now();
            waits.cancel();
            assert!(waits.join().unwrap().unwrap_err().is_cancelled());
            other.is_finished()
        });
        let report = report.unwrap();
        assert_eq!(report.elapsed.as_millis(), 0);
        others_first += usize::from(report.trace.as_str().contains("coroutine 1 ends"));
    }
    assert!(others_first > 0);
}
