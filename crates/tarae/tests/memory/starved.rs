//! Coroutines that no stack can be had for: they wait with all they own, are seen waiting, and
//! begin when a stack is free. Nothing is lost but what somebody is told of.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rustix::process::Resource;
use tarae::net::{TcpListener, TcpStream, Wake, park_until_readable};
use tarae::thread::JoinHandle;

use crate::support::{Gate, alone, idle_until, limit, limit_growth, parked_and_starved, run};

/// Has parked coroutines take all the stacks there are; so many more wait for one.
fn take_all(gate: &Gate) -> (Vec<JoinHandle<usize>>, usize) {
    limit_growth(64 << 20);
    let count = 400;
    let handles: Vec<_> = (0..count).map(|n| gate.spawn(move || n)).collect();
    idle_until(|| {
        let (parked, starved) = parked_and_starved();
        parked > 0 && parked + starved == count
    });
    let (_, starved) = parked_and_starved();
    assert!(starved > 0, "the limit was not met");
    (handles, starved)
}

fn join_all(handles: Vec<JoinHandle<usize>>) {
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n);
    }
}

/// One that ends leaves its stack to one that waits, and so on to the last.
#[test]
fn begin_one_after_the_other() {
    alone("starved::begin_one_after_the_other", || {
        run(|| {
            let gate = Gate::default();
            let (handles, _) = take_all(&gate);
            gate.open(&handles);
            join_all(handles);
        });
    });
}

/// One that somebody wants the result of is given up, and the result says so; one whose handle was
/// dropped waits as all do.
#[test]
fn a_started_one_is_given_up_only_if_somebody_is_told() {
    alone(
        "starved::a_started_one_is_given_up_only_if_somebody_is_told",
        || {
            run(|| {
                let gate = Gate::default();
                let (handles, starved) = take_all(&gate);
                let (wanted, ran) = (tarae::start(|| ()), Arc::new(AtomicUsize::new(0)));
                let theirs = Arc::clone(&ran);
                drop(tarae::start(move || theirs.fetch_add(1, Ordering::SeqCst)));
                assert!(wanted.wait().unwrap_err().is_no_stack());
                idle_until(|| parked_and_starved().1 == starved + 1);
                assert_eq!(ran.load(Ordering::SeqCst), 0);
                gate.open(&handles);
                join_all(handles);
                idle_until(|| ran.load(Ordering::SeqCst) == 1);
            });
        },
    );
}

/// Nothing ends here, but the limit is raised: all begin.
#[test]
fn begin_when_there_is_memory_again() {
    alone("starved::begin_when_there_is_memory_again", || {
        run(|| {
            let gate = Gate::default();
            let (handles, starved) = take_all(&gate);
            let arrived = gate.arrived();
            limit(Resource::As, None);
            idle_until(|| gate.arrived() == arrived + starved);
            assert_eq!(gate.through(), 0);
            gate.open(&handles);
            join_all(handles);
        });
    });
}

/// Stacks that a worker has had and does not use are there for the others.
#[test]
fn begin_on_stacks_of_another_worker() {
    alone("starved::begin_on_stacks_of_another_worker", || {
        tarae::Builder::new()
            .workers(2)
            .run(on_stacks_of_another_worker)
            .unwrap();
    });
}

fn on_stacks_of_another_worker() {
    let here = tarae::inspect::worker_index();
    limit_growth(64 << 20);
    // Local ones take their stacks on this worker.
    park_locally(400, || idle_until(|| parked_and_starved().1 > 0));
    let both = Arc::new(Barrier::new(2));
    let one_on_each = [0, 1].map(|_| {
        let both = Arc::clone(&both);
        tarae::spawn(move || {
            both.wait();
            // More than it has had before, less than this worker keeps for itself.
            if tarae::inspect::worker_index() != here {
                park_locally(20, || {});
            }
        })
    });
    for handle in one_on_each {
        handle.join().unwrap();
    }
}

/// Has so many park on this worker, does something, and waits for their end.
fn park_locally(count: usize, meanwhile: impl FnOnce()) {
    let gate = Gate::default();
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let gate = gate.clone();
            tarae::spawn_local(move || gate.pass())
        })
        .collect();
    meanwhile();
    if parked_and_starved().1 == 0 {
        gate.until_arrived(count);
    }
    gate.open(&handles);
    handles
        .into_iter()
        .for_each(|handle| idle_until(|| handle.is_finished()));
}

/// Whoever waits for one is told at once: what he holds may be the very stack that is missing.
#[test]
fn are_an_error_to_whoever_joins() {
    alone("starved::are_an_error_to_whoever_joins", || {
        run(|| {
            let gate = Gate::default();
            let (mut handles, _) = take_all(&gate);
            let held = Arc::new(());
            let theirs = Arc::clone(&held);
            let late = gate.spawn(move || drop(theirs));
            let error = late.join().unwrap_err();
            assert!(error.is_no_stack());
            assert!(error.to_string().contains("RLIMIT_AS allows"), "{error}");
            assert_eq!(Arc::strong_count(&held), 1, "its closure was not dropped");
            // So is one that begins to wait later.
            let error = handles.pop().unwrap().join().unwrap_err();
            assert!(error.is_no_stack());
            gate.open(&handles);
            join_all(handles);
        });
    });
}

/// A connection that was accepted, and one that was put aside and has become readable: both are
/// answered, though there was no stack for them when it was their turn.
#[test]
fn keep_their_connections() {
    alone("starved::keep_their_connections", || {
        for workers in [1, 2] {
            tarae::Builder::new()
                .workers(workers)
                .run(keep_connections)
                .unwrap();
        }
    });
}

fn keep_connections() {
    const EACH: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let acceptor = tarae::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            counter.fetch_add(1, Ordering::SeqCst);
            // Detached, as in every server.
            tarae::spawn(move || answer(stream, Wake::Ready));
        }
    });
    let connect = |_| std::net::TcpStream::connect(address).unwrap();
    let mut idle: Vec<_> = (0..EACH).map(connect).collect();
    for client in &mut idle {
        client.write_all(b"a").unwrap();
    }
    idle_until(|| accepted.load(Ordering::SeqCst) == EACH);
    let read = |client: &mut std::net::TcpStream| {
        client.set_nonblocking(true).unwrap();
        let mut byte = [0];
        idle_until(|| client.peek(&mut [0]).is_ok());
        client.read_exact(&mut byte).unwrap();
        byte[0]
    };
    assert!(idle.iter_mut().all(|client| read(client) == b'a'));

    let gate = Gate::default();
    let (handles, starved) = take_all(&gate);
    let mut fresh: Vec<_> = (0..EACH).map(connect).collect();
    for client in fresh.iter_mut().chain(&mut idle) {
        client.write_all(b"b").unwrap();
    }
    idle_until(|| accepted.load(Ordering::SeqCst) == 2 * EACH);
    // All of them on one worker. Where there is another, it may have stacks left for its half.
    idle_until(|| parked_and_starved().1 >= starved + EACH / 2);
    gate.open(&handles);
    assert!(
        fresh
            .iter_mut()
            .chain(&mut idle)
            .all(|client| read(client) == b'b')
    );
    join_all(handles);
    acceptor.cancel();
    acceptor.join().unwrap();
    limit(Resource::As, None);
}

/// Answers each byte with the same; between two of them there is no coroutine.
fn answer(mut stream: TcpStream, wake: Wake) {
    let mut byte = [0];
    if wake == Wake::Ready && stream.read_exact(&mut byte).is_ok() {
        stream.write_all(&byte).unwrap();
        park_until_readable(stream, None, answer);
    }
}

/// The end of the runtime does not wait for those that never began; they are dropped.
#[test]
fn are_dropped_when_the_runtime_ends() {
    alone("starved::are_dropped_when_the_runtime_ends", || {
        let held = Arc::new(());
        run(|| {
            let gate = Gate::default();
            let (handles, _) = take_all(&gate);
            let theirs = Arc::clone(&held);
            drop(tarae::spawn(move || drop(theirs)));
            idle_until(|| parked_and_starved().0 + parked_and_starved().1 == 401);
            assert_eq!(Arc::strong_count(&held), 2);
            // Those that have begun ignore their cancellation until it is open.
            gate.open(&[] as &[JoinHandle<()>]);
            drop(handles);
        });
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

/// Nor do those of a runtime without grace leave anybody waiting for them.
#[test]
fn are_cancelled_when_there_is_no_grace() {
    alone("starved::are_cancelled_when_there_is_no_grace", || {
        let (give, got) = std::sync::mpsc::channel();
        let runtime = tarae::Builder::new().workers(1).grace(Duration::ZERO);
        let left = runtime.run(|| {
            let (mut handles, _) = take_all(&Gate::default());
            give.send(handles.pop().unwrap()).unwrap();
        });
        assert!(!left.unwrap_err().stragglers().is_empty());
        assert!(got.recv().unwrap().join().unwrap_err().is_cancelled());
    });
}
