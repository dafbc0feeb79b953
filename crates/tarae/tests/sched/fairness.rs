//! Nobody starves: budgets make every coroutine yield, and the driver is looked at under a queue
//! that never empties. Judged by counts and order, on one worker.

use std::cell::Cell;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream, Wake, on_readable};

use crate::support::{guard, run_on};

/// What a budget may be at most, in operations, for these tests.
const GENEROUS: usize = 1_024;

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A reader whose socket always has something: 64 KiB lie there, one byte is taken at a time. The
/// other coroutine must run before a budget's worth of reads.
#[test]
fn a_reader_that_never_waits_lets_others_run() {
    let _guard = guard("a reader that never waits");
    run_on(1, || {
        let (mut client, mut server) = pair();
        client.write_all(&[7; 65_536]).unwrap();
        let reads = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&reads);
        let other = tarae::spawn_local(move || {
            (0..100)
                .map(|_| {
                    tarae::yield_now();
                    theirs.get()
                })
                .collect::<Vec<usize>>()
        });
        let mut byte = [0];
        while reads.get() < 65_536 {
            server.read_exact(&mut byte).unwrap();
            reads.set(reads.get() + 1);
        }
        let seen = other.join().unwrap();
        assert!(seen[0] <= GENEROUS, "first after {} reads", seen[0]);
        assert!(
            seen.windows(2).all(|two| two[1] - two[0] <= GENEROUS),
            "{seen:?}"
        );
    });
}

/// The same for a writer, a receiver of messages, and an acceptor with a full queue.
#[test]
fn writers_receivers_and_acceptors_let_others_run() {
    let _guard = guard("writers, receivers, acceptors");
    fn check(what: &str, mut operation: impl FnMut()) {
        let count = Rc::new(Cell::new(0));
        let ran = Rc::new(Cell::new(None));
        let (theirs, seen) = (Rc::clone(&ran), Rc::clone(&count));
        tarae::spawn_local(move || theirs.set(Some(seen.get())));
        for _ in 0..2 * GENEROUS {
            operation();
            count.set(count.get() + 1);
        }
        assert!(
            ran.get().is_some_and(|at| at <= GENEROUS),
            "{what}: {:?}",
            ran.get()
        );
    }
    run_on(1, || {
        let (mut client, _server) = pair();
        check("writer", || client.write_all(b"x").unwrap());

        let (sender, receiver) = tarae::sync::mpsc::channel();
        (0..2 * GENEROUS).for_each(|n| sender.send(n).unwrap());
        check("receiver", || assert!(receiver.recv().is_ok()));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..2 * GENEROUS)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        check("acceptor", || drop(listener.accept().unwrap()));
        drop(clients);

        let me = tarae::current();
        check("token", || {
            me.unpark();
            tarae::thread::park();
        });
    });
}

/// One coroutine yields for ever, so the ready queue never empties. A socket's event and a timer
/// must get through all the same; the yielder stops only when they have.
#[test]
fn the_driver_is_looked_at_under_a_queue_that_never_empties() {
    let _guard = guard("a queue that never empties");
    for workers in [1, 2] {
        run_on(workers, || {
            let (mut client, mut server) = pair();
            let got = Arc::new(AtomicBool::new(false));
            let slept = Arc::new(AtomicBool::new(false));
            let (mark, timed) = (Arc::clone(&got), Arc::clone(&slept));
            let reader = tarae::spawn(move || {
                server.read_exact(&mut [0]).unwrap();
                mark.store(true, SeqCst);
            });
            let sleeper = tarae::spawn(move || {
                tarae::time::sleep(Duration::from_millis(1));
                timed.store(true, SeqCst);
            });
            // Both wait now, whichever worker they are on.
            let waiting = || {
                let all = tarae::inspect::coroutines(Duration::from_secs(60));
                all.iter()
                    .filter(|one| one.state == tarae::inspect::State::Parked)
                    .count()
            };
            while waiting() < 1 {
                tarae::yield_now();
            }
            client.write_all(b"x").unwrap();
            let mut yields = 0;
            while !(got.load(SeqCst) && slept.load(SeqCst)) {
                tarae::yield_now();
                yields += 1;
            }
            reader.join().unwrap();
            sleeper.join().unwrap();
            assert!(yields > 0);
        });
    }
}

/// The event of a socket comes within a bounded number of turns of a coroutine that always yields.
#[test]
fn an_event_comes_within_a_bounded_number_of_yields() {
    let _guard = guard("an event under yields");
    run_on(1, || {
        let (mut client, mut server) = pair();
        for _ in 0..100 {
            let got = Rc::new(Cell::new(false));
            let mark = Rc::clone(&got);
            let back = Rc::new(Cell::new(None));
            let give = Rc::clone(&back);
            tarae::spawn_local(move || {
                server.read_exact(&mut [0]).unwrap();
                mark.set(true);
                give.set(Some(server));
            });
            tarae::yield_now();
            // Loopback delivers within the call: the event is there from now on.
            client.write_all(b"x").unwrap();
            let mut yields = 0;
            while !got.get() {
                tarae::yield_now();
                yields += 1;
                assert!(yields <= GENEROUS, "the driver was not looked at");
            }
            server = back.take().unwrap();
        }
    });
}

/// Started coroutines that always yield do not keep unstarted ones from starting, nor the other way
/// round.
#[test]
fn new_and_old_coroutines_share() {
    let _guard = guard("new and old");
    for workers in [1, 2] {
        run_on(workers, || {
            let started = Arc::new(AtomicUsize::new(0));
            let over = Arc::new(AtomicBool::new(false));
            let old: Vec<_> = (0..200)
                .map(|_| {
                    let over = Arc::clone(&over);
                    tarae::spawn(move || {
                        while !over.load(SeqCst) {
                            tarae::yield_now();
                        }
                    })
                })
                .collect();
            tarae::yield_now();
            // Each spawns the next: only by starting again and again does the chain end.
            fn chain(left: usize, started: Arc<AtomicUsize>) {
                started.fetch_add(1, SeqCst);
                if left > 0 {
                    tarae::spawn(move || chain(left - 1, started));
                }
            }
            chain(500, Arc::clone(&started));
            crate::support::until(|| started.load(SeqCst) == 501);
            over.store(true, SeqCst);
            old.into_iter().for_each(|handle| handle.join().unwrap());
        });
    }
}

/// A callback that has read all there is must not be called again until there is more.
#[test]
fn a_callback_is_not_called_without_cause() {
    let _guard = guard("callbacks");
    run_on(1, || {
        let (mut client, server) = pair();
        server.set_nonblocking(true).unwrap();
        let server = Rc::new(server);
        let (calls, bytes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (theirs, count, sum) = (Rc::clone(&server), Rc::clone(&calls), Rc::clone(&bytes));
        let callback = move |wake| {
            count.set(count.get() + 1);
            if wake != Wake::Ready {
                return ControlFlow::Break(());
            }
            let mut buffer = [0; 16];
            while let Ok(read) = (&*theirs).read(&mut buffer) {
                sum.set(sum.get() + read);
            }
            ControlFlow::Continue(())
        };
        on_readable(&*server, callback).unwrap();
        for round in 1..=10 {
            client.write_all(b"abc").unwrap();
            while bytes.get() < round * 3 {
                tarae::yield_now();
            }
        }
        let before = calls.get();
        (0..1_000).for_each(|_| tarae::yield_now());
        assert_eq!(calls.get(), before, "called though nothing has come");
        assert!(before <= 20, "{before} calls for 10 messages");
    });
}
