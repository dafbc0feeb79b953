//! Results of asynchronous calls that the loop's thread processes: `notify_on`, and handles as
//! executors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, ThreadId};

use tarae::completion::{Check, Completion};
use tarae::event::EventLoop;
use tarae::offload;

use crate::support::{Log, OnDrop, guarded, round, take_panics};

/// A call that completes when its gate is opened, and who waits until it has.
fn gated<T: Send + 'static>(value: T) -> (mpsc::Sender<()>, Completion<T>) {
    let (open, opened) = mpsc::channel::<()>();
    let call = offload::start(move || {
        let _ = opened.recv();
        value
    });
    (open, call)
}

/// Yields until the call has completed; the guard bounds it.
fn completed<T: Send>(call: Completion<T>) -> Completion<T> {
    while !call.is_complete() {
        thread::yield_now();
    }
    call
}

/// Has the loop told of `call`, and notes on which threads.
fn note_threads(events: &EventLoop, log: &Log<(ThreadId, ThreadId)>, call: Completion<ThreadId>) {
    let log = log.clone();
    call.notify_on(events, move |_, there| {
        log.note((there.unwrap(), thread::current().id()));
    });
}

#[test]
fn results_are_processed_by_the_thread_of_the_loop_in_its_rounds() {
    guarded("results_are_processed_by_the_thread_of_the_loop", || {
        let events = EventLoop::new().unwrap();
        let here = thread::current().id();
        let log = Log::new();
        // There already: never on this frame.
        let call = completed(offload::start(|| thread::current().id()));
        note_threads(&events, &log, call);
        assert_eq!(log.len(), 0);
        round(&events);
        assert_eq!(log.len(), 1);
        // It comes later: never on the frame that completes.
        let (open, opened) = mpsc::channel::<()>();
        let call = offload::start(move || {
            let _ = opened.recv();
            thread::current().id()
        });
        note_threads(&events, &log, call);
        round(&events);
        assert_eq!(log.len(), 1);
        drop(open);
        events.run().unwrap();
        let called = log.take();
        assert_eq!(called.len(), 2, "each once, and the loop has waited for it");
        for (there, processed) in called {
            assert_eq!(processed, here);
            assert_ne!(there, here);
        }
    });
}

#[test]
fn so_are_those_of_coroutines_and_sockets() {
    guarded("so_are_those_of_coroutines_and_sockets", || {
        let (tell, told) = mpsc::channel();
        let runtime = thread::spawn(move || {
            let (end, ended) = tarae::sync::oneshot::channel::<()>();
            let (listener, client) = tarae::Builder::new()
                .workers(1)
                .run(move || {
                    let listener = tarae::net::TcpListener::bind("127.0.0.1:0").unwrap();
                    let client =
                        tarae::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    let coroutine = tarae::start(|| thread::current().id());
                    let socket = listener.start_accept();
                    tell.send((coroutine, socket, end)).unwrap();
                    let _ = ended.recv();
                    (listener, client)
                })
                .unwrap();
            drop((listener, client));
            thread::current().id()
        });
        let (coroutine, socket, end) = told.recv().unwrap();
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        note_threads(&events, &log, coroutine);
        let accepted = Rc::new(());
        let weak = Rc::downgrade(&accepted);
        socket.notify_on(&events, move |_, connection| {
            assert!(connection.unwrap().is_ok());
            drop(accepted); // Nothing of it need be `Send`.
        });
        events.run().unwrap();
        drop(end);
        let worker = runtime.join().unwrap();
        assert_eq!(log.take(), [(worker, thread::current().id())]);
        assert_eq!(weak.strong_count(), 0);
    });
}

#[test]
fn results_are_processed_in_the_order_in_which_they_come() {
    guarded(
        "results_are_processed_in_the_order_in_which_they_come",
        || {
            let events = EventLoop::new().unwrap();
            let log = Log::new();
            let mut gates = [0, 1, 2].map(|number| {
                let (open, call) = gated(number);
                let log = log.clone();
                call.notify_on(&events, move |_, number| log.note(number.unwrap()));
                Some(open)
            });
            for (count, number) in [2, 0, 1].into_iter().enumerate() {
                drop(gates[number].take());
                while log.len() == count {
                    events.run_once(None).unwrap();
                }
            }
            assert_eq!(log.take(), [2, 0, 1]);
        },
    );
}

#[test]
fn a_loop_that_is_stopped_keeps_the_result_for_its_next_run() {
    guarded("a_loop_that_is_stopped_keeps_the_result", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let noted = log.clone();
        let call = completed(offload::start(|| 5));
        events.stop();
        call.notify_on(&events, move |_, value| noted.note(value.unwrap()));
        events.run().unwrap();
        assert_eq!(log.len(), 0);
        events.run().unwrap();
        assert_eq!(log.take(), [5]);
    });
}

/// Tells on which thread it is dropped.
struct Told(mpsc::Sender<ThreadId>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn a_loop_that_is_gone_calls_nobody() {
    guarded("a_loop_that_is_gone_calls_nobody", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let (dropped, result_dropped) = mpsc::channel();
        let (open, call) = gated(Told(dropped));
        let on_drop = OnDrop(log.clone(), "dropped");
        let noted = log.clone();
        call.notify_on(&events, move |_, _| {
            let _on_drop = on_drop;
            noted.note("called");
        });
        drop(events);
        assert_eq!(log.take(), ["dropped"], "with the loop, on its thread");
        assert!(result_dropped.try_recv().is_err());
        drop(open);
        assert_ne!(result_dropped.recv().unwrap(), thread::current().id());
        assert_eq!(log.len(), 0);
    });
}

#[test]
fn a_panic_is_contained_and_a_result_that_was_taken_leaves_nothing_behind() {
    guarded("a_panic_is_contained", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let noted = log.clone();
        offload::start(|| ()).notify_on(&events, |_, _| panic!("on purpose"));
        offload::start(|| 1).notify_on(&events, move |_, value| noted.note(value.unwrap()));
        events.run().unwrap();
        assert_eq!((log.take(), take_panics()), (vec![1], 1));

        let mut call = completed(offload::start(|| ()));
        assert!(matches!(call.try_get(), Check::Ready(_)));
        let on_drop = OnDrop(log.clone(), 2);
        let refused = catch_unwind(AssertUnwindSafe(|| {
            call.notify_on(&events, move |_, _| drop(on_drop));
        }));
        assert!(refused.is_err());
        assert_eq!((log.take(), take_panics()), (vec![2], 1));
        events.run().unwrap(); // Nothing is left to wait for.
    });
}

#[test]
fn a_handle_is_an_executor() {
    guarded("a_handle_is_an_executor", || {
        let events = EventLoop::new().unwrap();
        let here = thread::current().id();
        let (tell, told) = mpsc::channel();
        let other = tell.clone();
        let (open, call) = gated(1);
        call.on_complete_in(events.handle(), move |value| {
            tell.send((value.unwrap(), thread::current().id())).unwrap();
        });
        // There already, and registered by another thread.
        let handle = events.handle();
        thread::spawn(move || {
            completed(offload::start(|| 2)).on_complete_in(handle, move |value| {
                other
                    .send((value.unwrap(), thread::current().id()))
                    .unwrap();
            });
        })
        .join()
        .unwrap();
        assert!(
            told.try_recv().is_err(),
            "not called behind the loop's back"
        );
        assert_eq!(round(&events), 1);
        assert_eq!(told.recv().unwrap(), (2, here));
        drop(open);
        events.run().unwrap();
        assert_eq!(told.recv().unwrap(), (1, here));

        // The loop is gone: the function is dropped with the result.
        let handle = events.handle();
        drop(events);
        let (tell, told) = mpsc::channel::<()>();
        offload::start(|| ()).on_complete_in(handle, move |_| tell.send(()).unwrap());
        assert!(told.recv().is_err());
    });
}
