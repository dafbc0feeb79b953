//! What a wait is bounded by from outside: deadlines, tokens and scopes that it stands inside of.
//!
//! Used by the waits of `sched`, and by `cancel`, `scope` and `offload`, which enter frames. Each
//! coroutine and each plain thread has a `Slot` with its innermost frame; outside of all of them it
//! is empty, and a wait pays one branch for it.
//!
//! ```text
//!   Slot ─► deadline ─► token ─► shield ─► scope ─► (none: the coroutine's own flag)
//!             └ is_cancelled looks at token, stops at the shield
//! ```
//!
//! Invariants: a frame never changes once it is made, but for the mark that its limit was met, so
//! other threads may hold it. Frames are counted and not borrowed: a bare coroutine that pauses
//! inside one may carry it away from the one who is bounded by it, which confuses, but leaves no
//! pointer dangling. Only the slot's own thread looks into it.

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::Unparker;
use super::cancel::{CancelNode, Member, Membership};
use super::worker::Worker;
use crate::driver::Wake;
use crate::sys;

/// A deadline, and the waits that were ended by it.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    /// How many.
    met: AtomicU32,
}

impl Limit {
    pub(crate) fn is_met(&self) -> bool {
        self.met.load(Ordering::Relaxed) > 0
    }
}

#[derive(Debug)]
enum Kind {
    Deadline,
    Token(Arc<CancelNode>),
    /// As a token; it is also cancelled with the coroutine that stands in it.
    Scope(Arc<CancelNode>),
    Shield,
}

#[derive(Debug)]
pub(crate) struct Frame {
    outer: Option<Arc<Frame>>,
    kind: Kind,
    /// The tightest in force.
    limit: Option<Arc<Limit>>,
}

impl Frame {
    /// Whether what stands in it is cancelled; `own` says so of the coroutine.
    fn is_cancelled(&self, own: bool) -> bool {
        let mut frame = self;
        loop {
            match &frame.kind {
                Kind::Token(node) | Kind::Scope(node) if node.is_cancelled() => return true,
                Kind::Shield => return false,
                _ => {}
            }
            match &frame.outer {
                Some(outer) => frame = outer,
                None => return own,
            }
        }
    }

    /// It and all frames around it, from the inside out.
    fn chain(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.outer.as_deref())
    }
}

/// Where a coroutine or a thread keeps its innermost frame.
#[derive(Debug)]
pub(crate) struct Slot(Cell<*const Frame>);

impl Slot {
    pub(super) const fn new() -> Slot {
        Slot(Cell::new(ptr::null()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.get().is_null()
    }

    fn innermost(&self) -> Option<&Frame> {
        // SAFETY: null, or a reference that the slot owns. `replace` is not called while this one
        // is used: it is private, and no function here calls out while it holds it.
        unsafe { self.0.get().as_ref() }
    }

    /// A bare coroutine may have carried a frame to somebody else, or left others inside it.
    #[cold]
    fn is_inside(&self, frame: &Frame) -> bool {
        let is_it = |other: &Frame| ptr::eq(frame, other);
        self.innermost()
            .is_some_and(|innermost| innermost.chain().any(is_it))
    }

    fn counted(&self) -> Option<Arc<Frame>> {
        let frame = self.0.get();
        (!frame.is_null()).then(|| {
            // SAFETY: made by `into_raw`; the slot keeps its own reference.
            unsafe {
                Arc::increment_strong_count(frame);
                Arc::from_raw(frame)
            }
        })
    }

    fn replace(&self, frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
        let before = self.0.replace(frame.map_or(ptr::null(), Arc::into_raw));
        // SAFETY: not null: made by `into_raw`, and the slot's reference is handed on.
        (!before.is_null()).then(|| unsafe { Arc::from_raw(before) })
    }

    /// Whether a wait is cancelled; `own` says so of the coroutine itself.
    pub(super) fn is_cancelled(&self, own: bool) -> bool {
        self.innermost()
            .map_or(own, |frame| frame.is_cancelled(own))
    }

    /// The earlier of a wait's own deadline and the one it stands inside of, and whether it is the
    /// latter.
    pub(super) fn bound(&self, own: Option<Instant>) -> (Option<Instant>, bool) {
        match self.innermost().and_then(|frame| frame.limit.as_deref()) {
            Some(limit) if own.is_none_or(|own| limit.at < own) => (Some(limit.at), true),
            _ => (own, false),
        }
    }

    /// A wait has ended by the deadline it stands inside of.
    pub(super) fn met(&self) {
        if let Some(limit) = self.innermost().and_then(|frame| frame.limit.as_deref()) {
            limit.met.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// That wait has been taken up again, or its operation had succeeded.
    fn not_met(&self) {
        if let Some(limit) = self.innermost().and_then(|frame| frame.limit.as_deref()) {
            limit.met.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The coroutine was cancelled: so are the scopes it stands in, unless they are shielded.
    pub(super) fn cancel_scopes(&self) {
        let mut scopes = Vec::new();
        for frame in self.innermost().into_iter().flat_map(Frame::chain) {
            match &frame.kind {
                Kind::Scope(node) => scopes.push(Arc::clone(node)),
                // Those found so far stand inside of it.
                Kind::Shield => scopes.clear(),
                _ => {}
            }
        }
        scopes.iter().for_each(|scope| scope.cancel());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// What a thread has outside of coroutines.
struct OfThread {
    slot: Slot,
    /// On a pool's thread: who wants the job done.
    client: RefCell<Option<Client>>,
    /// Ends the thread's waits in the kernel. Made when it first enters a token or a scope.
    bell: OnceCell<Arc<OwnedFd>>,
}

thread_local! {
    static OF_THREAD: OfThread = const {
        OfThread {
            slot: Slot::new(),
            client: RefCell::new(None),
            bell: OnceCell::new(),
        }
    };
}

/// Calls `f` with the slot of the coroutine or thread. At a thread's end, with an empty one.
#[inline]
fn with_slot<R>(f: impl FnOnce(&Slot) -> R) -> R {
    match Worker::current().filter(|worker| worker.in_coroutine()) {
        Some(worker) => f(worker.slot()),
        None => {
            let mut f = Some(f);
            let mut call = |slot: &Slot| (f.take().expect("called once"))(slot);
            match OF_THREAD.try_with(|thread| call(&thread.slot)) {
                Ok(result) => result,
                Err(_) => call(&Slot::new()),
            }
        }
    }
}

/// Whether the waits of whoever calls this are cancelled.
pub(crate) fn is_cancelled() -> bool {
    match Worker::current() {
        Some(worker) if worker.in_coroutine() => worker.is_cancelled(),
        _ => OF_THREAD
            .try_with(|thread| {
                let client = thread.client.borrow();
                let own = client.as_ref().is_some_and(Client::is_cancelled);
                thread.slot.is_cancelled(own)
            })
            .unwrap_or(false),
    }
}

/// The deadline that bounds the waits of whoever calls this.
pub(crate) fn limit() -> Option<Arc<Limit>> {
    with_slot(|slot| slot.innermost().and_then(|frame| frame.limit.clone()))
}

/// Whether anything bounds the waits of whoever calls this from outside.
pub(crate) fn is_inside() -> bool {
    with_slot(|slot| slot.innermost().is_some())
}

/// For a plain thread's waits; see `Slot::bound`.
pub(super) fn bound(own: Option<Instant>) -> (Option<Instant>, bool) {
    with_slot(|slot| slot.bound(own))
}

/// See `Slot::met`.
pub(super) fn met() {
    with_slot(Slot::met);
}

/// A wait with this deadline of its own ended so, but what it was for goes on or is done: if it was
/// by the deadline that it stands inside of, that one was not met after all.
pub(crate) fn succeeded(own: Option<Instant>, wake: Wake) {
    if wake == Wake::TimedOut {
        with_slot(|slot| {
            if slot.bound(own).1 {
                slot.not_met();
            }
        });
    }
}

/// What ends a plain thread's waits in the kernel when it is cancelled; none outside of tokens,
/// scopes and jobs that were started.
pub(super) fn bell() -> Option<Arc<OwnedFd>> {
    let bell = |thread: &OfThread| {
        let started = matches!(&*thread.client.borrow(), Some(Client::Started(_)));
        let inside = started || thread.slot.innermost().is_some();
        thread.bell.get().filter(|_| inside).cloned()
    };
    OF_THREAD.try_with(bell).ok().flatten()
}

/// A frame that stays in force until this is dropped.
pub(crate) struct Entered {
    frame: Arc<Frame>,
    _membership: Option<Membership>,
}

impl Entered {
    pub(crate) fn limit(&self) -> Option<&Arc<Limit>> {
        self.frame.limit.as_ref()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        leave(&self.frame);
    }
}

#[inline]
fn leave(frame: &Frame) {
    let left = with_slot(|slot| {
        let is_innermost = ptr::eq(slot.0.get(), frame);
        (is_innermost || slot.is_inside(frame)).then(|| slot.replace(frame.outer.clone()))
    });
    drop(left);
}

/// A deadline that is made once and entered many times, by whoever stands in nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    at: Instant,
    frame: Arc<Frame>,
}

impl Prepared {
    pub(crate) fn new(at: Instant) -> Prepared {
        let met = AtomicU32::new(0);
        let frame = Arc::new(Frame {
            outer: None,
            kind: Kind::Deadline,
            limit: Some(Arc::new(Limit { at, met })),
        });
        Prepared { at, frame }
    }

    /// Bounds waits by it, as `enter_deadline` does.
    #[inline]
    pub(crate) fn enter(&self) -> EnteredPrepared<'_> {
        let is_outermost = with_slot(|slot| {
            let is_empty = slot.is_empty();
            if is_empty {
                slot.replace(Some(Arc::clone(&self.frame)));
            }
            is_empty
        });
        EnteredPrepared {
            frame: &self.frame,
            nested: (!is_outermost).then(|| enter_deadline(self.at)),
        }
    }
}

/// As [`Entered`].
pub(crate) struct EnteredPrepared<'a> {
    frame: &'a Frame,
    /// Inside of something else it is entered as any other.
    nested: Option<Entered>,
}

impl Drop for EnteredPrepared<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.nested.is_none() {
            leave(self.frame);
        }
    }
}

fn enter(kind: Kind, limit: impl FnOnce(Option<&Arc<Limit>>) -> Option<Arc<Limit>>) -> Entered {
    let membership = match &kind {
        Kind::Token(node) | Kind::Scope(node) => Some(node.join(member())),
        Kind::Deadline | Kind::Shield => None,
    };
    with_slot(|slot| {
        let outer = slot.counted();
        let limit = limit(outer.as_ref().and_then(|frame| frame.limit.as_ref()));
        let frame = Arc::new(Frame { outer, kind, limit });
        slot.replace(Some(Arc::clone(&frame)));
        Entered {
            frame,
            _membership: membership,
        }
    })
}

/// Whoever calls this, as one who is told of a cancellation.
pub(crate) fn member() -> Member {
    match Unparker::current() {
        Unparker::Coroutine(task) => Member::Coroutine(task),
        Unparker::Thread(thread) => {
            // Without a free descriptor, waits in the kernel notice a cancellation at their end.
            let bell = OF_THREAD.try_with(|of_thread| {
                if of_thread.bell.get().is_none()
                    && let Ok(bell) = sys::eventfd()
                {
                    // Empty: looked at just above.
                    let _ = of_thread.bell.set(Arc::new(bell));
                }
                of_thread.bell.get().cloned()
            });
            Member::Thread(thread, bell.ok().flatten())
        }
    }
}

/// Bounds waits by `at`; the limit that is in force is the tightest, and of two equal ones the
/// outer.
pub(crate) fn enter_deadline(at: Instant) -> Entered {
    enter(Kind::Deadline, |outer| match outer {
        Some(outer) if outer.at <= at => Some(Arc::clone(outer)),
        _ => {
            let met = AtomicU32::new(0);
            Some(Arc::new(Limit { at, met }))
        }
    })
}

/// Has waits cancelled with `node`.
pub(crate) fn enter_token(node: Arc<CancelNode>) -> Entered {
    enter(Kind::Token(node), |outer| outer.cloned())
}

/// As a token's, and cancelled with the coroutine itself.
pub(crate) fn enter_scope(node: Arc<CancelNode>) -> Entered {
    enter(Kind::Scope(node), |outer| outer.cloned())
}

/// Of a scope's child: it stands inside its scope and nothing else.
pub(crate) fn enter_child(node: Arc<CancelNode>, limit: Option<Arc<Limit>>) -> Entered {
    enter(Kind::Token(node), |_| limit)
}

/// Neither cancellation nor deadlines from outside reach inside.
pub(crate) fn enter_shield() -> Entered {
    enter(Kind::Shield, |_| None)
}

/// What a scope opened here is to be cancelled with, apart from the coroutine itself.
pub(crate) fn nodes_around() -> Vec<Arc<CancelNode>> {
    with_slot(|slot| {
        let mut nodes = Vec::new();
        for frame in slot.innermost().into_iter().flat_map(Frame::chain) {
            match &frame.kind {
                Kind::Token(node) => nodes.push(Arc::clone(node)),
                // What is around that scope reaches it.
                Kind::Scope(node) => {
                    nodes.push(Arc::clone(node));
                    break;
                }
                Kind::Shield => break,
                Kind::Deadline => {}
            }
        }
        nodes
    })
}

/// What bounds whoever calls this, for a job that a pool's thread does for it.
#[derive(Debug, Default)]
pub(crate) struct Captured(Option<Arc<Frame>>);

pub(crate) fn capture() -> Captured {
    Captured(with_slot(Slot::counted))
}

/// Who wants a pool's thread to do its job.
#[derive(Clone)]
pub(crate) enum Client {
    /// It waits.
    Waiter(Unparker),
    /// It goes on meanwhile: the job belongs to a completion.
    Started(Arc<dyn Started>),
}

/// A job that nobody waits for in a frame.
pub(crate) trait Started: Send + Sync {
    /// Does it, on a pool's thread.
    fn run(self: Arc<Self>);

    fn is_cancelled(&self) -> bool;
}

impl Client {
    fn is_cancelled(&self) -> bool {
        match self {
            Client::Waiter(waiter) => waiter.is_cancelled(),
            Client::Started(job) => job.is_cancelled(),
        }
    }
}

/// Puts a pool's thread in the place of who wants its job done, or back in its own.
pub(crate) fn lend_thread(captured: Captured, client: Option<Client>) {
    let before = OF_THREAD.try_with(|thread| {
        let client = thread.client.replace(client);
        (thread.slot.replace(captured.0), client)
    });
    drop(before);
}
