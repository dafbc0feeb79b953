//! Calls that would block the loop's thread are noticed, by what they do.

use std::io::{Read, Write};

use tarae::event::{EventLoop, WouldBlockLoop};
use tarae::net::{TcpListener, TcpStream, UdpSocket};
use tarae::sync::{Mutex, mpsc};
use tarae::time::{Duration, sleep};

use crate::support::{alone_saying, guarded};

fn run(strict: bool, handler: impl FnOnce(&EventLoop) + 'static) {
    let events = EventLoop::new().unwrap();
    events.set_strict(strict);
    events.after(Duration::ZERO, handler);
    events.run().unwrap();
}

/// What was written to stderr by `test`, in a process of its own.
fn said(name: &'static str, test: impl FnOnce()) -> Option<String> {
    let said = alone_saying(name, test)?;
    eprintln!("{said}");
    Some(said)
}

fn reports(said: &str) -> usize {
    said.matches("makes a call that blocks it").count()
}

#[inline(never)]
fn a_place_that_sleeps() {
    sleep(Duration::from_millis(1));
    // A call at the very end may be made without a frame of its own.
    std::hint::black_box(());
}

#[test]
fn a_call_site_is_reported_once_with_its_stack() {
    let test = || {
        for turn in 0..3 {
            run(turn == 2, |_| {
                for _ in 0..3 {
                    a_place_that_sleeps();
                }
            });
        }
        // The same site, from elsewhere.
        run(false, |_| a_place_that_sleeps());
        // Here it blocks a thread that is nobody's.
        a_place_that_sleeps();
    };
    let name = "blocking::a_call_site_is_reported_once_with_its_stack";
    let Some(said) = said(name, test) else { return };
    assert_eq!(reports(&said), 1);
    let first = said
        .lines()
        .find(|line| line.trim_start().starts_with("0: "))
        .unwrap();
    assert!(first.contains("a_place_that_sleeps"), "{first}");
    assert!(said.contains("blocking.rs"));
}

#[test]
fn each_kind_of_wait_is_noticed() {
    let test = || {
        run(false, |_| {
            let (_sender, receiver) = mpsc::channel::<()>();
            assert!(receiver.recv_timeout(Duration::from_millis(1)).is_err());
        });
        run(false, |_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            assert!(socket.recv(&mut [0]).is_err());
        });
        run(false, |_| assert_eq!(tarae::offload(|| 5).unwrap(), 5));
        run(false, |_| tarae::run(|| ()).unwrap());
        run(false, |_| {
            let (_sender, receiver) = mpsc::channel::<()>();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            tarae::select! {
                recv(receiver) => unreachable!(),
                readable(socket) => unreachable!(),
                sleep(Duration::from_millis(1)) => {}
            }
        });
    };
    let Some(said) = said("blocking::each_kind_of_wait_is_noticed", test) else {
        return;
    };
    assert_eq!(reports(&said), 5);
}

#[test]
fn what_need_not_wait_is_none() {
    let test = || {
        run(true, |_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut ours, _) = listener.accept().unwrap();
            stream.write_all(b"x").unwrap();
            ours.read_exact(&mut [0]).unwrap();
            let lock = Mutex::new(1);
            *lock.lock().unwrap() += 1;
            let (sender, receiver) = mpsc::channel();
            sender.send(()).unwrap();
            receiver.recv().unwrap();
            tarae::yield_now();
            // Another thread is free to wait.
            std::thread::spawn(|| sleep(Duration::from_millis(1)))
                .join()
                .unwrap();
        });
        // Between two events it is the caller who knows what the thread is for.
        let events = EventLoop::new().unwrap();
        events.set_strict(true);
        events.key(0).after(Duration::ZERO);
        assert!(events.next_event().unwrap().is_some());
        sleep(Duration::from_millis(1));
    };
    let Some(said) = said("blocking::what_need_not_wait_is_none", test) else {
        return;
    };
    assert_eq!(reports(&said), 0);
}

#[test]
fn a_strict_loop_refuses_what_has_an_error() {
    guarded("a_strict_loop_refuses_what_has_an_error", || {
        run(true, |_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            assert!(WouldBlockLoop::is(&listener.accept().unwrap_err()));
            let peer = std::net::TcpStream::connect(address).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            assert!(WouldBlockLoop::is(&stream.read(&mut [0]).unwrap_err()));
            let full = loop {
                if let Err(error) = stream.write(&[0; 65536]) {
                    break error;
                }
            };
            assert!(WouldBlockLoop::is(&full), "{full}");
            stream.set_nonblocking(true).unwrap();
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            drop(peer);
            let unknown = TcpStream::connect("a-name-to-be-looked-up.invalid:1");
            assert!(WouldBlockLoop::is(&unknown.unwrap_err()));
        });
    });
}
