//! A channel without anybody who waits: messages, room, and whom to wake. Pure.
//!
//! Every kind of channel that hands each message to one receiver is made of it: bounded, unbounded
//! (a capacity of `UNBOUNDED`) and rendezvous (a capacity of 0). `channel` keeps one under a lock,
//! parks and wakes. Nothing here parks, wakes, or drops a message.
//!
//! ```text
//!   a receiver's entry                           a sender's entry
//!     queued ── a message ──► item: received       queued, item ── taken ──► no item: sent
//!       │ a permit                                   │ the last receiver went: item, not queued
//!       ▼                                          queued, no item (a select) ── permit
//!     promised ── fill ──► item
//!       └ release ──► nothing: begin again
//! ```
//!
//! A select has no message before it has chosen to send, so it is given a *permit*: room that is
//! kept for it or, at a rendezvous, a receiver that is promised its message. A permit is filled or
//! released, soon: it is held only while the message's expression is evaluated.
//!
//! Invariants, each true whenever the lock is free:
//! * `queue.len() + reserved <= capacity`.
//! * A receiver that can be claimed is queued only while the queue is empty; a sender only while
//!   there is no room. So messages and waiters are served in the order in which they came.
//! * At a rendezvous a plain sender and a receiver are never queued at the same time.
//! * Whatever was put into an entry is taken out by the one who pushed it, whatever ended its wait.

use std::collections::VecDeque;

use super::waiters::{Claim, Key, Waiters, Woken};

/// The capacity of a channel without a bound.
pub(crate) const UNBOUNDED: usize = usize::MAX;

#[derive(Debug)]
pub(crate) struct Core<T, W> {
    capacity: usize,
    queue: VecDeque<T>,
    /// Room that is kept for permits.
    reserved: usize,
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
    sending: Waiters<Sending<T>, W>,
    receiving: Waiters<Receiving<T>, W>,
}

/// What is kept with a sender that waits.
#[derive(Debug)]
struct Sending<T> {
    item: Option<T>,
    permit: Option<Permit>,
}

/// What is kept with a receiver that waits.
#[derive(Debug)]
struct Receiving<T> {
    item: Option<T>,
    promised: bool,
}

/// The right to send one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// There is room for it.
    Room,
    /// This receiver waits for it.
    Receiver(Key),
}

/// Why there is nothing for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No message, or no room.
    Wait,
    /// Nobody is left on the other side.
    Disconnected,
}

/// How the wait of a receiver stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<T> {
    /// It got a message; it is out.
    Item(T),
    /// A message is being made for it: it must stay.
    Promised,
    /// Nothing yet.
    Waiting,
    /// It is out, with nothing: begin again.
    Again,
}

/// How the wait of a sender stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent<T> {
    /// Its message was taken; it is out.
    Done,
    /// Nobody is left to take it; it is out, with its message.
    Disconnected(T),
    Waiting,
}

impl<T, W: Claim> Core<T, W> {
    pub(crate) fn new(capacity: usize) -> Core<T, W> {
        Core {
            capacity,
            queue: VecDeque::new(),
            reserved: 0,
            senders: 1,
            receivers: 1,
            sending: Waiters::new(),
            receiving: Waiters::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    fn has_room(&self) -> bool {
        self.queue.len() + self.reserved < self.capacity
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.has_room()
    }

    // ---- sending ------------------------------------------------------------------------------

    /// Hands a message to the first receiver, which is then to be woken, or queues it.
    #[inline(always)]
    pub(crate) fn send(&mut self, item: T) -> Result<Option<W>, (T, Refusal)> {
        if self.receivers == 0 {
            return Err((item, Refusal::Disconnected));
        }
        self.deliver(item).map_err(|item| (item, Refusal::Wait))
    }

    /// To the first receiver or, if there is room, into the queue.
    #[inline(always)]
    fn deliver(&mut self, item: T) -> Result<Option<W>, T> {
        if let Some(key) = self.receiving.next() {
            self.receiving.data(key).item = Some(item);
            return Ok(self.receiving.waiter(key));
        }
        if !self.has_room() {
            return Err(item);
        }
        self.queue.push_back(item);
        Ok(None)
    }

    /// A sender that found no room waits, with its message.
    pub(crate) fn wait_to_send(&mut self, item: T, waiter: W) -> Key {
        let item = Some(item);
        self.sending.push(waiter, Sending { item, permit: None })
    }

    /// How it stands. `give_up`: it waits no longer, if it still does.
    #[inline]
    pub(crate) fn sent(&mut self, key: Key, give_up: bool) -> Result<Sent<T>, T> {
        if self.sending.data(key).item.is_none() {
            self.sending.remove(key);
            return Ok(Sent::Done);
        }
        let queued = self.sending.is_queued(key);
        if queued && !give_up {
            return Ok(Sent::Waiting);
        }
        let item = self.sending.data(key).item.take().expect("seen above");
        self.sending.remove(key);
        if queued {
            Err(item)
        } else {
            Ok(Sent::Disconnected(item))
        }
    }

    /// A select: the right to send now.
    pub(crate) fn reserve(&mut self) -> Result<Permit, Refusal> {
        if self.receivers == 0 {
            return Err(Refusal::Disconnected);
        }
        if self.capacity == 0 {
            let key = self.receiving.next().ok_or(Refusal::Wait)?;
            self.receiving.data(key).promised = true;
            return Ok(Permit::Receiver(key));
        }
        if !self.has_room() {
            return Err(Refusal::Wait);
        }
        self.reserved += 1;
        Ok(Permit::Room)
    }

    /// A select waits for a permit. True: there may be one already.
    pub(crate) fn wait_for_permit(&mut self, waiter: W) -> (Key, bool) {
        let empty = Sending {
            item: None,
            permit: None,
        };
        let key = self.sending.push(waiter, empty);
        let ready = match self.capacity {
            0 => !self.receiving.is_empty(),
            _ => self.has_room(),
        };
        (key, ready || self.receivers == 0)
    }

    /// It waits no longer. Gives its permit, if it got one.
    pub(crate) fn end_permit_wait(&mut self, key: Key) -> Option<Permit> {
        let permit = self.sending.data(key).permit.take();
        self.sending.remove(key);
        permit
    }

    /// Uses a permit. Gives the message back if nobody is left to receive it.
    pub(crate) fn fill(&mut self, permit: Permit, item: T, woken: &mut Woken<W>) -> Result<(), T> {
        match permit {
            Permit::Receiver(key) => {
                let receiver = self.receiving.data(key);
                receiver.promised = false;
                receiver.item = Some(item);
                woken.add(self.receiving.waiter(key));
                Ok(())
            }
            Permit::Room => {
                self.reserved -= 1;
                let sent = self.send(item);
                // The room was not needed if a receiver took the message.
                self.grant_room(woken);
                sent.map(|receiver| woken.add(receiver))
                    .map_err(|(item, _)| item)
            }
        }
    }

    /// Gives a permit up.
    pub(crate) fn release(&mut self, permit: Permit, woken: &mut Woken<W>) {
        match permit {
            Permit::Receiver(key) => {
                self.receiving.data(key).promised = false;
                woken.add(self.receiving.waiter(key));
            }
            Permit::Room => {
                self.reserved -= 1;
                self.grant_room(woken);
            }
        }
    }

    /// Lets those who wait to send have the room there is.
    #[inline(never)]
    fn grant_room(&mut self, woken: &mut Woken<W>) {
        while self.has_room() {
            let Some(key) = self.sending.next() else {
                return;
            };
            match self.sending.data(key).item.take() {
                // A receiver may wait too: it came while all room was promised.
                Some(item) => {
                    let Ok(receiver) = self.deliver(item) else {
                        unreachable!("there is room");
                    };
                    woken.add(receiver);
                }
                None => {
                    self.sending.data(key).permit = Some(Permit::Room);
                    self.reserved += 1;
                }
            }
            woken.add(self.sending.waiter(key));
        }
    }

    // ---- receiving ----------------------------------------------------------------------------

    /// Takes the oldest message.
    #[inline]
    pub(crate) fn receive(&mut self, woken: &mut Woken<W>) -> Result<T, Refusal> {
        if let Some(item) = self.queue.pop_front() {
            if !self.sending.is_empty() {
                self.grant_room(woken);
            }
            return Ok(item);
        }
        // At a rendezvous, or while all room is promised, senders wait beside an empty queue.
        if !self.sending.is_empty()
            && let Some(item) = self.take_from_sender(woken)
        {
            return Ok(item);
        }
        match self.senders {
            0 => Err(Refusal::Disconnected),
            _ => Err(Refusal::Wait),
        }
    }

    #[inline(never)]
    fn take_from_sender(&mut self, woken: &mut Woken<W>) -> Option<T> {
        let key = self.sending.next_where(|sender| sender.item.is_some())?;
        woken.add(self.sending.waiter(key));
        self.sending.data(key).item.take()
    }

    /// At a rendezvous: gives a select that waits to send a permit for this receiver, which then
    /// must wait for its message.
    #[inline]
    pub(crate) fn be_promised(
        &mut self,
        waiter: impl FnOnce() -> W,
        woken: &mut Woken<W>,
    ) -> Option<Key> {
        if self.capacity != 0 || self.sending.is_empty() {
            return None;
        }
        self.promise(waiter, woken)
    }

    #[inline(never)]
    fn promise(&mut self, waiter: impl FnOnce() -> W, woken: &mut Woken<W>) -> Option<Key> {
        let sender = self.sending.next()?;
        let promised = Receiving {
            item: None,
            promised: true,
        };
        let key = self.receiving.insert(waiter(), promised);
        self.sending.data(sender).permit = Some(Permit::Receiver(key));
        woken.add(self.sending.waiter(sender));
        Some(key)
    }

    /// A receiver that found nothing waits. True: there may be something already.
    #[inline]
    pub(crate) fn wait_to_receive(&mut self, waiter: W) -> (Key, bool) {
        let empty = Receiving {
            item: None,
            promised: false,
        };
        let key = self.receiving.push(waiter, empty);
        let ready = !self.queue.is_empty() || self.senders == 0;
        (
            key,
            ready || (self.capacity == 0 && !self.sending.is_empty()),
        )
    }

    /// How it stands. `give_up`: it waits no longer, if it still does and nothing is promised.
    #[inline(always)]
    pub(crate) fn received(&mut self, key: Key, give_up: bool) -> Received<T> {
        let receiver = self.receiving.data(key);
        if let Some(item) = receiver.item.take() {
            self.receiving.remove(key);
            return Received::Item(item);
        }
        if receiver.promised {
            return Received::Promised;
        }
        if self.receiving.is_queued(key) && !give_up {
            return Received::Waiting;
        }
        self.receiving.remove(key);
        Received::Again
    }

    // ---- the end ------------------------------------------------------------------------------

    /// A sender goes. The last one wakes those who would wait for ever.
    pub(crate) fn drop_sender(&mut self, woken: &mut Woken<W>) {
        self.senders -= 1;
        while self.senders == 0
            && let Some(key) = self.receiving.next()
        {
            woken.add(self.receiving.waiter(key));
        }
    }

    /// A receiver goes. The last one gives what was left, to be dropped outside the lock.
    pub(crate) fn drop_receiver(&mut self, woken: &mut Woken<W>) -> VecDeque<T> {
        self.receivers -= 1;
        if self.receivers > 0 {
            return VecDeque::new();
        }
        while let Some(key) = self.sending.next() {
            woken.add(self.sending.waiter(key));
        }
        std::mem::take(&mut self.queue)
    }

    #[cfg(test)]
    pub(crate) fn queued(&self) -> impl Iterator<Item = T>
    where
        T: Copy,
    {
        self.queue.iter().copied()
    }

    /// Whether a sender's or a receiver's entry still stands in its queue, to be served.
    #[cfg(test)]
    pub(crate) fn is_queued(&self, key: Key, receives: bool) -> bool {
        match receives {
            true => self.receiving.is_queued(key),
            false => self.sending.is_queued(key),
        }
    }

    /// Entries of those who wait or have not looked yet.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.sending.len() + self.receiving.len()
    }
}
