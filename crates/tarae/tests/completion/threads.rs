//! Who processes a result, and on which thread: every way of collecting, for every starter.

use std::cell::Cell;
use std::io::Write;
use std::sync::mpsc;
use std::thread;

use tarae::completion::{Check, Completion, Completions};
use tarae::net::TcpListener;
use tarae::offload::{self, Pool};

use crate::support::{Place, gate, guarded, here, pair, run_on, until};

thread_local! {
    /// Whether this thread is inside the call that registers.
    static REGISTERS: Cell<bool> = const { Cell::new(false) };
}

/// Where the callback of `call` runs. Its result comes when `go` is called, or has come before.
fn callback_place<T: Send + 'static>(call: Completion<T>, go: impl FnOnce()) -> Place {
    let (tell, told) = mpsc::channel();
    REGISTERS.set(true);
    call.on_complete(move |_| {
        assert!(!REGISTERS.get(), "called on the registering frame");
        tell.send(here()).unwrap();
    });
    REGISTERS.set(false);
    go();
    loop {
        match told.try_recv() {
            Ok(place) => {
                assert!(told.recv().is_err(), "called once, and gone");
                return place;
            }
            Err(mpsc::TryRecvError::Empty) => tarae::yield_now(),
            Err(error) => panic!("{error}: not called, or it failed"),
        }
        thread::yield_now();
    }
}

/// Waits until it has come, without taking it.
fn come<T: Send + 'static>(call: Completion<T>) -> Completion<T> {
    until(|| call.is_complete());
    call
}

#[test]
fn a_coroutines_callback_runs_on_its_worker() {
    guarded("the callback of a coroutine", || {
        run_on(1, || {
            let me = here();
            let on_worker = Place {
                in_coroutine: false,
                ..me.clone()
            };
            assert!(me.in_coroutine);
            assert_eq!(callback_place(tarae::start(|| ()), || ()), on_worker);
            let late = come(tarae::start(|| ()));
            assert_eq!(callback_place(late, || ()), on_worker);
        });
    });
}

/// Two workers and a plain thread that registers: it runs where the coroutine ran.
#[test]
fn a_coroutines_callback_runs_where_the_coroutine_ran() {
    guarded("the callback of a coroutine elsewhere", || {
        run_on(2, || {
            for late in [false, true] {
                let (ran_at, go) = mpsc::channel();
                let call = tarae::start(move || ran_at.send(here()).unwrap());
                let call = if late { come(call) } else { call };
                let registrar = thread::spawn(move || callback_place(call, || ()));
                until(|| registrar.is_finished());
                let (place, ran_at) = (registrar.join().unwrap(), go.recv().unwrap());
                assert_eq!(place.thread, ran_at.thread, "late: {late}");
                assert!(!place.in_coroutine);
            }
        });
    });
}

#[test]
fn a_callback_after_the_end_of_its_runtime_runs_on_the_service_thread() {
    guarded("a callback after the end of the runtime", || {
        let call = run_on(1, || come(tarae::start(|| ())));
        assert_eq!(callback_place(call, || ()).name, "tarae-service");
    });
}

#[test]
fn a_jobs_callback_runs_on_the_pools_thread() {
    guarded("the callback of a job", || {
        let test = |pool, name: &str| {
            let (ran_at, told) = mpsc::channel();
            let (open, pass) = gate();
            let job = move || {
                pass();
                ran_at.send(here()).unwrap();
            };
            let place = callback_place(offload::start_in(pool, job), || drop(open));
            assert_eq!(place, told.recv().unwrap());
            assert!(place.name.starts_with(name), "{place:?}");
            let late = come(offload::start_in(pool, || ()));
            assert_eq!(callback_place(late, || ()).name, "tarae-service");
        };
        test(Pool::Cpu, "tarae-cpu");
        run_on(1, || test(Pool::Blocking, "tarae-blocking"));
    });
}

#[test]
fn a_sockets_callback_runs_on_the_worker_or_a_pools_thread() {
    guarded("the callback of a socket's operation", || {
        run_on(1, || {
            let me = here();
            let (client, server) = pair();
            let read = client.start_read([0; 8]);
            let place = callback_place(read, || (&server).write_all(b"a").unwrap());
            assert_eq!((place.thread, place.in_coroutine), (me.thread, false));
            // Done at once, so that it is registered too late.
            let write = server.start_write(*b"b");
            assert!(write.is_complete());
            let place = callback_place(write, || ());
            assert_eq!((place.thread, place.in_coroutine), (me.thread, false));
        });
        let (client, server) = pair();
        let read = client.start_read([0; 8]);
        let place = callback_place(read, || (&server).write_all(b"a").unwrap());
        assert!(place.name.starts_with("tarae-blocking"), "{place:?}");
    });
}

/// Accepting and connecting from callbacks alone, on a worker whose one coroutine only waits.
#[test]
fn an_exchange_in_callbacks_needs_no_coroutine() {
    guarded("an exchange in callbacks", || {
        run_on(1, || {
            let me = here().thread;
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (tell, told) = tarae::sync::mpsc::channel();
            listener.start_accept().on_complete(|accepted| {
                let (server, _) = accepted.unwrap().unwrap();
                server.start_read(vec![0; 16]).on_complete(move |read| {
                    let (count, mut buffer) = read.unwrap();
                    buffer.truncate(count.unwrap());
                    buffer.reverse();
                    server.start_write(buffer).on_complete(|written| {
                        assert_eq!(written.unwrap().0.unwrap(), 4);
                    });
                });
            });
            let connected = tarae::net::TcpStream::start_connect(&address);
            connected.on_complete(move |connected| {
                let client = connected.unwrap().unwrap();
                client.start_write(*b"ping").on_complete(move |_| {
                    client.start_read([0; 16]).on_complete(move |read| {
                        let (count, buffer) = read.unwrap();
                        let text = buffer[..count.unwrap()].to_vec();
                        tell.send((text, here())).unwrap();
                    });
                });
            });
            assert_eq!(tarae::inspect::coroutines(crate::support::FAR).len(), 1);
            let (text, place) = told.recv().unwrap();
            assert_eq!((&*text, place.thread), (&b"gnip"[..], me));
            assert!(!place.in_coroutine);
        });
    });
}

#[test]
fn an_executor_runs_the_callback_where_it_runs_its_jobs() {
    guarded("callbacks in an executor", || {
        let test = || {
            type Job = Box<dyn FnOnce() + Send>;
            let (jobs, mine) = mpsc::channel::<Job>();
            let (open, pass) = gate();
            for (early, call) in [
                (true, offload::start(pass)),
                (false, come(offload::start(|| ()))),
            ] {
                let (tell, told) = mpsc::channel();
                let jobs = jobs.clone();
                call.on_complete_in(
                    move |job| jobs.send(job).unwrap(),
                    move |result| tell.send((here(), result.is_ok())).unwrap(),
                );
                if early {
                    assert!(mine.try_recv().is_err(), "not before the result");
                    open.send(()).unwrap();
                }
                let job = mine.recv().unwrap();
                assert!(told.try_recv().is_err(), "not before the executor");
                job();
                assert_eq!(told.recv(), Ok((here(), true)));
            }
        };
        test();
        run_on(1, test);
    });
}

/// Notification: whoever completes leaves the result; this thread processes it.
#[test]
fn a_notification_leaves_the_result_to_the_caller() {
    guarded("notification", || {
        let test = || {
            let calls = Completions::new();
            let (open, pass) = gate();
            let job = move || {
                pass();
                here()
            };
            calls.add('a', offload::start(job));
            assert!(calls.try_next().is_none());
            open.send(()).unwrap();
            let (key, there) = calls.next().unwrap();
            assert_eq!(key, 'a');
            assert_ne!(there.unwrap().thread, here().thread, "not processed here");
        };
        test();
        run_on(1, test);
    });
}

#[test]
fn check_never_waits() {
    guarded("check", || {
        let test = || {
            let (open, pass) = gate();
            let mut call = offload::start(pass);
            // Nobody opens the gate meanwhile, so that a wait would be for ever.
            assert!((0..1000).all(|_| matches!(call.try_get(), Check::Pending)));
            open.send(()).unwrap();
            let mut call = come(call);
            assert!(matches!(call.try_get(), Check::Ready(Ok(()))));
            assert!(matches!(call.try_get(), Check::Taken));
            assert!(call.wait().unwrap_err().is_taken());
        };
        test();
        run_on(1, test);
    });
}

/// The task that awaits goes on, on the thread of its own executor.
#[test]
fn a_future_goes_on_on_its_own_thread() {
    guarded("completions as futures", || {
        let test = || {
            let me = here();
            let (open, pass) = gate();
            let task = async move {
                let call = offload::start(move || {
                    pass();
                    here()
                });
                open.send(()).unwrap();
                let there = call.await.unwrap();
                assert_ne!(there.thread, here().thread);
                here()
            };
            assert_eq!(tarae::block_on(task), Ok(me));
        };
        test();
        run_on(1, || {
            test();
            let started = async { tarae::start(|| 6 * 7).await.unwrap() };
            assert_eq!(tarae::block_on(started), Ok(42));
        });
    });
}

/// A wait of a coroutine holds up nobody on its worker, one of a plain thread blocks it.
#[test]
fn wait_parks_the_coroutine() {
    guarded("waiting", || {
        run_on(1, || {
            let (open, pass) = gate();
            let call = offload::start(pass);
            // It can only be opened while `wait` waits.
            let opener = tarae::spawn(move || open.send(()).unwrap());
            assert!(!opener.is_finished());
            call.wait().unwrap();
            assert!(opener.is_finished());
        });
        let (open, pass) = gate();
        let call = offload::start(pass);
        let waiter = thread::spawn(move || call.wait().is_ok());
        open.send(()).unwrap();
        assert!(waiter.join().unwrap());
    });
}
