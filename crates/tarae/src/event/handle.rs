//! The way in from other threads: posted functions, and the request to stop.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::EventLoop;
use crate::sched::mailbox::Mailbox;
use crate::sys;

/// What a loop and its handles have in common.
pub(super) struct Shared {
    pub(super) mail: Mailbox<EventLoop>,
    /// Never read: each write is a new edge.
    eventfd: OwnedFd,
}

impl Shared {
    pub(super) fn new() -> io::Result<Arc<Shared>> {
        Ok(Arc::new(Shared {
            mail: Mailbox::new(),
            eventfd: sys::eventfd()?,
        }))
    }

    pub(super) fn notification(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

/// Reaches an [`EventLoop`] from any thread. As long as there is one, the loop has something to
/// wait for.
///
/// # Examples
///
/// Another thread's result is processed by the thread of the loop:
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tarae::event::EventLoop;
///
/// let events = EventLoop::new()?;
/// let handle = events.handle();
/// let loop_thread = std::thread::current().id();
/// std::thread::spawn(move || {
///     let sum: u32 = (1..=10).sum();
///     let told = handle.post(move |_| {
///         assert_eq!(std::thread::current().id(), loop_thread);
///         assert_eq!(sum, 55);
///     });
///     assert!(told.is_ok());
/// });
/// events.run()?; // Until the handle is gone: nothing can come any more.
/// # std::io::Result::Ok(())
/// ```
pub struct Handle(Arc<Shared>);

impl Handle {
    pub(super) fn new(shared: &Arc<Shared>) -> Handle {
        shared.mail.enter();
        Handle(Arc::clone(shared))
    }

    /// Has `function` called by the loop, on its thread, after all that was posted before. Never
    /// waits; wakes the loop if it sleeps.
    ///
    /// It must not block, as a handler must not. Its panic is contained.
    ///
    /// # Errors
    ///
    /// When the loop is gone; `function` is dropped, here. What was posted earlier and not called
    /// is dropped by the thread of the loop.
    ///
    /// # Examples
    ///
    /// See [`Handle`].
    pub fn post(&self, function: impl FnOnce(&EventLoop) + Send + 'static) -> Result<(), Ended> {
        let wake = self.0.mail.post(function).map_err(|_| Ended)?;
        if wake {
            sys::eventfd_write(self.0.notification());
        }
        Ok(())
    }

    /// Has [`run`](EventLoop::run) return, or [`next_event`](EventLoop::next_event) give `None`,
    /// after what was posted before; if neither is under way, the next one. A loop that is gone has
    /// stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// let events = tarae::event::EventLoop::new()?;
    /// let handle = events.handle();
    /// let keep = handle.clone(); // With this the loop would wait for ever.
    /// std::thread::spawn(move || handle.stop());
    /// events.run()?;
    /// drop(keep);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stop(&self) {
        let _ = self.post(EventLoop::stop);
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::new(&self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.mail.leave() {
            sys::eventfd_write(self.0.notification());
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// The event loop is gone.
///
/// # Examples
///
/// ```
/// use tarae::event::{Ended, EventLoop};
///
/// let events = EventLoop::new()?;
/// let handle = events.handle();
/// drop(events);
/// assert_eq!(handle.post(|_| ()), Err(Ended));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is gone")
    }
}

impl std::error::Error for Ended {}
