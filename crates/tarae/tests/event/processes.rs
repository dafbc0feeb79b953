//! Signals and child processes.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use tarae::event::{Event, EventLoop};
use tarae::signal::Signal;

use crate::support::{Log, alone, guarded};

fn send(signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
}

fn shell(script: &str) -> u32 {
    Command::new("sh")
        .args(["-c", script])
        .spawn()
        .unwrap()
        .id()
}

#[test]
fn signals_come_as_events() {
    alone("processes::signals_come_as_events", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        let calls = log.clone();
        let both = [Signal::USER1, Signal::USER2];
        let handler = move |events: &EventLoop, signal| {
            calls.note(signal);
            if calls.len() == 3 {
                events.remove_current();
            }
        };
        let id = events.on_signal(&both, handler).unwrap();
        send(rustix::process::Signal::USR1);
        send(rustix::process::Signal::USR2);
        while log.len() < 2 {
            events.run_once(None).unwrap();
        }
        assert_eq!(log.len(), 2);
        send(rustix::process::Signal::USR1);
        events.run().unwrap();
        let mut come = log.take();
        assert_eq!(come.pop(), Some(Signal::USER1));
        come.sort_by_key(|signal| signal.number());
        assert_eq!(come, both);
        assert!(!events.remove(id));

        // With a key: one event each; who is removed in between gets none.
        let first = events.key(1).on_signal(&both).unwrap();
        let second = events.key(2).on_signal(&both).unwrap();
        send(rustix::process::Signal::USR1);
        send(rustix::process::Signal::USR2);
        let Some(Event::Signal { key, id, .. }) = events.next_event().unwrap() else {
            panic!("a signal");
        };
        assert_eq!(id, [first, second][key as usize - 1]);
        assert!(events.remove(first) && events.remove(second));
        assert!(events.next_event().unwrap().is_none());
    });
}

#[test]
fn ends_of_children_come_as_events() {
    guarded("ends_of_children_come_as_events", || {
        let events = EventLoop::new().unwrap();
        let log = Log::new();
        for (number, script) in ["exit 0", "exit 7", "kill -TERM $$"]
            .into_iter()
            .enumerate()
        {
            let calls = log.clone();
            let handler = move |_: &EventLoop, status| calls.note((number, status));
            events.on_exit(shell(script), handler).unwrap();
        }
        events.run().unwrap();
        let mut ends = log.take();
        ends.sort_by_key(|(number, _)| *number);
        let mut ends = ends
            .into_iter()
            .map(|(_, status): (_, std::io::Result<_>)| status.unwrap());
        assert!(ends.next().unwrap().success());
        assert_eq!(ends.next().unwrap().code(), Some(7));
        assert_eq!(ends.next().unwrap().signal(), Some(15));

        events.key(5).on_exit(shell("exit 3")).unwrap();
        let Some(Event::Exit { key: 5, status }) = events.next_event().unwrap() else {
            panic!("the end of a child");
        };
        assert_eq!(status.unwrap().code(), Some(3));
        assert!(events.next_event().unwrap().is_none(), "it ends once");
    });
}

#[test]
fn a_child_that_somebody_else_waited_for_gives_an_error() {
    guarded(
        "a_child_that_somebody_else_waited_for_gives_an_error",
        || {
            let events = EventLoop::new().unwrap();
            let mut child = Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let log = Log::new();
            let calls = log.clone();
            let handler =
                move |_: &EventLoop, status: std::io::Result<_>| calls.note(status.is_err());
            events.on_exit(child.id(), handler).unwrap();
            // Closes its input, so that it ends.
            assert!(child.wait().unwrap().success());
            events.run().unwrap();
            assert_eq!(log.take(), [true]);
            assert!(
                events.on_exit(child.id(), |_, _| ()).is_err(),
                "there is nobody of that number"
            );
        },
    );
}
