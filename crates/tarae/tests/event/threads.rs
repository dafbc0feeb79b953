//! Other threads: posted functions, and the end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tarae::event::EventLoop;
use tarae::time::Duration;

use crate::support::guarded;

#[test]
fn each_posted_function_is_called_once_in_order_and_here() {
    guarded(
        "each_posted_function_is_called_once_in_order_and_here",
        || {
            const THREADS: usize = 4;
            let each = if std::env::var_os("TARAE_SOAK").is_some() {
                500_000
            } else {
                20_000
            };
            let events = EventLoop::new().unwrap();
            let here = thread::current().id();
            let next: Arc<[AtomicUsize; THREADS]> = Arc::default();
            for number in 0..THREADS {
                let (handle, next) = (events.handle(), Arc::clone(&next));
                thread::spawn(move || {
                    for turn in 0..each {
                        let next = Arc::clone(&next);
                        let posted = handle.post(move |_| {
                            assert_eq!(thread::current().id(), here);
                            assert_eq!(next[number].fetch_add(1, Ordering::Relaxed), turn);
                        });
                        posted.unwrap();
                        // So that the loop sleeps now and then.
                        if turn % 1_000 == 0 {
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                });
            }
            // Ends by itself: when the last thread has dropped its handle, all has been posted.
            events.run().unwrap();
            for count in next.iter() {
                assert_eq!(count.load(Ordering::Relaxed), each);
            }
        },
    );
}

#[test]
fn a_sleeping_loop_is_woken_each_time() {
    guarded("a_sleeping_loop_is_woken_each_time", || {
        let events = EventLoop::new().unwrap();
        let handle = events.handle();
        let (sender, answers) = mpsc::channel();
        let other = thread::spawn(move || {
            for turn in 0..2_000 {
                let sender = sender.clone();
                handle.post(move |_| sender.send(turn).unwrap()).unwrap();
                assert_eq!(answers.recv().unwrap(), turn);
            }
            handle.stop();
            handle
        });
        // Keeps it from ending by itself.
        events.after(Duration::from_secs(3600), |_| unreachable!());
        events.run().unwrap();
        drop(other.join().unwrap());
    });
}

#[test]
fn the_last_handle_wakes_the_loop_when_it_goes() {
    guarded("the_last_handle_wakes_the_loop_when_it_goes", || {
        for _ in 0..500 {
            let events = EventLoop::new().unwrap();
            let handles = [events.handle(), events.handle().clone()];
            let threads = handles.map(|handle| thread::spawn(move || drop(handle)));
            events.run().unwrap();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn a_stop_that_comes_first_is_not_lost() {
    guarded("a_stop_that_comes_first_is_not_lost", || {
        let events = EventLoop::new().unwrap();
        let handle = events.handle();
        for _ in 0..3 {
            events.stop();
            events.run().unwrap();
            handle.stop();
            assert!(events.next_event().unwrap().is_none());
        }
        let called = Rc::new(Cell::new(false));
        let calls = Rc::clone(&called);
        events.defer(move |_| calls.set(true));
        assert_eq!(events.run_once(None).unwrap(), 1, "each stop counted once");
        assert!(called.get());
    });
}

#[test]
fn who_posts_to_a_loop_that_is_gone_is_told() {
    guarded("who_posts_to_a_loop_that_is_gone_is_told", || {
        struct Noted(Arc<AtomicUsize>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let events = EventLoop::new().unwrap();
        let handle = events.handle();
        for _ in 0..3 {
            let noted = Noted(Arc::clone(&dropped));
            handle.post(move |_| drop(noted)).unwrap();
        }
        drop(events);
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            3,
            "what was never called is dropped"
        );
        let noted = Noted(Arc::clone(&dropped));
        assert!(handle.post(move |_| drop(noted)).is_err());
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
        handle.stop();
        drop(handle.clone());
    });
}
