//! How calls end: dropped handles, cancellation, panics, errors, the end of a runtime. The one
//! result comes, with the buffer where there is one; nothing is leaked.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use tarae::Cancelled;
use tarae::completion::{Check, Completion};
use tarae::offload::{self, Builder, Pool, stats};

use crate::support::{FAR, alone, gate, guarded, here, pair, run_on, until};

/// What the callback of `call` is told, as text.
fn told<T: Send + 'static>(call: Completion<T>) -> impl Fn() -> String {
    let (tell, told) = mpsc::channel();
    call.on_complete(move |result| {
        let text = result.map_or_else(|error| error.to_string(), |_| "a value".into());
        tell.send(text).unwrap();
    });
    move || loop {
        match told.try_recv() {
            Ok(text) => return text,
            Err(mpsc::TryRecvError::Empty) => tarae::yield_now(),
            Err(error) => panic!("{error}: dropped without a call"),
        }
    }
}

#[test]
fn a_dropped_handle_detaches_and_the_result_is_dropped() {
    guarded("dropping handles", || {
        let counted = Arc::new(());
        run_on(1, || {
            let ran = Arc::new(AtomicUsize::new(0));
            let value = || {
                let (counted, ran) = (Arc::clone(&counted), Arc::clone(&ran));
                move || {
                    ran.fetch_add(1, SeqCst);
                    counted
                }
            };
            drop(tarae::start(value()));
            drop(offload::start(value()));
            let complete = tarae::start(value());
            until(|| ran.load(SeqCst) == 3 && complete.is_complete());
            drop(complete);
            // Polled once, then dropped with its waker in place.
            let mut polled = offload::start(value());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = std::future::Future::poll(std::pin::Pin::new(&mut polled), &mut context);
            drop(polled);
            until(|| ran.load(SeqCst) == 4 && Arc::strong_count(&counted) == 1);
            // A read that nobody wants keeps its buffer until something has come.
            let (client, server) = pair();
            let buffer = Counted(vec![0; 8], Arc::clone(&counted));
            drop(client.start_read(buffer));
            assert_eq!(Arc::strong_count(&counted), 2);
            (&server).write_all(b"a").unwrap();
            until(|| Arc::strong_count(&counted) == 1);
        });
    });
}

/// Nobody wants the result: it goes when it comes, although a canceller keeps the call.
#[test]
fn a_detached_result_is_dropped_when_it_comes() {
    guarded("results nobody wants", || {
        let test = || {
            let counted = Arc::new(());
            let (open, pass) = gate();
            let theirs = Arc::clone(&counted);
            let call = offload::start(move || {
                pass();
                theirs
            });
            let canceller = call.canceller();
            drop(call);
            open.send(()).unwrap();
            until(|| Arc::strong_count(&counted) == 1);
            canceller.cancel();
        };
        test();
        run_on(1, || {
            test();
            let counted = Arc::new(());
            let (client, _server) = pair();
            let read = client.start_read(Counted(vec![0; 8], Arc::clone(&counted)));
            let canceller = read.canceller();
            drop(read);
            assert_eq!(Arc::strong_count(&counted), 2);
            canceller.cancel();
            assert_eq!(Arc::strong_count(&counted), 1, "it has come, cancelled");
        });
    });
}

struct Counted(Vec<u8>, Arc<()>);

impl AsMut<[u8]> for Counted {
    fn as_mut(&mut self) -> &mut [u8] {
        assert!(Arc::strong_count(&self.1) > 1);
        &mut self.0
    }
}

#[test]
fn a_coroutine_is_cancelled_before_it_begins_and_while_it_waits() {
    guarded("cancelling coroutines", || {
        run_on(1, || {
            let unstarted = tarae::start(|| unreachable!("it was cancelled"));
            let (canceller, told) = (unstarted.canceller(), told::<()>(unstarted));
            canceller.cancel();
            assert_eq!(told(), "the call was cancelled before it began");
            let waits = tarae::start(|| {
                tarae::time::sleep(FAR);
                tarae::thread::is_cancelled()
            });
            tarae::yield_now();
            waits.cancel();
            waits.cancel();
            assert!(waits.wait().unwrap());
        });
    });
}

/// One thread, held by a job: what queues behind it is withdrawn, is dropped unrun, and its result
/// comes while the thread is still held, to the service thread and not on the canceller's frame.
#[test]
fn a_job_that_has_not_begun_is_withdrawn() {
    alone("ends::a_job_that_has_not_begun_is_withdrawn", || {
        let limits = Builder::new(Pool::Cpu).threads(1).queue(2);
        limits.apply().unwrap();
        let (open, pass) = gate();
        let holder = offload::start_in(Pool::Cpu, pass);
        until(|| stats().cpu.queued == 0);
        let counted = Arc::new(());
        let theirs = Arc::clone(&counted);
        let queued = offload::start_in(Pool::Cpu, move || drop(theirs));
        let last = offload::start_in(Pool::Cpu, || 5);
        let refused = offload::start_in(Pool::Cpu, || ());
        assert!(refused.is_complete() && refused.wait().unwrap_err().is_full());
        let canceller = queued.canceller();
        let (tell, told) = mpsc::channel();
        queued.on_complete(move |result| {
            tell.send((result.unwrap_err().is_cancelled(), here().name))
                .unwrap();
        });
        canceller.cancel();
        canceller.cancel();
        assert_eq!(told.recv(), Ok((true, "tarae-service".into())));
        assert_eq!(Arc::strong_count(&counted), 1);
        assert_eq!(stats().cpu.queued, 1);
        assert!(!holder.is_complete());
        open.send(()).unwrap();
        assert_eq!(last.wait().unwrap(), 5);
        holder.wait().unwrap();
    });
}

/// A job that has begun sees the flag, and its wait in the kernel ends.
#[test]
fn a_job_that_has_begun_is_asked() {
    guarded("cancelling a job that runs", || {
        // Several times: a thread that sleeps may do so elsewhere for a moment.
        for _ in 0..10 {
            let (begun, waits) = mpsc::channel();
            let call = offload::start(move || {
                begun.send(rustix::thread::gettid()).unwrap();
                while !tarae::thread::is_cancelled() {
                    tarae::time::sleep(FAR);
                }
                let (client, _server) = pair();
                std::io::Read::read(&mut &client, &mut [0]).unwrap_err()
            });
            let thread = waits.recv().unwrap().as_raw_nonzero();
            let stat = format!("/proc/self/task/{thread}/stat");
            until(|| std::fs::read_to_string(&stat).unwrap().contains(") S "));
            call.cancel();
            assert!(Cancelled::is(&call.wait().unwrap()));
        }
        // The thread's next job is not cancelled.
        let clean = || offload::start(tarae::thread::is_cancelled);
        assert!((0..8).all(|_| !clean().wait().unwrap()));
    });
}

#[test]
fn a_cancelled_read_gives_its_buffer_back() {
    guarded("cancelling reads", || {
        run_on(2, || {
            let (client, server) = pair();
            for elsewhere in [false, true] {
                let read = client.start_read(vec![7; 3]);
                assert!(!read.is_complete());
                match elsewhere {
                    false => read.cancel(),
                    true => std::thread::scope(|s| {
                        s.spawn(|| read.cancel());
                    }),
                }
                let (result, buffer) = read.wait().unwrap();
                assert!(Cancelled::is(&result.unwrap_err()));
                assert_eq!(buffer, [7; 3]);
            }
            // Nothing of it is left: the bytes go to the next one.
            (&server).write_all(b"abc").unwrap();
            let (count, buffer) = client.start_read(vec![0; 3]).wait().unwrap();
            assert_eq!((count.unwrap(), &*buffer), (3, &b"abc"[..]));
        });
        // On a pool's thread, which waits in the kernel.
        let (client, _server) = pair();
        let read = client.start_read(vec![7; 3]);
        read.cancel();
        let (result, buffer) = read.wait().unwrap();
        assert!(Cancelled::is(&result.unwrap_err()));
        assert_eq!(buffer, [7; 3]);
    });
}

/// A callback cancels another operation that is ready in the same batch of events: each ends once.
#[test]
fn a_callback_may_cancel_what_is_ready_too() {
    guarded("cancelling from a callback", || {
        run_on(1, || {
            let pairs: Vec<_> = (0..8).map(|_| pair()).collect();
            let reads: Vec<_> = pairs
                .iter()
                .map(|(client, _)| client.start_read([0; 1]))
                .collect();
            let cancellers: Arc<Vec<_>> = Arc::new(reads.iter().map(|r| r.canceller()).collect());
            let (tell, told) = tarae::sync::mpsc::channel();
            for read in reads {
                let (tell, cancellers) = (tell.clone(), Arc::clone(&cancellers));
                read.on_complete(move |read| {
                    cancellers.iter().for_each(|other| other.cancel());
                    tell.send(read.unwrap().0).unwrap();
                });
            }
            drop(tell);
            // Written without a turn of the worker in between: all are in one batch.
            for (_, server) in &pairs {
                (&*server).write_all(b"a").unwrap();
            }
            let ends: Vec<_> = told.iter().collect();
            assert_eq!(ends.len(), 8, "once each");
            let is_told = |end: &std::io::Result<usize>| match end {
                Ok(count) => *count == 1,
                Err(error) => Cancelled::is(error),
            };
            assert!(ends.iter().all(is_told) && ends[0].is_ok());
        });
    });
}

#[test]
fn errors_and_time_outs_give_the_buffer_back() {
    guarded("errors of started operations", || {
        let test = || {
            let (client, server) = pair();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let (result, buffer) = client.start_write(vec![1, 2]).wait().unwrap();
            assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(buffer, [1, 2]);
            client
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            let (result, buffer) = client.start_read(vec![1, 2]).wait().unwrap();
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(buffer, [1, 2]);
            let (result, _) = server.start_read([0; 4]).wait().unwrap();
            assert_eq!(result.unwrap(), 0, "the end of the stream");
            // Nobody listens there any more.
            let listener = tarae::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let refused = tarae::net::TcpStream::start_connect(&address).wait();
            let kind = refused.unwrap().unwrap_err().kind();
            assert_eq!(kind, ErrorKind::ConnectionRefused);
        };
        test();
        run_on(1, test);
    });
}

#[test]
fn a_panic_of_the_call_is_its_result() {
    guarded("panics of calls", || {
        struct Bad;
        impl AsMut<[u8]> for Bad {
            fn as_mut(&mut self) -> &mut [u8] {
                panic!("third")
            }
        }
        run_on(1, || {
            let coroutine = told::<()>(tarae::start(|| panic!("first")));
            assert_eq!(coroutine(), "the call panicked: first");
            let error = offload::start(|| panic!("second")).wait().unwrap_err();
            assert!(error.is_panic() && !error.is_cancelled());
            assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "second");
            let (client, _server) = pair();
            assert_eq!(told(client.start_read(Bad))(), "the call panicked: third");
        });
    });
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a result that is dropped");
    }
}

/// A buffer whose drop panics.
struct BombBuffer([u8; 1], #[allow(dead_code)] Bomb);

impl AsMut<[u8]> for BombBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Dropped on the frame that cancels or drops the handle, on a worker's loop and on a pool's
/// thread: the panic ends nothing there.
#[test]
fn a_panic_of_a_detached_result_ends_nothing_else() {
    alone(
        "ends::a_panic_of_a_detached_result_ends_nothing_else",
        || {
            Builder::new(Pool::Blocking).threads(1).apply().unwrap();
            let (client, server) = pair();
            // On a plain thread the read is a job, which is withdrawn here.
            let (open, pass) = gate();
            let held = offload::start(pass);
            let read = client.start_read(BombBuffer([0; 1], Bomb));
            let canceller = read.canceller();
            drop(read);
            canceller.cancel();
            open.send(()).unwrap();
            held.wait().unwrap();
            // With the handle, which has it by then.
            let call = offload::start(|| Bomb);
            until(|| call.is_complete());
            drop(call);
            // The pool's thread goes on.
            let (open, pass) = gate();
            drop(offload::start(move || {
                pass();
                Bomb
            }));
            open.send(()).unwrap();
            assert_eq!(told(offload::start(|| ()))(), "a value");
            assert_eq!(offload::stats().blocking.threads, 1);
            run_on(1, || {
                let read = client.start_read(BombBuffer([0; 1], Bomb));
                let canceller = read.canceller();
                drop(read);
                canceller.cancel();
                drop(client.start_read(BombBuffer([0; 1], Bomb)));
                (&server).write_all(b"a").unwrap();
                let (count, _) = client.start_read(vec![0; 1]).wait().unwrap();
                assert_eq!(count.unwrap(), 1);
            });
        },
    );
}

/// On a worker, a pool's thread and the service thread: whoever comes next is served.
#[test]
fn a_panic_of_a_callback_ends_nothing_else() {
    alone("ends::a_panic_of_a_callback_ends_nothing_else", || {
        Builder::new(Pool::Cpu).threads(1).apply().unwrap();
        run_on(1, || {
            tarae::start(|| ()).on_complete(|_| panic!("on a worker"));
            assert_eq!(told(tarae::start(|| ()))(), "a value");
            let (open, pass) = gate();
            offload::start_in(Pool::Cpu, pass).on_complete(|_| panic!("on a pool's thread"));
            open.send(()).unwrap();
            assert_eq!(told(offload::start_in(Pool::Cpu, || ()))(), "a value");
            let late = || {
                let call = offload::start_in(Pool::Cpu, || ());
                until(|| call.is_complete());
                call
            };
            late().on_complete(|_| panic!("on the service thread"));
            assert_eq!(told(late())(), "a value");
            // So it is with a result that nobody wants.
            drop(tarae::start(|| Bomb));
            assert_eq!(told(tarae::start(|| ()))(), "a value");
            // Registered late, on the worker.
            let call = tarae::start(|| ());
            until(|| call.is_complete());
            call.on_complete(|_| panic!("on a worker, late"));
            assert_eq!(told(tarae::start(|| ()))(), "a value");
        });
    });
}

/// The end of a runtime: what waits for a socket is cancelled with its buffer, what has not begun
/// never will, what does not end is leaked, and everybody is told.
#[test]
fn the_end_of_a_runtime_completes_everything() {
    guarded("completions at the end of a runtime", || {
        let mut results = None;
        let runtime = tarae::Builder::new().workers(1).grace(Duration::ZERO);
        let error = runtime.run(|| {
            let (client, server) = pair();
            let read = client.start_read(vec![3; 3]);
            let leaked = tarae::start(|| {
                loop {
                    tarae::time::sleep(FAR);
                }
            });
            tarae::yield_now();
            let unstarted = tarae::start(|| ());
            results = Some((read, told::<()>(leaked), told(unstarted), server));
        });
        assert_eq!(error.unwrap_err().stragglers().len(), 1);
        let (read, leaked, unstarted, _server) = results.unwrap();
        let (result, buffer) = read.wait().unwrap();
        assert!(Cancelled::is(&result.unwrap_err()));
        assert_eq!(buffer, [3; 3]);
        assert!(leaked().contains("was leaked"));
        assert_eq!(unstarted(), "the call was cancelled before it began");
    });
}

#[test]
fn a_wait_that_is_cut_short_leaves_the_call_alone() {
    guarded("waits that are cut short", || {
        let test = || {
            let (open, pass) = gate();
            let mut call = offload::start(move || {
                pass();
                9
            });
            let soon = Duration::from_millis(1);
            assert!(matches!(call.wait_timeout(soon), Check::Pending));
            let token = tarae::CancelToken::new();
            token.cancel();
            let cut = token.run(|| call.wait_timeout(FAR));
            assert!(matches!(cut, Check::Pending));
            let timed_out = tarae::timeout(soon, || call.wait_timeout(FAR));
            assert!(matches!(
                timed_out.unwrap_err().into_inner(),
                Check::Pending
            ));
            open.send(()).unwrap();
            assert!(matches!(call.wait_timeout(FAR), Check::Ready(Ok(9))));
        };
        test();
        run_on(1, test);
    });
}
