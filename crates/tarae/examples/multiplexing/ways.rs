//! The four ways to listen to many descriptors, and what each event costs in them.
//!
//! Called by `main`. The descriptors are eventfds: one each, and readable when they are written to.
//! Every event is sent when the last was handled, and before anybody looks for it: so the numbers
//! are the same each time.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use tarae::event::{Event, EventLoop, Interest, Mode};

const EVENTS: usize = 8;

/// Enough for a thread that reads.
const STACK: usize = 64 * 1024;

/// What all events together cost; printed for one.
pub(crate) struct Costs {
    /// Calls that wait for any of several descriptors: `poll`, `next_event` of the event loop.
    waits: usize,
    reads: usize,
    looked_at: usize,
    threads: usize,
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [waits, reads, looked_at] =
            [self.waits, self.reads, self.looked_at].map(|calls| calls as f64 / EVENTS as f64);
        write!(
            f,
            "{waits:>6} {reads:>6} {looked_at:>9} {:>7}",
            self.threads
        )
    }
}

/// Where the events are: anywhere, and the last descriptor among them.
fn places(number: usize) -> impl Iterator<Item = usize> {
    (1..=EVENTS).map(move |event| (event * 7_919 + number - 1) % number)
}

fn open(number: usize, flags: EventfdFlags) -> io::Result<Vec<OwnedFd>> {
    let fds = (0..number).map(|_| eventfd(0, flags | EventfdFlags::CLOEXEC));
    Ok(fds.collect::<Result<_, _>>()?)
}

fn send(fd: &OwnedFd, value: u64) -> io::Result<()> {
    rustix::io::write(fd, &value.to_ne_bytes())?;
    Ok(())
}

/// Takes what was sent; an error that it would block if that is nothing. Counts the call.
fn read(fd: &OwnedFd, reads: &AtomicUsize) -> io::Result<u64> {
    let mut value = [0; 8];
    let read = rustix::io::read(fd, &mut value);
    reads.fetch_add(1, SeqCst);
    read?;
    Ok(u64::from_ne_bytes(value))
}

/// What was found must be what was sent.
fn found(place: usize, sent: usize) -> io::Result<()> {
    match place == sent {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "an event at {place} instead of {sent}"
        ))),
    }
}

/// One after the other, round after round: most have nothing.
pub(crate) fn scan(number: usize) -> io::Result<Costs> {
    let fds = open(number, EventfdFlags::NONBLOCK)?;
    let reads = AtomicUsize::new(0);
    for sent in places(number) {
        send(&fds[sent], 1)?;
        for (place, fd) in fds.iter().enumerate() {
            match read(fd, &reads) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => read.and_then(|_| found(place, sent))?,
            }
        }
    }
    let reads = reads.into_inner();
    Ok(Costs {
        waits: 0,
        reads,
        looked_at: reads,
        threads: 1,
    })
}

/// A thread for each, which blocks in its `read`.
pub(crate) fn threads(number: usize) -> io::Result<Costs> {
    const END: u64 = 2;
    let fds = Arc::new(open(number, EventfdFlags::empty())?);
    let reads = Arc::new(AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    let mut listeners = Vec::new();
    let listen = |place: usize| {
        let (fds, reads, tell) = (Arc::clone(&fds), Arc::clone(&reads), tell.clone());
        let builder = thread::Builder::new().stack_size(STACK);
        builder.spawn(move || {
            while let Ok(1) = read(&fds[place], &reads) {
                let _ = tell.send(place);
            }
        })
    };
    let mut handled = || {
        for place in 0..number {
            listeners.push(listen(place)?);
        }
        for sent in places(number) {
            send(&fds[sent], 1)?;
            found(told.recv().map_err(io::Error::other)?, sent)?;
        }
        Ok(reads.load(SeqCst))
    };
    let handled: io::Result<usize> = handled();
    let threads = listeners.len();
    for (fd, listener) in fds.iter().zip(listeners) {
        send(fd, END)?;
        listener.join().expect("it does not panic");
    }
    let reads = handled?;
    Ok(Costs {
        waits: 0,
        reads,
        looked_at: reads,
        threads,
    })
}

/// One call for all: the kernel looks at each of them, every time, and so does its caller.
pub(crate) fn poll(number: usize) -> io::Result<Costs> {
    let fds = open(number, EventfdFlags::NONBLOCK)?;
    let (mut waits, mut looked_at, reads) = (0, 0, AtomicUsize::new(0));
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    for sent in places(number) {
        send(&fds[sent], 1)?;
        waits += 1;
        rustix::event::poll(&mut polled, None)?;
        for (place, ready) in polled.iter().enumerate() {
            looked_at += 1;
            if !ready.revents().is_empty() {
                read(&fds[place], &reads)?;
                found(place, sent)?;
            }
        }
    }
    Ok(Costs {
        waits,
        reads: reads.into_inner(),
        looked_at,
        threads: 1,
    })
}

/// One call for all, and what it gives are the ready ones only: the kernel keeps the list.
pub(crate) fn epoll(number: usize) -> io::Result<Costs> {
    let fds: Vec<_> = open(number, EventfdFlags::NONBLOCK)?
        .into_iter()
        .map(Rc::new)
        .collect();
    let (mut waits, mut looked_at, reads) = (0, 0, AtomicUsize::new(0));
    let events = EventLoop::new()?;
    for (place, fd) in fds.iter().enumerate() {
        events
            .key(place as u64)
            .add(Rc::clone(fd), Interest::READ, Mode::Level)?;
    }
    for sent in places(number) {
        send(&fds[sent], 1)?;
        waits += 1;
        if let Some(Event::Ready { key, .. }) = events.next_event()? {
            looked_at += 1;
            let place = key as usize;
            read(&fds[place], &reads)?;
            found(place, sent)?;
        }
    }
    Ok(Costs {
        waits,
        reads: reads.into_inner(),
        looked_at,
        threads: 1,
    })
}
