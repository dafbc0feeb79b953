//! The mailbox of an event loop: functions are called once or dropped once, and a loop that sleeps
//! learns that nobody is left who could post.

use std::cell::Cell;

use super::thread;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::mailbox::Mailbox;

type Seen = Cell<usize>;

/// "Writes to the eventfd" if asked to.
fn wake(eventfd: &AtomicBool, asked: bool) {
    if asked {
        eventfd.store(true, Ordering::Release);
    }
}

fn open_all(mailbox: &Mailbox<Seen>, seen: &Seen) {
    mailbox.take().for_each(|parcel| parcel.open(seen));
}

/// One who posts and leaves. Whenever the consumer finds it deserted, it has seen everything; when
/// it decides to sleep, it will be woken.
#[test]
fn mailbox_is_deserted_only_after_the_last_letter() {
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::<Seen>::new());
        let eventfd = Arc::new(AtomicBool::new(false));
        mailbox.enter();
        let poster = {
            let (mailbox, eventfd) = (Arc::clone(&mailbox), Arc::clone(&eventfd));
            thread::spawn(move || {
                let add = |seen: &Seen| seen.set(seen.get() + 1);
                wake(&eventfd, mailbox.post(add).expect("it is open"));
                wake(&eventfd, mailbox.leave());
            })
        };
        let seen = Cell::new(0);
        open_all(&mailbox, &seen);
        let deserted = mailbox.is_deserted();
        if deserted {
            assert_eq!(
                seen.get(),
                1,
                "a letter came after the last poster had left"
            );
        }
        let sleeps = mailbox.begin_sleep();
        poster.join().unwrap();
        if sleeps && !deserted {
            assert!(
                eventfd.load(Ordering::Acquire),
                "asleep with nobody left to wake it"
            );
        }
        mailbox.end_sleep();
        open_all(&mailbox, &seen);
        assert!(mailbox.is_deserted());
        assert_eq!(seen.get(), 1);
    });
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Closing against posting: each function is dropped once, wherever it ends.
#[test]
fn mailbox_drops_each_letter_once() {
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::<Seen>::new());
        let dropped = Arc::new(AtomicUsize::new(0));
        let poster = {
            let (mailbox, dropped) = (Arc::clone(&mailbox), Arc::clone(&dropped));
            thread::spawn(move || {
                for _ in 0..2 {
                    let counted = Counted(Arc::clone(&dropped));
                    let _ = mailbox.post(move |_| drop(counted));
                }
            })
        };
        let seen = Cell::new(0);
        let mut taken = mailbox.take();
        if let Some(parcel) = taken.next() {
            parcel.open(&seen);
        }
        taken.for_each(drop);
        mailbox.close().for_each(drop);
        poster.join().unwrap();
        assert!(mailbox.post(|_| ()).is_err(), "closed");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}
