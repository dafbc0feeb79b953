//! `Completions`: notification. Results are queued for whoever drains them, who is told by a
//! descriptor or waits.
//!
//! Public. Whoever completes only pushes here; it runs nothing of the user's and never waits.
//!
//! Invariant, under the lock: the eventfd, if there is one, is readable while the queue is not
//! empty, and only then.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Completion, CompletionError};
use crate::driver::Wake;
use crate::sched::{self, Cancel, Unparker, WaitReason};
use crate::sys;

/// Results of asynchronous calls, in the order in which they come, each with the key it was added
/// with. The caller goes on meanwhile and drains it when it likes, or when its own loop is told by
/// the [descriptor](Completions::notify_fd): so the caller's thread processes the results.
///
/// It may be shared between threads. Dropping it detaches what has not completed.
///
/// # Examples
///
/// A loop of the user's own, around `poll`:
///
/// ```
/// use rustix::event::{PollFd, PollFlags, poll};
/// use tarae::completion::Completions;
///
/// let calls = Completions::new();
/// for number in 1..=3 {
///     calls.add(number, tarae::offload::start(move || number * number));
/// }
/// let mut squares = Vec::new();
/// while squares.len() < 3 {
///     let fd = calls.notify_fd().unwrap();
///     poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
///     // Told: on this thread, drain what has come.
///     while let Some((number, square)) = calls.try_next() {
///         squares.push((number, square.unwrap()));
///     }
/// }
/// squares.sort();
/// assert_eq!(squares, [(1, 1), (2, 4), (3, 9)]);
/// ```
pub struct Completions<K, T> {
    shared: Arc<Shared<K, T>>,
}

struct Shared<K, T> {
    state: Mutex<State<K, T>>,
    eventfd: OnceLock<OwnedFd>,
}

struct State<K, T> {
    ready: VecDeque<(K, Result<T, CompletionError>)>,
    /// Calls added that have not completed.
    pending: usize,
    /// Who waits in `next`.
    waiting: Vec<(u64, Unparker)>,
    /// The number of the last that waited.
    last: u64,
}

impl<K: Send + 'static, T: Send + 'static> Completions<K, T> {
    /// An empty queue.
    ///
    /// # Examples
    ///
    /// See [`Completions`].
    pub fn new() -> Completions<K, T> {
        Completions {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    ready: VecDeque::new(),
                    pending: 0,
                    waiting: Vec::new(),
                    last: 0,
                }),
                eventfd: OnceLock::new(),
            }),
        }
    }

    /// Has the result of `completion` put here with `key`, now if it has come already. Never waits.
    ///
    /// # Panics
    ///
    /// When the result was taken before.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::completion::Completions;
    ///
    /// let calls = Completions::new();
    /// for path in ["/proc/self/comm", "/no/such/file"] {
    ///     calls.add(path, tarae::offload::start(move || std::fs::read(path)));
    /// }
    /// // Whichever comes first.
    /// while let Some((path, bytes)) = calls.next() {
    ///     assert_eq!(bytes.unwrap().is_ok(), path == "/proc/self/comm");
    /// }
    /// ```
    pub fn add(&self, key: K, completion: Completion<T>) {
        completion.assert_untaken();
        self.shared.locked().pending += 1;
        let shared = Arc::clone(&self.shared);
        completion.hand_over(move |outcome| shared.arrive(key, outcome));
    }

    /// Takes the oldest result, if there is one. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// let calls = tarae::completion::Completions::new();
    /// assert!(calls.try_next().is_none());
    /// calls.add("sum", tarae::offload::start(|| 1 + 2));
    /// let (name, sum) = loop {
    ///     match calls.try_next() {
    ///         Some(result) => break result,
    ///         None => std::thread::yield_now(), // Or something better to do.
    ///     }
    /// };
    /// assert_eq!((name, sum.unwrap()), ("sum", 3));
    /// ```
    pub fn try_next(&self) -> Option<(K, Result<T, CompletionError>)> {
        self.shared.pop(&mut self.shared.locked())
    }

    /// Takes the oldest result, and waits until there is one: parks the coroutine, blocks a plain
    /// thread. This is the *synchronous* way.
    ///
    /// None when no call that was added is left, and also when the wait is cancelled or a
    /// [deadline](crate::cancel) around it has passed.
    ///
    /// # Examples
    ///
    /// See [`add`](Completions::add).
    pub fn next(&self) -> Option<(K, Result<T, CompletionError>)> {
        loop {
            let mut state = self.shared.locked();
            if let Some(next) = self.shared.pop(&mut state) {
                return Some(next);
            }
            if state.pending == 0 {
                return None;
            }
            state.last += 1;
            let number = state.last;
            state.waiting.push((number, Unparker::current()));
            drop(state);
            let wake = sched::park(WaitReason::Completion, None, Cancel::Yes);
            let mut state = self.shared.locked();
            let ours = state.waiting.iter().position(|(at, _)| *at == number);
            let unparker = ours.map(|at| state.waiting.swap_remove(at));
            let next = match wake {
                Wake::Ready => None,
                _ => self.shared.pop(&mut state),
            };
            drop((state, unparker));
            if wake != Wake::Ready {
                if next.is_some() {
                    sched::context::succeeded(None, wake);
                }
                return next;
            }
        }
    }

    /// How many calls were added whose results have not been taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let calls = tarae::completion::Completions::new();
    /// calls.add((), tarae::offload::start(|| 1));
    /// assert_eq!(calls.len(), 1); // Whether it has come or not.
    /// calls.next();
    /// assert!(calls.is_empty());
    /// ```
    pub fn len(&self) -> usize {
        let state = self.shared.locked();
        state.pending + state.ready.len()
    }

    /// Whether there are none.
    ///
    /// # Examples
    ///
    /// See [`len`](Completions::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An eventfd that is readable while there is a result to be taken, for any loop that waits for
    /// descriptors, edge- or level-triggered: drain with [`try_next`](Completions::try_next) until
    /// it gives none. Do not read the descriptor itself. Made by the first call.
    ///
    /// # Examples
    ///
    /// In an event loop written by hand, results are events with a key:
    ///
    /// ```
    /// use tarae::completion::Completions;
    /// use tarae::event::{Event, EventLoop, Interest, Mode};
    ///
    /// const RESULTS: u64 = 0;
    ///
    /// let events = EventLoop::new()?;
    /// let calls = Completions::new();
    /// let fd = calls.notify_fd()?.try_clone_to_owned()?;
    /// let source = events.key(RESULTS).add(fd, Interest::READ, Mode::Level)?;
    /// calls.add("words", tarae::offload::start(|| "to be or not to be".split(' ').count()));
    /// while let Some(event) = events.next_event()? {
    ///     let Event::Ready { key: RESULTS, .. } = event else { unreachable!() };
    ///     while let Some((name, words)) = calls.try_next() {
    ///         assert_eq!((name, words.unwrap()), ("words", 6));
    ///     }
    ///     if calls.is_empty() {
    ///         events.remove(source);
    ///     }
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// When no descriptor is free; [`Unsupported`](io::ErrorKind::Unsupported) in a
    /// [simulated run](crate::sim).
    pub fn notify_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if self.shared.eventfd.get().is_none() {
            sched::refuse_simulated("the descriptor of a queue of completions")?;
            let eventfd = sys::eventfd()?;
            // Under the lock: who pushes meanwhile sees it, or is seen here.
            let state = self.shared.locked();
            let eventfd = self.shared.eventfd.get_or_init(|| eventfd);
            if !state.ready.is_empty() {
                sys::eventfd_write(eventfd.as_raw_fd());
            }
        }
        let eventfd = self.shared.eventfd.get();
        Ok(eventfd.expect("made just now").as_fd())
    }
}

impl<K, T> Shared<K, T> {
    fn locked(&self) -> MutexGuard<'_, State<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self, state: &mut State<K, T>) -> Option<(K, Result<T, CompletionError>)> {
        let next = state.ready.pop_front()?;
        if let (true, Some(eventfd)) = (state.ready.is_empty(), self.eventfd.get()) {
            // It was readable: the queue was not empty.
            let _ = sys::eventfd_read(eventfd.as_raw_fd());
        }
        Some(next)
    }

    fn arrive(&self, key: K, outcome: Result<T, CompletionError>) {
        let mut state = self.locked();
        state.pending -= 1;
        state.ready.push_back((key, outcome));
        if let (1, Some(eventfd)) = (state.ready.len(), self.eventfd.get()) {
            sys::eventfd_write(eventfd.as_raw_fd());
        }
        // All of them: one that is cancelled at this moment would keep it to itself, and at the end
        // each is to see that nothing is left. Under the lock, so that the list keeps its memory;
        // waking runs nothing of the user's.
        for (_, unparker) in state.waiting.drain(..) {
            unparker.unpark_last();
        }
    }
}

impl<K: Send + 'static, T: Send + 'static> Default for Completions<K, T> {
    fn default() -> Completions<K, T> {
        Completions::new()
    }
}

impl<K, T> fmt::Debug for Completions<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.locked();
        f.debug_struct("Completions")
            .field("ready", &state.ready.len())
            .field("pending", &state.pending)
            .finish()
    }
}
