//! An event loop in a coroutine: it parks, and its worker goes on.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;

use tarae::event::{EventLoop, Interest, Mode};
use tarae::time::{Duration, sleep};

use crate::support::{guarded, pair};

fn on_one_worker<T>(main: impl FnOnce() -> T) -> T {
    tarae::Builder::new().workers(1).run(main).unwrap()
}

#[test]
fn the_worker_goes_on_while_the_loop_waits() {
    guarded("the_worker_goes_on_while_the_loop_waits", || {
        on_one_worker(|| {
            let (stream, peer) = pair();
            let echo = tarae::spawn_local(move || {
                let events = EventLoop::new().unwrap();
                let turns = Rc::new(Cell::new(0));
                let count = Rc::clone(&turns);
                let handler =
                    move |events: &EventLoop, stream: &mut std::os::unix::net::UnixStream, _| {
                        let mut byte = [0];
                        match stream.read(&mut byte).unwrap() {
                            0 => events.remove_current(),
                            _ => {
                                // A handler that waits parks too.
                                sleep(Duration::from_millis(1));
                                stream.write_all(&byte).unwrap();
                                count.set(count.get() + 1);
                            }
                        }
                    };
                events
                    .add(stream, Interest::READ, Mode::Level, handler)
                    .unwrap();
                events.every(Duration::from_millis(250), |_| ());
                while turns.get() < 5 {
                    events.run_once(None).unwrap();
                }
                turns.get()
            });
            for number in 0..5 {
                (&peer).write_all(&[number]).unwrap();
                let mut answer = [0xff];
                // The only thread there is looks again and again, and lets the others run.
                while (&peer).read(&mut answer).is_err() {
                    sleep(Duration::from_millis(1));
                }
                assert_eq!(answer, [number]);
            }
            assert_eq!(echo.join().unwrap(), 5);
        });
    });
}

#[test]
fn a_post_and_a_timer_wake_it_and_cancellation_ends_it() {
    guarded(
        "a_post_and_a_timer_wake_it_and_cancellation_ends_it",
        || {
            on_one_worker(|| {
                let (sender, handles) = tarae::sync::mpsc::channel();
                let waiting = tarae::spawn_local(move || {
                    let events = EventLoop::new().unwrap();
                    sender.send(events.handle()).unwrap();
                    assert_eq!(events.run_once(None).unwrap(), 1, "the posted function");
                    events.after(Duration::from_millis(1), |_| ());
                    events.after(Duration::from_millis(200), |events| events.stop());
                    events.run().unwrap();
                    events.run().map(drop)
                });
                let handle = handles.recv().unwrap();
                let (sender, receiver) = tarae::sync::mpsc::channel();
                let thread = std::thread::spawn(move || {
                    handle.post(move |_| sender.send(()).unwrap()).unwrap();
                    handle
                });
                receiver.recv().unwrap();
                let handle = thread.join().unwrap();
                sleep(Duration::from_millis(210));
                waiting.cancel();
                let error = waiting.join().unwrap().unwrap_err();
                assert!(tarae::Cancelled::is(&error), "{error}");
                drop(handle);
            });
        },
    );
}

#[test]
fn a_simulated_run_has_none() {
    guarded("a_simulated_run_has_none", || {
        let kind = tarae::sim::run(1, || EventLoop::new().unwrap_err().kind());
        assert_eq!(kind.unwrap().value, std::io::ErrorKind::Unsupported);
    });
}
