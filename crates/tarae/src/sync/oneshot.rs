//! A channel for one message.
//!
//! Public. A thin layer over `mpmc`: room for one, and a sender that is used up by sending.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::channel::branch::RecvBranch;
use super::mpmc;
pub use super::mpmc::{RecvError, RecvTimeoutError, TryRecvError};
use crate::time::Instant;

/// A channel for one message: an answer, typically.
///
/// # Examples
///
/// ```
/// use tarae::sync::{mpsc, oneshot};
///
/// tarae::run(|| {
///     let (questions, asked) = mpsc::channel::<(u32, oneshot::Sender<u32>)>();
///     tarae::spawn(move || {
///         for (number, answer) in asked {
///             // Whoever asked may have gone.
///             let _ = answer.send(number * number);
///         }
///     });
///     let (sender, answer) = oneshot::channel();
///     questions.send((12, sender)).unwrap();
///     assert_eq!(answer.recv(), Ok(144));
/// })
/// .unwrap();
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::sync_channel(1);
    let receiver = Receiver {
        inner: receiver,
        alone: PhantomData,
    };
    (Sender(sender), receiver)
}

/// The sending side.
pub struct Sender<T>(mpmc::Sender<T>);

/// The receiving side.
pub struct Receiver<T> {
    inner: mpmc::Receiver<T>,
    /// One at a time may wait: not `Sync`.
    alone: PhantomData<Cell<()>>,
}

impl<T> Sender<T> {
    /// Sends the message. Never waits.
    ///
    /// # Errors
    ///
    /// The message, when the receiver is gone.
    pub fn send(self, message: T) -> Result<(), T> {
        match self.0.try_send(message) {
            Ok(()) => Ok(()),
            Err(mpmc::TrySendError::Full(message) | mpmc::TrySendError::Disconnected(message)) => {
                Err(message)
            }
        }
    }

    /// Whether the receiver is gone: nobody wants the message any more.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Receiver<T> {
    /// Waits for the message: parks the coroutine, or blocks the plain thread.
    ///
    /// # Errors
    ///
    /// When it cannot come any more (the sender is gone, or the message has been received), or the
    /// wait is cancelled. After a cancellation the message can still be received.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv()
    }

    /// As [`recv`](Receiver::recv), for so long at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the time is up.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout)
    }

    /// As [`recv`](Receiver::recv), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the deadline has passed.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.inner.recv_deadline(deadline)
    }

    /// Takes the message if it is there.
    ///
    /// # Errors
    ///
    /// `Empty`, or `Disconnected` when it cannot come any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
    }

    #[doc(hidden)]
    pub fn recv_branch(&self) -> RecvBranch<'_, T> {
        self.inner.recv_branch()
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
