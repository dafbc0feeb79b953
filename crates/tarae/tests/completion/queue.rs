//! The queue of completions: its order, its end, its descriptor, whoever drains it.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tarae::completion::Completions;
use tarae::offload;

use crate::support::{FAR, alone, gate, guarded, run_on, until};

/// Whether the descriptor is readable; `waits`: until it is.
fn is_readable(fd: BorrowedFd<'_>, waits: bool) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let timeout = (!waits).then_some(&now);
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout).unwrap() == 1
}

#[test]
fn the_descriptor_is_readable_while_there_is_something() {
    guarded("the queue's descriptor", || {
        let calls = Completions::new();
        let come = |number: i32| {
            let call = offload::start(move || number);
            until(|| call.is_complete());
            call
        };
        // Before the descriptor is made, and after.
        calls.add((), come(1));
        let fd = calls.notify_fd().unwrap();
        assert!(is_readable(fd, false));
        calls.add((), come(2));
        assert_eq!(calls.try_next().unwrap().1.unwrap(), 1);
        assert!(is_readable(fd, false), "one is left");
        assert_eq!(calls.try_next().unwrap().1.unwrap(), 2);
        assert!(!is_readable(fd, false));
        assert!(calls.try_next().is_none());
        let (open, pass) = gate();
        calls.add(
            (),
            offload::start(move || {
                pass();
                3
            }),
        );
        assert!(!is_readable(fd, false), "not before it has come");
        assert_eq!(calls.len(), 1);
        open.send(()).unwrap();
        assert!(is_readable(fd, true));
        assert_eq!(calls.try_next().unwrap().1.unwrap(), 3);
        assert!(!is_readable(fd, false) && calls.is_empty());
    });
}

/// Several drain one queue, plain threads and coroutines of two workers: each result goes to one of
/// them, and all see the end.
#[test]
fn each_result_goes_to_one_drainer_and_all_see_the_end() {
    guarded("draining by several", || {
        run_on(2, || {
            let calls = std::sync::Arc::new(Completions::new());
            for number in 0..200 {
                calls.add(
                    number,
                    tarae::start(move || {
                        tarae::yield_now();
                        number
                    }),
                );
                calls.add(1000 + number, offload::start(move || 1000 + number));
            }
            let drain = |calls: &Completions<i32, i32>| {
                let mut seen = Vec::new();
                while let Some((key, value)) = calls.next() {
                    assert_eq!(value.unwrap(), key);
                    seen.push(key);
                }
                seen
            };
            let ours = [(); 3].map(|()| {
                let calls = std::sync::Arc::clone(&calls);
                tarae::spawn(move || drain(&calls))
            });
            let theirs = [(); 2].map(|()| {
                let calls = std::sync::Arc::clone(&calls);
                std::thread::spawn(move || drain(&calls))
            });
            until(|| theirs.iter().all(|one| one.is_finished()));
            let mut seen: Vec<i32> = Vec::new();
            ours.into_iter()
                .for_each(|one| seen.extend(one.join().unwrap()));
            theirs
                .into_iter()
                .for_each(|one| seen.extend(one.join().unwrap()));
            let set: BTreeSet<i32> = seen.iter().copied().collect();
            assert_eq!((seen.len(), set.len()), (400, 400));
            assert!(calls.next().is_none());
        });
    });
}

/// One result for several who wait for it: one of them has it, and the others see that nothing is
/// left.
#[test]
fn all_who_wait_see_the_end() {
    alone("queue::all_who_wait_see_the_end", || {
        run_on(2, || {
            let calls = std::sync::Arc::new(Completions::new());
            let (open, pass) = gate();
            calls.add((), offload::start(pass));
            let drainers = [(); 4].map(|()| {
                let calls = std::sync::Arc::clone(&calls);
                tarae::spawn(move || calls.next().is_some())
            });
            let waits = |one: &tarae::inspect::Coroutine| {
                matches!(one.waits_for, tarae::inspect::WaitReason::Completion)
            };
            let waiting = || {
                let all = tarae::inspect::coroutines(FAR);
                all.iter().filter(|one| waits(one)).count()
            };
            until(|| waiting() == drainers.len());
            open.send(()).unwrap();
            let had = drainers.map(|one| usize::from(one.join().unwrap()));
            assert_eq!(had.iter().sum::<usize>(), 1);
        });
    });
}

#[test]
fn a_cancelled_drainer_takes_nothing_with_it() {
    guarded("a cancelled drainer", || {
        let test = || {
            let (open, pass) = gate();
            let calls = Completions::new();
            calls.add('a', offload::start(pass));
            let token = tarae::CancelToken::new();
            token.cancel();
            assert!(token.run(|| calls.next()).is_none());
            let soon = std::time::Duration::from_millis(1);
            assert!(tarae::timeout(soon, || calls.next()).is_err());
            open.send(()).unwrap();
            let next = tarae::timeout(FAR, || calls.next());
            assert!(matches!(next, Ok(Some(('a', Ok(()))))));
        };
        test();
        run_on(1, test);
    });
}

/// A queue that is dropped lets go of what comes later.
#[test]
fn a_dropped_queue_detaches() {
    guarded("dropping a queue", || {
        let counted = std::sync::Arc::new(());
        let (open, pass) = gate();
        let theirs = std::sync::Arc::clone(&counted);
        let calls = Completions::new();
        calls.add(
            (),
            offload::start(move || {
                pass();
                theirs
            }),
        );
        drop(calls);
        open.send(()).unwrap();
        until(|| std::sync::Arc::strong_count(&counted) == 1);
    });
}
