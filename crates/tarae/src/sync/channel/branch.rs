//! The branches `recv` and `send` of a `select!`.
//!
//! Made through `crate::select`. A branch leaves an entry in the channel and takes it back; it has
//! a message or a permit only after it has won.

use std::mem;

use super::core::{Permit, Received, Refusal};
use super::waiters::Key;
use super::{Channel, RecvError, SendError};
use crate::driver::Wake;
use crate::sched::select::{Alarm, Branch, Ticket, arm};

/// See [`select!`](crate::select!).
pub struct RecvBranch<'a, T> {
    channel: &'a Channel<T>,
    key: Option<Key>,
    result: Option<Result<T, RecvError>>,
}

impl<'a, T> RecvBranch<'a, T> {
    pub(in crate::sync) fn new(channel: &'a Channel<T>) -> RecvBranch<'a, T> {
        RecvBranch {
            channel,
            key: None,
            result: None,
        }
    }

    /// What was received; the branch was taken.
    #[doc(hidden)]
    pub fn take(&mut self) -> Result<T, RecvError> {
        self.result.take().expect("the branch was taken")
    }

    arm!();

    /// A message that was handed over, or is about to be.
    fn finish(&mut self, key: Key) -> bool {
        self.result = self.channel.finish_promised(key).map(Ok);
        self.result.is_some()
    }
}

impl<T> Branch for RecvBranch<'_, T> {
    fn poll(&mut self, waits: bool) -> bool {
        let promised = self.channel.with(|core, woken| match core.receive(woken) {
            Ok(item) => {
                self.result = Some(Ok(item));
                None
            }
            Err(Refusal::Disconnected) => {
                self.result = Some(Err(RecvError(Wake::Ready)));
                None
            }
            Err(Refusal::Wait) if waits => core.be_promised(Alarm::current, woken),
            Err(Refusal::Wait) => None,
        });
        match promised {
            Some(key) => self.finish(key),
            None => self.result.is_some(),
        }
    }

    fn register(&mut self, ticket: &Ticket) -> bool {
        let alarm = Alarm::Branch(ticket.clone());
        let (key, ready) = self.channel.core.with(|core| core.wait_to_receive(alarm));
        self.key = Some(key);
        ready
    }

    fn unregister(&mut self) {
        if let Some(key) = self.key.take() {
            let left = self.channel.core.with(|core| core.received(key, true));
            debug_assert!(matches!(left, Received::Again), "only the winner is served");
        }
    }

    fn claimed(&mut self) -> bool {
        let key = self.key.take().expect("claimed after it was registered");
        self.finish(key)
    }

    fn refuse(&mut self, wake: Wake) {
        self.result = Some(Err(RecvError(wake)));
    }
}

impl<T> Drop for RecvBranch<'_, T> {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// See [`select!`](crate::select!).
pub struct SendBranch<'a, T> {
    channel: &'a Channel<T>,
    key: Option<Key>,
    chosen: Option<Result<Permit, Wake>>,
}

impl<'a, T> SendBranch<'a, T> {
    pub(in crate::sync) fn new(channel: &'a Channel<T>) -> SendBranch<'a, T> {
        SendBranch {
            channel,
            key: None,
            chosen: None,
        }
    }

    /// The right to send; the branch was taken.
    #[doc(hidden)]
    pub fn take(&mut self) -> Outgoing<'a, T> {
        Outgoing {
            channel: self.channel,
            permit: self.chosen.take().expect("the branch was taken").map(Some),
        }
    }

    arm!();
}

impl<T> Branch for SendBranch<'_, T> {
    fn poll(&mut self, _waits: bool) -> bool {
        match self.channel.core.with(|core| core.reserve()) {
            Ok(permit) => self.chosen = Some(Ok(permit)),
            Err(Refusal::Disconnected) => self.chosen = Some(Err(Wake::Ready)),
            Err(Refusal::Wait) => {}
        }
        self.chosen.is_some()
    }

    fn register(&mut self, ticket: &Ticket) -> bool {
        let alarm = Alarm::Branch(ticket.clone());
        let (key, ready) = self.channel.core.with(|core| core.wait_for_permit(alarm));
        self.key = Some(key);
        ready
    }

    fn unregister(&mut self) {
        if let Some(key) = self.key.take() {
            let permit = self.channel.core.with(|core| core.end_permit_wait(key));
            debug_assert!(permit.is_none(), "only the winner is served");
        }
    }

    fn claimed(&mut self) -> bool {
        let key = self.key.take().expect("claimed after it was registered");
        let permit = self.channel.core.with(|core| core.end_permit_wait(key));
        self.chosen = permit.map(Ok);
        self.chosen.is_some()
    }

    fn refuse(&mut self, wake: Wake) {
        self.chosen = Some(Err(wake));
    }
}

impl<T> Drop for SendBranch<'_, T> {
    fn drop(&mut self) {
        self.unregister();
        if let Some(Ok(permit)) = self.chosen.take() {
            self.channel.with(|core, woken| core.release(permit, woken));
        }
    }
}

/// The right to send one message, or why there is none. Dropping it gives it up.
pub struct Outgoing<'a, T> {
    channel: &'a Channel<T>,
    permit: Result<Option<Permit>, Wake>,
}

impl<T> Outgoing<'_, T> {
    /// Sends; never waits.
    #[doc(hidden)]
    pub fn send(mut self, item: T) -> Result<(), SendError<T>> {
        match mem::replace(&mut self.permit, Ok(None)) {
            Ok(permit) => {
                let permit = permit.expect("used once");
                let sent = self
                    .channel
                    .with(|core, woken| core.fill(permit, item, woken));
                sent.map_err(|item| SendError(item, Wake::Ready))
            }
            Err(wake) => Err(SendError(item, wake)),
        }
    }
}

impl<T> Drop for Outgoing<'_, T> {
    fn drop(&mut self) {
        if let Ok(Some(permit)) = mem::replace(&mut self.permit, Ok(None)) {
            self.channel.with(|core, woken| core.release(permit, woken));
        }
    }
}
