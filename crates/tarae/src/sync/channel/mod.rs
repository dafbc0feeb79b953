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
    #[inline(always)]
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
        match self.core.with(|core| core.send(item)) {
            Ok(receiver) => {
                if let Some(receiver) = receiver {
                    receiver.wake();
                }
                Ok(())
            }
            Err((item, Refusal::Wait)) => Err(TrySendError::Full(item)),
            Err((item, Refusal::Disconnected)) => Err(TrySendError::Disconnected(item)),
        }
    }

    pub(super) fn send(&self, item: T, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        let sent = self.core.with(|core| match core.send(item) {
            Ok(receiver) => Ok(receiver),
            Err((item, Refusal::Disconnected)) => Err(Err(SendError(item, Wake::Ready))),
            Err((item, Refusal::Wait)) => Err(Ok(core.wait_to_send(item, Alarm::current()))),
        });
        match sent {
            Ok(receiver) => {
                if let Some(receiver) = receiver {
                    receiver.wake();
                }
                sched::spend_budget();
                Ok(())
            }
            Err(refused) => {
                let key = refused?;
                // Mostly the message is taken then. All else is out of the way of that.
                let wake = sched::park_in_place(WaitReason::Channel, deadline, Cancel::Yes);
                self.sent(key, deadline, wake)
                    .unwrap_or_else(|| self.finish_sending(key, deadline))
            }
        }
    }

    /// What became of the entry `key`, after a park that ended so. `None`: it still waits.
    #[inline(always)]
    fn sent(
        &self,
        key: Key,
        deadline: Option<Instant>,
        wake: Wake,
    ) -> Option<Result<(), SendError<T>>> {
        let give_up = wake != Wake::Ready;
        match self.core.with(|core| core.sent(key, give_up)) {
            Ok(Sent::Done) => {
                context::succeeded(deadline, wake);
                Some(Ok(()))
            }
            Ok(Sent::Disconnected(item)) => Some(Err(SendError(item, Wake::Ready))),
            Ok(Sent::Waiting) => None,
            Err(item) => Some(Err(SendError(item, wake))),
        }
    }

    /// Waits on as the entry `key`.
    #[inline(never)]
    fn finish_sending(&self, key: Key, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        loop {
            let wake = sched::park(WaitReason::Channel, deadline, Cancel::Yes);
            if let Some(result) = self.sent(key, deadline, wake) {
                return result;
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
        let key = match self.receive_or_enter(Wake::Ready)? {
            Ok(item) => {
                sched::spend_budget();
                return Ok(item);
            }
            Err(key) => key,
        };
        // Mostly a message ends the first park. All else is out of the way of that.
        let ended = sched::park_in_place(WaitReason::Channel, deadline, Cancel::Yes);
        let received = match self.received(key, deadline, ended) {
            Received::Item(item) => return Ok(item),
            Received::Again => Err(ended),
            Received::Promised | Received::Waiting => self.finish_receiving(key, deadline, ended),
        };
        received.or_else(|ended| self.recv_again(deadline, ended))
    }

    /// As `recv`, after a wait that has ended so, with nothing. What is there counts all the same.
    #[inline(never)]
    fn recv_again(&self, deadline: Option<Instant>, mut wake: Wake) -> Result<T, RecvError> {
        loop {
            match self.receive_or_enter(wake)? {
                Ok(item) => {
                    context::succeeded(deadline, wake);
                    sched::spend_budget();
                    return Ok(item);
                }
                Err(key) => match self.finish_receiving(key, deadline, Wake::Ready) {
                    Ok(item) => return Ok(item),
                    Err(ended) => wake = ended,
                },
            }
        }
    }

    /// Takes a message, or enters as one who waits. `wake`: how its last wait ended; it waits no
    /// more if it was not by somebody who had something.
    #[inline(always)]
    fn receive_or_enter(&self, wake: Wake) -> Result<Result<T, Key>, RecvError> {
        self.with(|core, woken| match core.receive(woken) {
            Ok(item) => Ok(Ok(item)),
            Err(Refusal::Disconnected) => Err(RecvError(Wake::Ready)),
            Err(Refusal::Wait) if wake != Wake::Ready => Err(RecvError(wake)),
            Err(Refusal::Wait) => {
                let promised = core.be_promised(Alarm::current, woken);
                Ok(Err(promised.unwrap_or_else(|| {
                    core.wait_to_receive(Alarm::current()).0
                })))
            }
        })
    }

    /// What the entry `key` was given, after a park that ended so.
    #[inline(always)]
    fn received(&self, key: Key, deadline: Option<Instant>, ended: Wake) -> Received<T> {
        let give_up = ended != Wake::Ready;
        let received = self.core.with(|core| core.received(key, give_up));
        if let Received::Item(_) = received {
            context::succeeded(deadline, ended);
        }
        received
    }

    /// Waits on as the entry `key`, whose wait has ended so, or not yet. `Err` when it is out, with
    /// nothing.
    #[inline(never)]
    fn finish_receiving(
        &self,
        key: Key,
        deadline: Option<Instant>,
        mut ended: Wake,
    ) -> Result<T, Wake> {
        loop {
            let wake = match ended {
                Wake::Ready => sched::park(WaitReason::Channel, deadline, Cancel::Yes),
                // Promised a message, which is being made: it would be lost.
                _ => sched::park(WaitReason::Channel, None, Cancel::No),
            };
            if ended == Wake::Ready {
                ended = wake;
            }
            match self.received(key, deadline, ended) {
                Received::Item(item) => return Ok(item),
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
