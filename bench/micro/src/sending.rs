//! A file in memory sent over a socket: `send_file` beside reads and writes, beside std's
//! `io::copy`, which copies to sockets by a buffer of its own, and beside bare `sendfile(2)`.
//!
//! Called by `files`. The figure is the CPU time of the thread that sends; on loopback TCP that
//! includes most of the receiving. It must never count the reader's copy, who has a thread of its
//! own.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::sendfile;
use rustix::time::{ClockId, clock_gettime};

use crate::files::Goal;

/// How much is sent.
pub(crate) const SENT: u64 = 64 << 20;
const BUFFER: usize = 64 << 10;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Over {
    Tcp,
    Unix,
}

/// Sends the beginning of a file; the CPU time of that.
pub(crate) type Sender = fn(Over, &Path) -> Duration;

pub(crate) const SENDERS: &[(&str, Sender)] = &[
    ("tarae, send_file", |over, path| ours(over, path, true)),
    ("tarae, read and write", |over, path| {
        ours(over, path, false)
    }),
    ("std, io::copy", |over, path| theirs(over, path, How::Copy)),
    ("std, sendfile(2)", |over, path| {
        theirs(over, path, How::Kernel)
    }),
    ("std, read and write", |over, path| {
        theirs(over, path, How::ByHand)
    }),
];

pub(crate) const GOALS: &[Goal] = &[
    ("tarae, send_file", 1.15, "std, sendfile(2)"),
    ("tarae, send_file", 0.8, "tarae, read and write"),
];

fn ours(over: Over, path: &Path, whole: bool) -> Duration {
    let run = || {
        let file = tarae::fs::File::open(path).expect("it is there");
        match over {
            Over::Tcp => {
                let (one, other) = tcp();
                one.set_nonblocking(true).expect("a mode");
                let one = tarae::net::TcpStream::from(one);
                one.set_nonblocking(false).expect("a mode");
                timed(other, || match whole {
                    true => one.send_file(&file, 0, SENT).expect("a peer"),
                    false => by_hand(&file, &one),
                })
            }
            Over::Unix => {
                let (one, other) = UnixStream::pair().expect("two sockets");
                one.set_nonblocking(true).expect("a mode");
                let one = tarae::os::unix::net::UnixStream::from(one);
                one.set_nonblocking(false).expect("a mode");
                timed(other, || match whole {
                    true => one.send_file(&file, 0, SENT).expect("a peer"),
                    false => by_hand(&file, &one),
                })
            }
        }
    };
    let runtime = tarae::Builder::new().workers(1);
    runtime.run(run).expect("a runtime")
}

/// How a plain thread sends.
#[derive(Clone, Copy)]
enum How {
    Copy,
    Kernel,
    ByHand,
}

fn theirs(over: Over, path: &Path, how: How) -> Duration {
    let file = std::fs::File::open(path).expect("it is there");
    match over {
        Over::Tcp => {
            let (mut one, other) = tcp();
            timed(other, || match how {
                How::Copy => io::copy(&mut (&file).take(SENT), &mut one).expect("a peer"),
                How::Kernel => by_kernel(&file, &one),
                How::ByHand => by_hand(&file, &one),
            })
        }
        Over::Unix => {
            let (mut one, other) = UnixStream::pair().expect("two sockets");
            timed(other, || match how {
                How::Copy => io::copy(&mut (&file).take(SENT), &mut one).expect("a peer"),
                How::Kernel => by_kernel(&file, &one),
                How::ByHand => by_hand(&file, &one),
            })
        }
    }
}

fn by_kernel(file: impl AsFd, socket: impl AsFd) -> u64 {
    let mut sent = 0;
    while sent < SENT {
        let left = (SENT - sent) as usize;
        sendfile(&socket, &file, Some(&mut sent), left).expect("a peer");
    }
    sent
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("its address"));
    let (other, _) = listener.accept().expect("a connection");
    (one.expect("a connection"), other)
}

/// By reads and writes.
fn by_hand(mut file: impl Read, mut socket: impl Write) -> u64 {
    let mut buffer = vec![0; BUFFER];
    let mut sent = 0;
    while sent < SENT {
        let count = file.read(&mut buffer).expect("a read");
        socket.write_all(&buffer[..count]).expect("a peer");
        sent += count as u64;
    }
    sent
}

/// The CPU time that this thread takes to send, while another one reads.
fn timed(mut other: impl Read + Send, send: impl FnOnce() -> u64) -> Duration {
    std::thread::scope(|s| {
        s.spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            let mut left = SENT;
            while left > 0 {
                left -= other.read(&mut buffer).expect("a sender") as u64;
            }
        });
        let start = cpu();
        assert_eq!(send(), SENT);
        cpu() - start
    })
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
