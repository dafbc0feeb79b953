//! What `mpmc`, `mpsc` and `oneshot` have in common: a `Core` under a lock, and waiting.
//!
//! Used by those modules only, whose handles count themselves in and out. Whoever waits parks; its
//! partner decides under the lock what it gets and wakes it afterwards. Nothing of a user's runs
//! under the lock: messages are moved, never dropped, there.

pub(super) mod branch;
mod core;
mod error;
#[cfg(test)]
mod interleavings;
pub(super) mod listen;
pub(super) mod waiters;

use std::sync::mpsc::{TryRecvError, TrySendError};
use std::time::Instant;

pub(super) use self::core::UNBOUNDED;
use self::core::{Core, Received, Refusal, Sent};
pub use self::error::{RecvError, RecvTimeoutError, SendError};
use self::waiters::{Claim, Key, Woken};
use crate::driver::Wake;
use crate::sched::select::Alarm;
use crate::sched::spin::Spin;
use crate::sched::{self, Cancel, WaitReason, context};

impl Claim for Alarm {
    fn claim(&self) -> bool {
        Alarm::claim(self)
    }
}

pub(super) struct Channel<T> {
    core: Spin<Core<T, Alarm>>,
}

impl<T> Channel<T> {
    /// With one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Channel<T> {
        Channel {
            core: Spin::new(Core::new(capacity)),
        }
    }

    /// Runs `f` under the lock, then wakes whom it has served.
    fn with<R>(&self, f: impl FnOnce(&mut Core<T, Alarm>, &mut Woken<Alarm>) -> R) -> R {
        let mut woken = Woken::new();
        let result = self.core.with(|core| f(core, &mut woken));
        woken.each(Alarm::wake);
        result
    }

    pub(super) fn len(&self) -> usize {
        self.core.with(|core| core.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.core.with(|core| core.is_full())
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        let capacity = self.core.with(|core| core.capacity());
        (capacity != UNBOUNDED).then_some(capacity)
    }

    pub(super) fn add_sender(&self) {
        self.core.with(|core| core.senders += 1);
    }

    pub(super) fn add_receiver(&self) {
        self.core.with(|core| core.receivers += 1);
    }

    pub(super) fn drop_sender(&self) {
        self.with(|core, woken| core.drop_sender(woken));
    }

    pub(super) fn drop_receiver(&self) {
        // Their destructors may use the channel: not under the lock.
        drop(self.with(|core, woken| core.drop_receiver(woken)));
    }

    pub(super) fn has_receivers(&self) -> bool {
        self.core.with(|core| core.receivers > 0)
    }

    // ---- sending ------------------------------------------------------------------------------

    pub(super) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        match self.with(|core, woken| core.send(item, woken)) {
            Ok(()) => Ok(()),
            Err((item, Refusal::Wait)) => Err(TrySendError::Full(item)),
            Err((item, Refusal::Disconnected)) => Err(TrySendError::Disconnected(item)),
        }
    }

    pub(super) fn send(&self, item: T, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        let key = self.with(|core, woken| match core.send(item, woken) {
            Ok(()) => Ok(None),
            Err((item, Refusal::Disconnected)) => Err(SendError(item, Wake::Ready)),
            Err((item, Refusal::Wait)) => Ok(Some(core.wait_to_send(item, Alarm::current()))),
        })?;
        match key {
            None => {
                sched::spend_budget();
                Ok(())
            }
            Some(key) => self.finish_sending(key, deadline),
        }
    }

    fn finish_sending(&self, key: Key, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        loop {
            let wake = sched::park(WaitReason::Channel, deadline, Cancel::Yes);
            let give_up = wake != Wake::Ready;
            match self.core.with(|core| core.sent(key, give_up)) {
                Ok(Sent::Done) => {
                    context::succeeded(deadline, wake);
                    return Ok(());
                }
                Ok(Sent::Disconnected(item)) => return Err(SendError(item, Wake::Ready)),
                Ok(Sent::Waiting) => {}
                Err(item) => return Err(SendError(item, wake)),
            }
        }
    }

    // ---- receiving ----------------------------------------------------------------------------

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.with(|core, woken| core.receive(woken)) {
            Ok(item) => Ok(item),
            Err(Refusal::Wait) => Err(TryRecvError::Empty),
            Err(Refusal::Disconnected) => Err(TryRecvError::Disconnected),
        }
    }

    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvError> {
        // How the last wait ended. What is there counts all the same.
        let mut wake = Wake::Ready;
        loop {
            let found = self.with(|core, woken| match core.receive(woken) {
                Ok(item) => Ok(Ok(item)),
                Err(Refusal::Disconnected) => Err(RecvError(Wake::Ready)),
                Err(Refusal::Wait) if wake != Wake::Ready => Err(RecvError(wake)),
                Err(Refusal::Wait) => {
                    let promised = core.be_promised(Alarm::current, woken);
                    Ok(Err(promised.unwrap_or_else(|| {
                        core.wait_to_receive(Alarm::current()).0
                    })))
                }
            })?;
            match found {
                Ok(item) => {
                    context::succeeded(deadline, wake);
                    sched::spend_budget();
                    return Ok(item);
                }
                Err(key) => match self.finish_receiving(key, deadline) {
                    Ok(item) => return Ok(item),
                    Err(ended) => wake = ended,
                },
            }
        }
    }

    /// Waits as the entry `key`. `Err` when it is out, with nothing.
    fn finish_receiving(&self, key: Key, deadline: Option<Instant>) -> Result<T, Wake> {
        let mut ended = Wake::Ready;
        loop {
            let wake = match ended {
                Wake::Ready => sched::park(WaitReason::Channel, deadline, Cancel::Yes),
                // Promised a message, which is being made: it would be lost.
                _ => sched::park(WaitReason::Channel, None, Cancel::No),
            };
            if ended == Wake::Ready {
                ended = wake;
            }
            match self
                .core
                .with(|core| core.received(key, ended != Wake::Ready))
            {
                Received::Item(item) => {
                    context::succeeded(deadline, ended);
                    return Ok(item);
                }
                Received::Promised | Received::Waiting => {}
                Received::Again => return Err(ended),
            }
        }
    }

    /// A select's entry that was claimed: what it was given, or is about to be.
    fn finish_promised(&self, key: Key) -> Option<T> {
        loop {
            match self.core.with(|core| core.received(key, true)) {
                Received::Item(item) => return Some(item),
                Received::Again => return None,
                Received::Promised | Received::Waiting => {
                    sched::park(WaitReason::Channel, None, Cancel::No);
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.core.with(|core| core.entries())
    }
}
