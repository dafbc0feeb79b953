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

use std::time::{Duration, Instant};

use super::Worker;

/// How long it looks: about what it costs to sleep and be woken.
const MOMENT: Duration = Duration::from_micros(50);
/// Mail that ends a sleep of so long would have come in that moment; the rest is the waking.
const SHORT_SLEEP: Duration = Duration::from_micros(200);
/// Looks at the inbox for one at the clock.
const LOOKS: u32 = 32;

impl Worker {
    /// Looks for mail a moment, if that is likely to pay; true if there is some.
    pub(super) fn await_mail(&self) -> bool {
        if !self.mail_is_near.get() {
            return false;
        }
        let start = Instant::now();
        while start.elapsed() < MOMENT {
            for _ in 0..LOOKS {
                if self.shared.has_mail() {
                    return true;
                }
                std::hint::spin_loop();
            }
            // Whoever is to send it may be waiting for this processor.
            std::thread::yield_now();
        }
        self.mail_is_near.set(false);
        false
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
