//! The six ways. None depends on luck: who sends the message does so when what is to be shown has
//! happened.
//!
//! Called by `main`. In the synchronous ways somebody else must send, for their caller is in the
//! call. In the asynchronous ones the caller itself sends, after its call: were the call not
//! asynchronous, it would wait for its own caller.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tarae::Completion;
use tarae::completion::{Check, Completions};
use tarae::event::{Event, EventLoop, Interest, Mode};
use tarae::offload;

use crate::measure::{Counted, Message, Meter, Reads, Row};

/// Makes it worth while to look at the CPU time; nothing depends on it.
const DELAY: Duration = Duration::from_millis(20);

/// Pieces of work between the call and the message.
const PIECES: usize = 3;

/// Sends the message when `condition` holds. It is there before this returns, and stays until the
/// caller has measured: so threads that begin and end do not disturb that.
fn sender(
    message: &Message,
    to: UnixStream,
    condition: impl Fn() -> bool + Send + 'static,
) -> impl FnOnce() -> io::Result<()> {
    let (ready, is_ready) = mpsc::channel();
    let finished = Arc::new(AtomicBool::new(false));
    let is_finished = Arc::clone(&finished);
    let message = message.clone();
    let sender = thread::spawn(move || {
        let until = |condition: &dyn Fn() -> bool| {
            while !condition() {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let _ = ready.send(());
        until(&condition);
        thread::sleep(DELAY);
        let sent = message.send(to);
        until(&|| is_finished.load(SeqCst));
        sent
    });
    let _ = is_ready.recv();
    move || {
        finished.store(true, SeqCst);
        sender.join().expect("it does not panic")
    }
}

/// Whether the kernel says that the thread sleeps.
fn sleeps(thread: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    let state = stat
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()));
    state.is_some_and(|state| state.starts_with('S'))
}

/// The message is sent when the caller sleeps in its `read`.
pub(crate) fn blocking() -> io::Result<Row> {
    let (ours, theirs) = UnixStream::pair()?;
    let (reads, message) = (Reads::default(), Message::default());
    let mut stream = Counted(ours, reads.clone());
    let caller = rustix::thread::gettid().as_raw_nonzero().get();
    let is_called = Arc::new(AtomicBool::new(false));
    let called = Arc::clone(&is_called);
    let finish = sender(&message, theirs, move || {
        called.load(SeqCst) && sleeps(caller)
    });

    let meter = Meter::start()?;
    let mut buffer = [0; Message::TEXT.len()];
    is_called.store(true, SeqCst);
    stream.read_exact(&mut buffer)?;
    let returned = !message.is_sent();
    let spent = meter.spent()?;
    finish()?;
    Ok(Row::by_caller("blocking", returned, 0, reads, spent))
}

/// The message is sent when the caller has asked for it several times.
pub(crate) fn polling() -> io::Result<Row> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (reads, message) = (Reads::default(), Message::default());
    let mut stream = Counted(ours, reads.clone());
    let polls = Arc::new(AtomicUsize::new(0));
    let polled = Arc::clone(&polls);
    let finish = sender(&message, theirs, move || polled.load(SeqCst) >= PIECES);

    let meter = Meter::start()?;
    let mut buffer = [0; Message::TEXT.len()];
    loop {
        match stream.read_exact(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => polls.fetch_add(1, SeqCst),
            read => break read?,
        };
    }
    let returned = !message.is_sent();
    let spent = meter.spent()?;
    finish()?;
    let ran = polls.load(SeqCst);
    Ok(Row::by_caller("polling", returned, ran, reads, spent))
}

/// An asynchronous call: it returns at once, and another thread reads.
fn start_reading(mut stream: Counted<UnixStream>) -> Completion<io::Result<[u8; 5]>> {
    offload::start(move || {
        let mut buffer = [0; Message::TEXT.len()];
        stream.read_exact(&mut buffer)?;
        Ok(buffer)
    })
}

fn received(message: Result<io::Result<[u8; 5]>, tarae::completion::CompletionError>) {
    let message = message.expect("it ran").expect("it was sent");
    assert_eq!(&message, Message::TEXT, "what was sent has come");
}

/// The caller works, and looks now and then.
pub(crate) fn check() -> io::Result<Row> {
    let (ours, theirs) = UnixStream::pair()?;
    let (reads, message) = (Reads::default(), Message::default());
    let meter = Meter::start()?;
    let mut call = start_reading(Counted(ours, reads.clone()));
    let returned = !message.is_sent();
    let mut ran = 0;
    while ran < PIECES {
        ran += 1;
        assert!(matches!(call.try_get(), Check::Pending), "nothing was sent");
    }
    message.send(&theirs)?;
    let result = loop {
        match call.try_get() {
            Check::Ready(result) => break result,
            // Here the caller has nothing else to do. It may as well let others run.
            _ => thread::yield_now(),
        }
    };
    received(result);
    let spent = meter.spent()?;
    Ok(Row::by_caller("check", returned, ran, reads, spent))
}

/// The caller works in a loop of its own, and is told there.
pub(crate) fn notification() -> io::Result<Row> {
    const WORK: u64 = 0;
    const TOLD: u64 = 1;
    let (ours, theirs) = UnixStream::pair()?;
    let (reads, message) = (Reads::default(), Message::default());
    let (events, calls) = (EventLoop::new()?, Completions::new());
    let meter = Meter::start()?;
    let called = thread::current().id();
    calls.add((), start_reading(Counted(ours, reads.clone())));
    let told = calls.notify_fd()?.try_clone_to_owned()?;
    events.key(TOLD).add(told, Interest::READ, Mode::Level)?;
    events.key(WORK).every(Duration::from_millis(1));
    let returned = !message.is_sent();
    let mut ran = 0;
    let processed = loop {
        match events.next_event()? {
            Some(Event::Timer { key: WORK, id }) => {
                ran += 1;
                if ran == PIECES {
                    events.remove(id);
                    message.send(&theirs)?;
                }
            }
            Some(Event::Ready { key: TOLD, .. }) => {
                if let Some(((), result)) = calls.try_next() {
                    received(result);
                    break thread::current().id();
                }
            }
            other => return Err(io::Error::other(format!("not expected: {other:?}"))),
        }
    };
    let spent = meter.spent()?;
    Ok(Row {
        way: "notification",
        returned,
        ran,
        reads,
        spent,
        called,
        processed,
    })
}

/// The caller works and never looks: who read processes the message too.
pub(crate) fn callback() -> io::Result<Row> {
    let (ours, theirs) = UnixStream::pair()?;
    let (tell, told) = mpsc::channel();
    let (reads, message) = (Reads::default(), Message::default());
    let meter = Meter::start()?;
    let call = start_reading(Counted(ours, reads.clone()));
    call.on_complete(move |result| {
        received(result);
        let _ = tell.send(thread::current().id());
    });
    let returned = !message.is_sent();
    let mut ran = 0;
    while ran < PIECES {
        ran += 1;
        assert!(told.try_recv().is_err(), "nothing was sent");
    }
    message.send(&theirs)?;
    let spent = meter.spent()?;
    // Only to print it: the caller of a callback has no use for this.
    let processed = told.recv().map_err(io::Error::other)?;
    let called = thread::current().id();
    Ok(Row {
        way: "callback",
        returned,
        ran,
        reads,
        spent,
        called,
        processed,
    })
}

/// The coroutine's `read` looks as the blocking one does; while it is parked, another coroutine
/// works on the same thread, and sends the message.
pub(crate) fn coroutine() -> io::Result<Row> {
    let runtime = tarae::Builder::new().workers(1);
    let ended = runtime.run(|| {
        let (ours, theirs) = tarae::os::unix::net::UnixStream::pair()?;
        let (reads, message) = (Reads::default(), Message::default());
        let mut stream = Counted(ours, reads.clone());
        let is_called = Arc::new(AtomicBool::new(false));
        let called_already = Arc::clone(&is_called);
        let message_too = message.clone();
        let other = tarae::spawn(move || {
            let mut worked_on = Vec::new();
            while worked_on.len() < PIECES {
                assert!(called_already.load(SeqCst), "the reader is in its call");
                worked_on.push(thread::current().id());
                tarae::yield_now();
            }
            message_too.send(&theirs).map(|()| worked_on)
        });
        let meter = Meter::start()?;
        let called = thread::current().id();
        let mut buffer = [0; Message::TEXT.len()];
        is_called.store(true, SeqCst);
        stream.read_exact(&mut buffer)?;
        let returned = !message.is_sent();
        let processed = thread::current().id();
        let spent = meter.spent()?;
        let worked_on = other.join().expect("it does not panic")?;
        // What counts is what ran on the reader's own thread.
        let ran = worked_on.iter().filter(|id| **id == called).count();
        Ok(Row {
            way: "coroutine",
            returned,
            ran,
            reads,
            spent,
            called,
            processed,
        })
    });
    ended?
}
