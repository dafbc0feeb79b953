//! Calls that are started: the buffer comes back, whatever happens, from a thread of the pool.

use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::sync::mpsc;

use tarae::completion::{Check, Completion};
use tarae::event::EventLoop;
use tarae::fs::{self, File};
use tarae::offload::{Builder, Pool, stats};
use tarae::{Cancelled, sim};

use crate::support::{Folder, Held, alone, guarded, in_read, run_on, threads, until};

type Call<B> = Completion<(std::io::Result<usize>, B)>;

fn count<B: Send + 'static>(call: Call<B>) -> (usize, B) {
    let (count, buffer) = call.wait().unwrap();
    (count.unwrap(), buffer)
}

fn open(path: &std::path::Path) -> File {
    let mut options = File::options();
    options.read(true).write(true).open(path).unwrap()
}

/// Each does what the call does that it is named after, in a coroutine and on a plain thread.
#[test]
fn what_is_started_is_done() {
    guarded("starting calls", || {
        let test = || {
            let folder = Folder::new("started");
            let path = folder.file("file", b"0123456789");
            let mut file = open(&path);
            assert_eq!(count(file.start_read(vec![0; 4])), (4, b"0123".to_vec()));
            assert_eq!(file.stream_position().unwrap(), 4);
            assert_eq!(count(file.start_write(*b"ab")), (2, *b"ab"));
            assert_eq!(count(file.start_read_at([7; 20], 5)).0, 5);
            assert_eq!(count(file.start_read_at([7; 2], 100)), (0, [7; 2]));
            assert_eq!(count(file.start_write_at(*b"XY", 8)).0, 2);
            assert_eq!(file.stream_position().unwrap(), 6);
            assert_eq!(fs::read(&path).unwrap(), b"0123ab67XY");
            let mut log = File::options().append(true).open(&path).unwrap();
            log.rewind().unwrap();
            assert_eq!(count(log.start_write(*b"!")).0, 1);
            assert_eq!(fs::read(&path).unwrap(), b"0123ab67XY!");
            // Errors are the read's own, and the buffer is as it was.
            let (error, buffer) = log.start_read(vec![7; 3]).wait().unwrap();
            assert_eq!(error.unwrap_err().raw_os_error(), Some(9));
            assert_eq!(buffer, [7; 3]);
            let (error, _) = file.start_read_at([0], u64::MAX).wait().unwrap();
            assert_eq!(error.unwrap_err().raw_os_error(), Some(22));
        };
        test();
        run_on(1, test);
    });
}

/// Also what is in memory, and also where a call that blocks is refused.
#[test]
fn nothing_is_done_by_who_starts_it() {
    alone("starting::nothing_is_done_by_who_starts_it", || {
        let folder = Folder::new("starter");
        let path = folder.file("file", b"0123456789");
        let file = open(&path);
        let held = Held::new();
        let mut calls = vec![file.start_read_at([0; 2], 0)];
        run_on(1, || calls.push(file.start_read_at([0; 2], 2)));
        let events = EventLoop::new().unwrap();
        events.set_strict(true);
        let (give, given) = mpsc::channel();
        let theirs = file.try_clone().unwrap();
        let handler = move |_: &EventLoop| give.send(theirs.start_read_at([0; 2], 4)).unwrap();
        events.after(std::time::Duration::ZERO, handler);
        events.run().unwrap();
        calls.push(given.recv().unwrap());
        assert_eq!(stats().blocking.queued, 3);
        let (tell, told) = mpsc::channel();
        for (number, mut call) in calls.into_iter().enumerate() {
            assert!(matches!(call.try_get(), Check::Pending));
            let tell = tell.clone();
            call.on_complete(move |read| {
                let (count, buffer) = read.unwrap();
                assert_eq!(count.unwrap(), 2);
                let thread = std::thread::current().name().unwrap().to_owned();
                tell.send((number, buffer, thread)).unwrap();
            });
        }
        drop((held, tell));
        let name = || "tarae-blocking-0".to_owned();
        let expected = [
            (0, *b"01", name()),
            (1, *b"23", name()),
            (2, *b"45", name()),
        ];
        assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    });
}

/// One thread, which is held, and room for two: what is withdrawn or refused does nothing.
#[test]
fn what_has_not_begun_gives_its_buffer_back() {
    alone("starting::what_has_not_begun_gives_its_buffer_back", || {
        let folder = Folder::new("withdrawn");
        let path = folder.file("file", b"old");
        let file = open(&path);
        Builder::new(Pool::Blocking).queue(2).apply().unwrap();
        let held = Held::new();
        let write = file.start_write(b"new".to_vec());
        let read = file.start_read([7; 3]);
        let (full, buffer) = file.start_write(b"new").wait().unwrap();
        assert_eq!(
            (full.unwrap_err().kind(), buffer),
            (ErrorKind::WouldBlock, b"new")
        );
        write.cancel();
        let (error, buffer) = write.wait().unwrap();
        assert!(Cancelled::is(&error.unwrap_err()));
        assert_eq!(buffer, b"new");
        assert_eq!(stats().blocking.queued, 1);
        run_on(1, || read.cancel());
        let (error, buffer) = read.wait().unwrap();
        assert!(Cancelled::is(&error.unwrap_err()));
        assert_eq!(buffer, [7; 3]);
        // Nobody uses the position any more, so it is read and moved at once.
        run_on(1, || assert_eq!((&file).stream_position().unwrap(), 0));
        drop(held);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    });
}

/// A pipe opened as a file: a read that is in the kernel is not cut short, and holds nobody up.
#[test]
fn what_has_begun_is_done() {
    alone("starting::what_has_begun_is_done", || {
        let folder = Folder::new("started-begun");
        let path = folder.path("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let mut pipe = open(&path);
        let read = pipe.start_read([0; 8]);
        until(in_read);
        read.cancel();
        assert!(!read.is_complete());
        // A write that waited for it would wait for ever.
        pipe.write_all(b"text").unwrap();
        assert_eq!(count(read), (4, *b"text\0\0\0\0"));
    });
}

#[test]
fn it_keeps_the_file_open_until_it_is_done() {
    alone("starting::it_keeps_the_file_open_until_it_is_done", || {
        let folder = Folder::new("kept");
        let path = folder.file("file", b"0123456789");
        let held = Held::new();
        let read = open(&path).start_read([0; 2]);
        let file = open(&path);
        let descriptor = file.as_raw_fd();
        let write = file.start_write(*b"ab");
        let mut std = file.into_std();
        assert_ne!(std.as_raw_fd(), descriptor);
        drop(held);
        assert_eq!(count(read), (2, *b"01"));
        assert_eq!(count(write).0, 2);
        // The position is shared with the duplicate.
        assert_eq!(std.stream_position().unwrap(), 2);
        // Once the result is there, nobody else has the file.
        let file = File::from(std);
        let descriptor = file.as_raw_fd();
        (0..1_000).for_each(|_| assert_eq!(count(file.start_read_at([0], 2)), (1, *b"2")));
        assert_eq!(file.into_std().as_raw_fd(), descriptor);
    });
}

/// A call at once could have to wait for it in the kernel.
#[test]
fn it_uses_the_position_from_the_start() {
    alone("starting::it_uses_the_position_from_the_start", || {
        let folder = Folder::new("started-position");
        let path = folder.file("file", b"0123456789");
        let file = open(&path);
        let held = Held::new();
        run_on(1, || {
            let first = file.start_read([0; 2]);
            let mut other = file.try_clone().unwrap();
            let second = tarae::spawn(move || {
                let mut two = [0; 2];
                other.read_exact(&mut two).unwrap();
                two
            });
            until(|| stats().blocking.queued == 2);
            drop(held);
            assert_eq!(count(first), (2, *b"01"));
            assert_eq!(second.join().unwrap(), *b"23");
        });
    });
}

#[derive(Debug)]
struct Panics;

impl AsMut<[u8]> for Panics {
    fn as_mut(&mut self) -> &mut [u8] {
        std::panic::resume_unwind(Box::new("no buffer"))
    }
}

#[test]
fn a_panic_of_the_buffer_is_the_completions_error() {
    guarded("a buffer that panics", || {
        let run = || {
            let file = File::open("/proc/self/status").unwrap();
            assert!(file.start_read(Panics).wait().unwrap_err().is_panic());
        };
        run();
        run_on(1, run);
        sim::run(1, run).unwrap();
    });
}

#[test]
fn a_simulated_run_starts_no_thread() {
    alone("starting::a_simulated_run_starts_no_thread", || {
        let folder = Folder::new("started-simulated");
        let path = folder.file("file", b"0123456789");
        let run = || {
            let file = open(&path);
            let (tell, told) = tarae::sync::mpsc::channel();
            file.start_read([0; 2]).on_complete(move |read| {
                assert!(tarae::current().spawned_at().is_none());
                tell.send(read.unwrap().1).unwrap();
            });
            assert_eq!(count(file.start_read([0; 2])).1, *b"23");
            assert_eq!(told.recv().unwrap(), *b"01");
        };
        let trace = |seed| sim::run(seed, run).unwrap().trace.as_str().to_owned();
        assert_eq!(trace(1), trace(1));
        assert_eq!(threads(), 0);
    });
}
