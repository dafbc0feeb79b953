//! A value that others follow: receivers see the latest one, and wait for it to change.
//!
//! Public. Values in between may be missed, the latest one never. Nobody holds a lock while it
//! looks at a value: what is borrowed stays as it was, whatever is sent meanwhile.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::channel::listen::{Line, Listen, ListenBranch, listen};
use super::channel::waiters::Key;
pub use super::channel::{RecvError, SendError};
use super::mpmc::after;
use crate::driver::Wake;
use crate::sched::select::Alarm;
use crate::sched::spin::Spin;
use crate::time::Instant;

/// A value with one sender and one receiver, which has seen it.
///
/// # Examples
///
/// ```
/// use tarae::sync::watch;
///
/// tarae::run(|| {
///     let (level, watcher) = watch::channel(1);
///     let follower = tarae::spawn(move || {
///         while *watcher.borrow() < 3 {
///             watcher.changed().unwrap();
///         }
///         *watcher.borrow()
///     });
///     (2..=3).for_each(|n| level.send(n).unwrap());
///     assert_eq!(follower.join().unwrap(), 3);
/// })
/// .unwrap();
/// ```
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let state = State {
        value: Arc::new(value),
        version: 0,
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

/// The side that sets the value; clone it for more senders.
pub struct Sender<T> {
    state: Arc<Spin<State<T>>>,
}

/// The side that follows the value. A clone has seen what this one has. One thread or coroutine at
/// a time may use it; it is not `Sync`.
pub struct Receiver<T> {
    state: Arc<Spin<State<T>>>,
    /// The version it has seen.
    seen: Cell<u64>,
}

struct State<T> {
    value: Arc<T>,
    version: u64,
    senders: usize,
    receivers: usize,
    line: Line,
}

/// A value as it was when it was borrowed.
#[derive(Debug)]
pub struct Ref<T>(Arc<T>);

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Sender<T> {
    /// Sets the value and wakes whoever waits for a change. Never waits.
    ///
    /// # Errors
    ///
    /// With the value, which is not set, when there is no receiver.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let value = Arc::new(value);
        let old = self.state.with(|state| {
            if state.receivers == 0 {
                return Err(value);
            }
            state.version += 1;
            Ok((
                std::mem::replace(&mut state.value, value),
                state.line.empty(),
            ))
        });
        match old {
            Ok((_, line)) => {
                line.into_iter().for_each(Alarm::wake);
                Ok(())
            }
            Err(value) => {
                let value = Arc::into_inner(value).expect("nobody else has seen it");
                Err(SendError(value, Wake::Ready))
            }
        }
    }

    /// The latest value.
    pub fn borrow(&self) -> Ref<T> {
        Ref(self.state.with(|state| Arc::clone(&state.value)))
    }

    /// A receiver that has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        let version = self.state.with(|state| {
            state.receivers += 1;
            state.version
        });
        Receiver {
            state: Arc::clone(&self.state),
            seen: Cell::new(version),
        }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.state.with(|state| state.receivers)
    }
}

impl<T> Receiver<T> {
    /// The latest value. It does not count as seen.
    pub fn borrow(&self) -> Ref<T> {
        Ref(self.state.with(|state| Arc::clone(&state.value)))
    }

    /// The latest value, which counts as seen.
    pub fn borrow_and_update(&self) -> Ref<T> {
        self.state.with(|state| {
            self.seen.set(state.version);
            Ref(Arc::clone(&state.value))
        })
    }

    /// Whether there is a value that it has not seen.
    pub fn has_changed(&self) -> bool {
        self.state.with(|state| state.version != self.seen.get())
    }

    /// Waits until there is a value that it has not seen, which then counts as seen: parks the
    /// coroutine, or blocks the plain thread.
    ///
    /// # Errors
    ///
    /// When the last value was seen and all senders are gone, or the wait is cancelled.
    pub fn changed(&self) -> Result<(), RecvError> {
        listen(self, None)
    }

    /// As [`changed`](Receiver::changed), for so long at most.
    ///
    /// # Errors
    ///
    /// As [`changed`](Receiver::changed), and when the time is up.
    pub fn changed_timeout(&self, timeout: Duration) -> Result<(), RecvError> {
        listen(self, after(timeout))
    }

    /// As [`changed`](Receiver::changed), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`changed`](Receiver::changed), and when the deadline has passed.
    pub fn changed_deadline(&self, deadline: Instant) -> Result<(), RecvError> {
        listen(self, Some(deadline.into()))
    }

    /// Waits for a value that `wanted` accepts, beginning with the present one.
    ///
    /// # Errors
    ///
    /// As [`changed`](Receiver::changed).
    pub fn wait_for(&self, mut wanted: impl FnMut(&T) -> bool) -> Result<Ref<T>, RecvError> {
        loop {
            let value = self.borrow_and_update();
            if wanted(&value) {
                return Ok(value);
            }
            self.changed()?;
        }
    }

    #[doc(hidden)]
    pub fn changed_branch(&self) -> ListenBranch<'_, Result<(), RecvError>> {
        ListenBranch::new(self)
    }
}

impl<T> Listen for Receiver<T> {
    type Found = Result<(), RecvError>;

    fn look(&self) -> Option<Result<(), RecvError>> {
        self.state.with(|state| {
            if self.seen.replace(state.version) != state.version {
                return Some(Ok(()));
            }
            (state.senders == 0).then_some(Err(RecvError(Wake::Ready)))
        })
    }

    fn is_ready(&self) -> bool {
        let seen = self.seen.get();
        self.state
            .with(|state| seen != state.version || state.senders == 0)
    }

    fn enter(&self, alarm: Alarm) -> Key {
        self.state.with(|state| state.line.push(alarm, ()))
    }

    fn leave(&self, key: Key) {
        drop(self.state.with(|state| state.line.remove(key)));
    }

    fn refused(&self, wake: Wake) -> Result<(), RecvError> {
        Err(RecvError(wake))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.state.with(|state| state.receivers += 1);
        Receiver {
            state: Arc::clone(&self.state),
            seen: self.seen.clone(),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.state.with(|state| state.receivers -= 1);
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
