//! Waiting a moment for mail before a worker sleeps in the kernel.
//!
//! Called by the worker's loop, which has nothing to run. It must never wait long: sockets, timers
//! and stealing wait with it.
//!
//! Two coroutines of different workers that answer each other would otherwise pay a sleep and a
//! wake-up in the kernel for each message, tens of microseconds. So a worker looks at its inbox for
//! about as long as that costs, but only while that pays: the last mail came so soon after its
//! worker had run out of work. The first time that none does, it sleeps again as any other; so
//! whoever waits for sockets or for time, or has mail now and then, never spins.
//!
//! A look at the driver is a system call, dearer than such a message. So none follows mail that
//! came while it spun, unless the last is a moment ago: sockets and timers wait two moments at
//! most.

use std::time::{Duration, Instant};

use super::Worker;

/// How long it looks: about what it costs to sleep and be woken.
const MOMENT: Duration = Duration::from_micros(50);
/// Mail that ends a sleep of so long would have come in that moment; the rest is the waking.
const SHORT_SLEEP: Duration = Duration::from_micros(200);
/// Looks at the inbox for one at the clock.
const LOOKS: u32 = 32;

/// What came of waiting for mail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mail {
    None,
    Came {
        /// The driver has not been looked at for longer than a moment.
        look: bool,
    },
}

impl Worker {
    /// Looks for mail a moment, if that is likely to pay.
    pub(super) fn await_mail(&self) -> Mail {
        if !self.mail_is_near.get() {
            return Mail::None;
        }
        let start = Instant::now();
        let look = start.saturating_duration_since(self.coarse_now()) >= MOMENT;
        while start.elapsed() < MOMENT {
            for _ in 0..LOOKS {
                if self.shared.has_mail() {
                    return Mail::Came { look };
                }
                std::hint::spin_loop();
            }
            // Whoever is to send it may be waiting for this processor.
            std::thread::yield_now();
        }
        self.mail_is_near.set(false);
        Mail::None
    }

    /// Sleeps as `sleep` says, and learns from it whether spinning would have paid.
    pub(super) fn learn_from(&self, sleep: impl FnOnce()) {
        let start = self.coarse_now();
        sleep();
        let short = self.coarse_now().saturating_duration_since(start) < SHORT_SLEEP;
        // In a simulated run nothing comes while one looks.
        let real = self.world.is_none();
        self.mail_is_near
            .set(real && short && self.shared.has_mail());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `test` on a worker that nobody else sends mail to.
    fn on_worker(test: impl FnOnce(&Worker)) {
        let runtime = crate::Builder::new().workers(1);
        let run = || test(Worker::current().expect("a coroutine has one"));
        runtime.run(run).unwrap();
    }

    fn send_mail(worker: &Worker) {
        assert!(worker.shared.post(|_| ()));
    }

    #[test]
    fn it_looks_while_mail_comes_soon_after_its_work_and_no_longer() {
        on_worker(|worker| {
            send_mail(worker);
            assert_eq!(worker.await_mail(), Mail::None, "it has learnt of nothing");
            worker.learn_from(|| send_mail(worker));
            assert_ne!(worker.await_mail(), Mail::None, "there is mail");
            assert_ne!(worker.await_mail(), Mail::None, "it has always paid so far");
            worker.take_mail();
            assert_eq!(worker.await_mail(), Mail::None, "none has come");
            send_mail(worker);
            assert_eq!(worker.await_mail(), Mail::None, "that moment was lost");
        });
    }

    #[test]
    fn a_sleep_that_something_else_ends_is_no_reason_to_look() {
        on_worker(|worker| {
            worker.learn_from(|| ());
            send_mail(worker);
            assert_eq!(worker.await_mail(), Mail::None);
        });
    }

    #[test]
    fn a_long_sleep_is_no_reason_to_look() {
        on_worker(|worker| {
            worker.learn_from(|| {
                let end = worker.coarse_now() + 20 * SHORT_SLEEP;
                while worker.coarse_now() < end {
                    worker.poll(Some(end));
                }
                send_mail(worker);
            });
            assert_eq!(worker.await_mail(), Mail::None);
        });
    }

    #[test]
    fn mail_that_comes_so_replaces_a_look_at_the_driver_but_not_for_long() {
        on_worker(|worker| {
            worker.learn_from(|| send_mail(worker));
            let skips = |_| {
                worker.poll(Some(worker.coarse_now()));
                let looked = worker.coarse_now();
                worker.look_at_driver(None);
                worker.coarse_now() == looked
            };
            // Not each time: this thread may have lost the processor for a moment.
            assert!((0..10_000).any(skips));
            let looked = worker.coarse_now();
            while looked.elapsed() < MOMENT {
                std::hint::spin_loop();
            }
            worker.look_at_driver(None);
            assert_ne!(worker.coarse_now(), looked);
        });
    }

    #[test]
    fn in_a_simulated_run_it_never_looks() {
        let simulation = crate::sim::Builder::new(1).workers(1);
        let run = || {
            let worker = Worker::current().expect("a coroutine has one");
            worker.learn_from(|| send_mail(worker));
            assert_eq!(worker.await_mail(), Mail::None);
        };
        simulation.run(run).unwrap();
    }
}
