//! Waits that hold no coroutine: `park_until_readable`, `on_readable`, `poll_readable` and
//! `poll_writable`.
//!
//! Guards that each kind of waiter is told exactly once per cause, of data that came before the
//! wait too, and of the end.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tarae::inspect::{self, State, WaitReason};
use tarae::net::{TcpStream, Wake, on_readable, park_until_readable, poll_readable, poll_writable};
use tarae::time::Instant;

use super::support::{everywhere, guarded, look, pair};

fn on_one_worker(name: &'static str, test: impl FnOnce()) {
    guarded(name, || tarae::Builder::new().workers(1).run(test).unwrap());
}

/// Parks `stream` and gives where its wake-up will be told, with what there was to read then.
fn park(stream: TcpStream, timeout: Option<Duration>) -> mpsc::Receiver<(Wake, Vec<u8>)> {
    let (told, telling) = mpsc::channel();
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    park_until_readable(stream, deadline, move |mut stream: TcpStream, wake| {
        let mut buffer = [0; 16];
        let count = match wake {
            Wake::Ready => stream.read(&mut buffer).unwrap(),
            _ => 0,
        };
        told.send((wake, buffer[..count].to_vec())).unwrap();
    });
    telling
}

/// Lets others run until the wake-up has been told.
fn told<T>(telling: &mpsc::Receiver<T>) -> T {
    loop {
        match telling.try_recv() {
            Ok(told) => return told,
            Err(mpsc::TryRecvError::Empty) => tarae::yield_now(),
            Err(error) => panic!("never told: {error}"),
        }
    }
}

fn nothing_to_read(stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let kind = (&mut &*stream).read(&mut [0]).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
}

/// Data after, before, and left over from before the wait: for the last no further edge comes, and
/// a wait that relied on one would never end.
#[test]
fn parked_state_is_woken_by_data() {
    on_one_worker("parked_state_is_woken_by_data", || {
        let (mut client, server) = pair();
        let telling = park(server.try_clone().unwrap(), None);
        look();
        assert!(telling.try_recv().is_err(), "woken without cause");
        client.write_all(b"after").unwrap();
        assert_eq!(told(&telling), (Wake::Ready, b"after".to_vec()));

        client.write_all(b"before").unwrap();
        look();
        let telling = park(server.try_clone().unwrap(), None);
        assert_eq!(told(&telling), (Wake::Ready, b"before".to_vec()));

        client.write_all(b"left over").unwrap();
        look();
        (&server).read_exact(&mut [0; 5]).unwrap();
        look();
        let telling = park(server.try_clone().unwrap(), None);
        assert_eq!(told(&telling), (Wake::Ready, b"over".to_vec()));

        // The end of the stream is something to read too.
        drop(client);
        let telling = park(server, None);
        assert_eq!(told(&telling), (Wake::Ready, Vec::new()));
    });
}

/// The peeked data is there; a peek that counted as a short read would hide it.
#[test]
fn parked_state_is_woken_by_peeked_data() {
    on_one_worker("parked_state_is_woken_by_peeked_data", || {
        let (mut client, server) = pair();
        let telling = park(server.try_clone().unwrap(), None);
        client.write_all(b"x").unwrap();
        told(&telling);
        client.write_all(b"peeked").unwrap();
        assert_eq!(server.peek(&mut [0; 100]).unwrap(), 6);
        look();
        let telling = park(server, None);
        assert_eq!(told(&telling), (Wake::Ready, b"peeked".to_vec()));
    });
}

fn parked_state_times_out() {
    let (mut client, server) = pair();
    let (told, telling) = mpsc::channel();
    let deadline = Instant::now() + Duration::from_millis(3);
    park_until_readable(server, Some(deadline), move |stream, wake| {
        told.send((stream, wake, Instant::now())).unwrap();
    });
    let (mut server, wake, at) = loop {
        match telling.try_recv() {
            Ok(told) => break told,
            Err(_) => tarae::yield_now(),
        }
    };
    assert_eq!(wake, Wake::TimedOut);
    assert!(at >= deadline, "early");
    // The stream is as good as before.
    client.write_all(b"late").unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"late");
}

/// The deadline ends the wait, is never early, and is told from readiness; on a plain thread too.
#[test]
fn a_deadline_ends_the_wait_of_parked_state() {
    everywhere(
        "a_deadline_ends_the_wait_of_parked_state",
        parked_state_times_out,
    );
}

/// A deadline that has passed does not hide what is there.
#[test]
fn a_distant_deadline_does_not_delay_data() {
    everywhere("a_distant_deadline_does_not_delay_data", || {
        let (mut client, server) = pair();
        client.write_all(b"here").unwrap();
        let telling = park(server, Some(Duration::from_secs(3_600)));
        assert_eq!(told(&telling), (Wake::Ready, b"here".to_vec()));
    });
}

/// On a plain thread the function runs right there, after the wait.
#[test]
fn on_a_plain_thread_the_caller_waits() {
    guarded("on_a_plain_thread_the_caller_waits", || {
        let (mut client, server) = pair();
        let writer = std::thread::spawn(move || client.write_all(b"data").map(|()| client));
        let telling = park(server, None);
        assert_eq!(telling.try_recv().unwrap(), (Wake::Ready, b"data".to_vec()));
        drop(writer.join().unwrap());
    });
}

/// Idle state is listed as such, with the descriptor it waits for, and owns no coroutine.
#[test]
fn parked_state_is_listed_as_idle() {
    on_one_worker("parked_state_is_listed_as_idle", || {
        const IDLE: usize = 20;
        let mut parked = Vec::new();
        for _ in 0..IDLE {
            let (client, server) = pair();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&server);
            parked.push((fd, client, park(server, None)));
        }
        let all = inspect::coroutines(Duration::from_secs(20));
        let (idle, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|c| c.state == State::Idle);
        assert_eq!(idle.len(), IDLE);
        for (fd, ..) in &parked {
            let reason = WaitReason::Readable(*fd);
            assert_eq!(idle.iter().filter(|c| c.waits_for == reason).count(), 1);
        }
        assert!(idle.iter().all(|c| c.spawned_at.file() == file!()));
        // Only the main coroutine lives, which asks just now.
        let names: Vec<_> = others.iter().map(|c| c.name.as_deref()).collect();
        assert_eq!(names, [Some("main")]);
        for (_, mut client, telling) in parked {
            client.write_all(b"!").unwrap();
            assert_eq!(told(&telling), (Wake::Ready, b"!".to_vec()));
        }
    });
}

/// The runtime's end tells all idle state, on every worker, and waits for what it does then.
#[test]
fn the_end_of_the_runtime_cancels_parked_state() {
    guarded("the_end_of_the_runtime_cancels_parked_state", || {
        let (told, telling) = mpsc::channel();
        let mut clients = Vec::new();
        tarae::Builder::new()
            .workers(2)
            .run(|| {
                let mut servers = Vec::new();
                for _ in 0..10 {
                    let (client, server) = pair();
                    clients.push(client);
                    servers.push(server);
                }
                let spawned = servers.into_iter().map(|server| {
                    let told = told.clone();
                    tarae::spawn(move || {
                        park_until_readable(server, None, move |_, wake| told.send(wake).unwrap());
                    })
                });
                let spawned: Vec<_> = spawned.collect();
                spawned.into_iter().for_each(|one| one.join().unwrap());
            })
            .unwrap();
        drop(told);
        let wakes: Vec<Wake> = telling.iter().collect();
        assert_eq!(wakes, [Wake::Cancelled; 10]);
    });
}

/// A watch that goes on is called for every piece and, once all is read, no more: readiness that is
/// never taken back would have it called for ever.
#[test]
fn a_persistent_callback_is_called_per_cause() {
    on_one_worker("a_persistent_callback_is_called_per_cause", || {
        let (mut client, server) = pair();
        server.set_nonblocking(true).unwrap();
        let (calls, received) = (Rc::new(Cell::new(0)), Rc::<RefCell<Vec<u8>>>::default());
        let mut reader = server.try_clone().unwrap();
        let (count, taken) = (Rc::clone(&calls), Rc::clone(&received));
        on_readable(&server, move |wake| {
            assert_eq!(wake, Wake::Ready);
            count.set(count.get() + 1);
            let mut buffer = [0; 4];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return ControlFlow::Break(()),
                    Ok(length) => taken.borrow_mut().extend(&buffer[..length]),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        return ControlFlow::Continue(());
                    }
                }
            }
        })
        .unwrap();
        let mut sent = Vec::new();
        for piece in 1..=50_u8 {
            client.write_all(&vec![piece; usize::from(piece)]).unwrap();
            sent.extend(vec![piece; usize::from(piece)]);
            while received.borrow().len() < sent.len() {
                tarae::yield_now();
            }
            look();
        }
        assert_eq!(*received.borrow(), sent);
        assert!(
            (50..=100).contains(&calls.get()),
            "{} calls for 50 causes",
            calls.get()
        );
        let before = calls.get();
        (0..10).for_each(|_| look());
        assert_eq!(calls.get(), before, "called without cause");
        drop(client);
        while calls.get() == before {
            tarae::yield_now();
        }
        // It broke off at the end of the stream.
        look();
        assert_eq!(Rc::strong_count(&calls), 1, "the callback was not dropped");
    });
}

/// `Break` ends the watch: later data is not reported, and a new watch gets all of it.
#[test]
fn a_one_shot_callback_is_called_once() {
    on_one_worker("a_one_shot_callback_is_called_once", || {
        let (mut client, server) = pair();
        let calls = Rc::new(Cell::new(0));
        let watch = || {
            let count = Rc::clone(&calls);
            on_readable(&server, move |wake| {
                assert_eq!(wake, Wake::Ready);
                count.set(count.get() + 1);
                ControlFlow::Break(())
            })
            .unwrap();
        };
        watch();
        look();
        assert_eq!(calls.get(), 0);
        for _ in 0..3 {
            client.write_all(b"x").unwrap();
            look();
        }
        assert_eq!(calls.get(), 1);
        watch();
        look();
        assert_eq!(calls.get(), 2, "what is there already was not reported");
        (&server).read_exact(&mut [0; 3]).unwrap();
        nothing_to_read(&server);
        watch();
        look();
        assert_eq!(calls.get(), 2);
        drop(client);
        look();
        assert_eq!(calls.get(), 3);
    });
}

/// Whoever watches a socket that goes away is told, wherever it was dropped; and at the end.
#[test]
fn callbacks_are_cancelled_with_their_socket_and_with_the_runtime() {
    guarded("callbacks_are_cancelled_with_their_socket", || {
        let wakes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let watch = |stream: &TcpStream, name: &'static str| {
            let wakes = Arc::clone(&wakes);
            on_readable(stream, move |wake| {
                wakes.lock().unwrap().push((name, wake));
                ControlFlow::Continue(())
            })
            .unwrap();
        };
        let kept = pair();
        tarae::Builder::new()
            .workers(1)
            .run(|| {
                let ((_a, here), (_b, there)) = (pair(), pair());
                watch(&here, "here");
                watch(&there, "there");
                watch(&kept.1, "kept");
                look();
                drop(here);
                look();
                std::thread::spawn(move || drop(there)).join().unwrap();
                look();
                let (_c, converted) = pair();
                watch(&converted, "converted");
                converted.into_std().unwrap();
                look();
                assert_eq!(wakes.lock().unwrap().len(), 3);
            })
            .unwrap();
        let want = ["here", "there", "converted", "kept"].map(|name| (name, Wake::Cancelled));
        assert_eq!(*wakes.lock().unwrap(), want);
        // Nothing of the runtime is left in the socket.
        let (mut client, mut server) = kept;
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    });
}

/// A callback that panics is not called again; everybody else goes on.
#[test]
fn a_panic_in_a_callback_is_contained() {
    on_one_worker("a_panic_in_a_callback_is_contained", || {
        let (mut client, server) = pair();
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        on_readable(&server, move |_| -> ControlFlow<()> {
            count.set(count.get() + 1);
            panic!("on purpose");
        })
        .unwrap();
        for _ in 0..2 {
            client.write_all(b"x").unwrap();
            look();
        }
        assert_eq!((calls.get(), Rc::strong_count(&calls)), (1, 1));
        (&server).read_exact(&mut [0; 2]).unwrap();
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// The same waker left many times is woken once per edge; another one is woken beside it.
#[test]
fn a_waker_is_left_once() {
    on_one_worker("a_waker_is_left_once", || {
        let (mut client, server) = pair();
        let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
        let wakers = counts
            .each_ref()
            .map(|count| Waker::from(Arc::clone(count)));
        let poll = |which: usize| poll_readable(&server, &Context::from_waker(&wakers[which]));
        for _ in 0..5 {
            assert!(poll(0).is_pending() && poll(1).is_pending());
        }
        look();
        let woken = || counts.each_ref().map(|count| count.0.load(SeqCst));
        assert_eq!(woken(), [0, 0]);
        client.write_all(b"x").unwrap();
        look();
        assert_eq!(woken(), [1, 1]);
        assert!(
            poll(0).is_ready() && poll(0).is_ready(),
            "not taken, so still there"
        );
        (&server).read_exact(&mut [0]).unwrap();
        nothing_to_read(&server);
        assert!(poll(0).is_pending());
        client.write_all(b"x").unwrap();
        look();
        assert_eq!(woken(), [2, 1]);
    });
}

async fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    std::future::poll_fn(|context| {
        loop {
            match (&mut &*stream).read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            match poll_readable(stream, context) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

async fn write_some(stream: &TcpStream, data: &[u8]) -> std::io::Result<usize> {
    std::future::poll_fn(|context| {
        loop {
            match (&mut &*stream).write(data) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            match poll_writable(stream, context) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Futures carry a stream that is much longer than the socket's buffers, both ways of waiting.
#[test]
fn futures_read_and_write() {
    const TOTAL: usize = 1_000_000;
    guarded("futures_read_and_write", || {
        for workers in [1, 2] {
            let (client, server) = pair();
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            rustix::net::sockopt::set_socket_send_buffer_size(&client, 8_192).unwrap();
            let write = move || {
                let piece = [7; 10_000];
                let mut left = TOTAL;
                while left > 0 {
                    let most = left.min(piece.len());
                    left -= tarae::block_on(write_some(&client, &piece[..most]))
                        .unwrap()
                        .unwrap();
                }
            };
            let read = move || {
                let (mut buffer, mut got) = ([0; 3_000], 0);
                loop {
                    match tarae::block_on(read_some(&server, &mut buffer))
                        .unwrap()
                        .unwrap()
                    {
                        0 => return got,
                        count => got += count,
                    }
                }
            };
            let got = tarae::Builder::new().workers(workers).run(|| {
                tarae::spawn(write);
                tarae::spawn(read).join().unwrap()
            });
            assert_eq!(got.unwrap(), TOTAL);
        }
    });
}

/// A future is woken from another thread while it waits for a socket, and by the socket's data
/// while it waits for the thread.
#[test]
fn a_future_is_woken_by_whichever_comes_first() {
    on_one_worker("a_future_is_woken_by_whichever_comes_first", || {
        for socket_first in [true, false] {
            let (mut client, server) = pair();
            let (flag, (waker_out, waker_in)) = (Arc::new(Count::default()), mpsc::channel());
            let theirs = Arc::clone(&flag);
            let other = std::thread::spawn(move || {
                let waker: Waker = waker_in.recv().unwrap();
                if socket_first {
                    client.write_all(b"x").unwrap();
                } else {
                    theirs.0.store(1, SeqCst);
                    waker.wake();
                }
                client
            });
            let mut waker_out = Some(waker_out);
            let future = std::future::poll_fn(|context| {
                if let Some(out) = waker_out.take() {
                    out.send(context.waker().clone()).unwrap();
                }
                if flag.0.load(SeqCst) == 1 {
                    return Poll::Ready("thread");
                }
                match poll_readable(&server, context) {
                    Poll::Ready(result) => Poll::Ready(result.map(|()| "socket").unwrap()),
                    Poll::Pending => Poll::Pending,
                }
            });
            let want = if socket_first { "socket" } else { "thread" };
            assert_eq!(tarae::block_on(future), Ok(want));
            drop(other.join().unwrap());
        }
    });
}

/// Without a worker there is nobody to watch.
#[test]
fn a_plain_thread_has_nobody_to_watch() {
    let (_client, server) = pair();
    let context = Context::from_waker(Waker::noop());
    let error = on_readable(&server, |_| ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for poll in [
        poll_readable(&server, &context),
        poll_writable(&server, &context),
    ] {
        match poll {
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::Unsupported),
            other => panic!("{other:?}"),
        }
    }
}
