//! Asynchronous calls in simulated runs: they work, and the same seed gives the same run.

use std::io::{ErrorKind, Write};

use tarae::completion::Completions;
use tarae::net::{TcpListener, TcpStream};
use tarae::offload;
use tarae::sim;
use tarae::sync::mpsc;
use tarae::time::{Duration, sleep};

/// Something of everything; gives the order in which results came.
fn program() -> Vec<String> {
    let (tell, told) = mpsc::channel();
    let calls = Completions::new();
    for number in 0..6u64 {
        let wait = Duration::from_millis(number % 3);
        calls.add(number, tarae::start(move || sleep(wait)));
        calls.add(10 + number, offload::start(|| ()));
        let tell = tell.clone();
        offload::start(move || number).on_complete(move |value| {
            assert!(tarae::current().spawned_at().is_none());
            tell.send(format!("callback {}", value.unwrap())).unwrap();
        });
    }
    let listener = TcpListener::bind("10.0.0.1:80").unwrap();
    listener.start_accept().on_complete(|accepted| {
        let (server, _) = accepted.unwrap().unwrap();
        tarae::spawn(move || (&server).write_all(b"hello").unwrap());
    });
    let client = TcpStream::start_connect(&"10.0.0.1:80".parse().unwrap());
    let client = client.wait().unwrap().unwrap();
    let (count, _) = client.start_read([0; 1]).wait().unwrap();
    assert_eq!(count.unwrap(), 1);
    let mut order = Vec::new();
    while let Some((key, _)) = calls.next() {
        order.push(format!("queue {key}"));
    }
    assert_eq!(order.len(), 12);
    drop(tell);
    order.extend(told.iter());
    assert_eq!(order.len(), 18);
    let error = calls.notify_fd().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    order
}

#[test]
fn the_same_seed_gives_the_same_order_and_trace() {
    let run = |seed| {
        let report = sim::Builder::new(seed).workers(3).run(program).unwrap();
        (report.trace.as_str().to_owned(), report.value)
    };
    let mut orders = std::collections::HashSet::new();
    for seed in 0..20 {
        let (once, again) = (run(seed), run(seed));
        assert_eq!(once, again, "seed {seed}");
        orders.insert(once.1);
    }
    assert!(orders.len() > 1, "the seed decides nothing");
}
