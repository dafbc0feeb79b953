//! Handlers that change the loop while a batch of events is being told of.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tarae::event::{EventLoop, Interest, Mode, SourceId};

use crate::support::{Log, OnDrop, alone, guarded, pair, readable, round, take_panics};

/// `fd` again, under this number.
fn renumbered(fd: &impl AsFd, number: i32) -> OwnedFd {
    let fd = rustix::io::fcntl_dupfd_cloexec(fd, number).unwrap();
    assert_eq!(fd.as_raw_fd(), number, "the number is free");
    fd
}

#[test]
fn who_is_removed_by_another_of_the_batch_is_not_called() {
    guarded(
        "who_is_removed_by_another_of_the_batch_is_not_called",
        || {
            for mode in [Mode::Edge, Mode::Level] {
                let events = EventLoop::new().unwrap();
                let log = Log::new();
                let ids = Rc::new(Cell::new([None::<SourceId>; 8]));
                let peers: Vec<_> = (0..8)
                    .map(|number| {
                        let (stream, peer) = readable();
                        let (log, all) = (log.clone(), Rc::clone(&ids));
                        let id = events.add(stream, Interest::READ, mode, move |events, _, _| {
                            log.note(number);
                            for id in all.take().into_iter().flatten() {
                                assert!(events.remove(id));
                                assert!(!events.remove(id), "it is gone");
                            }
                        });
                        let mut known = ids.take();
                        known[number] = Some(id.unwrap());
                        ids.set(known);
                        peer
                    })
                    .collect();
                assert_eq!(round(&events), 1, "the first one removes all, itself too");
                events.run().unwrap();
                assert_eq!(log.len(), 1);
                drop(peers);
            }
        },
    );
}

#[test]
fn a_number_used_again_within_the_batch_gets_no_old_event() {
    alone(
        "batch::a_number_used_again_within_the_batch_gets_no_old_event",
        || {
            for mode in [Mode::Edge, Mode::Level] {
                let events = EventLoop::new().unwrap();
                let (quiet, quiet_peer) = pair();
                let quiet = Rc::new(quiet);
                let calls = Log::new();
                let ids = Rc::new(Cell::new([None::<SourceId>; 2]));
                let mut peers = vec![quiet_peer];
                let mut known = [None; 2];
                for (place, own) in known.iter_mut().enumerate() {
                    let (stream, peer) = readable();
                    let other = 1 - place;
                    peers.push(peer);
                    let (all, quiet, calls) = (Rc::clone(&ids), Rc::clone(&quiet), calls.clone());
                    let handler = move |events: &EventLoop, _: &mut UnixStream, _| {
                        calls.note("old");
                        let victim = all.get()[other].unwrap();
                        let number = events.with(victim, |s: &mut UnixStream| s.as_raw_fd());
                        assert!(events.remove(victim));
                        // Its number, and its place in the loop, for one that has nothing to tell.
                        let new = UnixStream::from(renumbered(&quiet, number.unwrap()));
                        let calls = calls.clone();
                        let added = events.add(new, Interest::READ, mode, move |_, _, _| {
                            calls.note("new");
                        });
                        assert!(added.is_ok());
                        events.remove_current();
                    };
                    *own = Some(events.add(stream, Interest::READ, mode, handler).unwrap());
                }
                ids.set(known);
                assert_eq!(round(&events), 1);
                assert_eq!(round(&events), 0);
                assert_eq!(calls.take(), ["old"]);
            }
        },
    );
}

#[test]
fn a_description_that_lives_on_is_not_watched_any_more() {
    guarded(
        "a_description_that_lives_on_is_not_watched_any_more",
        || {
            let events = EventLoop::new().unwrap();
            let (stream, _peer) = readable();
            let stream = Rc::new(stream);
            let log = Log::new();
            for turn in 0..3 {
                let log = log.clone();
                let added = events.add(
                    Rc::clone(&stream),
                    Interest::READ,
                    Mode::Level,
                    move |events, _, _| {
                        log.note(turn);
                        events.remove_current();
                    },
                );
                added.expect("it was taken out of the epoll before");
                assert_eq!(round(&events), 1);
            }
            assert_eq!(log.take(), [0, 1, 2]);
        },
    );
}

/// A source that breaks the rule: it has another descriptor by and by.
struct Changing(UnixStream);

impl AsFd for Changing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_source_that_closed_its_descriptor_does_not_harm_who_got_the_number() {
    alone(
        "batch::a_source_that_closed_its_descriptor_does_not_harm_who_got_the_number",
        || {
            let events = EventLoop::new().unwrap();
            let (heir, _heir_peer) = readable();
            let (stream, _peer) = readable();
            let number = stream.as_raw_fd();
            let (other, _other_peer) = pair();
            let mut other = Some(other);
            let handler = move |_: &EventLoop, source: &mut Changing, _| {
                if let Some(other) = other.take() {
                    source.0 = other;
                }
            };
            let changing = events
                .add(Changing(stream), Interest::READ, Mode::Level, handler)
                .unwrap();
            assert_eq!(round(&events), 1);
            assert_eq!(round(&events), 0, "closed: nothing is reported of it");
            let heir = UnixStream::from(renumbered(&heir, number));
            let log = Log::new();
            let calls = log.clone();
            let heir = events.add(heir, Interest::READ, Mode::Level, move |_, _, _| {
                calls.note(())
            });
            assert!(events.remove(changing));
            assert_eq!(round(&events), 1, "it is watched still");
            assert!(events.remove(heir.unwrap()));
            assert_eq!(round(&events), 0);
            assert_eq!(log.len(), 1);
        },
    );
}

#[test]
fn who_removes_itself_is_dropped_after_its_handler() {
    guarded("who_removes_itself_is_dropped_after_its_handler", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let (stream, _peer) = readable();
        let noted = OnDrop(log.clone(), "dropped");
        let calls = log.clone();
        events
            .add(stream, Interest::READ, Mode::Level, move |events, _, _| {
                let _ = &noted;
                let id = events.current().unwrap();
                assert!(events.remove(id));
                assert_eq!(
                    events
                        .modify(id, Interest::READ, Mode::Level)
                        .unwrap_err()
                        .kind(),
                    io::ErrorKind::NotFound
                );
                events.remove_current();
                calls.note("still here");
            })
            .unwrap();
        events.run().unwrap();
        assert_eq!(log.take(), ["still here", "dropped"]);
        assert!(events.current().is_none());
    });
}

#[test]
fn an_event_of_a_batch_that_was_left_is_not_lost() {
    guarded("an_event_of_a_batch_that_was_left_is_not_lost", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let peers: Vec<_> = (0..5)
            .map(|_| {
                let (stream, peer) = readable();
                let log = log.clone();
                let handler = move |events: &EventLoop, _: &mut UnixStream, _| {
                    log.note(events.current());
                    events.stop();
                };
                // Edges come once.
                events
                    .add(stream, Interest::READ, Mode::Edge, handler)
                    .unwrap();
                peer
            })
            .collect();
        for told in 1..=5 {
            match told % 2 {
                0 => events.run().unwrap(),
                _ => assert!(events.next_event().unwrap().is_none()),
            }
            assert_eq!(
                log.len(),
                told,
                "each stops the loop, and none is forgotten"
            );
        }
        assert_eq!(round(&events), 0);
        let mut ids = log.take();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 5);
        drop(peers);
    });
}

#[test]
fn more_than_a_batch_is_told_of_once_each() {
    guarded("more_than_a_batch_is_told_of_once_each", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let (stream, _peer) = readable();
        for number in 0..1_500 {
            let log = log.clone();
            let copy = stream.try_clone().unwrap();
            events
                .add(copy, Interest::READ, Mode::Edge, move |_, _, _| {
                    log.note(number)
                })
                .unwrap();
        }
        while round(&events) > 0 {}
        let mut told = log.take();
        told.sort_unstable();
        assert_eq!(told, (0..1_500).collect::<Vec<_>>());
    });
}

#[test]
fn a_loop_does_not_run_inside_of_itself() {
    guarded("a_loop_does_not_run_inside_of_itself", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let refused = |name| {
            let log = log.clone();
            move |events: &EventLoop| {
                let busy = |error: io::Error| error.kind() == io::ErrorKind::ResourceBusy;
                assert!(events.run().is_err_and(busy));
                assert!(events.run_once(None).is_err_and(busy));
                assert!(events.next_event().is_err_and(busy));
                assert!(events.next_event_timeout(Duration::ZERO).is_err_and(busy));
                log.note(name);
            }
        };
        let (stream, _peer) = readable();
        let by_source = refused("source");
        let id = events
            .add(stream, Interest::READ, Mode::Level, move |events, _, _| {
                by_source(events)
            })
            .unwrap();
        events.after(Duration::ZERO, refused("timer"));
        events.defer(refused("post"));
        let mut told = BTreeSet::new();
        while told.len() < 3 {
            round(&events);
            told.extend(log.take());
        }
        let nested = refused("lent");
        // Nor where a source is lent: an event of it would find nobody.
        assert!(
            events
                .with(id, |_: &mut UnixStream| nested(&events))
                .is_some()
        );
        assert_eq!(round(&events), 1, "refusing has left everything as it was");
    });
}

#[test]
fn a_panic_ends_its_source_and_nothing_else() {
    alone("batch::a_panic_ends_its_source_and_nothing_else", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let (stream, _peer) = readable();
        let stream = Rc::new(stream);
        let noted = OnDrop(log.clone(), "dropped");
        let bad = events.add(
            Rc::clone(&stream),
            Interest::READ,
            Mode::Level,
            move |_, _, _| {
                let _ = &noted;
                panic!("a handler");
            },
        );
        events.after(Duration::ZERO, |_| panic!("a timer"));
        let ticks = events.every(Duration::from_millis(1), |_| panic!("a timer that repeats"));
        events.defer(|_| panic!("a deferred function"));
        assert!(
            events
                .handle()
                .post(|_| panic!("a posted function"))
                .is_ok()
        );
        let calls = log.clone();
        events.after(Duration::from_millis(3), move |_| {
            calls.note("the last one")
        });
        events.run().unwrap();
        assert_eq!(take_panics(), 5);
        assert_eq!(log.take(), ["dropped", "the last one"]);
        assert!(!events.remove(bad.unwrap()) && !events.remove(ticks));
        assert_eq!(Rc::strong_count(&stream), 1);
        assert!(
            events
                .add(stream, Interest::READ, Mode::Level, |_, _, _| ())
                .is_ok()
        );
    });
}
