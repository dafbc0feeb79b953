//! A channel whose every message goes to every receiver.
//!
//! Public. The last messages are kept, up to a bound; whoever falls behind further than that is
//! told how many it has missed. Sending never waits.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use super::channel::SendError;
use super::channel::listen::{Line, Listen, ListenBranch, listen};
use super::channel::waiters::Key;
use super::mpmc::after;
use crate::driver::Wake;
use crate::sched::select::Alarm;
use crate::sched::spin::Spin;
use crate::time::Instant;

/// A channel that keeps the last `capacity` messages for those who have not received them.
///
/// # Panics
///
/// When `capacity` is zero.
///
/// # Examples
///
/// ```
/// use tarae::sync::broadcast;
///
/// let (sender, receiver) = broadcast::channel(2);
/// let other = sender.subscribe();
/// (1..=3).for_each(|n| drop(sender.send(n).unwrap()));
/// assert_eq!(receiver.recv().unwrap_err().missed(), Some(1));
/// assert_eq!(receiver.recv(), Ok(2));
/// assert_eq!(receiver.recv(), Ok(3));
/// drop(sender);
/// assert!(receiver.recv().unwrap_err().is_disconnected());
/// assert_eq!(other.recv().unwrap_err().missed(), Some(1));
/// ```
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity > 0,
        "a broadcast channel keeps at least one message"
    );
    let state = State {
        kept: VecDeque::new(),
        next: 0,
        capacity,
        senders: 1,
        receivers: 0,
        line: Line::new(),
    };
    let sender = Sender {
        state: Arc::new(Spin::new(state)),
    };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending side; clone it for more senders.
pub struct Sender<T> {
    state: Arc<Spin<State<T>>>,
}

/// The receiving side: it gets every message sent after it was made. A clone begins where this one
/// stands. One thread or coroutine at a time may use it; it is not `Sync`.
pub struct Receiver<T> {
    state: Arc<Spin<State<T>>>,
    /// The number of the message it wants next.
    next: Cell<u64>,
}

struct State<T> {
    /// The last messages, each with how many have yet to receive it.
    kept: VecDeque<(Arc<T>, usize)>,
    /// The number of the next message to be sent.
    next: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
    line: Line,
}

impl<T> State<T> {
    /// The number of the oldest message kept.
    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    /// Those kept that a receiver which wants `next` has yet to receive.
    fn unread(&mut self, next: u64) -> impl Iterator<Item = &mut (Arc<T>, usize)> {
        let skip = next.saturating_sub(self.first());
        self.kept.iter_mut().skip(skip as usize)
    }

    /// Takes out what everybody has received, to be dropped outside the lock.
    fn finished(&mut self) -> Vec<Arc<T>> {
        let mut finished = Vec::new();
        while self.kept.front().is_some_and(|(_, left)| *left == 0) {
            finished.extend(self.kept.pop_front().map(|(message, _)| message));
        }
        finished
    }
}

impl<T> Sender<T> {
    /// Sends a message to every receiver there is, and gives their number. Never waits: the oldest
    /// message makes room.
    ///
    /// # Errors
    ///
    /// With the message, when there is no receiver.
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let message = Arc::new(message);
        let theirs = Arc::clone(&message);
        let sent = self.state.with(|state| {
            if state.receivers == 0 {
                drop(theirs);
                return None;
            }
            let full = state.kept.len() == state.capacity;
            let pushed_out = if full { state.kept.pop_front() } else { None };
            state.kept.push_back((theirs, state.receivers));
            state.next += 1;
            Some((state.receivers, pushed_out, state.line.empty()))
        });
        match sent {
            Some((receivers, _, line)) => {
                line.into_iter().for_each(Alarm::wake);
                Ok(receivers)
            }
            None => {
                let message = Arc::into_inner(message).expect("the other one was dropped");
                Err(SendError(message, Wake::Ready))
            }
        }
    }

    /// A receiver of all that is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        let next = self.state.with(|state| {
            state.receivers += 1;
            state.next
        });
        Receiver {
            state: Arc::clone(&self.state),
            next: Cell::new(next),
        }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.state.with(|state| state.receivers)
    }
}

/// Why a receiver gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvError(Why);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Missed(u64),
    Empty,
    Ended(Wake),
}

impl RecvError {
    /// How many messages the receiver has missed, when it fell too far behind. The next call gives
    /// the oldest one that is still there.
    pub fn missed(&self) -> Option<u64> {
        match self.0 {
            Why::Missed(count) => Some(count),
            _ => None,
        }
    }

    /// No message has come yet (`try_recv`).
    pub fn is_empty(&self) -> bool {
        self.0 == Why::Empty
    }

    /// All senders are gone and every message has been received.
    pub fn is_disconnected(&self) -> bool {
        self.0 == Why::Ended(Wake::Ready)
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.0 == Why::Ended(Wake::TimedOut)
    }

    /// The wait was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0 == Why::Ended(Wake::Cancelled)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Why::Missed(count) => write!(f, "{count} messages were missed"),
            Why::Empty => f.write_str("no message has come yet"),
            Why::Ended(wake) => super::channel::RecvError(wake).fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}

impl<T: Clone> Receiver<T> {
    /// Waits for the next message: parks the coroutine, or blocks the plain thread.
    ///
    /// # Errors
    ///
    /// When messages were missed (see [`RecvError::missed`]), none can come any more, or the wait
    /// is cancelled.
    pub fn recv(&self) -> Result<T, RecvError> {
        listen(self, None)
    }

    /// As [`recv`](Receiver::recv), for so long at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the time is up.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        listen(self, after(timeout))
    }

    /// As [`recv`](Receiver::recv), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and when the deadline has passed.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvError> {
        listen(self, Some(deadline.into()))
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    ///
    /// When none has come, messages were missed, or none can come any more.
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.look().unwrap_or(Err(RecvError(Why::Empty)))
    }

    #[doc(hidden)]
    pub fn recv_branch(&self) -> ListenBranch<'_, Result<T, RecvError>> {
        ListenBranch::new(self)
    }
}

impl<T: Clone> Listen for Receiver<T> {
    type Found = Result<T, RecvError>;

    fn look(&self) -> Option<Result<T, RecvError>> {
        let next = self.next.get();
        let (message, finished) = self.state.with(|state| {
            if next < state.first() {
                self.next.set(state.first());
                let missed = Why::Missed(state.first() - next);
                return (Some(Err(RecvError(missed))), Vec::new());
            }
            if next == state.next {
                let ended = state.senders == 0;
                let ended = ended.then_some(Err(RecvError(Why::Ended(Wake::Ready))));
                return (ended, Vec::new());
            }
            self.next.set(next + 1);
            let (message, left) = state.unread(next).next().expect("not the end");
            *left -= 1;
            (Some(Ok(Arc::clone(message))), state.finished())
        });
        drop(finished);
        // The last one to receive it takes the message itself.
        message.map(|message| message.map(Arc::unwrap_or_clone))
    }

    fn is_ready(&self) -> bool {
        let next = self.next.get();
        self.state
            .with(|state| next != state.next || state.senders == 0)
    }

    fn enter(&self, alarm: Alarm) -> Key {
        self.state.with(|state| state.line.push(alarm, ()))
    }

    fn leave(&self, key: Key) {
        drop(self.state.with(|state| state.line.remove(key)));
    }

    fn refused(&self, wake: Wake) -> Result<T, RecvError> {
        Err(RecvError(Why::Ended(wake)))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.state.with(|state| {
            state.receivers += 1;
            state
                .unread(self.next.get())
                .for_each(|(_, left)| *left += 1);
        });
        Receiver {
            state: Arc::clone(&self.state),
            next: self.next.clone(),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Dropped outside the lock: the messages' destructors may use the channel.
        drop(self.state.with(|state| {
            state.receivers -= 1;
            state
                .unread(self.next.get())
                .for_each(|(_, left)| *left -= 1);
            state.finished()
        }));
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.state.with(|state| state.senders += 1);
        Sender {
            state: Arc::clone(&self.state),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let line = self.state.with(|state| {
            state.senders -= 1;
            match state.senders {
                0 => state.line.empty(),
                _ => Vec::new(),
            }
        });
        line.into_iter().for_each(Alarm::wake);
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
