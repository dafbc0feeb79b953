//! One stream used by coroutines of two workers and by plain threads at once.
//!
//! Guards the ownership of registrations: one per worker, none of a plain thread; every edge wakes
//! all who wait; what one of them takes makes nobody else believe that there is something, or
//! nothing, to read.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tarae::net::TcpStream;
use tarae::sync::mpsc;

use super::support::{Random, guarded, join_each, one_on_each, pair};

/// How often each value came.
type Counts = [usize; 256];

/// Reads to the end in pieces of changing length: full reads and short ones.
fn count_all(mut stream: impl Read, seed: u64, got: &AtomicUsize) -> Counts {
    let (mut counts, mut buffer, mut random) = ([0; 256], [0; 9], Random::new(seed));
    loop {
        let length = 1 + random.below(buffer.len());
        match stream.read(&mut buffer[..length]).unwrap() {
            0 => return counts,
            count => {
                for byte in &buffer[..count] {
                    counts[usize::from(*byte)] += 1;
                }
                got.fetch_add(count, SeqCst);
            }
        }
    }
}

/// Sends `total` numbered bytes in small pieces; every so often waits until all are taken, so that
/// the next piece must wake somebody.
fn send_tokens(stream: &TcpStream, total: usize, seed: u64, got: &AtomicUsize) {
    let mut random = Random::new(seed);
    let mut sent = 0;
    while sent < total {
        let count = (1 + random.below(12)).min(total - sent);
        let piece: Vec<u8> = (sent..sent + count).map(|n| n as u8).collect();
        (&mut &*stream).write_all(&piece).unwrap();
        sent += count;
        while random.below(2) == 0 && got.load(SeqCst) < sent {
            std::thread::yield_now();
        }
        if random.below(4) == 0 {
            while got.load(SeqCst) < sent {
                std::thread::yield_now();
            }
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

#[track_caller]
fn check_counts(total: usize, all: &[Counts]) {
    for value in 0..256 {
        let want = total / 256 + usize::from(value < total % 256);
        let got: usize = all.iter().map(|counts| counts[value]).sum();
        assert_eq!(got, want, "times that {value} came");
    }
}

/// A lost wake-up of any of the readers would leave the sender waiting; a byte delivered twice or
/// never would show in the counts; a missed end of the stream would leave a reader parked.
#[test]
fn two_workers_and_a_thread_read_one_stream() {
    const TOTAL: usize = 1_500;
    guarded("two_workers_and_a_thread_read_one_stream", || {
        for round in 0..60 {
            let got = Arc::new(AtomicUsize::new(0));
            let (client, server) = pair();
            let server = Arc::new(server);
            let writer = {
                let got = Arc::clone(&got);
                std::thread::spawn(move || send_tokens(&client, TOTAL, round, &got))
            };
            let thread = {
                let (got, stream) = (Arc::clone(&got), server.try_clone().unwrap());
                std::thread::spawn(move || count_all(stream, round + 7, &got))
            };
            let all = tarae::Builder::new().workers(2).run(|| {
                let theirs = Arc::clone(&server);
                let per_worker = one_on_each(2, move |index| {
                    let seed = round * 10 + index as u64;
                    let (by_arc, count) = (Arc::clone(&theirs), Arc::clone(&got));
                    let other = tarae::spawn_local(move || count_all(&*by_arc, seed + 3, &count));
                    // A handle that has been to another thread and back, and a mere clone.
                    let clone = theirs.try_clone().unwrap();
                    let mine = count_all(clone, seed, &got);
                    [mine, other.join().unwrap()]
                });
                join_each(per_worker)
            });
            let mut all: Vec<Counts> = all.unwrap().concat();
            all.push(thread.join().unwrap());
            writer.join().unwrap();
            check_counts(TOTAL, &all);
        }
    });
}

/// Passes one handle round: worker, worker, thread. Each reads one message and passes it on, now
/// and then through std's type. Guards registering anew after a conversion, deregistering before
/// one, and that a registration left behind on another worker does no harm.
#[test]
fn a_stream_moves_between_workers_and_a_thread() {
    const HOPS: usize = 240;
    guarded("a_stream_moves_between_workers_and_a_thread", || {
        for round in 0..12 {
            let (client, server) = pair();
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..3)
                .map(|_| mpsc::channel::<(usize, TcpStream)>())
                .unzip();
            let receivers: Vec<_> = receivers
                .into_iter()
                .map(|receiver| std::sync::Mutex::new(Some(receiver)))
                .collect();
            senders[0].send((0, server)).unwrap();
            let shared = Arc::new((client, senders, receivers));
            let thread = {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || pass_on(&shared, 2, round))
            };
            let hops = tarae::Builder::new().workers(2).run(|| {
                let shared = Arc::clone(&shared);
                join_each(one_on_each(2, move |index| pass_on(&shared, index, round)))
            });
            let hops: usize = hops.unwrap().into_iter().sum();
            assert_eq!(hops + thread.join().unwrap(), HOPS);
        }
    });

    type Ring = (
        TcpStream,
        Vec<mpsc::Sender<(usize, TcpStream)>>,
        Vec<std::sync::Mutex<Option<mpsc::Receiver<(usize, TcpStream)>>>>,
    );

    fn pass_on((client, senders, receivers): &Ring, index: usize, round: usize) -> usize {
        let receiver = receivers[index].lock().unwrap().take().unwrap();
        let mut done = 0;
        loop {
            let (hop, stream) = receiver.recv().unwrap();
            if hop >= HOPS {
                // Tell the next one too; the last of all drops it, wherever that is.
                if hop < HOPS + 2 {
                    senders[(index + 1) % 3].send((hop + 1, stream)).unwrap();
                }
                return done;
            }
            let message = [hop as u8; 5];
            let mut received = [0; 5];
            if (hop + round).is_multiple_of(2) {
                // Nothing is there yet: this one registers with its worker and really waits.
                stream
                    .set_read_timeout(Some(std::time::Duration::from_millis(1)))
                    .unwrap();
                let kind = (&stream).read(&mut received).unwrap_err().kind();
                assert_eq!(kind, std::io::ErrorKind::TimedOut);
                stream.set_read_timeout(None).unwrap();
            }
            (&mut &*client).write_all(&message).unwrap();
            (&mut &stream).read_exact(&mut received).unwrap();
            assert_eq!(received, message);
            done += 1;
            let stream = match (hop + round) % 5 {
                0 => TcpStream::from_std(stream.into_std().unwrap()).unwrap(),
                1 => {
                    // With a clone the conversion gives a duplicate; the original goes here.
                    let clone = stream.try_clone().unwrap();
                    let duplicate = clone.into_std().unwrap();
                    drop(stream);
                    TcpStream::from(duplicate)
                }
                _ => stream,
            };
            senders[(index + 1) % 3].send((hop + 1, stream)).unwrap();
        }
    }
}

/// Writers of two workers and a thread fill one stream whose peer reads slowly: guards the lists of
/// waiters for writing, one edge having to wake all of them.
#[test]
fn two_workers_and_a_thread_write_one_stream() {
    const EACH: usize = 200_000;
    guarded("two_workers_and_a_thread_write_one_stream", || {
        for round in 0..6 {
            let (client, server) = pair();
            rustix::net::sockopt::set_socket_send_buffer_size(&client, 8_192).unwrap();
            let client = Arc::new(client);
            let fill = |stream: &TcpStream, value: u8| {
                let mut left = EACH;
                while left > 0 {
                    let piece = vec![value; left.min(5_000)];
                    left -= (&mut &*stream).write(&piece).unwrap();
                }
            };
            let reader = std::thread::spawn(move || count_all_large(server));
            let thread = {
                let client = Arc::clone(&client);
                std::thread::spawn(move || fill(&client, 4))
            };
            let done = tarae::Builder::new().workers(2).run(|| {
                let client = Arc::clone(&client);
                join_each(one_on_each(2, move |index| {
                    let other = Arc::clone(&client);
                    let value = 2 * index as u8;
                    let local = tarae::spawn_local(move || fill(&other, value));
                    fill(&client, value + 1);
                    local.join().unwrap();
                }))
            });
            done.unwrap();
            thread.join().unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let counts = reader.join().unwrap();
            assert_eq!(counts[..5], [EACH; 5], "round {round}");
        }
    });

    fn count_all_large(mut stream: TcpStream) -> Counts {
        let (mut counts, mut buffer) = ([0; 256], [0; 3_000]);
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return counts,
                count => buffer[..count]
                    .iter()
                    .for_each(|byte| counts[usize::from(*byte)] += 1),
            }
            std::thread::yield_now();
        }
    }
}
