//! What a scope and its children have in common, and a child's life.
//!
//! Used by `scope` only.
//!
//! Invariants: a child's `Ticket` goes after everything else that it has from outside: its closure,
//! its value unless a handle keeps it, its error. Then the count tells the body, which does not
//! leave its frame before. Nothing is locked while foreign code runs or somebody is woken.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::count::Count;
use crate::sched::cancel::CancelNode;
use crate::sched::context::{self, Limit};
use crate::sched::handle::JoinError;
use crate::sched::payload::message;
use crate::sched::worker::Worker;
use crate::sched::{self, Cancel, Unparker, WaitReason};

/// Why a scope gives no value.
pub(super) enum First<E> {
    Panic(Box<dyn Any + Send>),
    Error(E),
}

/// Gives a child a value; made by its maker, called by the child.
type Give = Box<dyn FnOnce() + Send>;
/// Copies a value of whoever calls it.
pub(super) type Copier = Arc<dyn Fn() -> Give + Send + Sync>;

pub(super) struct Shared<E> {
    count: Count<Unparker>,
    pub(super) node: Arc<CancelNode>,
    /// What the scope's waits are bounded by from outside, and so its children's.
    limit: Option<Arc<Limit>>,
    room: Mutex<Room>,
    first: Mutex<Option<First<E>>>,
    pub(super) inherited: Mutex<Vec<Copier>>,
}

/// How many children may run, and who waits to spawn one.
struct Room {
    limit: usize,
    running: usize,
    next_ticket: u64,
    waiting: VecDeque<(u64, Unparker)>,
}

impl Room {
    /// Counts those in who are first in line, and gives them, to be woken.
    fn fill(&mut self) -> Vec<Unparker> {
        let mut admitted = Vec::new();
        while self.running < self.limit
            && let Some((_, waiter)) = self.waiting.pop_front()
        {
            self.running += 1;
            admitted.push(waiter);
        }
        admitted
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops what is foreign; gives the panic of its destructor.
fn dropped<T>(value: T) -> Option<Box<dyn Any + Send>> {
    panic::catch_unwind(AssertUnwindSafe(move || drop(value))).err()
}

impl<E> Shared<E> {
    pub(super) fn new() -> Shared<E> {
        Shared {
            count: Count::new(),
            node: CancelNode::under(&context::nodes_around()),
            limit: context::limit(),
            room: Mutex::new(Room {
                limit: usize::MAX,
                running: 0,
                next_ticket: 0,
                waiting: VecDeque::new(),
            }),
            first: Mutex::new(None),
            inherited: Mutex::default(),
        }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        assert!(limit > 0, "a scope needs room for one child at least");
        let mut room = locked(&self.room);
        room.limit = limit;
        let admitted = room.fill();
        drop(room);
        admitted.iter().for_each(Unparker::unpark);
    }

    /// Waits in turn until one more may run, and counts it. The children inside the scope end by
    /// what cancels it, so the wait needs no cancelling.
    fn take_room(&self) {
        let mut room = locked(&self.room);
        if room.running < room.limit && room.waiting.is_empty() {
            room.running += 1;
            return;
        }
        let ticket = room.next_ticket;
        room.next_ticket += 1;
        room.waiting.push_back((ticket, Unparker::current()));
        while room.waiting.iter().any(|(other, _)| *other == ticket) {
            drop(room);
            sched::park(WaitReason::Scope, None, Cancel::No);
            room = locked(&self.room);
        }
    }

    /// What went wrong first is what the scope gives; the rest is cancelled.
    pub(super) fn fail(&self, failure: First<E>) {
        let mut first = locked(&self.first);
        let late = match &*first {
            Some(_) => Some(failure),
            None => {
                *first = Some(failure);
                None
            }
        };
        drop(first);
        self.node.cancel();
        // A payload whose destructor panics has to go somewhere.
        if let Some(payload) = dropped(late) {
            std::mem::forget(payload);
        }
    }

    /// Waits for all children. It is never cut short: they may be using the caller's frame.
    pub(super) fn wait(&self) {
        if context::is_cancelled() {
            // Where nobody tells the scope of it: in an offloaded job.
            self.node.cancel();
        }
        // SAFETY: by the body, once.
        if unsafe { self.count.close(Unparker::current()) } {
            return;
        }
        while !self.count.is_over() {
            sched::park(WaitReason::Scope, None, Cancel::No);
        }
    }

    pub(super) fn take_first(&self) -> Option<First<E>> {
        locked(&self.first).take()
    }
}

/// Counts a child, from before it is made until nothing is left of it.
struct Ticket<E>(Arc<Shared<E>>);

impl<E> Drop for Ticket<E> {
    fn drop(&mut self) {
        let mut room = locked(&self.0.room);
        room.running -= 1;
        let admitted = room.fill();
        drop(room);
        admitted.iter().for_each(Unparker::unpark);
        // SAFETY: once: it entered when the ticket was made.
        if let Some(body) = unsafe { self.0.count.leave() } {
            body.unpark();
        }
    }
}

/// Where a child leaves its value, kept by the child and by its handle.
pub(super) struct Packet<T> {
    pub(super) value: Mutex<Option<Result<T, JoinError>>>,
    /// It is no fault if it never runs: somebody has cancelled it, for instance.
    pub(super) expected: AtomicBool,
}

/// A child before it runs. What it borrows goes first, the ticket last.
pub(super) struct Child<E, F, T> {
    body: Option<F>,
    given: Vec<Give>,
    packet: Option<Arc<Packet<T>>>,
    ticket: Ticket<E>,
}

impl<E, F: FnOnce() -> Result<T, E>, T> Child<E, F, T> {
    /// Waits for room. Copies what is inherited.
    pub(super) fn new(shared: &Arc<Shared<E>>, body: F) -> (Self, Arc<Packet<T>>) {
        let copiers = locked(&shared.inherited).clone();
        let given = copiers.iter().map(|copy| copy()).collect();
        shared.take_room();
        assert!(shared.count.enter(), "too many children in a scope");
        let ticket = Ticket(Arc::clone(shared));
        let packet = Arc::new(Packet {
            value: Mutex::new(None),
            expected: AtomicBool::new(false),
        });
        let child = Child {
            body: Some(body),
            given,
            packet: Some(Arc::clone(&packet)),
            ticket,
        };
        (child, packet)
    }

    /// In its own coroutine.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.ticket.0);
        let _entered = context::enter_child(Arc::clone(&shared.node), shared.limit.clone());
        let (Some(body), Some(packet)) = (self.body.take(), self.packet.take()) else {
            unreachable!("a child runs once")
        };
        if shared.node.is_cancelled() {
            *locked(&packet.value) = Some(Err(JoinError::never_ran()));
            if let Some(payload) = dropped(body) {
                shared.fail(First::Panic(payload));
            }
        } else {
            let given = std::mem::take(&mut self.given);
            let work = move || {
                given.into_iter().for_each(|give| give());
                body()
            };
            let value = match panic::catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => {
                    shared.fail(First::Error(error));
                    Err(JoinError::failed())
                }
                Err(payload) => {
                    let copy = message(&*payload).to_owned();
                    shared.fail(First::Panic(payload));
                    Err(JoinError::panicked(Box::new(copy)))
                }
            };
            *locked(&packet.value) = Some(value);
        }
        // If its handle has gone, the value goes here.
        if let Some(payload) = dropped(packet) {
            shared.fail(First::Panic(payload));
        }
    }
}

impl<E, F, T> Drop for Child<E, F, T> {
    fn drop(&mut self) {
        // Present if it never ran.
        let (Some(body), Some(packet)) = (self.body.take(), self.packet.take()) else {
            return;
        };
        let shared = &self.ticket.0;
        let expected = packet.expected.load(Ordering::Relaxed)
            || shared.node.is_cancelled()
            || Worker::current().is_some_and(Worker::is_stopping);
        if !expected {
            let text =
                "a child of a scope could not run: the runtime has ended, or is out of stacks";
            shared.fail(First::Panic(Box::new(text)));
        }
        if let Some(payload) = dropped((body, packet)) {
            shared.fail(First::Panic(payload));
        }
    }
}
