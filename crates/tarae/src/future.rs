//! Futures in direct style: `block_on`. Public through the crate's root.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake as WakeTrait, Waker};

use crate::driver::Wake;
use crate::sched::io::Cancelled;
use crate::sched::{self, Cancel, Unparker, WaitReason};

struct UnparkOnWake(Unparker);

impl WakeTrait for UnparkOnWake {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end: parks the coroutine while it is pending, or blocks the plain thread.
///
/// The future's own reactor and timers must run elsewhere, unless it uses
/// [`net::poll_readable`](crate::net::poll_readable) and its like.
///
/// # Errors
///
/// [`Cancelled`] when the coroutine is cancelled while it waits, and also when a
/// [deadline](crate::cancel) around it passes; the future is dropped.
///
/// # Examples
///
/// ```
/// tarae::run(|| assert_eq!(tarae::block_on(async { 6 * 7 }), Ok(42))).unwrap();
/// ```
pub fn block_on<F: Future>(future: F) -> Result<F::Output, Cancelled> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(UnparkOnWake(Unparker::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if sched::park(WaitReason::Park, None, Cancel::Yes) != Wake::Ready {
            return Err(Cancelled);
        }
    }
}
