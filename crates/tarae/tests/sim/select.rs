//! `select!` and the channels in a simulated run: every branch works, and the same seed chooses the
//! same.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::{Builder, Report};
use tarae::sync::mpmc;
use tarae::time::sleep;

const CLIENTS: u32 = 6;

fn ms(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

/// Reads a byte when there is one, unless told to stop first.
fn serve(mut stream: TcpStream, stop: &mpmc::Receiver<()>) -> u32 {
    let mut echoed = 0;
    loop {
        tarae::select! {
            readable(stream) -> ready => {
                ready.unwrap();
                let mut byte = [0];
                if stream.read(&mut byte).unwrap() == 0 {
                    return echoed;
                }
                stream.write_all(&byte).unwrap();
                echoed += 1;
            }
            recv(stop) -> _ => return echoed,
        }
    }
}

/// A server that accepts until it is told to stop, clients that ask with a time limit of their own.
/// Gives what happened, in order.
fn program(seed: u64) -> Report<Vec<String>> {
    let simulation = Builder::new(seed).workers(3).refusals(0.0).resets(0.0);
    let report = simulation.run(|| {
        let (events, log) = mpmc::sync_channel(1);
        let (stop, stopped) = mpmc::channel::<()>();
        let listener = TcpListener::bind("10.0.0.1:80").unwrap();
        let noted = events.clone();
        let mut server = tarae::spawn(move || {
            let (mut serving, mut idle) = (Vec::new(), 0);
            loop {
                tarae::select! {
                    accept(listener) -> accepted => {
                        let (stream, peer) = accepted.unwrap();
                        noted.send(format!("accepts {peer}")).unwrap();
                        let stopped = stopped.clone();
                        serving.push(tarae::spawn(move || serve(stream, &stopped)));
                    }
                    recv(stopped) -> _ => break,
                    sleep(ms(500)) => idle += 1,
                }
            }
            let echoed: u32 = serving.into_iter().map(|one| one.join().unwrap()).sum();
            (echoed, idle)
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let events = events.clone();
                tarae::spawn(move || {
                    sleep(ms(number % 3));
                    let mut stream = TcpStream::connect("10.0.0.1:80").unwrap();
                    tarae::select! { writable(stream) -> ready => ready.unwrap() }
                    stream.write_all(&[7]).unwrap();
                    let mut byte = [0];
                    let what = tarae::select! {
                        readable(stream) -> ready => {
                            ready.unwrap();
                            stream.read_exact(&mut byte).unwrap();
                            assert_eq!(byte, [7]);
                            "in time"
                        }
                        sleep(ms(100)) => {
                            stream.read_exact(&mut byte).unwrap();
                            "late"
                        }
                    };
                    tarae::select! {
                        send(events, format!("{number} {what}")) -> sent => sent.unwrap(),
                    }
                })
            })
            .collect();
        drop(events);
        let mut seen = Vec::new();
        // The server keeps its own sender until it ends.
        while seen.len() < 2 * CLIENTS as usize {
            seen.push(log.recv().unwrap());
        }
        clients.into_iter().for_each(|one| one.join().unwrap());
        sleep(ms(1_200));
        drop(stop);
        let (echoed, idle) = tarae::select! {
            join(server) -> ended => ended.unwrap(),
            sleep(ms(1_000)) => panic!("told to stop"),
        };
        assert_eq!((echoed, idle), (CLIENTS, 2));
        seen
    });
    report.unwrap()
}

#[test]
fn every_branch_works_and_the_same_seed_gives_the_same_choices() {
    let (mut hashes, mut orders) = (HashSet::new(), HashSet::new());
    for seed in 0..50 {
        let (one, other) = (program(seed), program(seed));
        assert_eq!(one.trace.as_str(), other.trace.as_str(), "seed {seed}");
        assert_eq!(one.value, other.value, "seed {seed}");
        assert!(one.trace.as_str().contains("the first of several things"));
        hashes.insert(one.trace.hash());
        orders.insert(one.value);
    }
    assert_eq!(hashes.len(), 50, "every seed has its own trace");
    assert!(orders.len() > 10, "the seed reaches what the program sees");
}

#[test]
fn which_of_two_branches_is_taken_is_drawn_from_the_seed() {
    let choices = |seed| {
        let report = Builder::new(seed).workers(1).run(|| {
            let ((one, left), (other, right)) = (mpmc::channel(), mpmc::channel());
            (0..16).for_each(|_| one.send(()).and_then(|()| other.send(())).unwrap());
            let choose = |_| tarae::select! { recv(left) -> _ => false, recv(right) -> _ => true };
            (0..16).map(choose).collect::<Vec<bool>>()
        });
        report.unwrap().value
    };
    let mut all = HashSet::new();
    for seed in 0..20 {
        assert_eq!(choices(seed), choices(seed), "seed {seed}");
        all.insert(choices(seed));
    }
    assert!(all.len() > 15, "each seed chooses otherwise");
}

#[test]
fn time_limits_are_kept_to_the_millisecond_of_virtual_time() {
    for seed in 0..20 {
        let report = Builder::new(seed).no_faults().run(|| {
            let (_sender, receiver) = mpmc::channel::<()>();
            let (full, _room) = mpmc::sync_channel(1);
            full.send(()).unwrap();
            assert!(receiver.recv_timeout(ms(300)).unwrap_err().is_timeout());
            assert!(full.send_timeout((), ms(400)).unwrap_err().is_timeout());
            tarae::select! { recv(receiver) -> _ => panic!("nobody sends"), sleep(ms(500)) => {} }
        });
        assert_eq!(report.unwrap().elapsed, ms(1_200), "seed {seed}");
    }
}

#[test]
fn a_simulated_socket_is_refused_by_a_select_outside_of_its_run() {
    let report = Builder::new(1).no_faults().run(|| {
        let listener = TcpListener::bind("127.0.0.1:9").unwrap();
        (TcpStream::connect("127.0.0.1:9").unwrap(), listener)
    });
    let (stream, listener) = report.unwrap().value;
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    let outside = || {
        tarae::select! {
            readable(stream) -> ready => assert_eq!(kind(ready), ErrorKind::Unsupported),
        }
        tarae::select! {
            accept(listener) -> accepted => {
                assert_eq!(kind(accepted.map(drop)), ErrorKind::Unsupported);
            }
        }
    };
    outside();
    tarae::run(outside).unwrap();
    // On the worker's own stack nobody can be parked, and the kernel does not know the socket.
    let report = Builder::new(2).no_faults().run(|| {
        let listener = TcpListener::bind("127.0.0.1:9").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:9").unwrap();
        let (server, _) = listener.accept().unwrap();
        let (outcome, told) = mpmc::channel();
        let waiting = client.try_clone().unwrap();
        tarae::net::on_readable(&server, move |_| {
            let ready = tarae::select! { readable(waiting) -> ready => ready };
            let _ = outcome.send(kind(ready));
            ControlFlow::Break(())
        })
        .unwrap();
        client.write_all(b"x").unwrap();
        told.recv().unwrap()
    });
    assert_eq!(report.unwrap().value, ErrorKind::Unsupported);
}
