//! Descriptors: what is reported when, and how sources are reached.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tarae::event::{EventLoop, Interest, Mode, Readiness};

use crate::support::{Log, guarded, pair, readable, round};

fn logged(log: &Log<Readiness>) -> impl FnMut(&EventLoop, &mut UnixStream, Readiness) + 'static {
    let log = log.clone();
    move |_, _, readiness| log.note(readiness)
}

#[test]
fn an_edge_is_reported_once_and_a_level_as_long_as_it_lasts() {
    guarded(
        "an_edge_is_reported_once_and_a_level_as_long_as_it_lasts",
        || {
            let events = EventLoop::new().unwrap();
            let log = Log::new();
            let (stream, peer) = readable();
            let id = events
                .add(stream, Interest::READ, Mode::Edge, logged(&log))
                .unwrap();
            assert_eq!([round(&events), round(&events)], [1, 0]);
            (&peer).write_all(b"y").unwrap();
            assert_eq!([round(&events), round(&events)], [1, 0], "a new edge");
            events.modify(id, Interest::READ, Mode::Level).unwrap();
            assert_eq!([round(&events), round(&events), round(&events)], [1, 1, 1]);
            let read = events.with(id, |stream: &mut UnixStream| {
                stream.read(&mut [0; 8]).unwrap()
            });
            assert_eq!(read, Some(2));
            assert_eq!(round(&events), 0);
            for readiness in log.take() {
                assert!(
                    readiness.is_readable() && !readiness.is_writable(),
                    "{readiness:?}"
                );
            }
        },
    );
}

#[test]
fn interest_decides_what_is_reported() {
    guarded("interest_decides_what_is_reported", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let (stream, peer) = readable();
        let id = events
            .add(stream, Interest::NONE, Mode::Level, logged(&log))
            .unwrap();
        assert_eq!(round(&events), 0, "it rests");
        for mode in [Mode::Edge, Mode::Level] {
            events.modify(id, Interest::WRITE, mode).unwrap();
            assert_eq!(round(&events), 1);
            let only = log.take();
            assert!(only[0].is_writable() && !only[0].is_readable());
            events
                .modify(id, Interest::READ | Interest::WRITE, mode)
                .unwrap();
            assert_eq!(round(&events), 1, "one call for both");
            let both = log.take();
            assert!(both[0].is_writable() && both[0].is_readable() && !both[0].is_read_closed());
        }
        events.modify(id, Interest::NONE, Mode::Level).unwrap();
        drop(peer);
        assert_eq!(
            round(&events),
            1,
            "that it is broken is reported all the same"
        );
        let broken = log.take();
        assert!(broken[0].is_read_closed() && broken[0].is_readable() && broken[0].is_writable());
    });
}

#[test]
fn what_cannot_be_watched_is_refused() {
    guarded("what_cannot_be_watched_is_refused", || {
        let events = EventLoop::new().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let regular = events.add(file, Interest::READ, Mode::Level, |_, _, _| ());
        assert_eq!(regular.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let (stream, _peer) = pair();
        let stream = Rc::new(stream);
        let add = || {
            events.add(
                Rc::clone(&stream),
                Interest::READ,
                Mode::Level,
                |_, _, _| (),
            )
        };
        let first = add().unwrap();
        assert_eq!(add().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Rc::strong_count(&stream), 2, "what was refused is dropped");
        events
            .modify(first, Interest::WRITE, Mode::Level)
            .expect("the first is as it was");
        assert_eq!(round(&events), 1);
        let timer = events.after(Duration::ZERO, |_| ());
        let error = events
            .modify(timer, Interest::READ, Mode::Level)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_source_is_reached_by_its_id_and_type() {
    guarded("a_source_is_reached_by_its_id_and_type", || {
        let events = EventLoop::new().unwrap();
        let (stream, peer) = readable();
        let log = Log::new();
        let calls = log.clone();
        let handler = move |events: &EventLoop, _: &mut UnixStream, _: Readiness| {
            let id = events.current().unwrap();
            assert!(
                events.with(id, |_: &mut UnixStream| ()).is_none(),
                "it is in use"
            );
            assert!(events.take::<UnixStream>(id).is_none());
            let calls = calls.clone();
            events.defer(move |events| {
                assert!(
                    events.take::<Rc<UnixStream>>(id).is_none(),
                    "it is none of these"
                );
                let mut stream = events
                    .take::<UnixStream>(id)
                    .expect("it stayed where it was");
                assert!(!events.remove(id));
                calls.note(stream.read(&mut [0; 8]).unwrap());
            });
        };
        events
            .add(stream, Interest::READ, Mode::Edge, handler)
            .unwrap();
        events.run().unwrap();
        assert_eq!(log.take(), [1]);
        let error = (&peer).write_all(b"z").unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::BrokenPipe,
            "whoever took it has dropped it"
        );
    });
}

#[test]
fn a_loop_with_nothing_to_wait_for_ends() {
    guarded("a_loop_with_nothing_to_wait_for_ends", || {
        let events = EventLoop::new().unwrap();
        events.run().unwrap();
        assert_eq!(events.run_once(None).unwrap(), 0);
        assert!(events.next_event().unwrap().is_none());
        let log = Log::new();
        let calls = log.clone();
        // Functions that go on and on do not keep the timer waiting: each has a round of its own.
        fn again(events: &EventLoop, calls: Log<&'static str>) {
            calls.note("deferred");
            if events.run().is_err() && calls.len() < 1_000_000 {
                events.defer(move |events| again(events, calls));
            }
        }
        events.defer(move |events| again(events, calls));
        let calls = log.clone();
        events.after(Duration::from_millis(1), move |events| {
            calls.note("timer");
            events.stop();
        });
        events.run().unwrap();
        assert_eq!(log.take().last(), Some(&"timer"));
    });
}
