//! What ends a wait of a stream or listener: data, room, the peer, a time-out, a shutdown.
//!
//! Guards that each cause wakes whoever is parked (a hang otherwise), with std's result, and that
//! the socket is as good as before after a wait that failed.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};

use super::support::{everywhere, guarded, pair, spawn_named, until_parked};

/// Runs `wait` in a coroutine of a two-worker runtime; once it is parked, runs `cause` in another
/// coroutine and gives what `wait` gave. Then the same with `wait` on a plain thread, which is not
/// known to wait already: either order must do.
#[track_caller]
fn woken<S, T>(
    name: &'static str,
    prepare: fn() -> (S, S),
    wait: fn(&S) -> T,
    cause: fn(S),
    check: fn(T),
) where
    S: Send + 'static,
    T: Send + 'static,
{
    guarded(name, || {
        tarae::Builder::new()
            .workers(2)
            .run(|| {
                for _ in 0..10 {
                    let (waits, causes) = prepare();
                    let waiter = spawn_named("waiter", move || wait(&waits));
                    until_parked("waiter");
                    tarae::spawn(move || cause(causes)).join().unwrap();
                    check(waiter.join().unwrap());
                }
            })
            .unwrap();
        for _ in 0..10 {
            let (waits, causes) = prepare();
            let waiter = std::thread::spawn(move || wait(&waits));
            cause(causes);
            check(waiter.join().unwrap());
        }
    });
}

/// The first is the one in question; others only have to stay open.
struct Ends(Vec<TcpStream>);

fn clones() -> (Ends, Ends) {
    let (client, server) = pair();
    let clone = server.try_clone().unwrap();
    // The client's end lives as long as the waiter.
    (Ends(vec![server, client]), Ends(vec![clone]))
}

fn read_one(streams: &Ends) -> std::io::Result<usize> {
    (&mut &streams.0[0]).read(&mut [0; 8])
}

#[test]
fn shutting_reading_down_wakes_a_reader() {
    woken(
        "shutting_reading_down_wakes_a_reader",
        clones,
        read_one,
        |streams| streams.0[0].shutdown(Shutdown::Read).unwrap(),
        |result| assert_eq!(result.unwrap(), 0),
    );
}

#[test]
fn shutting_both_down_wakes_a_reader() {
    woken(
        "shutting_both_down_wakes_a_reader",
        clones,
        read_one,
        |streams| streams.0[0].shutdown(Shutdown::Both).unwrap(),
        |result| assert_eq!(result.unwrap(), 0),
    );
}

fn ends() -> (Ends, Ends) {
    let (client, server) = pair();
    (Ends(vec![server]), Ends(vec![client]))
}

/// Half-close: the reader sees the end, and the other direction goes on.
#[test]
fn a_half_close_wakes_a_reader() {
    woken(
        "a_half_close_wakes_a_reader",
        ends,
        |streams| {
            let count = read_one(streams).unwrap();
            (&mut &streams.0[0]).write_all(b"after the end").unwrap();
            streams.0[0].shutdown(Shutdown::Write).unwrap();
            count
        },
        |mut streams| {
            streams.0[0].shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            streams.0[0].read_to_string(&mut text).unwrap();
            assert_eq!(text, "after the end");
        },
        |count| assert_eq!(count, 0),
    );
}

fn reset(streams: Ends) {
    rustix::net::sockopt::set_socket_linger(&streams.0[0], Some(Duration::ZERO)).unwrap();
    drop(streams);
}

#[test]
fn a_reset_wakes_a_reader() {
    woken("a_reset_wakes_a_reader", ends, read_one, reset, |result| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// Writes until there is no more room, then waits for some.
fn write_too_much(streams: &Ends) -> std::io::Result<usize> {
    let piece = vec![1; 1 << 20];
    let mut sent = 0;
    // No two buffers hold this much.
    while sent < 64 << 20 {
        sent += (&mut &streams.0[0]).write(&piece)?;
    }
    Ok(sent)
}

#[test]
fn a_reset_wakes_a_writer() {
    woken(
        "a_reset_wakes_a_writer",
        ends,
        write_too_much,
        reset,
        |result| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
        },
    );
}

/// With its own direction shut down a writer gets std's error, not a signal.
#[test]
fn shutting_writing_down_wakes_a_writer() {
    woken(
        "shutting_writing_down_wakes_a_writer",
        clones,
        write_too_much,
        |streams| streams.0[0].shutdown(Shutdown::Write).unwrap(),
        |result| assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe),
    );
}

/// The peer takes what is there: room for the writer, who goes on and ends.
#[test]
fn a_drained_peer_wakes_a_writer() {
    woken(
        "a_drained_peer_wakes_a_writer",
        ends,
        |streams| {
            let sent = write_too_much(streams).unwrap();
            streams.0[0].shutdown(Shutdown::Write).unwrap();
            let mut got = [0; 8];
            (&mut &streams.0[0]).read_exact(&mut got).unwrap();
            (sent, usize::from_le_bytes(got))
        },
        |mut streams| {
            let (mut buffer, mut got) = (vec![0; 1 << 20], 0);
            loop {
                match streams.0[0].read(&mut buffer).unwrap() {
                    0 => break,
                    count => got += count,
                }
            }
            streams.0[0].write_all(&got.to_le_bytes()).unwrap();
        },
        |(sent, got)| assert_eq!(sent, got),
    );
}

#[test]
fn a_connection_wakes_an_acceptor() {
    woken(
        "a_connection_wakes_an_acceptor",
        || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            (listener.try_clone().unwrap(), listener)
        },
        |listener| listener.accept().unwrap().1,
        |listener| drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap()),
        |address| assert!(address.ip().is_loopback()),
    );
}

/// A time-out ends a read with `TimedOut`; the stream is as good as before, the time-out stays.
#[test]
fn a_read_times_out() {
    everywhere("a_read_times_out", || {
        let (mut client, mut server) = pair();
        let timeout = Some(Duration::from_millis(2));
        server.set_read_timeout(timeout).unwrap();
        assert_eq!(server.read_timeout().unwrap(), timeout);
        let mut buffer = [0; 8];
        for _ in 0..3 {
            let kind = server.read(&mut buffer).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::TimedOut);
            let kind = server.peek(&mut buffer).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::TimedOut);
        }
        client.write_all(b"there").unwrap();
        server.set_read_timeout(None).unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 5);
        // Of both handles, since it is the socket's.
        let clone = server.try_clone().unwrap();
        clone.set_read_timeout(timeout).unwrap();
        assert_eq!(
            server.read(&mut buffer).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
    });
}

#[test]
fn a_write_times_out() {
    everywhere("a_write_times_out", || {
        let (mut client, mut server) = pair();
        server
            .set_write_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let piece = vec![9; 1 << 16];
        let mut sent = 0;
        let error = loop {
            match server.write(&piece) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let mut received = vec![0; sent];
        client.read_exact(&mut received).unwrap();
        server.set_write_timeout(None).unwrap();
        server.write_all(b"again").unwrap();
        client.read_exact(&mut received[..5]).unwrap();
        assert_eq!(&received[..5], b"again");
    });
}

/// Nothing to write or to scatter, nothing to wait for: as std, whatever is known of the socket's
/// readiness.
#[test]
fn empty_slices_never_wait() {
    everywhere("empty_slices_never_wait", || {
        let (_client, mut server) = pair();
        let timeout = Some(Duration::from_millis(1));
        server.set_read_timeout(timeout).unwrap();
        server.set_write_timeout(timeout).unwrap();
        server.read(&mut [0]).unwrap_err();
        while server.write(&[0; 1 << 16]).is_ok() {}
        server.set_read_timeout(None).unwrap();
        server.set_write_timeout(None).unwrap();
        assert_eq!(server.read_vectored(&mut []).unwrap(), 0);
        assert_eq!(
            server
                .read_vectored(&mut [IoSliceMut::new(&mut [])])
                .unwrap(),
            0
        );
        assert_eq!(server.write(&[]).unwrap(), 0);
        assert_eq!(server.write_vectored(&[]).unwrap(), 0);
        assert_eq!(server.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
    });
}

/// The other handle still waits: the blocking mode is each handle's own.
#[test]
fn nonblocking_handles_never_wait() {
    everywhere("nonblocking_handles_never_wait", || {
        let (mut client, mut server) = pair();
        let mut impatient = server.try_clone().unwrap();
        impatient.set_nonblocking(true).unwrap();
        let mut buffer = [0; 8];
        for _ in 0..2 {
            let kind = impatient.read(&mut buffer).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::WouldBlock);
        }
        client.write_all(b"one").unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 3);
        client.write_all(b"two").unwrap();
        assert_eq!(impatient.read(&mut buffer).unwrap(), 3);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(
            listener.incoming().next().unwrap().unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// A peek shorter than its buffer takes nothing and says nothing of the next read: one that took
/// it for "not readable" would have the next read wait for ever.
#[test]
fn peeking_takes_nothing() {
    everywhere("peeking_takes_nothing", || {
        let (mut client, mut server) = pair();
        let mut buffer = [0; 16];
        server
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        server.read(&mut buffer).unwrap_err();
        server.set_read_timeout(None).unwrap();
        client.write_all(b"peeked").unwrap();
        for length in [16, 2, 16, 6] {
            let count = server.peek(&mut buffer[..length]).unwrap();
            assert_eq!(&buffer[..count], &b"peeked"[..length.min(6)]);
        }
        assert_eq!(server.read(&mut buffer).unwrap(), 6);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.peek(&mut buffer).unwrap(), 0);
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
    });
}

/// One call takes 1,024 slices at most; what it leaves is there without a further edge, so a rule
/// of short reads that counted the other slices would hang here.
#[test]
fn more_slices_than_one_call_takes() {
    everywhere("more_slices_than_one_call_takes", || {
        const SLICES: usize = 2_500;
        let (mut client, mut server) = pair();
        server
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        server.read(&mut [0]).unwrap_err();
        server.set_read_timeout(None).unwrap();
        let data: Vec<u8> = (0..SLICES).map(|n| n as u8).collect();
        let mut slices: Vec<IoSlice<'_>> = data.chunks(1).map(IoSlice::new).collect();
        let mut left = &mut slices[..];
        let mut calls = 0;
        while !left.is_empty() {
            let count = client.write_vectored(left).unwrap();
            assert!((1..=1_024).contains(&count));
            IoSlice::advance_slices(&mut left, count);
            calls += 1;
        }
        assert_eq!(calls, 3);
        let mut received = vec![0; SLICES];
        let mut at = 0;
        while at < SLICES {
            let mut slices: Vec<_> = received[at..].chunks_mut(1).map(IoSliceMut::new).collect();
            at += server.read_vectored(&mut slices).unwrap();
        }
        assert_eq!(received, data);
    });
}

/// The runtime's end ends the iterators, in place of an error per turn for ever.
#[test]
fn cancellation_ends_incoming() {
    guarded("cancellation_ends_incoming", || {
        for workers in [1, 2] {
            let ended: [Arc<AtomicBool>; 2] = Default::default();
            let [borrowed, owned] = ended.clone();
            tarae::Builder::new()
                .workers(workers)
                .run(|| {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    let clone = listener.try_clone().unwrap();
                    let address = listener.local_addr().unwrap();
                    spawn_named("borrowed", move || {
                        let mut incoming = listener.incoming();
                        assert!(incoming.by_ref().all(|stream| stream.is_ok()));
                        assert!(incoming.next().is_none(), "it did not stay at its end");
                        borrowed.store(true, SeqCst);
                    });
                    spawn_named("owned", move || {
                        assert!(clone.into_incoming().all(|stream| stream.is_ok()));
                        owned.store(true, SeqCst);
                    });
                    drop(TcpStream::connect(address).unwrap());
                    until_parked("borrowed");
                    until_parked("owned");
                })
                .unwrap();
            assert!(ended.iter().all(|ended| ended.load(SeqCst)));
        }
    });
}

/// Whatever a coroutine waits for on a socket, the runtime's end is told as its error.
#[test]
fn cancellation_ends_reads_and_writes() {
    guarded("cancellation_ends_reads_and_writes", || {
        let (told, telling) = std::sync::mpsc::channel();
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                let (reading, writing, more) = (told.clone(), told.clone(), told);
                spawn_named("reader", move || {
                    let ends = clones().0;
                    let error = read_one(&ends).unwrap_err();
                    reading.send(tarae::Cancelled::is(&error)).unwrap();
                });
                spawn_named("writer", move || {
                    let ends = clones().0;
                    let error = write_too_much(&ends).unwrap_err();
                    writing.send(tarae::Cancelled::is(&error)).unwrap();
                    // Later waits are cancelled too, but what can be done is done.
                    let (mut client, mut server) = pair();
                    client.write_all(b"x").unwrap();
                    assert_eq!(server.read(&mut [0; 4]).unwrap(), 1);
                    let error = server.read(&mut [0; 4]).unwrap_err();
                    more.send(tarae::Cancelled::is(&error)).unwrap();
                });
                until_parked("reader");
                until_parked("writer");
            })
            .unwrap();
        assert_eq!(telling.iter().collect::<Vec<_>>(), [true; 3]);
    });
}
