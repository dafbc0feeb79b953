//! Channels with many senders and many receivers, each message for one of them: the shape of std's
//! (unstable) `std::sync::mpmc`.
//!
//! Public. Handles count themselves in and out of a `Channel`, which does everything else.
//!
//! Between coroutines of any worker and plain threads alike. Messages are received in the order in
//! which they were sent; whoever waits is served in the order in which they came. A message is
//! handed straight to the receiver that has waited longest, so one that came cannot be taken by
//! somebody who asks later.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use std::sync::mpsc::{TryRecvError, TrySendError};

use super::channel::branch::{RecvBranch, SendBranch};
use super::channel::{Channel, UNBOUNDED};
pub use super::channel::{RecvError, RecvTimeoutError, SendError};
use crate::time::Instant;

/// A channel without a bound: sending never waits.
///
/// # Examples
///
/// ```
/// use tarae::sync::mpmc;
///
/// tarae::run(|| {
///     let (sender, receiver) = mpmc::channel();
///     let workers: Vec<_> = (0..3)
///         .map(|_| {
///             let receiver = receiver.clone();
///             tarae::spawn(move || receiver.iter().sum::<u32>())
///         })
///         .collect();
///     (1..=10).for_each(|n| sender.send(n).unwrap());
///     drop(sender);
///     let sums = workers.into_iter().map(|worker| worker.join().unwrap());
///     assert_eq!(sums.sum::<u32>(), 55);
/// })
/// .unwrap();
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    with_capacity(UNBOUNDED)
}

/// A channel with room for `capacity` messages: sending waits for room. With a capacity of 0, a
/// *rendezvous*: sending waits until the message has been received.
///
/// # Examples
///
/// ```
/// use tarae::sync::mpmc::{self, TrySendError};
///
/// let (sender, receiver) = mpmc::sync_channel(1);
/// sender.send(1).unwrap();
/// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
/// assert_eq!(receiver.recv(), Ok(1));
/// sender.try_send(2).unwrap();
/// ```
pub fn sync_channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    // A bound that no memory can hold is none.
    with_capacity(capacity.min(UNBOUNDED - 1))
}

fn with_capacity<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(capacity));
    let sender = Sender {
        channel: Arc::clone(&channel),
    };
    (sender, Receiver { channel })
}

/// The instant `timeout` from now; `None`: too far off to be told.
pub(super) fn after(timeout: Duration) -> Option<std::time::Instant> {
    Instant::now().checked_add(timeout).map(Into::into)
}

/// The sending side. Clone it for more senders, or share it.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

/// The receiving side. Clone it for more receivers, or share it: each message goes to one.
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Leaves a message; waits for room, or at a rendezvous for a receiver: parks the coroutine, or
    /// blocks the plain thread.
    ///
    /// # Errors
    ///
    /// With the message: when the last receiver is gone, or goes, or the wait is cancelled.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.channel.send(message, None)
    }

    /// As [`send`](Sender::send), but never waits. At a rendezvous it finds receivers that wait.
    ///
    /// # Errors
    ///
    /// With the message: `Full`, or `Disconnected` when the last receiver is gone.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.channel.try_send(message)
    }

    /// As [`send`](Sender::send), for so long at most.
    ///
    /// # Errors
    ///
    /// As [`send`](Sender::send), and when the time is up.
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.channel.send(message, after(timeout))
    }

    /// As [`send`](Sender::send), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`send`](Sender::send), and when the deadline has passed.
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.channel.send(message, Some(deadline.into()))
    }

    /// Whether no receiver is left: sending will fail.
    pub(super) fn is_closed(&self) -> bool {
        !self.channel.has_receivers()
    }

    #[doc(hidden)]
    pub fn send_branch(&self) -> SendBranch<'_, T> {
        SendBranch::new(&self.channel)
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest message; waits for one: parks the coroutine, or blocks the plain thread. A
    /// message that has come is returned, whatever else happened at that moment.
    ///
    /// # Errors
    ///
    /// When none can come any more, or the wait is cancelled.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.channel.recv(None)
    }

    /// As [`recv`](Receiver::recv), but never waits. At a rendezvous it finds those who wait in
    /// `send`, and not a `select!`, whose message does not exist yet.
    ///
    /// # Errors
    ///
    /// `Empty`, or `Disconnected` when none can come any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// As [`recv`](Receiver::recv), for so long at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the time is up.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        Ok(self.channel.recv(after(timeout))?)
    }

    /// As [`recv`](Receiver::recv), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the deadline has passed.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        Ok(self.channel.recv(Some(deadline.into()))?)
    }

    /// Messages until none can come any more, or the wait is cancelled.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there now.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    #[doc(hidden)]
    pub fn recv_branch(&self) -> RecvBranch<'_, T> {
        RecvBranch::new(&self.channel)
    }

    /// Entries of those who wait, for tests.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.channel.entries()
    }
}

macro_rules! common {
    ($type:ident, $add:ident, $drop:ident) => {
        impl<T> $type<T> {
            /// Messages in the channel, which nobody has received. Old news when it is returned.
            pub fn len(&self) -> usize {
                self.channel.len()
            }

            /// Whether there is no message in the channel; at a rendezvous, always.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room; at a rendezvous, always.
            pub fn is_full(&self) -> bool {
                self.channel.is_full()
            }

            /// Messages that there is room for; `None` without a bound.
            pub fn capacity(&self) -> Option<usize> {
                self.channel.capacity()
            }

            /// Whether both belong to the same channel.
            pub fn same_channel(&self, other: &$type<T>) -> bool {
                Arc::ptr_eq(&self.channel, &other.channel)
            }
        }

        impl<T> Clone for $type<T> {
            fn clone(&self) -> $type<T> {
                self.channel.$add();
                $type {
                    channel: Arc::clone(&self.channel),
                }
            }
        }

        impl<T> Drop for $type<T> {
            fn drop(&mut self) {
                self.channel.$drop();
            }
        }

        impl<T> fmt::Debug for $type<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($type))
            }
        }
    };
}

common!(Sender, add_sender, drop_sender);
common!(Receiver, add_receiver, drop_receiver);

/// The iterators over a receiver of this name; used by `mpsc` too.
macro_rules! iterators {
    () => {
        /// Messages until none can come any more; see [`Receiver::iter`].
        #[derive(Debug)]
        #[must_use = "an iterator does nothing until it is asked"]
        pub struct Iter<'a, T> {
            receiver: &'a Receiver<T>,
        }

        /// The messages that are there; see [`Receiver::try_iter`].
        #[derive(Debug)]
        #[must_use = "an iterator does nothing until it is asked"]
        pub struct TryIter<'a, T> {
            receiver: &'a Receiver<T>,
        }

        /// Messages until none can come any more, owning the receiver.
        #[derive(Debug)]
        #[must_use = "an iterator does nothing until it is asked"]
        pub struct IntoIter<T> {
            receiver: Receiver<T>,
        }

        impl<T> Iterator for Iter<'_, T> {
            type Item = T;

            fn next(&mut self) -> Option<T> {
                self.receiver.recv().ok()
            }
        }

        impl<T> Iterator for TryIter<'_, T> {
            type Item = T;

            fn next(&mut self) -> Option<T> {
                self.receiver.try_recv().ok()
            }
        }

        impl<T> Iterator for IntoIter<T> {
            type Item = T;

            fn next(&mut self) -> Option<T> {
                self.receiver.recv().ok()
            }
        }

        impl<'a, T> IntoIterator for &'a Receiver<T> {
            type Item = T;
            type IntoIter = Iter<'a, T>;

            fn into_iter(self) -> Iter<'a, T> {
                self.iter()
            }
        }

        impl<T> IntoIterator for Receiver<T> {
            type Item = T;
            type IntoIter = IntoIter<T>;

            fn into_iter(self) -> IntoIter<T> {
                IntoIter { receiver: self }
            }
        }
    };
}
pub(super) use iterators;

iterators!();
