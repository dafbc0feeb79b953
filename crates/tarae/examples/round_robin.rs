//! A scheduler in forty lines: several coroutines take turns on one thread.
//!
//! The operating system gives this thread its CPU time. The program gives that time out a second
//! time, among coroutines, by its own rule: a queue, first in, first out, one turn each. No second
//! thread, no runtime, no clock; the bare [`tarae::Coroutine`] only.
//!
//! ```text
//! cargo run -p tarae --example round_robin
//! ```

use std::collections::VecDeque;

use tarae::{Coroutine, Resumed, Yielder};

/// What each coroutine hands out when it pauses, and in the end: what it has done in its turn.
type Work = Coroutine<String, String>;

/// Who may run, in the order in which they will.
#[derive(Default)]
struct RoundRobin {
    ready: VecDeque<(&'static str, Work)>,
}

impl RoundRobin {
    fn spawn(&mut self, name: &'static str, f: impl FnOnce(&Yielder<String>) -> String + 'static) {
        self.ready.push_back((name, Coroutine::new(f)));
    }

    /// Resumes the first in the queue; if it only paused, it goes to the queue's end. Tells
    /// `report` who ran, what it did, and whether that was its last turn.
    fn run(mut self, mut report: impl FnMut(&str, &str, bool)) {
        while let Some((name, mut work)) = self.ready.pop_front() {
            match work.resume() {
                Resumed::Paused(done) => {
                    report(name, &done, false);
                    self.ready.push_back((name, work));
                }
                Resumed::Finished(done) => report(name, &done, true),
            }
        }
    }
}

/// Counts to `end`, one number a turn. `n` lives on the coroutine's own stack: it is still there
/// when the coroutine is resumed.
fn count(y: &Yielder<String>, end: u32) -> String {
    for n in 1..end {
        y.pause(format!("{n} of {end}"));
    }
    format!("{end} of {end}")
}

/// Pauses from inside a recursion, which a state machine without a stack could not do.
fn hanoi(y: &Yielder<String>, disks: u32, from: char, to: char, over: char) {
    if disks > 0 {
        hanoi(y, disks - 1, from, over, to);
        y.pause(format!("disk {disks}: {from} to {to}"));
        hanoi(y, disks - 1, over, to, from);
    }
}

fn main() {
    let mut scheduler = RoundRobin::default();
    scheduler.spawn("ann", |y| count(y, 4));
    scheduler.spawn("bob", |y| count(y, 2));
    scheduler.spawn("tower", |y| {
        hanoi(y, 2, 'A', 'C', 'B');
        "all disks moved".into()
    });
    let mut turn = 0;
    scheduler.run(|name, done, last| {
        turn += 1;
        let end = if last { " (ends)" } else { "" };
        println!("turn {turn:>2}  {name:<5}  {done}{end}");
    });
    println!("{turn} turns on one thread");
}
