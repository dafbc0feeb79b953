//! The faults: each does what it says, happens when it is asked for, and never otherwise.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::{Builder, Report, random};
use tarae::time::{Instant, sleep};

use crate::seeds;

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn delays_are_those_of_the_range() {
    let round_trip = |simulation: Builder| {
        let report = simulation.run(|| {
            let start = Instant::now();
            let (mut client, mut server) = connected();
            let connecting = start.elapsed().as_millis();
            client.write_all(b"?").unwrap();
            server.read_exact(&mut [0]).unwrap();
            server.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
            (connecting, start.elapsed().as_millis() - connecting)
        });
        report.unwrap().value
    };
    let millis = Duration::from_millis;
    assert_eq!(round_trip(Builder::new(1).no_faults()), (0, 0));
    assert_eq!(
        round_trip(Builder::new(1).delay(millis(20)..=millis(20))),
        (40, 40)
    );
    let mut seen = HashSet::new();
    seeds(50, |seed| {
        let (connecting, asking) = round_trip(Builder::new(seed).delay(millis(5)..=millis(9)));
        assert!(
            (10..=18).contains(&connecting) && (10..=18).contains(&asking),
            "seed {seed}"
        );
    });
    for seed in 0..50 {
        seen.insert(round_trip(Builder::new(seed).delay(millis(5)..=millis(9))));
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn reads_and_writes_are_cut_when_asked_and_only_then() {
    let moved = |simulation: Builder| {
        let report = simulation.run(|| {
            let (mut client, mut server) = connected();
            let written = client.write(&[1; 1000]).unwrap();
            sleep(Duration::from_secs(1));
            (
                written,
                server.peek(&mut [0; 1000]).unwrap(),
                server.read(&mut [0; 1000]).unwrap(),
            )
        });
        report.unwrap().value
    };
    assert_eq!(moved(Builder::new(1).no_faults()), (1000, 1000, 1000));
    seeds(50, |seed| {
        let (written, peeked, read) = moved(Builder::new(seed).no_faults().partial(1.0));
        assert!((1..1000).contains(&written), "seed {seed}");
        assert!((1..written.max(2)).contains(&peeked), "seed {seed}");
        assert!((1..written.max(2)).contains(&read), "seed {seed}");
    });
}

#[test]
fn however_it_is_cut_and_delayed_nothing_is_lost_doubled_or_swapped() {
    seeds(10, |seed| {
        let simulation = Builder::new(seed).partial(0.9);
        let report = simulation.run(|| {
            let (mut client, mut server) = connected();
            let sender = tarae::spawn(move || {
                let data: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let most = rest.len().min(1 + random().unwrap() as usize % 60_000);
                    let count = client.write(&rest[..most]).unwrap();
                    rest = &rest[count..];
                }
            });
            let mut all = Vec::new();
            server.read_to_end(&mut all).unwrap();
            sender.join().unwrap();
            all
        });
        let all = report.unwrap().value;
        assert_eq!(all.len(), 200_000, "seed {seed}");
        assert!(
            all.iter()
                .zip(0u32..)
                .all(|(byte, n)| u32::from(*byte) == n % 251),
            "seed {seed}"
        );
    });
}

#[test]
fn a_reset_reaches_both_ends() {
    let mut lost = HashSet::new();
    for seed in 0..50 {
        let report = Builder::new(seed).no_faults().partial(0.0).run(|| {
            let (mut client, mut server) = connected();
            client.write_all(b"before").unwrap();
            sleep(Duration::from_secs(1));
            server.read_exact(&mut [0; 6]).unwrap();
        });
        report.unwrap();
        let late = Duration::from_millis(50)..=Duration::from_millis(90);
        let report = Builder::new(seed).delay(late).resets(0.5).run(|| {
            let (mut client, mut server) = connected();
            let mut sent = 0;
            let error = loop {
                match client.write(b"x") {
                    Ok(count) => sent += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(
                client.write(b"x").unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
            let mut came = Vec::new();
            let error = server.read_to_end(&mut came).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(
                came.len() == sent || came.is_empty(),
                "all or nothing of what was on its way"
            );
            (sent > 0).then_some(came.len() == sent)
        });
        lost.extend(report.unwrap().value);
    }
    assert_eq!(
        lost.len(),
        2,
        "what was on its way is lost in some runs, not in others"
    );
}

#[test]
fn refusals_happen_when_asked_and_only_then() {
    let refused = |simulation: Builder| {
        let report = simulation.run(|| {
            let listener = TcpListener::bind("127.0.0.1:9").unwrap();
            let refused = (0..20).filter(|_| match TcpStream::connect("127.0.0.1:9") {
                Ok(_) => listener.accept().is_err(),
                Err(error) => error.kind() == ErrorKind::ConnectionRefused,
            });
            refused.count()
        });
        report.unwrap().value
    };
    assert_eq!(refused(Builder::new(1)), 0);
    assert_eq!(refused(Builder::new(1).refusals(1.0)), 20);
    let some: usize = (0..10)
        .map(|seed| refused(Builder::new(seed).refusals(0.3)))
        .sum();
    assert!((30..90).contains(&some), "{some} of 200");
}

/// The order in which five connections are accepted, by the order in which they were begun.
fn accepted(simulation: Builder) -> Report<Vec<u8>> {
    let report = simulation.run(|| {
        let listener = TcpListener::bind("127.0.0.1:9").unwrap();
        let streams = Arc::new(Mutex::new(Vec::new()));
        for number in 0..5 {
            let streams = Arc::clone(&streams);
            tarae::spawn_local(move || {
                let mut stream = TcpStream::connect("127.0.0.1:9").unwrap();
                stream.write_all(&[number]).unwrap();
                streams.lock().unwrap().push(stream);
            });
        }
        sleep(Duration::from_secs(1));
        let numbers = (0..5).map(|_| {
            let mut number = [0];
            listener
                .accept()
                .unwrap()
                .0
                .read_exact(&mut number)
                .unwrap();
            number[0]
        });
        numbers.collect()
    });
    report.unwrap()
}

#[test]
fn connections_overtake_each_other_when_asked_and_only_then() {
    seeds(50, |seed| {
        let quiet = accepted(Builder::new(seed).no_faults());
        assert_eq!(quiet.value, [0, 1, 2, 3, 4], "seed {seed}");
    });
    let orders = |change: fn(Builder) -> Builder| {
        let orders = (0..50).map(|seed| accepted(change(Builder::new(seed).no_faults())).value);
        orders.collect::<HashSet<_>>().len()
    };
    assert!(orders(|builder| builder.reorder(0.5)) > 5);
    let late = |builder: Builder| builder.delay(Duration::ZERO..=Duration::from_millis(9));
    assert!(orders(late) > 5, "delays alone reorder them too");
}
