//! Channels with many senders and one receiver: [`std::sync::mpsc`].
//!
//! Public. A thin layer over `mpmc` that gives each side std's type: a [`Sender`] that never waits,
//! a [`SyncSender`] that waits for room, a [`Receiver`] that cannot be shared.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::channel::branch::{RecvBranch, SendBranch};
use super::mpmc::{self, iterators};
pub use super::mpmc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use crate::time::Instant;

/// A channel without a bound.
///
/// # Examples
///
/// ```
/// use tarae::sync::mpsc;
///
/// tarae::run(|| {
///     let (sender, receiver) = mpsc::channel();
///     for n in 0..3 {
///         let sender = sender.clone();
///         tarae::spawn(move || sender.send(n).unwrap());
///     }
///     drop(sender);
///     let mut all: Vec<i32> = receiver.iter().collect();
///     all.sort();
///     assert_eq!(all, [0, 1, 2]);
/// })
/// .unwrap();
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::channel();
    (Sender(sender), Receiver::new(receiver))
}

/// A channel with room for `bound` messages; with 0, a rendezvous: see [`mpmc::sync_channel`].
///
/// # Examples
///
/// ```
/// use tarae::sync::mpsc;
///
/// tarae::run(|| {
///     let (sender, receiver) = mpsc::sync_channel(0);
///     tarae::spawn(move || (0..3).try_for_each(|n| sender.send(n)));
///     assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
/// })
/// .unwrap();
/// ```
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::sync_channel(bound);
    (SyncSender(sender), Receiver::new(receiver))
}

/// The sending side of [`channel`]; clone it for more senders.
pub struct Sender<T>(mpmc::Sender<T>);

/// The sending side of [`sync_channel`]; clone it for more senders.
pub struct SyncSender<T>(mpmc::Sender<T>);

/// The receiving side. One thread or coroutine at a time may use it:
///
/// ```compile_fail
/// fn share<T: Sync>(_: T) {}
/// share(tarae::sync::mpsc::channel::<()>().1);
/// ```
pub struct Receiver<T> {
    inner: mpmc::Receiver<T>,
    /// One at a time may wait: not `Sync`, as std's.
    alone: PhantomData<Cell<()>>,
}

impl<T> Sender<T> {
    /// Leaves a message. Never waits.
    ///
    /// # Errors
    ///
    /// With the message, when the receiver is gone.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send(message)
    }

    #[doc(hidden)]
    pub fn send_branch(&self) -> SendBranch<'_, T> {
        self.0.send_branch()
    }
}

impl<T> SyncSender<T> {
    /// Leaves a message; waits for room: see [`mpmc::Sender::send`].
    ///
    /// # Errors
    ///
    /// With the message: when the receiver is gone, or goes, or the wait is cancelled.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send(message)
    }

    /// Leaves a message if there is room or, at a rendezvous, a receiver that waits.
    ///
    /// # Errors
    ///
    /// With the message: `Full`, or `Disconnected` when the receiver is gone.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(message)
    }

    /// As [`send`](SyncSender::send), for so long at most.
    ///
    /// # Errors
    ///
    /// As [`send`](SyncSender::send), and when the time is up.
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.0.send_timeout(message, timeout)
    }

    #[doc(hidden)]
    pub fn send_branch(&self) -> SendBranch<'_, T> {
        self.0.send_branch()
    }
}

impl<T> Receiver<T> {
    fn new(inner: mpmc::Receiver<T>) -> Receiver<T> {
        Receiver {
            inner,
            alone: PhantomData,
        }
    }

    /// Takes the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// `Empty`, or `Disconnected` when none can come any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
    }

    /// Waits for a message: see [`mpmc::Receiver::recv`].
    ///
    /// # Errors
    ///
    /// When none can come any more, or the wait is cancelled.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv()
    }

    /// Waits for a message, for so long at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the time is up.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout)
    }

    /// Waits for a message, until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the deadline has passed.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.inner.recv_deadline(deadline)
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
        self.inner.recv_branch()
    }
}

iterators!();

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(self.0.clone())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> SyncSender<T> {
        SyncSender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncSender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
