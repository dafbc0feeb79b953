//! A started coroutine never changes its thread; unstarted ones may; connections are placed evenly.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::ThreadId;
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sync::{Mutex, mpsc};

use crate::support::{guard, run_on, until};

thread_local! {
    static PLACE: Cell<u64> = const { Cell::new(0) };
}

fn place() -> usize {
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

/// Fails when a coroutine is resumed on another thread than the one it began on.
struct Pinned {
    thread: ThreadId,
    place: usize,
    local: Rc<RefCell<u64>>,
}

impl Pinned {
    fn here() -> Pinned {
        let thread = std::thread::current().id();
        Pinned {
            thread,
            place: place(),
            local: Rc::default(),
        }
    }

    fn check(&self) {
        assert_eq!(std::thread::current().id(), self.thread, "it has moved");
        assert_eq!(place(), self.place, "a thread-local has moved");
        *self.local.borrow_mut() += 1;
    }
}

/// Every kind of suspension, ten thousand in all, with others spawning (and being stolen) all the
/// time.
#[test]
fn a_started_coroutine_never_changes_its_thread() {
    let _guard = guard("pinning");
    for workers in [2, 4] {
        run_on(workers, || {
            let lock = Arc::new(Mutex::new(0u64));
            let over = Arc::new(AtomicBool::new(false));
            let ended = Arc::clone(&over);
            let noise = tarae::spawn(move || {
                while !ended.load(SeqCst) {
                    (0..10).for_each(|_| drop(tarae::spawn(tarae::yield_now)));
                    tarae::time::sleep(Duration::from_millis(1));
                }
            });
            let handles: Vec<_> = (0..8)
                .map(|_| {
                    let lock = Arc::clone(&lock);
                    tarae::spawn(move || suspend_in_every_way(&lock))
                })
                .collect();
            for handle in handles {
                assert_eq!(handle.join().unwrap(), 1_250);
            }
            over.store(true, SeqCst);
            noise.join().unwrap();
            assert_eq!(*lock.lock().unwrap(), 8 * 125);
        });
    }
}

fn suspend_in_every_way(lock: &Mutex<u64>) -> u64 {
    let pinned = Pinned::here();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let echo = tarae::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(std::io::copy(&mut &stream, &mut &stream));
    });
    let mut stream = TcpStream::connect(address).unwrap();
    for _ in 0..125 {
        for _ in 0..4 {
            tarae::yield_now();
            pinned.check();
        }
        tarae::time::sleep(Duration::from_micros(100));
        pinned.check();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        pinned.check();
        let mut guard = lock.lock().unwrap();
        tarae::yield_now();
        *guard += 1;
        drop(guard);
        pinned.check();
        tarae::spawn(tarae::yield_now).join().unwrap();
        pinned.check();
        let (sender, receiver) = mpsc::channel();
        tarae::spawn(move || sender.send(()).unwrap());
        receiver.recv().unwrap();
        pinned.check();
        let me = tarae::current();
        tarae::spawn(move || me.unpark());
        tarae::thread::park();
        pinned.check();
    }
    drop(stream);
    echo.join().unwrap();
    Rc::try_unwrap(pinned.local).unwrap().into_inner()
}

/// Guards stealing: the coroutine that spawned them holds its worker until they have run, so they
/// can only have run on the other one.
#[test]
fn unstarted_coroutines_are_stolen_from_a_busy_worker() {
    let _guard = guard("stealing");
    for _ in 0..20 {
        let threads = run_on(2, || {
            let here = std::thread::current().id();
            let ran = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..100)
                .map(|_| {
                    let ran = Arc::clone(&ran);
                    tarae::spawn(move || {
                        ran.fetch_add(1, SeqCst);
                        std::thread::current().id()
                    })
                })
                .collect();
            while ran.load(SeqCst) < 100 {
                // A lone one calls no thief: whoever spawned it is expected to wait soon. This one
                // does not, so more have to come.
                std::thread::sleep(Duration::from_millis(1));
                drop(tarae::spawn(|| ()));
            }
            let elsewhere = |handle: tarae::thread::JoinHandle<_>| handle.join().unwrap() != here;
            handles.into_iter().map(elsewhere).collect::<Vec<_>>()
        });
        assert_eq!(threads, vec![true; 100]);
    }
}

/// Accepts `count` connections, one coroutine each, and gives how many run on each thread; each
/// stays until its client closes.
fn accept(listener: &TcpListener, count: usize, clients: &mut Vec<TcpStream>) -> Census {
    let (sender, receiver) = mpsc::channel();
    for _ in 0..count {
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        let sender = sender.clone();
        tarae::spawn(move || {
            sender
                .send((std::thread::current().id(), stream.peer_addr().unwrap()))
                .unwrap();
            drop(sender);
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        });
    }
    drop(sender);
    receiver
        .iter()
        .map(|(thread, address)| (address, thread))
        .collect()
}

type Census = HashMap<std::net::SocketAddr, ThreadId>;

fn counts(census: &Census) -> Vec<usize> {
    let mut counts: HashMap<ThreadId, usize> = HashMap::new();
    census
        .values()
        .for_each(|thread| *counts.entry(*thread).or_default() += 1);
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    counts
}

/// Guards placement by load: without it all connections stay with the acceptor, or go to whoever
/// steals first.
#[test]
fn connections_are_spread_evenly() {
    let _guard = guard("placement");
    for (workers, total) in [(2, 64), (2, 1_000), (4, 64), (1, 64)] {
        run_on(workers, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let census = accept(&listener, total, &mut Vec::new());
            assert_eq!(counts(&census), vec![total / workers; workers]);
        });
    }
}

/// After all connections of one worker have closed, the new ones go there: it is the load that
/// counts, not turns.
#[test]
fn the_least_loaded_worker_gets_the_next_connections() {
    let _guard = guard("placement after closing");
    run_on(2, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        let first = accept(&listener, 40, &mut clients);
        assert_eq!(counts(&first), [20, 20]);
        let here = std::thread::current().id();
        let on_here = |client: &TcpStream| first[&client.local_addr().unwrap()] == here;
        let live = || tarae::inspect::coroutines(Duration::from_secs(60)).len();
        clients.retain(|client| !on_here(client));
        until(|| live() == 21);
        let second = accept(&listener, 20, &mut clients);
        assert_eq!(counts(&second), [20]);
        assert!(
            second.values().all(|thread| *thread == here),
            "where the room was"
        );
        drop(clients.drain(10..));
        until(|| live() == 11);
    });
}
