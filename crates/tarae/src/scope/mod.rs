//! Structured concurrency: coroutines that borrow from the frame that makes them, and end with it.
//!
//! Public. [`scope`](fn@scope) is [`std::thread::scope`] for coroutines; [`try_scope`] is the same
//! for children that can fail, and gives the first error.
//!
//! ```
//! tarae::run(|| {
//!     let words = ["to", "be", "or", "not"];
//!     let mut lengths = [0; 4];
//!     tarae::scope(|s| {
//!         for (word, length) in words.iter().zip(&mut lengths) {
//!             s.spawn(move || *length = word.len());
//!         }
//!     });
//!     assert_eq!(lengths, [2, 2, 2, 3]);
//! })
//! .unwrap();
//! ```
//!
//! * **The end.** The scope ends when its closure and all its children have, children of children
//!   included. That wait is never cut short, since they borrow. `Drop` never waits: forgetting a
//!   handle changes nothing.
//! * **Failure.** The first panic of a child or of the closure, or with [`try_scope`] the first
//!   error, cancels all the others, closure included: their waits end, and those that have not
//!   begun never do. When they have ended, it is what the scope gives. What fails later, mostly by
//!   that cancellation, is dropped.
//! * **Inheritance.** What bounds the closure's maker bounds the children: cancellation, tokens and
//!   deadlines (see [`cancel`](crate::cancel)), but not what is entered inside the scope before a
//!   `spawn`. Coroutine-locals are copied on [request](Scope::inherit).
//! * **Where.** Children run on any worker (`spawn`) or on this one (`spawn_local`). A scope may be
//!   opened on a plain thread: its children run on the runtime that is running. When that ends with
//!   a child that ignores its cancellation beyond the grace period, the plain thread waits for
//!   ever, since the child's frames may still be borrowed from.
//! * **The coroutine that opens it** is its scope's, and so cancels it: when it is cancelled, its
//!   children are, at once.

mod count;
mod shared;

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::local::LocalKey;
use crate::sched::context;
use crate::sched::handle::JoinHandle;
use crate::sched::runtime::{self, Spawn};
use crate::thread;
use shared::{Child, First, Packet, Shared, locked};

/// Runs `f`, whose children may borrow from around it, and returns when all have ended; mirrors
/// [`std::thread::scope`]. Parks the coroutine, or blocks the plain thread.
/// See [`scope`](mod@self).
///
/// # Panics
///
/// With the first panic of a child or of `f`. (Unlike std's: also if that child was joined, and
/// with its own payload.)
///
/// # Examples
///
/// ```
/// tarae::run(|| {
///     let numbers = vec![1, 2, 3];
///     let (sum, product) = tarae::scope(|s| {
///         let sum = s.spawn(|| numbers.iter().sum::<i32>());
///         let product = s.spawn(|| numbers.iter().product::<i32>());
///         (sum.join().unwrap(), product.join().unwrap())
///     });
///     assert_eq!((numbers.len(), sum, product), (3, 6, 6));
/// })
/// .unwrap();
/// ```
///
/// What lives in the closure cannot be borrowed by children, which outlive it:
///
/// ```compile_fail,E0597
/// tarae::scope(|s| {
///     let inside = 1;
///     s.spawn(|| inside + 1);
/// });
/// ```
///
/// Nor can a child get away from the scope:
///
/// ```compile_fail,E0521
/// let mut kept = None;
/// tarae::scope(|s| kept = Some(s.spawn(|| 1)));
/// ```
///
/// Nor use what is mutably borrowed elsewhere:
///
/// ```compile_fail,E0499
/// let mut one = 1;
/// tarae::scope(|s| {
///     s.spawn(|| one += 1);
///     s.spawn(|| one += 1);
/// });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        shared: Arc::new(Shared::new()),
        scope: PhantomData,
        env: PhantomData,
    };
    match hold(&scope.shared, || Ok(f(&scope))) {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// As [`scope`](fn@scope), for children that return a `Result`: the first error, of a child or of
/// `f`, cancels the rest and is returned.
///
/// # Errors
///
/// The first.
///
/// # Panics
///
/// With the first panic, if there was no error before.
///
/// # Examples
///
/// ```
/// use std::io::{Error, ErrorKind, Result};
///
/// fn patient() -> Result<()> {
///     tarae::thread::park(); // Ends when its sibling fails.
///     Err(Error::other("too late to be the first"))
/// }
///
/// tarae::run(|| {
///     let result = tarae::try_scope(|s| {
///         s.spawn(patient);
///         s.spawn(|| std::fs::read("/does/not/exist"));
///         Ok("all is well")
///     });
///     assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
/// })
/// .unwrap();
/// ```
///
/// Children borrow as those of [`scope`](fn@scope) do, and from nowhere else:
///
/// ```compile_fail,E0597
/// let _: Result<(), ()> = tarae::try_scope(|s| {
///     let inside = 1;
///     s.spawn(|| Ok(inside + 1));
///     Ok(())
/// });
/// ```
///
/// ```compile_fail,E0521
/// let mut kept = None;
/// let _: Result<(), ()> = tarae::try_scope(|s| {
///     kept = Some(s);
///     Ok(())
/// });
/// ```
#[track_caller]
pub fn try_scope<'env, F, T, E>(f: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(TryScope<'scope, 'env, E>) -> Result<T, E>,
    E: Send,
{
    let shared = Arc::new(Shared::new());
    let scope = TryScope {
        shared: NonNull::from(&shared),
        error: PhantomData,
        scope: PhantomData,
        env: PhantomData,
    };
    hold(&shared, || f(scope))
}

/// Runs the body and does not return, nor unwind, before all children have ended.
fn hold<T, E>(shared: &Shared<E>, body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let entered = context::enter_scope(Arc::clone(&shared.node));
    let stay = Stay;
    let value = match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            shared.fail(First::Error(error));
            None
        }
        Err(payload) => {
            shared.fail(First::Panic(payload));
            None
        }
    };
    shared.wait();
    std::mem::forget(stay);
    drop(entered);
    match (shared.take_first(), value) {
        (Some(First::Panic(payload)), _) => panic::resume_unwind(payload),
        (Some(First::Error(error)), _) => Err(error),
        (None, Some(value)) => Ok(value),
        (None, None) => unreachable!("a failed body has left its failure"),
    }
}

/// A frame that must not be unwound: children may be using it.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        eprintln!("tarae: a panic while waiting for the end of a scope, from which others borrow");
        std::process::abort();
    }
}

/// Makes the children of a [`scope`](fn@scope); mirrors [`std::thread::Scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared<Infallible>>,
    /// Invariant, as std's: or a child could be made with a longer life than it has.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Makes the children of a [`try_scope`].
///
/// It is a small value, where [`Scope`] is a reference, so that the errors may be of any type. (A
/// reference to something with a lifetime in it, `Box<dyn Error>` included, would demand that what
/// children borrow lives as long.) A child that spawns others takes a copy along, by `move`.
pub struct TryScope<'scope, 'env: 'scope, E> {
    /// In the frame of `try_scope`, which is not left during `'scope`.
    shared: NonNull<Arc<Shared<E>>>,
    /// Invariant: errors go in as well as out.
    error: PhantomData<fn(E) -> E>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

// SAFETY: a reference to what is shared by means of locks and atomics; errors go to the thread that
// opened the scope, so they must be `Send`.
unsafe impl<E: Send> Send for TryScope<'_, '_, E> {}
// SAFETY: as above.
unsafe impl<E: Send> Sync for TryScope<'_, '_, E> {}

impl<E> Clone for TryScope<'_, '_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for TryScope<'_, '_, E> {}

impl<E> TryScope<'_, '_, E> {
    fn shared(&self) -> &Arc<Shared<E>> {
        // SAFETY: it lives for `'scope`, and so does whoever holds this.
        unsafe { self.shared.as_ref() }
    }
}

impl Scope<'_, '_> {
    fn shared(&self) -> &Arc<Shared<Infallible>> {
        &self.shared
    }
}

/// What both kinds of scope offer.
macro_rules! common {
    ($($impl:tt)*) => {
        $($impl)* {
            /// Lets at most `n` children run at once: a spawn beyond that waits, in turn, until
            /// one has ended. Children that run already go on. It may be changed at any time.
            ///
            /// Such a wait is not cut short; whatever cancels the scope ends it by ending
            /// children. One who is a child itself takes up room while it waits.
            ///
            /// # Panics
            ///
            /// When `n` is zero.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
            ///
            /// tarae::run(|| {
            ///     let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
            ///     tarae::scope(|s| {
            ///         s.limit(3);
            ///         for _ in 0..20 {
            ///             s.spawn(|| {
            ///                 most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            ///                 tarae::yield_now();
            ///                 running.fetch_sub(1, SeqCst);
            ///             });
            ///         }
            ///     });
            ///     assert!(most.into_inner() <= 3);
            /// })
            /// .unwrap();
            /// ```
            pub fn limit(&self, n: usize) -> &Self {
                self.shared().set_limit(n);
                self
            }

            /// Cancels whatever is inside, the closure included; the scope gives what the closure
            /// returns. Waits for nothing.
            ///
            /// # Examples
            ///
            /// ```
            /// tarae::run(|| {
            ///     let first = tarae::scope(|s| {
            ///         s.spawn(|| tarae::thread::park());
            ///         s.cancel();
            ///         "done"
            ///     });
            ///     assert_eq!(first, "done");
            /// })
            /// .unwrap();
            /// ```
            pub fn cancel(&self) {
                self.shared().node.cancel();
            }

            /// Whether it has been cancelled, for whatever reason.
            pub fn is_cancelled(&self) -> bool {
                self.shared().node.is_cancelled()
            }

            /// Has each child that is spawned from now on begin with a copy of the value that
            /// `key` has where it is spawned.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::cell::Cell;
            ///
            /// tarae::coroutine_local! {
            ///     static REQUEST: Cell<u64> = Cell::new(0);
            /// }
            ///
            /// tarae::run(|| {
            ///     REQUEST.set(7);
            ///     tarae::scope(|s| {
            ///         s.spawn(|| assert_eq!(REQUEST.get(), 0));
            ///         s.inherit(&REQUEST).spawn(|| assert_eq!(REQUEST.get(), 7));
            ///     });
            /// })
            /// .unwrap();
            /// ```
            pub fn inherit<V: Clone + Send>(&self, key: &'static LocalKey<V>) -> &Self {
                let copier: shared::Copier = Arc::new(move || {
                    let value = key.with(V::clone);
                    Box::new(move || key.replace_whole(value))
                });
                locked(&self.shared().inherited).push(copier);
                self
            }
        }
    };
}

common!(impl Scope<'_, '_>);
common!(impl<E> TryScope<'_, '_, E>);

impl<'scope> Scope<'scope, '_> {
    /// Spawns a child that may run on any worker, as [`spawn`](fn@crate::spawn) does. Waits for
    /// room if there is a [limit](Scope::limit).
    ///
    /// # Panics
    ///
    /// When no runtime is running.
    ///
    /// # Examples
    ///
    /// What a child borrows or gives must be able to change threads:
    ///
    /// ```compile_fail,E0277
    /// let local = std::rc::Rc::new(1);
    /// tarae::scope(|s| {
    ///     s.spawn(|| *local + 1);
    /// });
    /// ```
    ///
    /// ```compile_fail,E0277
    /// tarae::scope(|s| {
    ///     s.spawn(|| std::rc::Rc::new(1));
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let spawn = Spawn::here(Location::caller());
        // SAFETY: the scope's; `Send`.
        unsafe { spawn_child(self.shared(), spawn, Place::Anywhere, || Ok(f())) }
            .expect(thread::NO_RUNTIME)
    }

    /// Spawns a child on this worker and no other, so that nothing needs to be `Send`.
    ///
    /// # Panics
    ///
    /// When this thread is not a worker's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// tarae::run(|| {
    ///     let count = Cell::new(0); // Not `Sync`.
    ///     tarae::scope(|s| {
    ///         for _ in 0..3 {
    ///             s.spawn_local(|| count.set(count.get() + 1));
    ///         }
    ///     });
    ///     assert_eq!(count.get(), 3);
    /// })
    /// .unwrap();
    /// ```
    ///
    /// The handle stays there too, unless the value is `Send`:
    ///
    /// ```compile_fail,E0277
    /// tarae::scope(|s| {
    ///     let handle = s.spawn_local(|| std::rc::Rc::new(1));
    ///     s.spawn(move || drop(handle));
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_local<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let spawn = Spawn::here(Location::caller());
        // SAFETY: the scope's; it stays on this thread.
        unsafe { spawn_child(self.shared(), spawn, Place::Here, || Ok(f())) }
            .expect(thread::NO_RUNTIME)
    }

    /// For `thread::Builder::spawn_scoped`.
    pub(crate) fn spawn_as<F, T>(
        &'scope self,
        spawn: Spawn,
        f: F,
    ) -> Option<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: the scope's; `Send`.
        unsafe { spawn_child(self.shared(), spawn, Place::Anywhere, || Ok(f())) }
    }
}

impl<'scope, E: Send> TryScope<'scope, '_, E> {
    /// As [`Scope::spawn`]. If `f` gives an error, and it is the first, it is the scope's.
    ///
    /// # Panics
    ///
    /// When no runtime is running.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
    {
        let spawn = Spawn::here(Location::caller());
        // SAFETY: the scope's; `Send`.
        unsafe { spawn_child(self.shared(), spawn, Place::Anywhere, f) }.expect(thread::NO_RUNTIME)
    }

    /// As [`Scope::spawn_local`]. If `f` gives an error, and it is the first, it is the scope's.
    ///
    /// # Panics
    ///
    /// When this thread is not a worker's.
    #[track_caller]
    pub fn spawn_local<F, T>(&self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> Result<T, E> + 'scope,
        T: 'scope,
    {
        let spawn = Spawn::here(Location::caller());
        // SAFETY: the scope's; it stays on this thread.
        unsafe { spawn_child(self.shared(), spawn, Place::Here, f) }.expect(thread::NO_RUNTIME)
    }
}

/// Where a child may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    Here,
}

/// Makes a child and its handle. `None`: no runtime or, for `Here`, no worker.
///
/// # Safety
/// `shared` is that of the scope whose `'scope` bounds what `f` and `T` borrow. For `Anywhere`,
/// `f`, `T` and `E` are `Send`.
unsafe fn spawn_child<'scope, E, F, T>(
    shared: &Arc<Shared<E>>,
    spawn: Spawn,
    place: Place,
    f: F,
) -> Option<ScopedJoinHandle<'scope, T>>
where
    F: FnOnce() -> Result<T, E> + 'scope,
    T: 'scope,
{
    let (child, packet) = Child::new(shared, f);
    let body = move || child.run();
    // SAFETY: all that the closure borrows outlives its run and its drop, since the ticket in it
    // goes last and the scope's frame is not left before; it gives `()`, which borrows nothing. It
    // changes threads only if it is `Send`.
    let spawned = unsafe {
        match place {
            Place::Anywhere => runtime::spawn_unchecked(spawn, body),
            Place::Here => runtime::spawn_local_unchecked(spawn, body),
        }
    };
    match spawned {
        Ok(task) => Some(ScopedJoinHandle {
            task,
            packet,
            scope: PhantomData,
        }),
        Err(body) => {
            // The caller tells of it.
            packet.expected.store(true, Ordering::Relaxed);
            drop(body);
            None
        }
    }
}

/// Waits for a scope's child and gives its value; mirrors [`std::thread::ScopedJoinHandle`].
///
/// Dropping or forgetting it changes nothing: the scope waits for the child.
pub struct ScopedJoinHandle<'scope, T> {
    task: JoinHandle<()>,
    packet: Arc<Packet<T>>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the end: parks the coroutine that calls it, blocks a plain thread.
    ///
    /// # Errors
    ///
    /// [`is_panic`](thread::JoinError::is_panic) when the child panicked: its payload goes to the
    /// scope, this has its message. [`is_failed`](thread::JoinError::is_failed) when it returned an
    /// error, which goes to the scope too. [`is_cancelled`](thread::JoinError::is_cancelled) when
    /// it was cancelled before it ran, or this wait was cancelled, as it is when the scope is;
    /// [`is_timeout`](thread::JoinError::is_timeout) when a deadline ended the wait.
    ///
    /// # Panics
    ///
    /// When a coroutine joins itself.
    pub fn join(self) -> thread::Result<T> {
        self.task.join()?;
        let value = locked(&self.packet.value).take();
        value.expect("a child that has ended has left its value")
    }

    /// Asks the child to stop, and does not wait for it; see
    /// [`JoinHandle::cancel`](thread::JoinHandle::cancel). Its siblings go on.
    pub fn cancel(&self) {
        self.packet.expected.store(true, Ordering::Relaxed);
        self.task.cancel();
    }

    /// Whether the child has ended; `join` does not wait then.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The coroutine's identity: id, name, spawn site.
    pub fn thread(&self) -> thread::Thread {
        self.task.thread()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedJoinHandle").field(&self.task).finish()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
