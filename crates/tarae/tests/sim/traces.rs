//! The same seed gives the same trace, another seed another one.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::{Builder, Report};
use tarae::sync::{Mutex, mpsc};
use tarae::time::sleep;

/// A program with something of everything: connections that break, sleeps, locks, channels, joins,
/// an offloaded job.
fn program(seed: u64) -> Report<Vec<u32>> {
    let simulation = Builder::new(seed).workers(3).resets(0.05).refusals(0.1);
    let report = simulation.run(|| {
        tarae::spawn(tarae::yield_now).join().unwrap();
        let listener = TcpListener::bind("10.0.0.1:80").unwrap();
        tarae::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                tarae::spawn(move || {
                    let mut byte = [0];
                    while stream.read(&mut byte).is_ok_and(|count| count > 0) {
                        if stream.write_all(&byte).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let (results, total) = (mpsc::channel(), Arc::new(Mutex::new(0)));
        for number in 0..8u32 {
            let (sender, total) = (results.0.clone(), Arc::clone(&total));
            let client = tarae::thread::Builder::new().name(format!("client {number}"));
            let body = move || {
                sleep(Duration::from_millis(u64::from(number % 3)));
                let echoed = TcpStream::connect("10.0.0.1:80").and_then(|mut stream| {
                    let mut answer = [0; 4];
                    stream.write_all(&number.to_be_bytes())?;
                    stream.read_exact(&mut answer)?;
                    Ok(u32::from_be_bytes(answer))
                });
                let mut total = total.lock().unwrap();
                *total += tarae::offload(|| 1).unwrap();
                drop(total);
                sender.send(echoed.unwrap_or(1_000)).unwrap();
            };
            client.spawn(body).unwrap();
        }
        drop(results.0);
        let found: Vec<u32> = results.1.iter().collect();
        assert_eq!(*total.lock().unwrap(), 8);
        found
    });
    report.unwrap()
}

#[test]
fn the_same_seed_gives_the_same_trace_twice_and_another_seed_another_one() {
    let (mut hashes, mut orders) = (HashSet::new(), HashSet::new());
    for seed in 0..50 {
        let (one, other) = (program(seed), program(seed));
        assert_eq!(one.trace.as_str(), other.trace.as_str(), "seed {seed}");
        assert_eq!(one, other);
        hashes.insert(one.trace.hash());
        orders.insert(one.value);
    }
    assert_eq!(hashes.len(), 50, "every seed has its own trace");
    assert!(orders.len() > 10, "the seed reaches what the program sees");
}

#[test]
fn a_trace_tells_of_everything() {
    let all: String = (0..20)
        .map(|seed| program(seed).trace.to_string())
        .collect();
    for wanted in [
        "spawns coroutine 1 at ",
        "(client 3) at crates/tarae/tests/sim/traces.rs:",
        "worker 2 runs coroutine",
        "waits for a point in time",
        "waits for a channel",
        "waits for a lock",
        "waits for the end of coroutine",
        "(on 10.0.0.1:80) to be readable",
        "is woken: Ready",
        "is woken: TimedOut",
        "is woken: Cancelled",
        "listens on 10.0.0.1:80",
        "connects from",
        "accepts",
        "sends 4 bytes",
        "reads 1 bytes",
        "reads the end",
        "is closed",
        "overtakes",
        "is reset",
        "gets a reset",
        "is refused",
    ] {
        assert!(all.contains(wanted), "nothing `{wanted}` in 20 runs");
    }
}
