//! Loops written by hand: keys and `next_event`.

use std::io::{self, Read, Write};
use std::rc::Rc;

use tarae::event::{Event, EventLoop, Interest, Mode};
use tarae::time::{Duration, Instant};

use crate::support::{Log, guarded, pair, readable};

#[test]
fn keys_and_handlers_live_in_one_loop() {
    guarded("keys_and_handlers_live_in_one_loop", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let (stream, peer) = pair();
        let stream = Rc::new(stream);
        let reader = events
            .key(7)
            .add(Rc::clone(&stream), Interest::READ, Mode::Level)
            .unwrap();
        let calls = log.clone();
        events.every(Duration::from_millis(1), move |events| {
            calls.note("tick");
            (&peer).write_all(b"ab").unwrap();
            if calls.len() == 3 {
                events.remove_current();
            }
        });
        let mut read = 0;
        while let Some(event) = events.next_event().unwrap() {
            let Event::Ready {
                key: 7,
                id,
                readiness,
            } = event
            else {
                panic!("{event:?}");
            };
            assert!(id == reader && readiness.is_readable());
            read += (&*stream).read(&mut [0; 1]).unwrap();
            if read == 6 {
                assert!(events.remove(id));
            }
        }
        assert_eq!(log.take(), ["tick"; 3]);
    });
}

#[test]
fn run_loses_no_event_of_a_key() {
    guarded("run_loses_no_event_of_a_key", || {
        let events = EventLoop::new().unwrap();
        let (stream, _peer) = readable();
        events
            .key(1)
            .add(stream, Interest::READ, Mode::Edge)
            .unwrap();
        for _ in 0..3 {
            let error = events.run().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            let error = events.run_once(None).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let event = events.next_event().unwrap();
        assert!(
            matches!(event, Some(Event::Ready { key: 1, .. })),
            "{event:?}"
        );
        let error = events
            .next_event_timeout(Duration::from_millis(1))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "the edge came once");
    });
}

#[test]
fn the_time_is_up_only_when_nothing_has_come() {
    guarded("the_time_is_up_only_when_nothing_has_come", || {
        let events = EventLoop::new().unwrap();
        let timers = [Duration::ZERO; 3].map(|delay| events.key(2).after(delay));
        let late = events.key(3).every(Duration::from_secs(3600));
        let start = Instant::now();
        for timer in timers {
            // A timer's tick may lie ahead by one.
            let event = loop {
                match events.next_event_timeout(Duration::ZERO) {
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    event => break event.unwrap(),
                }
            };
            assert!(matches!(event, Some(Event::Timer { key: 2, id }) if id == timer));
        }
        let wait = Duration::from_millis(3);
        let error = events.next_event_timeout(wait).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= wait);
        events.remove(late);
        assert!(events.next_event_timeout(wait).unwrap().is_none());
    });
}
