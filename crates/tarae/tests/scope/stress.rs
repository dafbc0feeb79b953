//! Cancellation, deadlines and completion against each other, on two workers: each operation ends
//! once, none is lost, and no frame is used by others than those that may.
//!
//! 100,000 operations; with `TARAE_SOAK` ten times as many.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tarae::cancel::{CancelToken, deadline};
use tarae::net::{TcpListener, TcpStream};
use tarae::sync::mpsc;
use tarae::time::{Duration, Instant};
use tarae::{Cancelled, TimedOut, thread};

use crate::support::{guarded, run_on};

/// How many operations ended in which way.
#[derive(Debug, Default)]
struct Ends {
    completed: AtomicU64,
    cancelled: AtomicU64,
    timed_out: AtomicU64,
}

impl Ends {
    fn count(&self, cancelled: bool, timed_out: bool) {
        let end = match (cancelled, timed_out) {
            (true, false) => &self.cancelled,
            (false, true) => &self.timed_out,
            (false, false) => &self.completed,
            (true, true) => panic!("two ends"),
        };
        end.fetch_add(1, SeqCst);
    }

    /// Each operation had one end, and each kind of end occurred.
    #[track_caller]
    fn check(self, operations: u64) {
        let ends = [self.completed, self.cancelled, self.timed_out].map(AtomicU64::into_inner);
        assert_eq!(ends.iter().sum::<u64>(), operations, "{ends:?}");
        assert!(ends.iter().all(|end| *end > 0), "{ends:?}");
    }
}

/// Numbers that look random; the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A deadline that is far, past, or just about to pass.
    fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        match self.below(4) {
            0 | 1 => now + Duration::from_secs(3600),
            2 => now,
            _ => now + Duration::from_micros(self.below(1_500)),
        }
    }
}

fn pause(turns: u64) {
    (0..turns).for_each(|_| tarae::yield_now());
}

fn operations() -> u64 {
    if std::env::var_os("TARAE_SOAK").is_some() {
        1_000_000
    } else {
        100_000
    }
}

/// Around what a coroutine lends: nobody else may have written there.
const CANARY: u64 = 0xA5A5_5A5A_C3C3_3C3C;

#[derive(Debug)]
struct Frame {
    before: [u64; 8],
    value: u64,
    after: [u64; 8],
}

impl Frame {
    fn new() -> Frame {
        Frame {
            before: [CANARY; 8],
            value: 0,
            after: [CANARY; 8],
        }
    }

    #[track_caller]
    fn check(&self, value: u64) {
        assert!(self.before.iter().chain(&self.after).all(|n| *n == CANARY));
        assert_eq!(self.value, value, "every child has been here, once");
    }
}

/// One who waits, one who sends, one who cancels, and a deadline, in any order. What was sent is
/// received or left, never both nor neither.
fn one_receive(number: u64, numbers: &mut Numbers, ends: &Ends) {
    let [waits, sends, cancels] = [3, 5, 7].map(|turns| numbers.below(turns));
    let cancelling = numbers.below(2) == 0;
    let at = numbers.deadline();
    let token = CancelToken::new();
    let (sender, receiver) = mpsc::channel();
    let mut frames = [Frame::new(), Frame::new(), Frame::new()];
    let (result, left) = tarae::scope(|s| {
        let [one, two, three] = &mut frames;
        let token = &token;
        s.spawn(move || {
            pause(sends);
            sender.send(number).unwrap();
            one.value += number;
        });
        s.spawn(move || {
            pause(cancels);
            if cancelling {
                token.cancel();
            }
            two.value += number;
        });
        let waiter = s.spawn(move || {
            pause(waits);
            let result = token.run(|| deadline(at, || receiver.recv()));
            three.value += number;
            let result = result.unwrap_or_else(TimedOut::into_inner);
            // Outside of token and deadline, what was sent comes.
            let left = result.is_err().then(|| receiver.recv().unwrap());
            (result, left)
        });
        waiter.join().unwrap()
    });
    frames.iter().for_each(|frame| frame.check(number));
    match result {
        Ok(received) => {
            assert_eq!((received, left), (number, None));
            ends.count(false, false);
        }
        Err(error) => {
            assert_eq!(left, Some(number));
            ends.count(error.is_cancelled(), error.is_timeout());
        }
    }
}

#[test]
fn receives_end_once() {
    guarded("receives", || {
        let ends = Ends::default();
        run_on(2, || {
            tarae::scope(|s| {
                for seed in 1..=8 {
                    let ends = &ends;
                    s.spawn(move || {
                        let mut numbers = Numbers(seed * 0x9E37_79B9);
                        for n in 0..operations() / 8 {
                            one_receive(n + 1, &mut numbers, ends);
                        }
                    });
                }
            });
        });
        ends.check(operations() / 8 * 8);
    });
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Reads of one byte each from a socket whose other side writes as many, with the one who waits
/// cancelled and timed out meanwhile: all bytes arrive, in their order.
#[test]
fn reads_lose_nothing() {
    const LINES: u64 = 4;
    guarded("reads", || {
        let (ends, attempts) = (Ends::default(), AtomicU64::new(0));
        run_on(2, || {
            tarae::scope(|s| {
                for seed in 1..=LINES {
                    let (ends, attempts) = (&ends, &attempts);
                    s.spawn(move || {
                        let (mut reading, mut writing) = pair();
                        let bytes = operations() / 20 / LINES;
                        tarae::scope(|s| {
                            s.spawn(move || {
                                let mut numbers = Numbers(seed * 0x51_7C_C1_B7);
                                for n in 0..bytes {
                                    pause(numbers.below(40));
                                    writing.write_all(&[n as u8]).unwrap();
                                }
                            });
                            let mut numbers = Numbers(seed * 0x2545_F491);
                            let mut next = 0;
                            while next < bytes {
                                attempts.fetch_add(1, SeqCst);
                                if let Some(byte) = one_read(&mut reading, &mut numbers, ends) {
                                    assert_eq!(byte, next as u8);
                                    next += 1;
                                }
                            }
                        });
                    });
                }
            });
        });
        ends.check(attempts.into_inner());
    });
}

fn one_read(stream: &mut TcpStream, numbers: &mut Numbers, ends: &Ends) -> Option<u8> {
    let (at, cancels) = (numbers.deadline(), numbers.below(20));
    let token = CancelToken::new();
    let mut byte = [0];
    let result = tarae::scope(|s| {
        s.spawn(|| {
            pause(cancels);
            token.cancel();
        });
        token.run(|| deadline(at, || stream.read(&mut byte)))
    });
    match result.unwrap_or_else(TimedOut::into_inner) {
        Ok(count) => {
            assert_eq!(count, 1);
            ends.count(false, false);
            Some(byte[0])
        }
        Err(error) => {
            let timed_out = error.kind() == ErrorKind::TimedOut;
            assert!(timed_out || Cancelled::is(&error), "{error}");
            ends.count(!timed_out, timed_out);
            None
        }
    }
}

/// A child of the scopes below: the first fails of itself, the others are cut short.
fn child(number: usize, fails: u64, frame: &mut Frame) -> Result<(), &'static str> {
    if number == 0 {
        pause(fails);
    } else {
        thread::sleep(Duration::from_secs(3600));
    }
    frame.value += 1;
    match thread::is_cancelled() {
        _ if number == 0 => Err("failed"),
        true => Err("cancelled"),
        false => Err("timed out"),
    }
}

fn one_scope(numbers: &mut Numbers, ends: &Ends) {
    let (fails, cancels) = (numbers.below(200), numbers.below(200));
    let cancelled = numbers.below(2) == 0;
    let at = numbers.deadline();
    let token = CancelToken::new();
    let mut frames: [Frame; 4] = std::array::from_fn(|_| Frame::new());
    let (lent, cancelling) = (&mut frames, token.clone());
    let inside = || -> Result<(), &'static str> {
        tarae::try_scope(move |s| {
            for (number, frame) in lent.iter_mut().enumerate() {
                std::mem::forget(s.spawn(move || child(number, fails, frame)));
            }
            pause(cancels);
            if cancelled {
                cancelling.cancel();
            }
            Ok(())
        })
    };
    let result = token.run(|| deadline(at, inside).unwrap_or_else(TimedOut::into_inner));
    for frame in &frames {
        // One that was cancelled before it began never did.
        frame.check(frame.value.min(1));
    }
    match result {
        Err("failed") => ends.count(false, false),
        Err("timed out") => ends.count(false, true),
        _ => ends.count(true, false),
    }
}

/// Scopes whose children fail, are cancelled from outside and time out at the same time: every
/// child ends before its scope, and what the scope gives is one of the errors.
#[test]
fn scopes_end_once() {
    guarded("scopes", || {
        let ends = Ends::default();
        let scopes = operations() / 10;
        run_on(2, || {
            let mut numbers = Numbers(0x1234_5678);
            (0..scopes).for_each(|_| one_scope(&mut numbers, &ends));
        });
        ends.check(scopes);
    });
}
