//! The same seed gives the same trace, another seed another one.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::{Builder, Report};
use tarae::sync::{Mutex, mpsc};
use tarae::time::sleep;

use crate::seeds;

/// A program with something of everything: connections that break, sleeps, locks, channels, joins,
/// an offloaded job.
fn program(seed: u64) -> Report<Vec<u32>> {
    let simulation = Builder::new(seed).workers(3).resets(0.05).refusals(0.1);
    let report = simulation.run(|| {
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
                *total.lock().unwrap() += tarae::offload(|| 1).unwrap();
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
    let mut hashes = HashSet::new();
    let mut orders = HashSet::new();
    seeds(50, |_| {});
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
    let lines = |wanted: &str| {
        let all = (0..20).map(|seed| program(seed).trace.to_string());
        all.collect::<String>().matches(wanted).count()
    };
    for wanted in [
        "spawns coroutine",
        "(client 3) at crates/tarae/tests/sim/traces.rs:",
        " runs coroutine",
        "waits for a point in time",
        "waits for a message",
        "waits for a lock",
        "to be readable",
        "is woken: Ready",
        "is woken: TimedOut",
        "listens on 10.0.0.1:80",
        "connects from",
        "accepts",
        "sends",
        "reads",
        "is closed",
        "fault: ",
        "gets a reset",
        "is refused",
    ] {
        println!("{wanted}: {}", lines(wanted));
    }
}
