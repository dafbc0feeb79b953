//! With one worker and nothing offloaded the process has exactly one thread. A program of its own,
//! since the test runner has threads; `cargo test` runs it. Exits with an error if it is not so.

use std::io::{Read, Write};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Until one thread is left. One that was joined may stand in the list for a moment longer: the
/// kernel says that it has ended before it takes it out.
fn alone() {
    let counted = (0..10_000).map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        threads()
    });
    assert!(counted.into_iter().any(|count| count == 1));
}

fn main() {
    if cfg!(tarae_tsan) {
        println!("left out: ThreadSanitizer starts a thread of its own");
        return;
    }
    assert_eq!(threads(), 1);
    let served = tarae::Builder::new().workers(1).run(serve).unwrap();
    assert_eq!(served, 100);
    // The end was looked after by another.
    alone();
    // The counter-check: a second worker is a second thread, gone with its runtime.
    assert_eq!(tarae::Builder::new().workers(2).run(threads).unwrap(), 2);
    alone();
    // So is a pool's first one, made for its first job.
    let offloaded = || tarae::offload(threads).unwrap();
    assert_eq!(tarae::Builder::new().workers(1).run(offloaded).unwrap(), 2);
    alone();
    // And so is the watchdog, where it is asked for.
    let watched = tarae::Builder::new()
        .workers(1)
        .watchdog(Duration::from_secs(60));
    assert_eq!(watched.run(threads).unwrap(), 2);
    alone();
    println!("one worker: one thread while 100 connections were served; ok");
}

/// Serves, connects, sleeps, locks and joins; counts the clients that saw one thread all along.
fn serve() -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tarae::spawn(move || {
        for stream in listener.incoming().flatten() {
            tarae::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let clients: Vec<_> = (0..100u8)
        .map(|n| {
            tarae::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&[n; 100]).unwrap();
                tarae::time::sleep(Duration::from_millis(1));
                let mut echo = [0; 100];
                stream.read_exact(&mut echo).unwrap();
                assert_eq!(echo, [n; 100]);
                assert_eq!(threads(), 1);
            })
        })
        .collect();
    clients
        .into_iter()
        .filter_map(|client| client.join().ok())
        .count()
}
