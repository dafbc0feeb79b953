//! Being told that a read is possible, or that it was done (sections 2.7 and 2.8.4 of the notes).
//!
//! epoll gives *readiness*: the data is still in the kernel, and reading it is still a call of
//! ours. io_uring gives *completion*: the kernel was handed the buffer before there was any data,
//! and has filled it when we are told. A regular file has no readiness at all; it can be completed.
//!
//! ```text
//! cargo run -p tarae --example readiness_vs_completion
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use tarae::event::{Event, EventLoop, Interest, Mode};

mod ring;

/// A regular file, whose text begins with `[package]`.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

const MESSAGE: &[u8; 5] = b"hello";

/// Where the message is now.
fn whereabouts(what: &str, buffer: &[u8], socket: impl AsFd) -> io::Result<()> {
    let ours = buffer.iter().filter(|byte| **byte != 0).count();
    let kernels = rustix::io::ioctl_fionread(socket)?;
    println!("{what}: {ours} bytes in our buffer, {kernels} in the socket");
    Ok(())
}

fn readiness() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let ours = Rc::new(ours);
    let mut buffer = [0; MESSAGE.len()];
    let events = EventLoop::new()?;
    events
        .key(0)
        .add(Rc::clone(&ours), Interest::READ, Mode::Level)?;
    theirs.write_all(MESSAGE)?;

    let Some(Event::Ready { id, .. }) = events.next_event()? else {
        return Err(io::Error::other("nothing else was watched"));
    };
    whereabouts("epoll: told that it is readable", &buffer, &ours)?;
    let count = (&*ours).read(&mut buffer)?;
    whereabouts("epoll: after our read", &buffer, &ours)?;
    println!("epoll: {count} bytes by a read of ours");
    events.remove(id);
    Ok(())
}

fn completion() -> io::Result<()> {
    let mut ring = match ring::Ring::new() {
        // A sandbox or the administrator forbids it. Nothing else may be taken for that.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
            println!("io_uring: not permitted here: {error}");
            return Ok(());
        }
        ring => ring?,
    };
    let (ours, mut theirs) = UnixStream::pair()?;
    // The buffer is the kernel's from here on; so it goes in, and comes back.
    ring.start_read(&ours, vec![0; MESSAGE.len()])?;
    theirs.write_all(MESSAGE)?;
    let (count, buffer) = ring.wait()?;
    whereabouts("io_uring: told that it is read", &buffer, &ours)?;
    println!("io_uring: {} bytes without a read of ours", count?);

    let file = File::open(FILE)?;
    ring.start_read(&file, vec![0; 9])?;
    let (count, buffer) = ring.wait()?;
    let text = String::from_utf8_lossy(&buffer[..count?]).into_owned();
    println!("io_uring: a file: {text}");
    Ok(())
}

fn main() -> io::Result<()> {
    readiness()?;
    let file = File::open(FILE)?;
    let added = EventLoop::new()?
        .key(0)
        .add(file, Interest::READ, Mode::Level);
    match added {
        Ok(_) => println!("epoll: a file: watched"),
        Err(error) => println!("epoll: a file: {error}"),
    }
    completion()
}
