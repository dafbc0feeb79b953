//! Why a message was not sent or not received.
//!
//! Public through `sync::mpmc` and `sync::mpsc`. Where std has an enum without room for a
//! cancellation the type here has one variant more; where it has a unit struct, it has predicates.

use std::fmt;

use crate::driver::Wake;

/// The message that was not sent, and why: `.0`, as in std, is the message.
///
/// # Examples
///
/// ```
/// use tarae::sync::mpsc;
///
/// let (sender, receiver) = mpsc::channel();
/// drop(receiver);
/// let error = sender.send("hello").unwrap_err();
/// assert!(error.is_disconnected());
/// assert_eq!(error.0, "hello");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T, pub(in crate::sync) Wake);

/// Why `recv` gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvError(pub(in crate::sync) Wake);

/// Why `recv_timeout` or `recv_deadline` gave no message: std's type of this name, with one variant
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// The time was up.
    Timeout,
    /// All senders are gone and every message has been received.
    Disconnected,
    /// The wait was cancelled.
    Cancelled,
}

macro_rules! predicates {
    ($gone:literal, $cause:expr) => {
        #[doc = $gone]
        pub fn is_disconnected(&self) -> bool {
            $cause(self) == Wake::Ready
        }

        /// The time was up.
        pub fn is_timeout(&self) -> bool {
            $cause(self) == Wake::TimedOut
        }

        /// The wait was cancelled.
        pub fn is_cancelled(&self) -> bool {
            $cause(self) == Wake::Cancelled
        }
    };
}

impl<T> SendError<T> {
    predicates!("All receivers are gone.", |error: &SendError<T>| error.1);

    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl RecvError {
    predicates!(
        "All senders are gone and every message has been received.",
        |error: &RecvError| error.0
    );
}

impl RecvTimeoutError {
    predicates!(
        "All senders are gone and every message has been received.",
        RecvTimeoutError::wake
    );

    fn wake(&self) -> Wake {
        match self {
            RecvTimeoutError::Timeout => Wake::TimedOut,
            RecvTimeoutError::Disconnected => Wake::Ready,
            RecvTimeoutError::Cancelled => Wake::Cancelled,
        }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> RecvTimeoutError {
        match error.0 {
            Wake::Ready => RecvTimeoutError::Disconnected,
            Wake::TimedOut => RecvTimeoutError::Timeout,
            Wake::Cancelled => RecvTimeoutError::Cancelled,
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({self})")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.1 {
            Wake::Ready => "sending on a channel without receivers",
            Wake::TimedOut => "there was no room for the message in time",
            Wake::Cancelled => "the wait to send a message was cancelled",
        })
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

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&RecvError(self.wake()), f)
    }
}

impl<T> std::error::Error for SendError<T> {}
impl std::error::Error for RecvError {}
impl std::error::Error for RecvTimeoutError {}
