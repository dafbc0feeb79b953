//! The scheduler under every order that the seeds draw: what must hold in all of them, and that
//! they really differ.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tarae::inspect::worker_index;
use tarae::net::{TcpListener, TcpStream, Wake, park_until_readable};
use tarae::sim::{Builder, run};
use tarae::thread;
use tarae::time::{Instant, sleep};

use crate::seeds;

/// Two coroutines that each read, let others run, and write: a lost update, if they meet.
fn careless(seed: u64) -> u32 {
    let report = run(seed, || {
        let total = Arc::new(AtomicU32::new(0));
        let adders: Vec<_> = (0..2)
            .map(|_| {
                let total = Arc::clone(&total);
                tarae::spawn(move || {
                    let before = total.load(Ordering::Relaxed);
                    sleep(Duration::from_millis(tarae::sim::random().unwrap() % 2));
                    total.store(before + 1, Ordering::Relaxed);
                })
            })
            .collect();
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        total.load(Ordering::Relaxed)
    });
    report.unwrap().value
}

#[test]
fn seeds_find_a_race_and_find_it_again() {
    let totals: Vec<u32> = (0..50).map(careless).collect();
    assert!(totals.contains(&1) && totals.contains(&2), "{totals:?}");
    assert_eq!(totals, (0..50).map(careless).collect::<Vec<_>>());
}

#[test]
fn unstarted_coroutines_go_to_any_worker_and_started_ones_stay() {
    let mut placements = HashSet::new();
    for seed in 0..30 {
        let report = Builder::new(seed).workers(3).run(|| {
            let spawn = |_| {
                tarae::spawn(|| {
                    let at = worker_index();
                    for _ in 0..3 {
                        tarae::yield_now();
                        sleep(Duration::from_millis(1));
                        assert_eq!(worker_index(), at);
                    }
                    at.unwrap()
                })
            };
            let handles: Vec<_> = (0..6).map(spawn).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .collect::<Vec<_>>()
        });
        placements.insert(report.unwrap().value);
    }
    let used: HashSet<_> = placements.iter().flatten().collect();
    assert_eq!(used.len(), 3, "all workers take part");
    assert!(placements.len() > 10);
}

#[test]
fn whoever_yields_lets_everybody_on_the_worker_go_first() {
    seeds(30, |seed| {
        let report = run(seed, || {
            let turns = Rc::new(Cell::new(Vec::new()));
            let spawn = |number: usize| {
                let turns = Rc::clone(&turns);
                tarae::spawn_local(move || {
                    for _ in 0..50 {
                        let mut all = turns.take();
                        all.push(number);
                        turns.set(all);
                        tarae::yield_now();
                    }
                })
            };
            let handles: Vec<_> = (0..4).map(spawn).collect();
            handles
                .into_iter()
                .for_each(|handle| handle.join().unwrap());
            turns.take()
        });
        let turns = report.unwrap().value;
        assert!(
            turns.chunks(4).all(|round| round == [0, 1, 2, 3]),
            "seed {seed}: {turns:?}"
        );
    });
}

#[test]
fn a_busy_worker_still_serves_sockets() {
    seeds(20, |seed| {
        let quiet = Builder::new(seed).no_faults().workers(1);
        let report = quiet.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let answered = Rc::new(Cell::new(false));
            let theirs = Rc::clone(&answered);
            for _ in 0..100 {
                let done = Rc::clone(&answered);
                tarae::spawn_local(move || {
                    // Never out of the queue until the answer has come.
                    let mut turns = 0;
                    while !done.get() {
                        tarae::yield_now();
                        turns += 1;
                        assert!(turns < 100, "starved");
                    }
                });
            }
            let echo = tarae::spawn_local(move || {
                server.read_exact(&mut [0]).unwrap();
                server.write_all(b"!").unwrap();
            });
            client.write_all(b"?").unwrap();
            client.read_exact(&mut [0]).unwrap();
            theirs.set(true);
            echo.join().unwrap();
        });
        report.unwrap();
    });
}

#[test]
fn cancelling_ends_every_kind_of_wait_and_loses_no_result() {
    seeds(50, |seed| {
        let report = Builder::new(seed).run(|| {
            let listener = TcpListener::bind("127.0.0.1:9").unwrap();
            let mut client = TcpStream::connect("127.0.0.1:9").unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let reader = tarae::spawn(move || {
                let mut count = 0;
                loop {
                    match server.read(&mut [0; 8]) {
                        Ok(more) => count += more,
                        Err(error) => return (count, tarae::Cancelled::is(&error), server),
                    }
                }
            });
            let sleeper = tarae::spawn(|| sleep(Duration::from_secs(3600)));
            let acceptor = tarae::spawn(move || listener.accept().map(drop));
            let joiner = tarae::spawn(move || sleeper.join().is_err_and(|e| e.is_cancelled()));
            client.write_all(b"12345").unwrap();
            sleep(Duration::from_secs(1));
            reader.cancel();
            acceptor.cancel();
            joiner.cancel();
            let (count, cancelled, _server) = reader.join().unwrap();
            assert_eq!((count, cancelled), (5, true), "what was read counts");
            assert!(tarae::Cancelled::is(&acceptor.join().unwrap().unwrap_err()));
            assert!(joiner.join().unwrap());
        });
        // The sleeper is cancelled by the end: it does not hold the run up.
        assert!(
            report.unwrap().elapsed < Duration::from_secs(3600),
            "seed {seed}"
        );
    });
}

#[test]
fn the_end_wakes_what_waits_without_a_coroutine() {
    seeds(30, |seed| {
        let woken = Arc::new(AtomicU32::new(0));
        let report = run(seed, || {
            let listener = TcpListener::bind("127.0.0.1:9").unwrap();
            for _ in 0..5 {
                let client = TcpStream::connect("127.0.0.1:9").unwrap();
                let (server, _) = listener.accept().unwrap();
                let woken = Arc::clone(&woken);
                let together = move || {
                    park_until_readable(server, None, move |_, wake| {
                        assert_eq!(wake, Wake::Cancelled);
                        woken.fetch_add(1, Ordering::Relaxed);
                        drop(client);
                    });
                };
                tarae::spawn(together).join().unwrap();
            }
        });
        report.unwrap();
        assert_eq!(woken.load(Ordering::Relaxed), 5, "seed {seed}");
    });
}

#[test]
fn what_is_put_aside_ends_at_its_deadline_or_with_its_bytes() {
    seeds(30, |seed| {
        let report = Builder::new(seed).no_faults().run(|| {
            let listener = TcpListener::bind("127.0.0.1:9").unwrap();
            let start = Instant::now();
            let (sender, receiver) = tarae::sync::mpsc::channel();
            let mut clients = Vec::new();
            for number in 0..10 {
                clients.push(TcpStream::connect("127.0.0.1:9").unwrap());
                let (server, _) = listener.accept().unwrap();
                let deadline = start + Duration::from_secs(60 + number);
                let sender = sender.clone();
                park_until_readable(server, Some(deadline), move |_, wake| {
                    sender.send((number, wake, start.elapsed())).unwrap();
                });
            }
            drop(sender);
            sleep(Duration::from_secs(30));
            clients[3].write_all(b"!").unwrap();
            drop(clients.pop());
            receiver.iter().collect::<Vec<_>>()
        });
        let mut ends = report.unwrap().value;
        ends[..2].sort_by_key(|(number, ..)| *number);
        let at = Duration::from_secs;
        let mut wanted = vec![(3, Wake::Ready, at(30)), (9, Wake::Ready, at(30))];
        let late = [0, 1, 2, 4, 5, 6, 7, 8].map(|n| (n, Wake::TimedOut, at(60 + n)));
        wanted.extend(late);
        assert_eq!(ends, wanted, "seed {seed}");
    });
}

#[test]
fn unparks_of_other_workers_are_never_lost() {
    seeds(100, |seed| {
        let report = Builder::new(seed).workers(4).run(|| {
            let turn = Arc::new(AtomicU32::new(0));
            let play = |me: u32| {
                let turn = Arc::clone(&turn);
                move |other: thread::Thread| {
                    for round in 0..20 {
                        while turn.load(Ordering::Relaxed) != 2 * round + me {
                            thread::park();
                        }
                        turn.store(2 * round + me + 1, Ordering::Relaxed);
                        other.unpark();
                    }
                }
            };
            let (first, second) = (play(0), play(1));
            let (sender, receiver) = tarae::sync::mpsc::channel();
            let one = tarae::spawn(move || first(receiver.recv().unwrap()));
            let them = one.thread();
            let two = tarae::spawn(move || second(them));
            sender.send(two.thread()).unwrap();
            one.join().unwrap();
            two.join().unwrap();
        });
        assert_eq!(report.unwrap().elapsed, Duration::ZERO, "seed {seed}");
    });
}
