//! What is cancelled together: a token, or a scope, with whoever waits inside it.
//!
//! Used by `context`, by the public tokens in `cancel` and by `scope`. Cancelling sets a flag and
//! tells every member to look again; it runs no foreign code and never waits.
//!
//! Invariants: a node is cancelled at most once and stays so. Whoever joins looks at the flag
//! afterwards: either the canceller finds the member in the list, or the member finds the flag.
//! No list is locked while a member is told or dropped.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::select::Alarm;
use super::task::TaskRef;
use super::worker;
use crate::sys;

#[derive(Debug)]
pub(crate) struct CancelNode {
    cancelled: AtomicBool,
    members: Mutex<Members>,
    /// What this node is a member of itself, and so keeps: what is above them reaches it by them.
    above: Vec<Membership>,
}

#[derive(Debug, Default)]
struct Members {
    next: usize,
    list: BTreeMap<usize, Member>,
}

/// Who is told.
#[derive(Debug)]
pub(crate) enum Member {
    Coroutine(TaskRef),
    /// A plain thread, with the eventfd that ends its waits in the kernel.
    Thread(std::thread::Thread, Option<Arc<OwnedFd>>),
    Node(Weak<CancelNode>),
    /// A select that has a branch for this very node.
    Select(Alarm),
}

/// A member's place in a node's list, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    /// Present until it is left.
    node: Option<Arc<CancelNode>>,
    key: usize,
}

impl Member {
    /// Has a coroutine or a thread look at its flag again.
    pub(crate) fn tell(&self) {
        match self {
            Member::Coroutine(task) => worker::reexamine(task),
            Member::Thread(thread, bell) => {
                thread.unpark();
                if let Some(bell) = bell {
                    sys::eventfd_write(bell.as_raw_fd());
                }
            }
            // What is below has members of its own.
            Member::Node(_) => {}
            Member::Select(alarm) => alarm.clone().ring(),
        }
    }
}

impl CancelNode {
    /// A node that is cancelled with any of `above`.
    pub(crate) fn under(above: &[Arc<CancelNode>]) -> Arc<CancelNode> {
        let node = Arc::new_cyclic(|this| CancelNode {
            cancelled: AtomicBool::new(false),
            members: Mutex::default(),
            above: above
                .iter()
                .map(|node| node.join(Member::Node(Weak::clone(this))))
                .collect(),
        });
        // One that was cancelled meanwhile could not reach a node that was not there yet.
        if above.iter().any(|node| node.is_cancelled()) {
            node.cancel();
        }
        node
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels whatever is inside, nodes below included.
    pub(crate) fn cancel(&self) {
        if self.cancelled.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut left = vec![self.take_members()];
        while let Some(members) = left.pop() {
            for member in members.into_values() {
                match member {
                    Member::Node(node) => {
                        if let Some(node) = node.upgrade()
                            && !node.cancelled.swap(true, Ordering::AcqRel)
                        {
                            left.push(node.take_members());
                        }
                    }
                    other => other.tell(),
                }
            }
        }
    }

    /// Adds a member; it must look at the flag afterwards.
    pub(crate) fn join(self: &Arc<Self>, member: Member) -> Membership {
        let mut members = self.members();
        let key = members.next;
        members.next += 1;
        members.list.insert(key, member);
        Membership {
            node: Some(Arc::clone(self)),
            key,
        }
    }

    #[cfg(test)]
    pub(crate) fn member_count(&self) -> usize {
        self.members().list.len()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_members(&self) -> BTreeMap<usize, Member> {
        std::mem::take(&mut self.members().list)
    }
}

impl Membership {
    /// Takes the member off the list; gives the node.
    fn leave(&mut self) -> Option<Arc<CancelNode>> {
        let node = self.node.take()?;
        let member = node.members().list.remove(&self.key);
        drop(member);
        Some(node)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl Drop for CancelNode {
    /// A long line of nodes, of which each keeps the one above, goes without recursion.
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.above);
        while let Some(mut membership) = left.pop() {
            let node = membership.leave().and_then(Arc::into_inner);
            if let Some(mut node) = node {
                left.append(&mut node.above);
            }
        }
    }
}
