//! A server on one thread: accept, read, write what there is room for, and end who is silent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use tarae::event::{EventLoop, Interest, Mode, Readiness, SourceId};
use tarae::time::{Duration, Instant};

use crate::support::guarded;

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

struct Connection {
    stream: TcpStream,
    /// Read and not yet written.
    pending: Vec<u8>,
    ended: bool,
    watchdog: Option<SourceId>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// True when it is done.
    fn go_on(&mut self) -> io::Result<bool> {
        // No more than it gives back: whoever does not read is not read from.
        let mut buffer = [0; 16 * 1024];
        if self.pending.is_empty() && !self.ended {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.ended && self.pending.is_empty())
    }
}

fn serve(events: &EventLoop, connection: &mut Connection, _: Readiness) {
    let id = events.current().unwrap();
    if !matches!(connection.go_on(), Ok(false)) {
        connection.watchdog.map(|watchdog| events.remove(watchdog));
        events.remove(id);
        return;
    }
    let interest = match connection.pending.is_empty() {
        true => Interest::READ,
        false => Interest::WRITE,
    };
    events.modify(id, interest, Mode::Level).unwrap();
    if let Some(watchdog) = connection.watchdog {
        assert!(events.reset(watchdog, Instant::now() + PATIENCE));
    }
}

fn accept(events: &EventLoop, listener: &mut TcpListener, _: Readiness) {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true).unwrap();
        let connection = Connection {
            stream,
            pending: Vec::new(),
            ended: false,
            watchdog: None,
        };
        let id = events
            .add(connection, Interest::READ, Mode::Level, serve)
            .unwrap();
        let watchdog = events.after(PATIENCE, move |events| {
            events.remove(id);
        });
        events.with(id, |connection: &mut Connection| {
            connection.watchdog = Some(watchdog)
        });
    }
}

#[test]
fn an_echo_server_with_clients_that_read_late() {
    guarded("an_echo_server_with_clients_that_read_late", || {
        const BYTES: usize = 4 * 1024 * 1024;
        let events = EventLoop::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let acceptor = events
            .add(listener, Interest::READ, Mode::Edge, accept)
            .unwrap();
        let handle = events.handle();
        let clients: Vec<_> = (0..8u8)
            .map(|number| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let stream = TcpStream::connect(address).unwrap();
                    let data: Vec<u8> = (0..BYTES).map(|at| (at / 7) as u8 ^ number).collect();
                    let reader = stream.try_clone().unwrap();
                    // Nobody reads until much more is on its way than the kernel has room for.
                    let (sent, half) = std::sync::mpsc::channel();
                    let reading = thread::spawn(move || {
                        half.recv().unwrap();
                        let mut echo = Vec::new();
                        (&reader).read_to_end(&mut echo).unwrap();
                        echo
                    });
                    (&stream).write_all(&data[..BYTES / 64]).unwrap();
                    sent.send(()).unwrap();
                    (&stream).write_all(&data[BYTES / 64..]).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert!(reading.join().unwrap() == data, "the echo differs");
                    drop(handle);
                })
            })
            .collect();
        thread::spawn(move || {
            let failed = clients.into_iter().any(|one| one.join().is_err());
            handle.post(move |events| {
                assert!(!failed, "a client has failed");
                assert!(events.remove(acceptor));
            })
        });
        // Ends when the listener is gone, and with it the last connection and its timer.
        events.run().unwrap();
    });
}

#[test]
fn who_is_silent_is_ended() {
    guarded("who_is_silent_is_ended", || {
        let events = EventLoop::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let id = events
            .add(stream, Interest::READ, Mode::Level, |_, _, _| ())
            .unwrap();
        events.after(Duration::from_millis(2), move |events| {
            assert!(events.remove(id))
        });
        events.run().unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
}
