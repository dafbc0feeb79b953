//! Everything at once: an echo server on two workers, clients on plain threads and in coroutines,
//! messages of all sizes, time-outs that really run out, half-closes.
//!
//! Guards what no single cause shows. Some seconds; a minute when `TARAE_SOAK` is set.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tarae::net::{TcpListener, TcpStream, Wake, park_until_readable};

use super::support::{Random, guarded_for};

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Echoes one piece and goes idle; ends with the client's half-close, after all has gone back.
fn echo(mut stream: TcpStream, wake: Wake) {
    let mut buffer = vec![0; 4_096];
    if wake == Wake::Ready {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => stream.write_all(&buffer[..count]).unwrap(),
            Err(error) => assert!(is_timeout(&error), "{error}"),
        }
    }
    if wake != Wake::Cancelled {
        let deadline = tarae::time::Instant::now() + Duration::from_millis(3);
        park_until_readable(stream, Some(deadline), echo);
    }
}

/// The same by a coroutine that lives as long as its connection.
fn echo_directly(mut stream: TcpStream) {
    let mut buffer = vec![0; 3_000];
    stream
        .set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => stream.write_all(&buffer[..count]).unwrap(),
            Err(error) => assert!(is_timeout(&error), "{error}"),
        }
    }
}

/// One connection: writes and reads side by side, and compares what came back.
fn exchange(address: SocketAddr, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut stream = TcpStream::connect(address).unwrap();
    let bound = [16, 2_000, 200_000][random.below(3)];
    let size = 1 + random.below(bound);
    let sent: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
    let timeout = Duration::from_millis(1 + random.below(4) as u64);
    stream.set_read_timeout(Some(timeout)).unwrap();
    stream.set_write_timeout(Some(timeout)).unwrap();
    let (mut written, mut received, mut buffer) = (0, Vec::new(), vec![0; 9_000]);
    loop {
        if written < size {
            let most = (1 + random.below(20_000)).min(size - written);
            match stream.write(&sent[written..written + most]) {
                Ok(count) => written += count,
                Err(error) => assert!(is_timeout(&error), "{error}"),
            }
            if written == size {
                stream.shutdown(Shutdown::Write).unwrap();
            }
        }
        let most = 1 + random.below(buffer.len());
        match stream.read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert!(is_timeout(&error), "{error}"),
        }
    }
    assert!(received == sent, "{size} bytes came back changed");
    size
}

#[test]
fn echo_under_load() {
    let soak = std::env::var_os("TARAE_SOAK").is_some();
    let length = Duration::from_secs(if soak { 60 } else { 3 });
    guarded_for(length + Duration::from_secs(60), "echo_under_load", || {
        let (stop, connections) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
        tarae::Builder::new()
            .workers(2)
            .run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                tarae::spawn(move || {
                    for (number, stream) in listener.into_incoming().enumerate() {
                        let stream = stream.unwrap();
                        tarae::spawn(move || match number % 2 {
                            0 => echo(stream, Wake::TimedOut),
                            _ => echo_directly(stream),
                        });
                    }
                });
                let client = |number: u64| {
                    let stop = Arc::clone(&stop);
                    move || {
                        let mut done = 0;
                        while !stop.load(SeqCst) || done == 0 {
                            exchange(address, number * 1_000_003 + done);
                            done += 1;
                        }
                        done as usize
                    }
                };
                let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(client(n))).collect();
                let coroutines: Vec<_> = (4..16).map(|n| tarae::spawn(client(n))).collect();
                let end = Instant::now() + length;
                while Instant::now() < end && !coroutines.iter().all(|one| one.is_finished()) {
                    tarae::thread::sleep(Duration::from_millis(20));
                }
                stop.store(true, SeqCst);
                for coroutine in coroutines {
                    connections.fetch_add(coroutine.join().unwrap(), SeqCst);
                }
                for thread in threads {
                    // Joined on a thread of its own: the server it talks to runs here.
                    while !thread.is_finished() {
                        tarae::thread::sleep(Duration::from_millis(1));
                    }
                    connections.fetch_add(thread.join().unwrap(), SeqCst);
                }
            })
            .unwrap();
        assert!(connections.load(SeqCst) >= 16);
    });
}
