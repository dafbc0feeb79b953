//! The reactor: handlers on the loop and on pool threads. Gates decide when a handler goes on.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};

use tarae::event::{Handler, Interest, Mode, Reactor, SourceId, WouldBlockLoop};
use tarae::net::UdpSocket;
use tarae::offload::Pool;
use tarae::time::Duration;

use crate::support::{
    Log, OnDrop, alone, alone_saying, guarded, pair, readable, round, take_panics,
};

/// A reactor with so many handlers on the pool at once.
fn reactor(in_flight_max: usize) -> Reactor {
    Reactor::in_pool(Pool::Blocking, in_flight_max).unwrap()
}

/// Goes round until `condition` holds; the guard bounds it.
fn until(reactor: &Reactor, condition: impl Fn() -> bool) {
    while !condition() {
        reactor.events().run_once(None).unwrap();
    }
}

fn read_byte(stream: &mut UnixStream) -> u8 {
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    byte[0]
}

/// What handlers on the pool wait at.
struct Gates {
    /// Of each that has begun: its byte, and what lets it go on.
    begun: mpsc::Receiver<(u8, mpsc::Sender<()>)>,
    entrance: mpsc::Sender<(u8, mpsc::Sender<()>)>,
}

impl Gates {
    fn new() -> Gates {
        let (entrance, begun) = mpsc::channel();
        Gates { begun, entrance }
    }

    /// A handler that reads a byte, waits at its gate, and gives the byte.
    fn handler(&self) -> Handler<UnixStream, u8> {
        let entrance = self.entrance.clone();
        Handler::new(move |stream: &mut UnixStream, _| {
            let byte = read_byte(stream);
            let (open, opened) = mpsc::channel();
            entrance.send((byte, open)).unwrap();
            let _ = opened.recv();
            byte
        })
    }

    /// Adds a source whose results are noted.
    fn add(&self, reactor: &Reactor, source: UnixStream, log: &Log<u8>) -> SourceId {
        let log = log.clone();
        let handler = self.handler().then(move |_, _, byte| log.note(byte));
        reactor.add(source, Interest::READ, handler).unwrap()
    }

    fn next(&self) -> (u8, mpsc::Sender<()>) {
        self.begun.recv().unwrap()
    }

    fn is_empty(&self) -> bool {
        matches!(self.begun.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

/// Waits for a datagram at `gate`, with a call of this crate that blocks the thread, then answers.
fn waits_for(gate: &Arc<UdpSocket>) -> Handler<UnixStream, io::Result<ThreadId>> {
    let gate = Arc::clone(gate);
    Handler::new(move |stream: &mut UnixStream, _| {
        read_byte(stream);
        gate.recv(&mut [0])?;
        stream.write_all(b"!")?;
        Ok(thread::current().id())
    })
}

fn gate() -> (Arc<UdpSocket>, UdpSocket) {
    let gate = UdpSocket::bind("127.0.0.1:0").unwrap();
    let opener = UdpSocket::bind("127.0.0.1:0").unwrap();
    opener.connect(gate.local_addr().unwrap()).unwrap();
    (Arc::new(gate), opener)
}

#[test]
fn a_connection_is_answered_while_a_pool_thread_blocks() {
    guarded(
        "a_connection_is_answered_while_a_pool_thread_blocks",
        || {
            let reactor = Reactor::new().unwrap();
            reactor.events().set_strict(true);
            let here = thread::current().id();
            let (gate, opener) = gate();
            let (slow, mut slow_client) = readable();
            let log = Log::new();
            let noted = log.clone();
            let blocks = waits_for(&gate).then(move |reactor, _, answered| {
                assert_eq!(thread::current().id(), here);
                noted.note(answered.unwrap());
                reactor.events().remove_current();
            });
            reactor.add(slow, Interest::READ, blocks).unwrap();
            let echo = |stream: &mut UnixStream, _| {
                let byte = read_byte(stream);
                stream.write_all(&[byte + 1]).unwrap();
            };
            let (on_pool, pool_client) = pair();
            let (on_loop, loop_client) = pair();
            let ids = [
                reactor.add(on_pool, Interest::READ, Handler::new(echo)),
                reactor.add(on_loop, Interest::READ, Handler::new(echo).on_loop()),
            ];
            while reactor.in_flight() == 0 {
                round(reactor.events());
            }
            // It waits for what we have not sent, and the loop answers the others meanwhile.
            for mut client in [&pool_client, &loop_client] {
                for byte in *b"ace" {
                    client.write_all(&[byte]).unwrap();
                    let mut answer = [0];
                    while client.read(&mut answer).is_err() {
                        reactor.events().run_once(None).unwrap();
                    }
                    assert_eq!(answer, [byte + 1]);
                }
            }
            until(&reactor, || reactor.in_flight() == 1);
            assert_eq!(log.len(), 0);
            assert!(slow_client.read(&mut [0]).is_err());
            opener.send(b"x").unwrap();
            for id in ids {
                assert!(reactor.events().remove(id.unwrap()));
            }
            reactor.run().unwrap();
            assert_ne!(log.take(), [here], "answered by a thread of the pool");
            assert_eq!(read_byte(&mut slow_client), b'!');
        },
    );
}

#[test]
fn the_same_handler_on_the_loop_is_refused() {
    guarded("the_same_handler_on_the_loop_is_refused", || {
        let reactor = Reactor::new().unwrap();
        reactor.events().set_strict(true);
        let (gate, _opener) = gate();
        let (source, _client) = readable();
        let log = Log::new();
        let noted = log.clone();
        let refused = waits_for(&gate)
            .on_loop()
            .then(move |reactor, _, answered| {
                noted.note(WouldBlockLoop::is(&answered.unwrap_err()));
                reactor.events().remove_current();
            });
        reactor.add(source, Interest::READ, refused).unwrap();
        reactor.run().unwrap();
        assert_eq!(log.take(), [true]);
    });
}

#[test]
fn the_same_handler_on_the_loop_is_reported() {
    let test = || {
        for is_on_loop in [false, true, true] {
            let reactor = Reactor::new().unwrap();
            let (gate, opener) = gate();
            // On the loop nothing comes, and nobody is there to send it.
            let patience = is_on_loop.then_some(Duration::from_millis(1));
            gate.set_read_timeout(patience).unwrap();
            let (source, _client) = readable();
            let mut handler = waits_for(&gate);
            if is_on_loop {
                handler = handler.on_loop();
            }
            let handler = handler.then(move |reactor, _, answered| {
                assert_eq!(answered.is_err(), is_on_loop);
                reactor.events().remove_current();
            });
            reactor.add(source, Interest::READ, handler).unwrap();
            if !is_on_loop {
                until(&reactor, || reactor.in_flight() == 1);
                opener.send(b"x").unwrap();
            }
            reactor.run().unwrap();
        }
    };
    let name = "reactor::the_same_handler_on_the_loop_is_reported";
    let Some(said) = alone_saying(name, test) else {
        return;
    };
    let reports = said.matches("makes a call that blocks it").count();
    assert_eq!(reports, 1, "once for the call site: {said}");
    // Where it was inlined it has no name of its own.
    assert!(said.contains("tests/event/reactor.rs"), "{said}");
}

#[test]
fn a_source_rests_while_its_handler_is_on_the_pool() {
    guarded("a_source_rests_while_its_handler_is_on_the_pool", || {
        let reactor = reactor(2);
        let (gates, log) = (Gates::new(), Log::new());
        let (source, mut client) = readable();
        let id = gates.add(&reactor, source, &log);
        client.write_all(b"yz").unwrap();
        for want in *b"xyz" {
            until(&reactor, || reactor.in_flight() == 1);
            let (byte, open) = gates.next();
            assert_eq!(byte, want);
            // More is there to be read, and there is room; nor is it armed by a change.
            let _ = reactor.events().modify(id, Interest::READ, Mode::Level);
            round(reactor.events());
            assert_eq!(
                round(reactor.events()),
                0,
                "it does not keep the loop awake"
            );
            assert!(gates.is_empty());
            assert_eq!((reactor.in_flight(), reactor.in_line()), (1, 0));
            assert!(reactor.events().with(id, |_: &mut UnixStream| ()).is_none());
            drop(open);
            let before = log.len();
            until(&reactor, || log.len() > before);
        }
        assert_eq!(log.take(), *b"xyz");
        let back: UnixStream = reactor.events().take(id).unwrap();
        drop(back);
        reactor.run().unwrap();
    });
}

#[test]
fn beyond_the_bound_events_stand_in_line() {
    guarded("beyond_the_bound_events_stand_in_line", || {
        let reactor = reactor(2);
        let (gates, log) = (Gates::new(), Log::new());
        let mut clients = Vec::new();
        let mut ids = Vec::new();
        for byte in *b"abcde" {
            let (source, client) = pair();
            (&client).write_all(&[byte]).unwrap();
            clients.push(client);
            ids.push(gates.add(&reactor, source, &log));
        }
        until(&reactor, || reactor.in_line() == 3);
        let mut begun = vec![gates.next(), gates.next()];
        round(reactor.events());
        assert!(gates.is_empty());
        assert_eq!((reactor.in_flight(), reactor.in_line()), (2, 3));
        let mut order = Vec::new();
        while let Some((byte, open)) = begun.pop() {
            drop(open);
            order.push(byte);
            until(&reactor, || log.len() == order.len());
            assert!(reactor.in_flight() <= 2);
            if order.len() < 4 {
                begun.push(gates.next());
            }
        }
        assert_eq!(log.take(), order);
        order.sort_unstable();
        assert_eq!(order, *b"abcde");
        for id in ids {
            assert!(reactor.events().remove(id));
        }
        reactor.run().unwrap();
    });
}

/// Tells on which thread it is dropped.
struct Source(UnixStream, mpsc::Sender<ThreadId>);

impl std::os::fd::AsFd for Source {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.1.send(thread::current().id());
    }
}

#[test]
fn a_source_removed_in_line_is_dropped_at_once_and_not_handled() {
    guarded("a_source_removed_in_line_is_dropped_at_once", || {
        let reactor = reactor(1);
        let (gates, log) = (Gates::new(), Log::new());
        let (first, _first_client) = readable();
        let first = gates.add(&reactor, first, &log);
        until(&reactor, || reactor.in_flight() == 1);
        let (second, _second_client) = readable();
        let (dropped, told) = mpsc::channel();
        let never = Handler::new(|_: &mut Source, _| panic!("it was removed"));
        let never = never.then(|_, _, ()| panic!("it was removed"));
        let source = Source(second, dropped);
        let second = reactor.add(source, Interest::READ, never).unwrap();
        until(&reactor, || reactor.in_line() == 1);
        assert!(reactor.events().remove(second));
        assert_eq!(told.try_recv(), Ok(thread::current().id()));
        gates.next();
        until(&reactor, || log.len() == 1);
        assert_eq!((reactor.in_flight(), reactor.in_line()), (0, 0));
        reactor.events().remove(first);
        reactor.run().unwrap();
    });
}

#[test]
fn a_source_removed_while_it_is_handled_lives_until_that_ends() {
    guarded("a_source_removed_while_it_is_handled", || {
        let reactor = reactor(1);
        let (dropped, told) = mpsc::channel();
        let (entrance, begun) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        let handler = Handler::new(move |source: &mut Source, _| {
            read_byte(&mut source.0);
            entrance.send(thread::current().id()).unwrap();
            let _ = opened.recv();
            source.0.write_all(b"late").unwrap();
        });
        let handler = handler.then(|_, _, ()| panic!("its result is dropped"));
        let (source, mut client) = readable();
        client.set_nonblocking(false).unwrap();
        let source = Source(source, dropped);
        let id = reactor.add(source, Interest::READ, handler).unwrap();
        until(&reactor, || reactor.in_flight() == 1);
        let pool_thread = begun.recv().unwrap();
        assert!(reactor.events().remove(id));
        assert!(told.try_recv().is_err());
        drop(open);
        assert_eq!(told.recv(), Ok(pool_thread));
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "late");
        reactor.run().unwrap(); // Until what is in flight has come back.
        assert_eq!(reactor.in_flight(), 0);
    });
}

#[test]
fn a_panic_ends_its_source_and_nothing_else() {
    guarded("a_panic_ends_its_source_and_nothing_else", || {
        let reactor = reactor(1);
        let log = Log::new();
        let here = thread::current().id();
        let (dropped, told) = mpsc::channel();
        let in_handler = Handler::new(|_: &mut Source, _| panic!("on purpose"));
        let in_then = Handler::new(|_: &mut Source, _| ()).then(|_, _, ()| panic!("on purpose"));
        let mut clients = Vec::new();
        for handler in [in_handler, in_then] {
            let (source, client) = readable();
            let source = Source(source, dropped.clone());
            reactor.add(source, Interest::READ, handler).unwrap();
            clients.push(client);
        }
        let (source, _client) = readable();
        let noted = log.clone();
        let sound = Handler::new(|stream: &mut UnixStream, _| read_byte(stream));
        let sound = sound.then(move |reactor, _, byte| {
            noted.note(byte);
            reactor.events().remove_current();
        });
        reactor.add(source, Interest::READ, sound).unwrap();
        reactor.run().unwrap(); // Returns, since no source is left.
        assert_eq!((log.take(), take_panics()), (vec![b'x'], 1));
        assert_eq!([told.recv(), told.recv()], [Ok(here); 2]);
    });
}

#[test]
fn what_a_source_is_watched_for_can_be_changed_by_then() {
    guarded("what_a_source_is_watched_for_can_be_changed", || {
        let reactor = reactor(1);
        let (source, client) = readable();
        let log = Log::new();
        let noted = log.clone();
        let handler = Handler::new(|_: &mut UnixStream, ready: tarae::event::Readiness| {
            (ready.is_readable(), ready.is_writable())
        });
        let handler = handler.then(move |reactor, stream, ready| {
            noted.note(ready);
            let events = reactor.events();
            // What there is to read is left there: it is not what is waited for any more.
            let id = events.current().unwrap();
            events.modify(id, Interest::WRITE, Mode::Level).unwrap();
            assert!(events.with(id, |_: &mut UnixStream| ()).is_none());
            if noted.len() == 2 {
                assert_eq!(read_byte(stream), b'x');
                events.remove_current();
            }
        });
        reactor.add(source, Interest::READ, handler).unwrap();
        reactor.run().unwrap();
        assert_eq!(log.take(), [(true, false), (false, true)]);
        drop(client);
    });
}

#[test]
fn a_stopped_reactor_finds_its_results_when_it_runs_again() {
    guarded("a_stopped_reactor_finds_its_results", || {
        let reactor = reactor(1);
        let (gates, log) = (Gates::new(), Log::new());
        let (source, _client) = readable();
        let id = gates.add(&reactor, source, &log);
        until(&reactor, || reactor.in_flight() == 1);
        reactor.events().stop();
        reactor.run().unwrap(); // It does not wait for the pool.
        assert_eq!((reactor.in_flight(), log.len()), (1, 0));
        drop(gates.next());
        until(&reactor, || reactor.in_flight() == 0);
        assert_eq!(log.take(), [b'x']);
        reactor.events().remove(id);
    });
}

#[test]
fn dropping_a_reactor_waits_for_nothing() {
    guarded("dropping_a_reactor_waits_for_nothing", || {
        let reactor = reactor(1);
        let gates = Gates::new();
        let log = Log::new();
        let (source, _client) = readable();
        gates.add(&reactor, source, &log);
        until(&reactor, || reactor.in_flight() == 1);
        let (_, open) = gates.next();
        let on_drop = OnDrop(log.clone(), b'd');
        reactor.offload(
            || panic!("it stands in line"),
            move |_, _: Result<(), _>| drop(on_drop),
        );
        assert_eq!(reactor.in_line(), 1);
        drop(reactor);
        assert_eq!(log.take(), [b'd'], "dropped with the line");
        drop(open);
        // The handler's last end of the channel goes with it.
        let Gates { begun, entrance } = gates;
        drop(entrance);
        assert!(begun.recv().is_err());
        assert_eq!(log.len(), 0);
    });
}

#[test]
fn offloaded_functions_share_the_bound_and_come_back_to_the_loop() {
    guarded("offloaded_functions_share_the_bound", || {
        let reactor = reactor(1);
        let here = thread::current().id();
        let log = Log::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..4 {
            let (noted, order) = (log.clone(), Arc::clone(&order));
            reactor.offload(
                move || {
                    order.lock().unwrap().push(number);
                    assert_ne!(number, 2, "on purpose");
                    number
                },
                move |_, result| {
                    assert_eq!(thread::current().id(), here);
                    noted.note(result.map_err(|error| error.is_panic()));
                },
            );
        }
        assert_eq!((reactor.in_flight(), reactor.in_line()), (1, 3));
        reactor.run().unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
        assert_eq!(log.take(), [Ok(0), Ok(1), Err(true), Ok(3)]);
    });
}

#[test]
fn a_source_removed_before_a_thread_has_it_is_not_handled() {
    alone(
        "reactor::a_source_removed_before_a_thread_has_it_is_not_handled",
        || {
            let limits = tarae::offload::Builder::new(Pool::Blocking);
            limits.threads(1).apply().unwrap();
            let (open, opened) = mpsc::channel::<()>();
            let held = tarae::offload::start(move || opened.recv().is_err());
            let reactor = reactor(1);
            let (source, _client) = readable();
            let (dropped, told) = mpsc::channel();
            let never = Handler::new(|_: &mut Source, _| panic!("it was removed"));
            let never = never.then(|_, _, ()| panic!("it was removed"));
            let source = Source(source, dropped);
            let id = reactor.add(source, Interest::READ, never).unwrap();
            until(&reactor, || reactor.in_flight() == 1);
            assert!(told.try_recv().is_err());
            assert!(reactor.events().remove(id));
            assert_eq!(told.try_recv(), Ok(thread::current().id()));
            drop(open);
            assert!(held.wait().unwrap());
            reactor.run().unwrap();
            assert_eq!(reactor.in_flight(), 0);
        },
    );
}

#[test]
fn an_event_that_the_pool_has_no_room_for_is_not_lost() {
    alone(
        "reactor::an_event_that_the_pool_has_no_room_for_is_not_lost",
        || {
            let limits = tarae::offload::Builder::new(Pool::Blocking);
            limits.threads(1).queue(1).apply().unwrap();
            let (entrance, begun) = mpsc::channel();
            let (open, opened) = mpsc::channel::<()>();
            let held = tarae::offload::start(move || {
                entrance.send(()).unwrap();
                let _ = opened.recv();
            });
            begun.recv().unwrap();
            let queued = tarae::offload::start(|| ());
            // The thread is at work, and the queue is full.
            let reactor = reactor(1);
            let (source, _client) = readable();
            let log = Log::new();
            let noted = log.clone();
            let handler = Handler::new(|stream: &mut UnixStream, _| read_byte(stream));
            let handler = handler.then(move |reactor, _, byte| {
                noted.note(byte);
                reactor.events().remove_current();
            });
            reactor.add(source, Interest::READ, handler).unwrap();
            let refusals = Log::new();
            let noted = refusals.clone();
            let other = Reactor::new().unwrap();
            other.offload(
                || (),
                move |_, result| noted.note(result.unwrap_err().is_full()),
            );
            other.run().unwrap();
            assert_eq!(refusals.take(), [true]);
            until(&reactor, || reactor.in_flight() == 1);
            until(&reactor, || {
                reactor.in_line() == 1 && reactor.in_flight() == 0
            });
            assert_eq!(log.len(), 0);
            drop(open);
            held.wait().unwrap();
            queued.wait().unwrap();
            reactor.run().unwrap();
            assert_eq!(log.take(), [b'x']);
        },
    );
}
