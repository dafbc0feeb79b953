//! The part of a worker that other threads may touch: its inbox, its wake-up descriptor, the queue
//! of unstarted coroutines, its load.
//!
//! Used by everything that reaches a worker from outside: spawn, unpark, release, shutdown.
//!
//! Invariant: a `Shared` is never freed, so that a late unpark of a coroutine whose runtime has
//! ended still finds an inbox (closed, or of a later worker that ignores it) and an eventfd. It is
//! recycled: a process holds as many as it ever had workers at once.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inbox::{Closed, Inbox, Nodes};
use super::ring::Ring;
use super::task::{Info, Node, NodeKind, TaskRef};
use super::watchdog::Pulse;
use super::worker::Worker;
use crate::driver::Home;
use crate::sys;

/// Unstarted coroutines a worker offers to others at a time.
const OFFERED: usize = 256;

pub(crate) struct Shared {
    inbox: Inbox<Node>,
    pub(super) offered: Ring<Node, OFFERED>,
    eventfd: OwnedFd,
    /// The worker that uses it now; numbers are never reused.
    number: AtomicU32,
    /// Placed coroutines on their way to the worker; RMW by any thread.
    incoming: AtomicUsize,
    /// Placed coroutines it has, idle connections included; written by its worker only.
    placed: AtomicUsize,
    /// The coroutine that runs on it: its id (0: none) and spawn site; written by its worker only.
    /// For reports alone: nobody knows whether it still runs.
    running: AtomicU64,
    running_from: AtomicPtr<Location<'static>>,
    /// A worker was made on it, and has not ended without leaking anything.
    in_use: AtomicBool,
    /// Offloaded jobs that borrow from its coroutines, and so perhaps from its thread.
    lent: AtomicUsize,
    /// Counted up only where there is a watchdog.
    pub(super) pulse: Pulse,
}

/// A function posted to a worker. It runs on the worker's own stack and must not wait.
#[repr(C)]
pub(super) struct Posted {
    node: Node,
    pub(super) function: Box<dyn FnOnce(&'static Worker) + Send>,
}

/// The place in an inbox that a `Delivery` brings along, so that sending it allocates nothing.
#[repr(C)]
pub(crate) struct Parcel {
    node: Node,
    /// What is to be delivered, while the node stands in an inbox. It keeps the parcel alive.
    content: Mutex<Option<Arc<dyn Delivery>>>,
}

/// Something that a worker is to do on its own stack.
pub(crate) trait Delivery: Send + Sync {
    /// Its place in an inbox.
    fn parcel(&self) -> &Parcel;

    /// May run foreign code; a panic goes on to the caller.
    fn deliver(self: Arc<Self>);
}

impl Parcel {
    pub(crate) fn new() -> Parcel {
        Parcel {
            node: Node::new(NodeKind::Parcel),
            content: Mutex::new(None),
        }
    }

    fn content(&self) -> MutexGuard<'_, Option<Arc<dyn Delivery>>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came through the inbox.
pub(super) enum Message {
    Task(TaskRef),
    Posted(Box<Posted>),
    Parcel(Arc<dyn Delivery>),
}

static IDLE: Mutex<Vec<&'static Shared>> = Mutex::new(Vec::new());

impl Shared {
    /// Takes an unused one, or makes one, for a new worker.
    pub(super) fn obtain() -> io::Result<&'static Shared> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let shared = match idle {
            Some(shared) => {
                shared.inbox.reopen();
                shared
            }
            None => Box::leak(Box::new(Shared {
                inbox: Inbox::new(),
                offered: Ring::new(),
                eventfd: sys::eventfd()?,
                number: AtomicU32::new(0),
                incoming: AtomicUsize::new(0),
                placed: AtomicUsize::new(0),
                running: AtomicU64::new(0),
                running_from: AtomicPtr::new(std::ptr::null_mut()),
                in_use: AtomicBool::new(false),
                lent: AtomicUsize::new(0),
                pulse: Pulse::default(),
            })),
        };
        shared
            .number
            .store(NEXT.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok(shared)
    }

    /// A coroutine begins to run; its worker only.
    pub(super) fn note_running(&self, info: &Info) {
        let site = std::ptr::from_ref(info.spawned_at).cast_mut();
        self.running_from.store(site, Ordering::Relaxed);
        self.running.store(info.id, Ordering::Release);
    }

    /// It has stopped; its worker only.
    pub(super) fn note_stopped(&self) {
        self.running.store(0, Ordering::Relaxed);
    }

    /// Who keeps the worker from coming back to its loop, for a person to read.
    pub(super) fn holder(&self) -> String {
        let id = self.running.load(Ordering::Acquire);
        // SAFETY: null, or a location, which lives for ever and is never written.
        let site = unsafe { self.running_from.load(Ordering::Relaxed).as_ref() };
        match site {
            Some(site) if id != 0 => {
                format!("coroutine {id}, spawned at {site}, which does not yield")
            }
            _ => "a callback or a destructor that does not return".into(),
        }
    }

    /// A worker has been made on it.
    pub(super) fn begin_use(&self) {
        self.in_use.store(true, Ordering::Relaxed);
    }

    /// Its worker has ended and left nothing behind.
    pub(super) fn end_use(&self) {
        self.in_use.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Gives it back, not in use.
    pub(super) fn recycle(&'static self) {
        // Closed and empty, unless no worker was ever made on it: then the notice of the end may
        // be there. No coroutine is spawned before all workers have been made.
        self.close().for_each(drop);
        self.incoming.store(0, Ordering::Relaxed);
        self.placed.store(0, Ordering::Relaxed);
        IDLE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self);
    }

    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    pub(super) fn notification(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Connections it has or is about to have.
    pub(super) fn load(&self) -> usize {
        self.placed.load(Ordering::Relaxed) + self.incoming.load(Ordering::Relaxed)
    }

    /// Changes the number of placed coroutines; its worker only.
    pub(super) fn add_placed(&self, change: isize) {
        let placed = self.placed.load(Ordering::Relaxed);
        self.placed
            .store(placed.wrapping_add_signed(change), Ordering::Relaxed);
    }

    /// A placed coroutine has arrived; its worker only.
    pub(super) fn arrived(&self) {
        self.incoming.fetch_sub(1, Ordering::Relaxed);
        self.add_placed(1);
    }

    pub(super) fn announce(&self) {
        self.incoming.fetch_add(1, Ordering::Relaxed);
    }

    /// A job that borrows from one of its coroutines is about to be queued; its worker only.
    pub(crate) fn lend(&self) {
        self.lent.fetch_add(1, Ordering::Relaxed);
    }

    /// Such a job will use nothing of its coroutine any more.
    pub(crate) fn give_back(&self) {
        self.lent.fetch_sub(1, Ordering::Release);
    }

    /// Whether a job borrows from one of its coroutines.
    pub(super) fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Acquire) > 0
    }

    /// Sends a task: unparked by a token, or unstarted. Gives it back if the worker has ended.
    pub(super) fn send(&self, task: TaskRef) -> Result<(), TaskRef> {
        let node = task.into_node();
        // SAFETY: a task stands in at most one inbox: unstarted ones are sent once, started ones
        // when their `Notice` was left. The reference in the node keeps it alive.
        match unsafe { self.inbox.push(node) } {
            Ok(wake) => {
                if wake {
                    sys::eventfd_write(self.notification());
                }
                Ok(())
            }
            // SAFETY: refused, so the reference is ours again.
            Err(Closed) => Err(unsafe { TaskRef::from_node(node) }),
        }
    }

    /// Has `function` run by the worker, on its own stack. False if the worker has ended.
    pub(crate) fn post(&self, function: impl FnOnce(&'static Worker) + Send + 'static) -> bool {
        let posted = Posted {
            node: Node::new(NodeKind::Posted),
            function: Box::new(function),
        };
        let node = NonNull::from(Box::leak(Box::new(posted))).cast::<Node>();
        // SAFETY: a fresh node, owned by the inbox from now on.
        match unsafe { self.inbox.push(node) } {
            Ok(wake) => {
                if wake {
                    sys::eventfd_write(self.notification());
                }
                true
            }
            Err(Closed) => {
                // SAFETY: refused, so it is still ours.
                drop(unsafe { Box::from_raw(node.cast::<Posted>().as_ptr()) });
                false
            }
        }
    }

    /// Has `delivery` made by the worker, on its own stack. Gives it back if the worker has ended.
    pub(crate) fn deliver(&self, delivery: Arc<dyn Delivery>) -> Result<(), Arc<dyn Delivery>> {
        let parcel = NonNull::from(delivery.parcel());
        // SAFETY: `delivery`, which is kept until the node has been pushed, has the parcel.
        let before = unsafe { parcel.as_ref() }.content().replace(delivery);
        assert!(before.is_none(), "a parcel is sent once at a time");
        // SAFETY: in no other inbox, or its content would have been there; it keeps itself alive
        // until it is taken out.
        match unsafe { self.inbox.push(parcel.cast()) } {
            Ok(wake) => {
                if wake {
                    sys::eventfd_write(self.notification());
                }
                Ok(())
            }
            // SAFETY: refused, so its content is still there and keeps it alive.
            Err(Closed) => Err(unsafe { take_content(parcel) }),
        }
    }

    /// Wakes the worker if it sleeps; true if this call did.
    pub(super) fn wake(&self) -> bool {
        let claimed = self.inbox.claim_wake();
        if claimed {
            sys::eventfd_write(self.notification());
        }
        claimed
    }

    pub(super) fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(super) fn begin_sleep(&self) -> bool {
        self.inbox.begin_sleep()
    }

    pub(super) fn end_sleep(&self) {
        self.inbox.end_sleep();
    }

    /// Everything that has come; its worker only.
    pub(super) fn mail(&self) -> impl Iterator<Item = Message> {
        messages(self.inbox.take())
    }

    /// Closes the inbox and gives what was left; its worker only.
    pub(super) fn close(&self) -> impl Iterator<Item = Message> {
        messages(self.inbox.close())
    }

    /// Takes the oldest offered coroutine; any worker.
    pub(super) fn steal(&self) -> Option<TaskRef> {
        let node = self.offered.pop()?;
        // SAFETY: the entry was made by `into_node` and popped once.
        Some(unsafe { TaskRef::from_node(node) })
    }
}

/// # Safety
/// `parcel` has its content, and stands in no inbox any more.
unsafe fn take_content(parcel: NonNull<Parcel>) -> Arc<dyn Delivery> {
    // SAFETY: its content, which is moved out here, keeps it alive until this returns.
    let content = unsafe { parcel.as_ref() }.content().take();
    content.expect("what was sent is there")
}

fn messages(nodes: Nodes<Node>) -> impl Iterator<Item = Message> {
    nodes.map(|node| {
        // SAFETY: taken out of the inbox: alive, and ours.
        match unsafe { node.as_ref() }.kind {
            // SAFETY: made by `into_node`.
            NodeKind::Task => Message::Task(unsafe { TaskRef::from_node(node) }),
            NodeKind::Posted => {
                // SAFETY: made by `post`, the node being the first field.
                Message::Posted(unsafe { Box::from_raw(node.cast::<Posted>().as_ptr()) })
            }
            // SAFETY: made by `deliver`, the node being the first field; taken out once.
            NodeKind::Parcel => Message::Parcel(unsafe { take_content(node.cast()) }),
        }
    })
}

impl Home for Shared {
    fn release(&self, worker: u32, slot: u32, generation: u32) {
        match Worker::current() {
            Some(here) if here.number() == worker => here.release(slot, generation),
            // A worker that has ended needs no slots; a later one on this inbox has another number.
            _ if self.number() == worker => {
                self.post(move |there| {
                    if there.number() == worker {
                        there.release(slot, generation);
                    }
                });
            }
            _ => {}
        }
    }
}
