//! The models of a scope's count: children × body × a child of a child.
//!
//! The "frame" is a cell that children write and that the body takes back when it is told that all
//! have gone: `loom` fails if the two are not ordered. The parker stands for the body's own.

use super::thread;
use loom::cell::UnsafeCell;
use loom::sync::Arc;

use super::parker::Parker;
use crate::count::Count;

struct Scope {
    count: Count<Arc<Parker>>,
    /// One for each child, so that only the order against the body is checked.
    frame: [UnsafeCell<u32>; 2],
}

// SAFETY: the protocol under test says who may touch what.
unsafe impl Sync for Scope {}

impl Scope {
    fn new() -> Arc<Scope> {
        Arc::new(Scope {
            count: Count::new(),
            frame: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    /// A child's life, after it entered.
    fn child(&self, number: usize) {
        // SAFETY: this child's, until it leaves.
        self.frame[number].with_mut(|value| unsafe { *value += 1 });
        // SAFETY: entered once, leaves once.
        if let Some(body) = unsafe { self.count.leave() } {
            body.unpark();
        }
    }

    /// The body's end: waits, then uses its frame again.
    fn end(&self) -> u32 {
        let parker = Arc::new(Parker::default());
        // SAFETY: by the body, once.
        if !unsafe { self.count.close(Arc::clone(&parker)) } {
            while !self.count.is_over() {
                parker.park();
            }
        }
        self.frame
            .iter()
            // SAFETY: all children have gone.
            .map(|value| value.with_mut(|value| unsafe { *value }))
            .sum()
    }
}

/// The body is told once all have gone, and sees what they did; it never waits for ever.
#[test]
fn a_scope_ends_after_its_children() {
    let mut model = loom::model::Builder::new();
    // Three threads around a lock have too many interleavings to try them all.
    model.preemption_bound = Some(3);
    model.check(|| {
        let scope = Scope::new();
        let children: Vec<_> = (0..2)
            .map(|number| {
                assert!(scope.count.enter());
                let scope = Arc::clone(&scope);
                thread::spawn(move || scope.child(number))
            })
            .collect();
        assert_eq!(scope.end(), 2);
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}

/// A child lets another in while the body is leaving.
#[test]
fn a_childs_child_is_waited_for() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let scope = Scope::new();
        assert!(scope.count.enter());
        let theirs = Arc::clone(&scope);
        let child = thread::spawn(move || {
            assert!(theirs.count.enter());
            let scope = Arc::clone(&theirs);
            let grandchild = thread::spawn(move || scope.child(1));
            theirs.child(0);
            grandchild.join().unwrap();
        });
        assert_eq!(scope.end(), 2);
        child.join().unwrap();
    });
}

/// The checker notices a child that uses the frame after it has left.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_child_that_stays_too_long_is_caught() {
    loom::model(|| {
        let scope = Scope::new();
        assert!(scope.count.enter());
        let theirs = Arc::clone(&scope);
        let child = thread::spawn(move || {
            // SAFETY: entered once, leaves once.
            if let Some(body) = unsafe { theirs.count.leave() } {
                body.unpark();
            }
            // SAFETY: it is not; that is the point.
            theirs.frame[0].with_mut(|value| unsafe { *value += 1 });
        });
        let _ = scope.end();
        child.join().unwrap();
    });
}
