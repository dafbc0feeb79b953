//! Notification of asynchronous calls: whoever completes one only posts the result, and the thread
//! of the loop processes it.
//!
//! The function stays with the loop, in a place whose number goes with the call, so that it need
//! not be `Send`. A completion is delivered once, so a place is emptied once, or with the loop.

use std::any::Any;

use super::{EventLoop, Handle};
use crate::completion::{Completion, CompletionError, Executor};

/// Called with an `Option` of the result, which it takes.
pub(super) type OnResult = Box<dyn FnOnce(&EventLoop, &mut dyn Any)>;

/// Jobs run on the thread of the loop, as posted functions do. When the loop is gone they are
/// dropped by whoever hands them in.
impl Executor for Handle {
    fn execute(&self, job: Box<dyn FnOnce() + Send>) {
        // Dropped when the loop is gone.
        let _ = self.post(move |_| job());
    }
}

impl<T: Send + 'static> Completion<T> {
    /// Notification: has `f` called with the result by the event loop, on its thread, in one of its
    /// rounds: never on this frame, even when the result is there already. Never waits. The caller
    /// goes on with its loop, and the *caller's* thread processes the result; `f` need not be
    /// `Send`.
    ///
    /// It is called exactly once, unless the loop is dropped before: then `f` is dropped with the
    /// loop, and the result by whoever completes the call. A loop that is stopped calls it when it
    /// is run again. Until then the loop has something to wait for. `f` must not block; its panic
    /// is contained.
    ///
    /// From other threads, [`on_complete_in`](Completion::on_complete_in) takes a
    /// [`Handle`] for an executor. Where no function is to be called, a loop written by
    /// hand is given an event with a key by
    /// [`Completions::notify_fd`](crate::completion::Completions::notify_fd).
    ///
    /// # Panics
    ///
    /// When the result was taken before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use tarae::event::EventLoop;
    ///
    /// let events = EventLoop::new()?;
    /// let here = std::thread::current().id();
    /// let sum = Rc::new(Cell::new(0));
    /// for number in 1..=10 {
    ///     let sum = Rc::clone(&sum);
    ///     tarae::offload::start(move || number * number).notify_on(&events, move |_, square| {
    ///         assert_eq!(std::thread::current().id(), here);
    ///         sum.set(sum.get() + square.unwrap());
    ///     });
    /// }
    /// assert_eq!(sum.get(), 0); // Nothing was processed behind our back.
    /// events.run()?; // Until there is nothing left to wait for.
    /// assert_eq!(sum.get(), 385);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn notify_on<F>(self, events: &EventLoop, f: F)
    where
        F: FnOnce(&EventLoop, Result<T, CompletionError>) + 'static,
    {
        self.assert_untaken();
        let on_result = move |events: &EventLoop, result: &mut dyn Any| {
            let result = result.downcast_mut::<Option<Result<T, CompletionError>>>();
            if let Some(result) = result.and_then(Option::take) {
                f(events, result);
            }
        };
        let place = events.notified.borrow_mut().insert(Box::new(on_result));
        let handle = events.handle();
        self.hand_over(move |result| {
            // With the loop, `f` is gone.
            let _ = handle.post(move |events| {
                let on_result = events.notified.borrow_mut().remove(place);
                on_result(events, &mut Some(result));
            });
        });
    }
}
