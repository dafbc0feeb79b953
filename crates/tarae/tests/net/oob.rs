//! Out-of-band data between ordinary data.
//!
//! Guards the rule of short reads: the urgent mark cuts a read short though more is there, without
//! a new edge. With the rule's exception removed a reader here parks beside data, for ever.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::net::SendFlags;
use tarae::net::TcpStream;

use super::support::{guarded, leave_no_trace, look, pair, std_pair};

/// The value of every urgent byte; an earlier one that a later one supersedes turns up in the
/// stream, the last one does not, so the reader leaves all of them out.
const URGENT: u8 = b'!';

#[derive(Debug, Clone, Copy)]
enum Act {
    Data,
    Urgent,
    /// Lets the reader come to rest.
    Settle,
}

/// The `number`th of all sequences of `length` acts.
fn acts(mut number: usize, length: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    for _ in 0..length {
        acts.push([Act::Data, Act::Urgent, Act::Settle][number % 3]);
        number /= 3;
    }
    acts
}

/// Performs the acts and gives what ordinary data was sent. The end is sent when all of it has been
/// got: its edge would wake a reader that is parked beside data.
fn send(stream: &StdStream, acts: &[Act], got: &AtomicUsize, settle: impl Fn()) -> Vec<u8> {
    let mut sent = Vec::new();
    for act in acts {
        match act {
            Act::Data => {
                let piece = [0, 1, 2].map(|n| b'a' + (sent.len() + n) as u8 % 26);
                (&mut &*stream).write_all(&piece).unwrap();
                sent.extend(piece);
            }
            Act::Urgent => {
                rustix::net::send(stream, &[URGENT], SendFlags::OOB).unwrap();
            }
            Act::Settle => settle(),
        }
    }
    while got.load(SeqCst) < sent.len() {
        settle();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    sent
}

/// Reads to the end and closes; nothing of the connection is left then.
fn receive(mut stream: impl Read, buffer_len: usize, got: &AtomicUsize) -> Vec<u8> {
    let (mut received, mut buffer) = (Vec::new(), vec![0; buffer_len]);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return received,
            count => received.extend(buffer[..count].iter().filter(|byte| **byte != URGENT)),
        }
        got.store(received.len(), SeqCst);
    }
}

/// Every sequence of five acts, with large and small buffers, read by a coroutine that waits first.
#[test]
fn everything_ordinary_arrives_in_a_coroutine() {
    const LENGTH: usize = 5;
    guarded("everything_ordinary_arrives_in_a_coroutine", || {
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                for number in 0..3usize.pow(LENGTH as u32) {
                    for buffer_len in [1, 2, 5, 4_096] {
                        let (client, server) = std_pair();
                        leave_no_trace(&server);
                        let stream = TcpStream::from(server);
                        let got = Arc::new(AtomicUsize::new(0));
                        let theirs = Arc::clone(&got);
                        let reader = tarae::spawn(move || receive(&stream, buffer_len, &theirs));
                        tarae::yield_now();
                        let acts = acts(number, LENGTH);
                        let sent = send(&client, &acts, &got, look);
                        let received = reader.join().unwrap();
                        assert_eq!(received, sent, "{acts:?}, {buffer_len} at a time");
                    }
                }
            })
            .unwrap();
    });
}

/// The same between threads: the urgent byte that nobody takes must neither hide ordinary data
/// from a plain thread's wait nor look like some.
#[test]
fn everything_ordinary_arrives_on_a_plain_thread() {
    const LENGTH: usize = 4;
    guarded("everything_ordinary_arrives_on_a_plain_thread", || {
        for number in 0..3usize.pow(LENGTH as u32) {
            for buffer_len in [1, 4_096] {
                let (client, server) = std_pair();
                leave_no_trace(&server);
                let stream = TcpStream::from(server);
                let got = Arc::new(AtomicUsize::new(0));
                let theirs = Arc::clone(&got);
                let reader = std::thread::spawn(move || receive(&stream, buffer_len, &theirs));
                let acts = acts(number, LENGTH);
                let settle = || (0..20).for_each(|_| std::thread::yield_now());
                let sent = send(&client, &acts, &got, settle);
                let received = reader.join().unwrap();
                assert_eq!(received, sent, "{acts:?}, {buffer_len} at a time");
            }
        }
    });
}

/// The sender is a coroutine of another worker or a thread, so that urgent and ordinary bytes come
/// while a read is going on.
#[test]
fn everything_ordinary_arrives_under_a_concurrent_sender() {
    guarded(
        "everything_ordinary_arrives_under_a_concurrent_sender",
        || {
            tarae::Builder::new()
                .workers(2)
                .run(|| {
                    for round in 0..400 {
                        let (client, server) = std_pair();
                        leave_no_trace(&server);
                        let got = Arc::new(AtomicUsize::new(0));
                        let theirs = Arc::clone(&got);
                        let sender = std::thread::spawn(move || {
                            let acts = acts(round * 7_919, 12);
                            send(&client, &acts, &theirs, std::thread::yield_now)
                        });
                        let stream = Arc::new(TcpStream::from(server));
                        let reader =
                            tarae::spawn(move || receive(&*stream, [2, 64][round % 2], &got));
                        assert_eq!(reader.join().unwrap(), sender.join().unwrap());
                    }
                })
                .unwrap();
        },
    );
}

/// A read with a time-out, an urgent byte pending and nothing else: the time must run out, once.
#[test]
fn a_pending_urgent_byte_is_no_data() {
    super::support::everywhere("a_pending_urgent_byte_is_no_data", || {
        let (mut client, server) = pair();
        rustix::net::send(&client, &[URGENT], SendFlags::OOB).unwrap();
        server
            .set_read_timeout(Some(std::time::Duration::from_millis(5)))
            .unwrap();
        let mut buffer = [0; 8];
        let error = (&server).read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        server.set_read_timeout(None).unwrap();
        client.write_all(b"data").unwrap();
        (&server).read_exact(&mut buffer[..4]).unwrap();
        assert_eq!(&buffer[..4], b"data");
    });
}
