//! Channels with many senders and one receiver: the unbounded half of [`std::sync::mpsc`].
//!
//! Public. A receiver that waits parks its coroutine, or blocks its thread. Sending never waits.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use std::sync::mpsc::{SendError, TryRecvError};

use crate::driver::Wake;
use crate::sched::{self, Cancel, Unparker, WaitReason};

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
    let state = State {
        messages: VecDeque::new(),
        senders: 1,
        receiver: true,
        waiting: None,
    };
    let channel = Arc::new(Channel {
        state: Mutex::new(state),
    });
    (
        Sender {
            channel: Arc::clone(&channel),
        },
        Receiver {
            channel,
            alone: PhantomData,
        },
    )
}

struct Channel<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    messages: VecDeque<T>,
    senders: usize,
    receiver: bool,
    /// The receiver, while it waits.
    waiting: Option<Unparker>,
}

impl<T> Channel<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending side; clone it for more senders.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Leaves a message. Never waits.
    ///
    /// # Errors
    ///
    /// With the message, when the receiver is gone.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut state = self.channel.state();
        if !state.receiver {
            return Err(SendError(message));
        }
        state.messages.push_back(message);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(receiver) = waiting {
            receiver.unpark();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.channel.state().senders += 1;
        Sender {
            channel: Arc::clone(&self.channel),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.channel.state();
        state.senders -= 1;
        let waiting = if state.senders == 0 {
            state.waiting.take()
        } else {
            None
        };
        drop(state);
        if let Some(receiver) = waiting {
            receiver.unpark();
        }
    }
}

/// The receiving side. One thread or coroutine at a time may use it:
///
/// ```compile_fail
/// fn share<T: Sync>(_: T) {}
/// share(tarae::sync::mpsc::channel::<()>().1);
/// ```
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
    /// One at a time may wait: not `Sync`, as std's.
    alone: PhantomData<Cell<()>>,
}

/// Why [`Receiver::recv`] gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvError(Wake);

impl RecvError {
    /// All senders are gone and every message has been received.
    pub fn is_disconnected(&self) -> bool {
        self.0 == Wake::Ready
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.0 == Wake::TimedOut
    }

    /// The wait was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0 == Wake::Cancelled
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Wake::Ready => "receiving on a channel without senders",
            Wake::TimedOut => "no message came in time",
            Wake::Cancelled => "the wait for a message was cancelled",
        })
    }
}

impl std::error::Error for RecvError {}

impl<T> Receiver<T> {
    /// Takes the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// `Empty`, or `Disconnected` when none can come any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.channel.state();
        match state.messages.pop_front() {
            Some(message) => Ok(message),
            None if state.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    ///
    /// When none can come any more, or the wait is cancelled.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(None)
    }

    /// Waits for a message, for so long at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the time is up.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_until(sched::now().checked_add(timeout))
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvError> {
        let mut wake = Wake::Ready;
        loop {
            let mut state = self.channel.state();
            // A message that is there counts, whatever ended the wait.
            if let Some(message) = state.messages.pop_front() {
                state.waiting = None;
                drop(state);
                sched::spend_budget();
                return Ok(message);
            }
            if state.senders == 0 || wake != Wake::Ready {
                state.waiting = None;
                return Err(RecvError(wake));
            }
            state.waiting = Some(Unparker::current());
            drop(state);
            wake = sched::park(WaitReason::Channel, deadline, Cancel::Yes);
        }
    }

    /// Messages until none can come any more (or the wait is cancelled).
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there now.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.channel.state();
        state.receiver = false;
        let messages = std::mem::take(&mut state.messages);
        drop(state);
        // Their destructors may use the channel.
        drop(messages);
    }
}

/// Messages until none can come any more; see [`Receiver::iter`].
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
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

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntoIter")
    }
}
