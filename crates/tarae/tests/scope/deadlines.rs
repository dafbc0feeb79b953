//! Deadlines: whose a time-out is, what is not lost, who inherits.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tarae::cancel::{TimedOut, current_deadline, deadline, timeout};
use tarae::net::{TcpListener, TcpStream};
use tarae::sync::mpsc;
use tarae::time::{Duration, Instant};

use crate::support::{FAR, SOON, guarded, run_on, until};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// In a coroutine and on a plain thread.
fn everywhere(name: &'static str, test: fn()) {
    guarded(name, || {
        run_on(1, test);
        test();
    });
}

#[test]
fn a_deadline_ends_a_wait_and_says_so() {
    everywhere("a deadline", || {
        let (mut stream, _other) = pair();
        let start = Instant::now();
        let result = timeout(SOON, || stream.read(&mut [0]));
        assert!(start.elapsed() >= SOON, "never early");
        let error = result.unwrap_err().into_inner().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // Over: the next one waits as long as it is told to.
        stream.set_read_timeout(Some(SOON)).unwrap();
        let result = timeout(FAR, || stream.read(&mut [0]));
        assert_eq!(result.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn what_has_succeeded_is_given_after_the_deadline() {
    everywhere("late success", || {
        let (sender, receiver) = mpsc::channel();
        sender.send(1).unwrap();
        let past = Instant::now();
        assert_eq!(deadline(past, || receiver.recv()).unwrap(), Ok(1));
        let (mut stream, mut other) = pair();
        std::io::Write::write_all(&mut other, b"x").unwrap();
        stream.peek(&mut [0]).unwrap();
        assert_eq!(
            deadline(past, || stream.read(&mut [0])).unwrap().unwrap(),
            1
        );
        // A job that has begun is waited for, and nothing was cut short.
        let (begun, go) = (AtomicBool::new(false), AtomicBool::new(false));
        let result = timeout(SOON, || {
            tarae::offload(|| {
                begun.store(true, SeqCst);
                while current_deadline().unwrap() > Instant::now() {
                    std::thread::yield_now();
                }
                go.store(true, SeqCst);
                7
            })
        });
        match result {
            Ok(value) => assert_eq!(value.unwrap(), 7),
            Err(error) => {
                let error = error.into_inner().unwrap_err();
                assert!(error.is_timeout() && !begun.load(SeqCst), "{error}");
            }
        }
        assert_eq!(begun.load(SeqCst), go.load(SeqCst));
        // Neither is what computes.
        assert_eq!(deadline(past, || 5).unwrap(), 5);
    });
}

/// Which of two deadlines, by their order, is the one that is met.
#[test]
fn a_time_out_belongs_to_whoever_set_it() {
    fn inside_is_late(outer: Duration, inner: Duration) -> (bool, bool) {
        let now = Instant::now();
        let result = deadline(now + outer, || {
            deadline(now + inner, || tarae::thread::sleep(FAR)).is_err()
        });
        match result {
            Ok(inner) => (false, inner),
            Err(error) => (true, error.into_inner()),
        }
    }
    everywhere("nested deadlines", || {
        assert_eq!(inside_is_late(SOON, FAR), (true, false), "the outer one's");
        assert_eq!(inside_is_late(FAR, SOON), (false, true), "the inner one's");
        assert_eq!(
            inside_is_late(SOON, SOON),
            (true, false),
            "equal: the outer one's"
        );
        let past = Duration::ZERO;
        assert_eq!(inside_is_late(past, FAR), (true, false));
        assert_eq!(inside_is_late(past, past), (true, false));
        // Three deep, the one in the middle.
        let result = timeout(FAR, || {
            timeout(SOON, || timeout(FAR, || tarae::thread::sleep(FAR)).is_ok())
        });
        assert!(result.unwrap().unwrap_err().into_inner());
    });
}

/// The time-out of an operation itself is not the deadline's.
#[test]
fn an_own_time_out_is_not_the_deadlines() {
    everywhere("own time-outs", || {
        let (sender, receiver) = mpsc::channel::<()>();
        let result = timeout(FAR, || receiver.recv_timeout(SOON));
        assert!(result.unwrap().unwrap_err().is_timeout());
        let result = timeout(SOON, || receiver.recv_timeout(FAR));
        assert!(result.unwrap_err().into_inner().unwrap_err().is_timeout());
        drop(sender);
    });
}

#[test]
fn children_inherit_and_tell_the_one_who_set_it() {
    guarded("children", || {
        run_on(2, || {
            let result = timeout(SOON, || {
                tarae::scope(|s| {
                    let child = s.spawn(|| {
                        // A scope within a child, and its child's wait.
                        tarae::scope(|s| s.spawn(|| tarae::thread::sleep(FAR)).join().is_ok())
                    });
                    until(|| child.is_finished());
                    7
                })
            });
            assert_eq!(result.unwrap_err().into_inner(), 7);
            // One that is entered inside the scope is not the children's.
            tarae::scope(|s| {
                let child = timeout(Duration::ZERO, || s.spawn(current_deadline)).unwrap();
                assert_eq!(child.join().unwrap(), None);
            });
        });
    });
}

/// The scope's end is not cut short by a deadline.
#[test]
fn the_end_of_a_scope_is_waited_for() {
    guarded("the end of a scope", || {
        run_on(1, || {
            let mut frame = [0u8; 64];
            let result = timeout(Duration::ZERO, || {
                tarae::scope(|s| {
                    s.spawn(|| {
                        (0..1_000).for_each(|_| tarae::yield_now());
                        frame.fill(1);
                    });
                })
            });
            assert!(result.is_ok(), "nothing was cut short");
            assert_eq!(frame, [1; 64]);
        });
    });
}

#[test]
fn errors_convert_and_print() {
    let late: TimedOut<()> = deadline(Instant::now(), tarae::thread::park).unwrap_err();
    assert_eq!(late.to_string(), "the deadline passed");
    assert_eq!(std::io::Error::from(late).kind(), ErrorKind::TimedOut);
    assert!(timeout(Duration::MAX, current_deadline).unwrap().is_none());
}

/// An hour, in no time: a simulated run's deadlines are of its own clock, to the tick.
#[test]
fn simulated_time_has_deadlines_too() {
    guarded("simulated deadlines", || {
        for seed in 1..=20 {
            let ended = tarae::sim::run(seed, || {
                let start = Instant::now();
                let result = timeout(FAR, || {
                    tarae::scope(|s| {
                        let child = s.spawn(|| tarae::thread::sleep(2 * FAR));
                        child.join().is_err()
                    })
                });
                assert_eq!(start.elapsed(), FAR);
                result.is_err()
            });
            assert!(ended.unwrap().value, "seed {seed}");
        }
    });
}
