//! The models. Each says what must hold in every interleaving; each has a twin with a broken
//! protocol beside it where breaking it takes a line, to show that the checker would notice.

mod completion;
mod mailbox;
mod offload;
mod parker;
mod scope;
mod select;
mod sync;
mod thread;

use std::ptr::NonNull;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use crate::inbox::{Inbox, Linked};
use crate::join::{JoinState, Joiner};
use crate::park::{Notice, Token};
use crate::ring::Ring;

struct Node {
    next: AtomicPtr<Node>,
    value: usize,
}

// SAFETY: one field, used by the inbox alone.
unsafe impl Linked for Node {
    fn next(&self) -> &AtomicPtr<Node> {
        &self.next
    }
}

fn node(value: usize) -> NonNull<Node> {
    let node = Node {
        next: AtomicPtr::new(std::ptr::null_mut()),
        value,
    };
    NonNull::from(Box::leak(Box::new(node)))
}

fn consume(nodes: impl Iterator<Item = NonNull<Node>>) -> Vec<usize> {
    // SAFETY: taken out of the inbox: alive, and ours.
    nodes
        .map(|node| unsafe { Box::from_raw(node.as_ptr()) }.value)
        .collect()
}

/// Pushes and, if asked to, "writes to the eventfd".
fn send(inbox: &Inbox<Node>, eventfd: &AtomicBool, value: usize) -> bool {
    let node = node(value);
    // SAFETY: a fresh node.
    match unsafe { inbox.push(node) } {
        Ok(true) => {
            eventfd.store(true, Ordering::Release);
            true
        }
        Ok(false) => true,
        Err(_) => {
            // SAFETY: refused, so still ours.
            drop(unsafe { Box::from_raw(node.as_ptr()) });
            false
        }
    }
}

/// A consumer that really sleeps unless it was woken would miss nothing: whenever it decides to
/// sleep, either the mail is still on its way or the eventfd is (or will be) written.
#[test]
fn inbox_never_sleeps_over_mail() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        let eventfd = Arc::new(AtomicBool::new(false));
        let producers: Vec<_> = (1..=2)
            .map(|value| {
                let (inbox, eventfd) = (Arc::clone(&inbox), Arc::clone(&eventfd));
                thread::spawn(move || send(&inbox, &eventfd, value))
            })
            .collect();
        let mut got = consume(inbox.take());
        let sleeps = inbox.begin_sleep();
        producers
            .into_iter()
            .for_each(|producer| assert!(producer.join().unwrap()));
        if sleeps && got.len() < 2 {
            assert!(
                eventfd.load(Ordering::Acquire),
                "asleep with mail and nobody to wake it"
            );
        }
        inbox.end_sleep();
        got.extend(consume(inbox.take()));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

/// Every node is either taken or refused, and nothing enters a closed inbox.
#[test]
fn inbox_closes_without_losing_anything() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        let eventfd = Arc::new(AtomicBool::new(false));
        let producer = {
            let (inbox, eventfd) = (Arc::clone(&inbox), Arc::clone(&eventfd));
            thread::spawn(move || {
                usize::from(send(&inbox, &eventfd, 1)) + usize::from(send(&inbox, &eventfd, 2))
            })
        };
        let taken = consume(inbox.close());
        let accepted = producer.join().unwrap();
        assert_eq!(taken.len(), accepted);
        assert!(taken.is_sorted(), "oldest first");
    });
}

/// The owner parks until a flag is set; another thread sets it and unparks. The owner must never
/// stay parked, and must see what was written before the unpark.
fn park_model(unparkers: usize) {
    let mut model = loom::model::Builder::new();
    // Three threads that wait for each other have too many interleavings to try them all; nearly
    // every known bug needs at most three forced switches.
    model.preemption_bound = (unparkers > 1).then_some(3);
    model.check(move || {
        let (token, notice) = (Token::new(), Arc::new(Notice::new()));
        let data = Arc::new(AtomicUsize::new(0));
        // How often the coroutine's node stands in the inbox.
        let queued = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..unparkers)
            .map(|_| {
                let (notice, data, queued) =
                    (Arc::clone(&notice), Arc::clone(&data), Arc::clone(&queued));
                thread::spawn(move || {
                    data.fetch_add(1, Ordering::Relaxed);
                    if notice.leave() {
                        let before = queued.fetch_add(1, Ordering::Release);
                        assert_eq!(before, 0, "twice in the inbox");
                    }
                })
            })
            .collect();
        while data.load(Ordering::Relaxed) < unparkers {
            if !token.begin() {
                continue;
            }
            // Parked: the worker's loop takes the mail until this coroutine is ready.
            loop {
                if queued.load(Ordering::Acquire) == 1 {
                    queued.store(0, Ordering::Relaxed);
                    notice.taken();
                    if token.unpark() {
                        break;
                    }
                }
                thread::yield_now();
            }
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn park_is_never_left_by_one_unpark() {
    park_model(1);
}

#[test]
fn park_is_never_left_by_two_unparks() {
    park_model(2);
}

/// A time-out ends the wait while an unpark comes: the token is not lost, and counts once.
#[test]
fn park_keeps_the_token_over_a_timeout() {
    loom::model(|| {
        let (token, notice) = (Token::new(), Arc::new(Notice::new()));
        let theirs = Arc::clone(&notice);
        let unparker = thread::spawn(move || theirs.leave());
        assert!(token.begin());
        token.end();
        assert!(unparker.join().unwrap(), "it is the first");
        notice.taken();
        assert!(!token.unpark(), "nobody is parked");
        assert!(!token.begin(), "the unpark was lost");
        assert!(token.begin(), "one unpark ends one park");
    });
}

/// An unpark on the owner's own thread against one from elsewhere: exactly one makes it ready, and
/// the other is kept for the next park.
#[test]
fn park_is_ended_once_by_local_and_remote() {
    loom::model(|| {
        let (token, notice) = (Token::new(), Arc::new(Notice::new()));
        let inbox = Arc::new(AtomicBool::new(false));
        assert!(token.begin());
        let (theirs, pushed) = (Arc::clone(&notice), Arc::clone(&inbox));
        let remote = thread::spawn(move || pushed.fetch_or(theirs.leave(), Ordering::Release));
        let take = || {
            let here = inbox.swap(false, Ordering::Acquire);
            if here {
                notice.taken();
            }
            here && token.unpark()
        };
        let early = take();
        let local = token.unpark();
        remote.join().unwrap();
        let late = take();
        assert_eq!([early, local, late].map(u8::from).iter().sum::<u8>(), 1);
        assert!(!token.begin(), "the second was lost");
    });
}

/// The joiner waits for the end: it is woken, and sees the result.
#[test]
fn join_sees_the_end() {
    loom::model(|| {
        let join = Arc::new(JoinState::<u32>::new());
        let result = Arc::new(AtomicUsize::new(0));
        let (theirs, value) = (Arc::clone(&join), Arc::clone(&result));
        let completer = thread::spawn(move || {
            value.store(42, Ordering::Relaxed);
            // SAFETY: once.
            unsafe { theirs.complete() }
        });
        // SAFETY: the one joiner.
        let registered = unsafe { join.register(7) };
        if !registered {
            assert_eq!(result.load(Ordering::Relaxed), 42);
        }
        let joiner = completer.join().unwrap();
        assert_eq!(
            joiner == Joiner::Waiting(7),
            registered,
            "woken exactly if registered"
        );
        assert!(join.is_done());
    });
}

/// The joiner gives up while the end comes: either it is out, or the end has come.
#[test]
fn join_withdraws_or_is_done() {
    loom::model(|| {
        let join = Arc::new(JoinState::<u32>::new());
        let theirs = Arc::clone(&join);
        // SAFETY: once.
        let completer = thread::spawn(move || unsafe { theirs.complete() });
        // SAFETY: the one joiner.
        let registered = unsafe { join.register(7) };
        // SAFETY: by the one who registered.
        let withdrawn = registered && unsafe { join.withdraw() };
        let joiner = completer.join().unwrap();
        assert_eq!(joiner == Joiner::Waiting(7), registered && !withdrawn);
    });
}

/// Exactly one side disposes of the result.
#[test]
fn join_result_is_dropped_once() {
    loom::model(|| {
        let join = Arc::new(JoinState::<u32>::new());
        let theirs = Arc::clone(&join);
        // SAFETY: once.
        let completer = thread::spawn(move || unsafe { theirs.complete() } == Joiner::Detached);
        let by_joiner = !join.detach();
        let by_completer = completer.join().unwrap();
        assert!(by_joiner != by_completer);
    });
}

/// Two thieves and the owner: every entry is popped once, none is lost.
#[test]
fn ring_pops_each_entry_once() {
    loom::model(|| {
        let ring = Arc::new(Ring::<usize, 2>::new());
        let entries: Vec<NonNull<usize>> = (0..3usize)
            .map(|n| NonNull::from(Box::leak(Box::new(n))))
            .collect();
        let number = |entry: NonNull<usize>| {
            // SAFETY: entries live until the end of the model.
            unsafe { *entry.as_ref() }
        };
        ring.push(entries[0]).unwrap();
        ring.push(entries[1]).unwrap();
        let thief = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.pop().map(|entry| entry.as_ptr() as usize))
        };
        let mut seen: Vec<usize> = ring.pop().map(number).into_iter().collect();
        // There is room once somebody has popped; the slot is being reused under the thief.
        ring.push(entries[2]).expect("one was popped");
        let stolen = thief.join().unwrap();
        let stolen = stolen.map(|address| number(NonNull::new(address as *mut usize).unwrap()));
        seen.extend(stolen);
        seen.extend(std::iter::from_fn(|| ring.pop()).map(number));
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        // SAFETY: nobody holds them any more.
        entries
            .into_iter()
            .for_each(|entry| drop(unsafe { Box::from_raw(entry.as_ptr()) }));
    });
}

/// An idle worker looks for unstarted coroutines to take before it sleeps; a busy one that offers
/// some looks for sleepers. One of them finds the other.
#[test]
fn thieves_never_sleep_over_an_offer() {
    loom::model(|| {
        let ring = Arc::new(Ring::<usize, 2>::new());
        let inbox = Arc::new(Inbox::<Node>::new());
        let sleepers = Arc::new(AtomicUsize::new(0));
        let entry = NonNull::from(Box::leak(Box::new(1usize))).as_ptr() as usize;
        let busy = {
            let (ring, inbox, sleepers) =
                (Arc::clone(&ring), Arc::clone(&inbox), Arc::clone(&sleepers));
            thread::spawn(move || {
                ring.push(NonNull::new(entry as *mut usize).unwrap())
                    .unwrap();
                loom::sync::atomic::fence(Ordering::SeqCst);
                sleepers.load(Ordering::Relaxed) > 0 && inbox.claim_wake()
            })
        };
        sleepers.fetch_add(1, Ordering::Relaxed);
        let sleeps = inbox.begin_sleep() && ring.len() == 0;
        let woken = busy.join().unwrap();
        assert!(!sleeps || woken, "asleep beside an offer");
        inbox.end_sleep();
        // SAFETY: nobody holds it any more.
        drop(unsafe { Box::from_raw(entry as *mut usize) });
    });
}

/// The checker notices a sleep handshake without its fence: the model of the inbox is not vacuous.
#[test]
#[should_panic(expected = "asleep with mail")]
fn a_handshake_without_fences_is_caught() {
    loom::model(|| {
        let mail = Arc::new(AtomicBool::new(false));
        let sleeping = Arc::new(AtomicBool::new(false));
        let (theirs, sleeper) = (Arc::clone(&mail), Arc::clone(&sleeping));
        let producer = thread::spawn(move || {
            theirs.store(true, Ordering::Release);
            sleeper.load(Ordering::Acquire)
        });
        sleeping.store(true, Ordering::Release);
        let sleeps = !mail.load(Ordering::Acquire);
        let woken = producer.join().unwrap();
        assert!(!sleeps || woken, "asleep with mail and nobody to wake it");
    });
}
