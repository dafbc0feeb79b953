//! Descriptor numbers that are used again.
//!
//! Guards deregistering before the close, the generation in every token, and the release of a
//! registration whose socket is dropped on another thread. Each test runs in a process of its own:
//! it depends on which descriptor the kernel gives next, or counts them all.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};

use tarae::net::{TcpListener, TcpStream, poll_readable};

use super::support::{Random, alone, join_each, leave_no_trace, look, one_on_each, pair, std_pair};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Leaves a waker with the stream, whose first readiness must not be there yet.
#[track_caller]
fn watch(stream: &TcpStream) -> Arc<Count> {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(poll_readable(stream, &Context::from_waker(&waker)).is_pending());
    count
}

/// Takes every free number below that of `stream`: closing it makes its number the next.
fn fill_below(stream: &TcpStream) -> Vec<OwnedFd> {
    // Not of the stream itself: that would keep its description alive.
    let next = || std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    std::iter::from_fn(|| Some(next()).filter(|fd| fd.as_raw_fd() < stream.as_raw_fd())).collect()
}

/// The next descriptor has the number of the one just closed. A stale event, harvested before the
/// close or delivered after it because a duplicate keeps the description alive, must not reach the
/// new socket; its own must.
fn reuse(keep_duplicate: bool, drop_on_thread: bool, harvested: bool) {
    let (mut client, old) = pair();
    leave_no_trace(&client);
    let number = old.as_raw_fd();
    // Will take the number of `old`; its peer is there already.
    let (mut new_client, spare) = std_pair();
    leave_no_trace(&new_client);
    let duplicate: Option<OwnedFd> =
        keep_duplicate.then(|| old.as_fd().try_clone_to_owned().unwrap());
    let fillers = fill_below(&old);
    let old_count = watch(&old);
    client.write_all(b"stale").unwrap();
    if harvested {
        look();
        assert_eq!(old_count.0.load(SeqCst), 1);
    }
    if drop_on_thread {
        std::thread::spawn(move || drop(old)).join().unwrap();
    } else {
        drop(old);
    }
    // The lowest free number: that of `old`.
    let new = TcpStream::from(spare.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(new.as_raw_fd(), number, "the number was not used again");
    let count = watch(&new);
    if keep_duplicate {
        client.write_all(b"more of it").unwrap();
    }
    look();
    assert_eq!(count.0.load(SeqCst), 0, "an event of the old socket came");
    assert_eq!(old_count.0.load(SeqCst), 1, "told once: ready, or gone");
    new_client.write_all(b"new").unwrap();
    let mut received = [0; 3];
    (&new).read_exact(&mut received).unwrap();
    assert_eq!(&received, b"new");
    look();
    assert_eq!(count.0.load(SeqCst), 1);
    drop((fillers, duplicate, new));
}

#[test]
fn a_number_used_again_gets_no_old_events() {
    alone("reuse::a_number_used_again_gets_no_old_events", || {
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                for turn in 0..2_000 {
                    reuse(turn & 1 == 0, turn & 2 == 0, turn & 4 == 0);
                }
            })
            .unwrap();
    });
}

/// Both sockets have data in one batch of events; whoever is told first closes the other one and
/// opens a socket of the same number. Guards the order "collect all, then act".
#[test]
fn a_callback_replaces_a_socket_of_the_same_batch() {
    use std::cell::{Cell, RefCell};
    use std::ops::ControlFlow;
    use std::rc::Rc;

    fn once() {
        let (mut peers, mut sockets) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (client, server) = pair();
            leave_no_trace(&client);
            peers.push(client);
            sockets.push(server);
        }
        let (new_client, spare) = std_pair();
        leave_no_trace(&new_client);
        let spares = [spare.try_clone().unwrap(), spare];
        let fillers = fill_below(&sockets[0]);
        let more_fillers = fill_below(&sockets[1]);
        let sockets = Rc::new(RefCell::new(
            sockets.into_iter().map(Some).collect::<Vec<_>>(),
        ));
        let replacement = Rc::new(RefCell::new(None));
        let new_calls = Rc::new(Cell::new(0));
        for index in 0..2 {
            let (theirs, new) = (Rc::clone(&sockets), Rc::clone(&replacement));
            let spare = spares[index].as_fd().try_clone_to_owned().unwrap();
            let calls = Rc::clone(&new_calls);
            let callback = move |_| {
                if new.borrow().is_none() {
                    let other = theirs.borrow_mut()[1 - index].take().unwrap();
                    let number = other.as_raw_fd();
                    drop(other);
                    let socket = TcpStream::from(spare.try_clone().unwrap());
                    assert_eq!(socket.as_raw_fd(), number);
                    let calls = Rc::clone(&calls);
                    tarae::net::on_readable(&socket, move |_| {
                        calls.set(calls.get() + 1);
                        ControlFlow::Break(())
                    })
                    .unwrap();
                    *new.borrow_mut() = Some(socket);
                }
                ControlFlow::Break(())
            };
            let sockets = sockets.borrow();
            tarae::net::on_readable(sockets[index].as_ref().unwrap(), callback).unwrap();
        }
        peers
            .iter_mut()
            .for_each(|peer| peer.write_all(b"x").unwrap());
        look();
        let socket = replacement.borrow_mut().take().expect("a callback ran");
        assert_eq!(new_calls.get(), 0, "the new socket got an old event");
        (&new_client).write_all(b"y").unwrap();
        let mut byte = [0];
        (&socket).read_exact(&mut byte).unwrap();
        look();
        assert_eq!((byte, new_calls.get()), ([b'y'], 1));
        drop((fillers, more_fillers));
    }

    alone(
        "reuse::a_callback_replaces_a_socket_of_the_same_batch",
        || {
            tarae::Builder::new()
                .workers(1)
                .run(|| (0..500).for_each(|_| once()))
                .unwrap();
        },
    );
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Each stream is registered by both workers and read by a thread too, then dropped on a thread or
/// on either worker while it stands in both event loops.
fn churn(rounds: u64) {
    tarae::Builder::new()
        .workers(2)
        .run(move || {
            let (to_thread, at_thread) = std::sync::mpsc::channel::<TcpStream>();
            let dropper = std::thread::spawn(move || at_thread.iter().for_each(drop));
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let handles = one_on_each(2, move |index| {
                let mut random = Random::new(index as u64 + 1);
                for round in 0..rounds {
                    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    leave_no_trace(&client);
                    // Perhaps the connection of the other worker: both are served alike.
                    let (server, _) = listener.accept().unwrap();
                    server.set_nonblocking(round % 2 == 0).unwrap();
                    let count = watch(&server);
                    let clone = server.try_clone().unwrap();
                    let other = tarae::spawn(move || {
                        let count = watch(&clone);
                        tarae::yield_now();
                        drop(clone);
                        count
                    });
                    client.write_all(&round.to_le_bytes()).unwrap();
                    match random.below(3) {
                        0 => drop(server),
                        1 => to_thread.send(server).unwrap(),
                        _ => drop(tarae::spawn(move || drop(server))),
                    }
                    drop(other.join());
                    drop(count);
                }
            });
            join_each(handles);
            dropper.join().unwrap();
        })
        .unwrap();
}

/// A registration that outlives its socket would keep an event loop's descriptor open; a socket
/// whose last handle is lost would stay open itself.
#[test]
fn no_descriptor_is_left_behind() {
    alone("reuse::no_descriptor_is_left_behind", || {
        // The first runtime makes the workers' eventfds, which are kept and used again.
        churn(10);
        let before = open_descriptors();
        for _ in 0..3 {
            churn(400);
        }
        assert_eq!(open_descriptors(), before);
    });
}
