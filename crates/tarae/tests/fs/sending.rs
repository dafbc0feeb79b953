//! Files sent over streams: what arrives, and what is done for it on which thread.

use std::cell::Cell;
use std::io::{ErrorKind, IoSliceMut, Read, Seek, Write};
use std::rc::Rc;

use rustix::fs::{Advice, fadvise};
use rustix::io::{ReadWriteFlags, preadv2};
use tarae::event::{EventLoop, WouldBlockLoop};
use tarae::fs::File;
use tarae::net::{TcpListener, TcpStream};
use tarae::offload::stats;
use tarae::os::unix::net::UnixStream;

use crate::support::{Folder, Held, alone, guarded, kernel, parked, run_on, threads, until};

/// How much is sent in one piece.
pub(crate) const PIECE: usize = 256 * 1024;
const PAGE: usize = 4096;

/// Bytes of which no two pieces or pages are the same.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251 + n / PIECE) as u8).collect()
}

/// A file on the disk that is in memory too, in small parts: it is written page by page.
pub(crate) fn on_disk(folder: &Folder, contents: &[u8]) -> std::fs::File {
    let path = folder.path("file");
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create(true).open(path);
    let mut file = file.unwrap();
    contents
        .chunks(PAGE)
        .for_each(|page| file.write_all(page).unwrap());
    file.sync_all().unwrap();
    file.rewind().unwrap();
    file
}

/// Whether the kernel says that a byte is in memory.
fn is_there(file: &std::fs::File, offset: usize) -> bool {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    preadv2(file, &mut buffers, offset as u64, ReadWriteFlags::NOWAIT).is_ok()
}

/// Has the kernel forget a part of a file.
fn forget(file: &std::fs::File, from: usize, to: usize) {
    let length = std::num::NonZeroU64::new((to - from) as u64);
    fadvise(file, from as u64, length, Advice::DontNeed).unwrap();
}

/// How many threads it takes to send a part that was forgotten: none where nothing is, or one if
/// the kernel cannot tell. Tried on another file, since the question has the answer read in.
fn for_the_forgotten() -> usize {
    let folder = Folder::new("forgotten");
    let file = on_disk(&folder, &bytes(PIECE));
    forget(&file, 20 * PAGE, 40 * PAGE);
    usize::from(!is_there(&file, 20 * PAGE))
}

/// What arrives of a file that is sent while somebody reads to the end.
fn sent(file: &File, offset: u64, len: u64) -> (u64, Vec<u8>) {
    let (one, mut other) = UnixStream::pair().unwrap();
    let file = file.try_clone().unwrap();
    let sender = tarae::spawn(move || one.send_file(&file, offset, len).unwrap());
    let mut arrived = Vec::new();
    other.read_to_end(&mut arrived).unwrap();
    (sender.join().unwrap(), arrived)
}

/// The same, sent by a plain thread over TCP.
fn sent_by_thread(file: &File, offset: u64, len: u64) -> (u64, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    std::thread::scope(|s| {
        let sender = s.spawn(move || {
            let one = one;
            one.send_file(file, offset, len).unwrap()
        });
        let mut arrived = Vec::new();
        other.read_to_end(&mut arrived).unwrap();
        (sender.join().unwrap(), arrived)
    })
}

#[test]
fn what_is_sent_arrives() {
    guarded("what is sent arrives", || {
        let folder = Folder::new("sent");
        let all = bytes(3 * PIECE);
        for size in [1, PAGE, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 7] {
            let path = folder.file("file", &all[..size]);
            let mut file = File::from_std(std::fs::File::open(path).unwrap());
            let parts = [
                (0, size),
                (0, size - 1),
                (1, size),
                (size / 2, PIECE),
                (PIECE - 1, PIECE + 1),
                (0, usize::MAX),
            ];
            for (offset, len) in parts {
                let end = size.min(offset.saturating_add(len));
                let want = &all[offset.min(end)..end];
                let check = |(count, arrived): (u64, Vec<u8>)| {
                    assert_eq!(count, want.len() as u64, "{offset} of {size}");
                    assert!(arrived == want, "{offset} of {size}");
                };
                let (offset, len) = (offset as u64, len as u64);
                run_on(1, || check(sent(&file, offset, len)));
                check(sent_by_thread(&file, offset, len));
            }
            assert_eq!(file.stream_position().unwrap(), 0);
        }
    });
}

#[test]
fn nothing_is_sent_from_beyond_the_end() {
    guarded("nothing is sent from beyond the end", || {
        let folder = Folder::new("beyond");
        let file = std::fs::File::open(folder.file("file", b"contents")).unwrap();
        let file = File::from_std(file);
        let empty = std::fs::File::open(folder.file("empty", b"")).unwrap();
        let empty = File::from_std(empty);
        let test = || {
            let (one, _other) = UnixStream::pair().unwrap();
            for (offset, len) in [(8, 1), (9, 8), (u64::MAX, u64::MAX), (0, 0)] {
                assert_eq!(one.send_file(&file, offset, len).unwrap(), 0);
            }
            assert_eq!(one.send_file(&empty, 0, 1).unwrap(), 0);
        };
        run_on(1, test);
        test();
    });
}

/// A copy would have to send from a buffer.
#[test]
fn nothing_is_copied() {
    alone("sending::nothing_is_copied", || {
        kernel::without_send();
        let folder = Folder::new("uncopied");
        let all = bytes(2 * PIECE + 1);
        let file = File::from_std(on_disk(&folder, &all));
        run_on(1, || {
            assert!(sent(&file, 0, u64::MAX).1 == all);
            let (one, _other) = UnixStream::pair().unwrap();
            let status = File::open("/proc/self/status").unwrap();
            let copied = one.send_file(&status, 0, 1).unwrap_err();
            assert_eq!(copied.raw_os_error(), Some(libc::EIO));
        });
    });
}

#[test]
fn what_is_in_memory_is_sent_without_a_thread() {
    alone(
        "sending::what_is_in_memory_is_sent_without_a_thread",
        || {
            let folder = Folder::new("in-memory");
            let all = bytes(4 * PIECE + 1);
            let file = on_disk(&folder, &all);
            let expected = usize::from(!is_there(&file, 0));
            let theirs = File::from_std(file.try_clone().unwrap());
            run_on(1, || {
                assert!(sent(&theirs, 0, u64::MAX).1 == all);
                assert_eq!(threads(), expected);
                forget(&file, 0, all.len());
                assert!(sent(&theirs, 0, u64::MAX).1 == all);
                assert_eq!(threads(), for_the_forgotten());
            });
        },
    );
}

#[test]
fn a_gap_in_memory_is_read_in() {
    alone("sending::a_gap_in_memory_is_read_in", gap);
}

/// In the midst of a piece.
fn gap() {
    let folder = Folder::new("gap");
    let all = bytes(PIECE);
    let file = on_disk(&folder, &all);
    let theirs = File::from_std(file.try_clone().unwrap());
    forget(&file, 20 * PAGE, 40 * PAGE);
    run_on(1, || {
        assert!(sent(&theirs, 0, u64::MAX).1 == all);
        assert_eq!(threads(), for_the_forgotten());
    });
}

#[test]
fn a_gap_is_found_without_cachestat() {
    alone("sending::a_gap_is_found_without_cachestat", || {
        kernel::without_cachestat();
        gap();
    });
}

#[test]
fn without_cachestat_each_page_is_tried() {
    alone("sending::without_cachestat_each_page_is_tried", || {
        kernel::without_cachestat();
        let folder = Folder::new("tried");
        let all = bytes(2 * PIECE + 1);
        let file = on_disk(&folder, &all);
        let expected = usize::from(!is_there(&file, 0));
        let theirs = File::from_std(file);
        run_on(1, || {
            assert!(sent(&theirs, 0, u64::MAX).1 == all);
            assert_eq!(threads(), expected);
        });
    });
}

/// Pages may be there and not be read yet; here they never are.
#[test]
fn what_cannot_be_read_at_once_is_read_in() {
    alone("sending::what_cannot_be_read_at_once_is_read_in", || {
        kernel::without_cached_reads();
        let folder = Folder::new("read-in");
        let all = bytes(2 * PIECE + 1);
        let file = File::from_std(on_disk(&folder, &all));
        run_on(1, || {
            assert!(sent(&file, 0, u64::MAX).1 == all);
            assert_eq!(threads(), 1);
        });
    });
}

/// Nothing goes out before the pool has read.
#[test]
fn a_disk_is_waited_for_by_the_pool() {
    alone("sending::a_disk_is_waited_for_by_the_pool", || {
        kernel::without_cached_reads();
        let folder = Folder::new("pool");
        let all = bytes(1000);
        let file = File::from_std(on_disk(&folder, &all));
        let held = Held::new();
        run_on(1, || {
            let (one, mut other) = UnixStream::pair().unwrap();
            let sender = tarae::spawn(move || one.send_file(&file, 0, 1000).unwrap());
            until(|| stats().blocking.queued == 1);
            other.set_nonblocking(true).unwrap();
            let none = other.read(&mut [0]).unwrap_err();
            assert_eq!(none.kind(), ErrorKind::WouldBlock);
            drop(held);
            other.set_nonblocking(false).unwrap();
            let mut arrived = Vec::new();
            other.read_to_end(&mut arrived).unwrap();
            assert!(arrived == all);
            assert_eq!(sender.join().unwrap(), 1000);
        });
    });
}

/// While the sender waited for room the kernel may have forgotten what it knew to be in memory.
#[test]
fn after_a_wait_it_looks_again() {
    alone("sending::after_a_wait_it_looks_again", || {
        let folder = Folder::new("again");
        let all = bytes(PIECE);
        let file = on_disk(&folder, &all);
        let expected = usize::from(!is_there(&file, 0));
        let file = File::from_std(file);
        run_on(1, || {
            let (one, mut other) = UnixStream::pair().unwrap();
            rustix::net::sockopt::set_socket_send_buffer_size(&one, 4096).unwrap();
            let sender = tarae::spawn(move || one.send_file(&file, 0, u64::MAX).unwrap());
            parked();
            assert_eq!(threads(), expected);
            // This worker's thread is the one that looks.
            kernel::without_cached_reads();
            let mut arrived = Vec::new();
            other.read_to_end(&mut arrived).unwrap();
            assert!(arrived == all);
            assert_eq!(sender.join().unwrap(), PIECE as u64);
            assert_eq!(threads(), 1);
        });
    });
}

#[test]
fn where_files_cannot_be_sent_they_are_copied() {
    alone(
        "sending::where_files_cannot_be_sent_they_are_copied",
        || {
            let folder = Folder::new("copied");
            let all = bytes(PIECE + 1);
            let file = File::from_std(on_disk(&folder, &all));
            let test = || {
                run_on(1, || assert!(sent(&file, 1, u64::MAX).1 == all[1..]));
                assert!(sent_by_thread(&file, 1, PIECE as u64).1 == all[1..]);
            };
            for errno in [libc::EINVAL, libc::ENOSYS, libc::EPERM] {
                std::thread::scope(|s| {
                    s.spawn(|| {
                        kernel::without_sendfile(errno);
                        test();
                    });
                });
            }
        },
    );
}

#[test]
fn a_file_that_is_no_regular_one_is_copied() {
    guarded("a file that is no regular one is copied", || {
        let file = File::open("/proc/self/cmdline").unwrap();
        let all = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(!all.is_empty());
        let (pipe, mut end) = std::io::pipe().unwrap();
        end.write_all(b"text").unwrap();
        let pipe = File::from_std(std::os::fd::OwnedFd::from(pipe).into());
        let folder = File::open("/").unwrap();
        let test = || {
            let (one, _other) = UnixStream::pair().unwrap();
            let refused = |file| one.send_file(file, 0, 4).unwrap_err().kind();
            assert_eq!(refused(&pipe), ErrorKind::NotSeekable);
            assert_eq!(refused(&folder), ErrorKind::IsADirectory);
        };
        run_on(1, || {
            assert_eq!(sent(&file, 1, u64::MAX).1, all[1..]);
            test();
        });
        assert_eq!(sent_by_thread(&file, 1, u64::MAX).1, all[1..]);
        test();
    });
}

/// With `sendfile` the worker itself would wait for room, and nobody would read.
#[test]
fn a_socket_in_blocking_mode_holds_nobody_up() {
    guarded("a socket in blocking mode holds nobody up", || {
        let folder = Folder::new("mode");
        let all = bytes(4 * PIECE);
        let file = File::from_std(on_disk(&folder, &all));
        run_on(1, || {
            let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
            let (one, mut other) = (UnixStream::from(one), UnixStream::from(other));
            let sender = tarae::spawn(move || one.send_file(&file, 0, u64::MAX).unwrap());
            parked();
            let mut arrived = Vec::new();
            other.read_to_end(&mut arrived).unwrap();
            assert!(arrived == all);
            assert_eq!(sender.join().unwrap(), all.len() as u64);
        });
    });
}

/// There is room for all of it, so that it waits for nothing.
#[test]
fn others_have_their_turn_after_a_piece() {
    guarded("others have their turn after a piece", || {
        let folder = Folder::new("turn");
        let file = on_disk(&folder, &bytes(100_000));
        // What is read in by a job waits.
        let file = is_there(&file, 0).then(|| File::from_std(file));
        run_on(1, || {
            let Some(file) = file else { return };
            let (one, _other) = UnixStream::pair().unwrap();
            let ran = Rc::new(Cell::new(false));
            let theirs = Rc::clone(&ran);
            let other = tarae::spawn_local(move || theirs.set(true));
            assert_eq!(one.send_file(&file, 0, u64::MAX).unwrap(), 100_000);
            assert!(ran.get());
            other.join().unwrap();
        });
    });
}

#[test]
fn an_event_loop_does_not_wait_for_a_disk() {
    alone("sending::an_event_loop_does_not_wait_for_a_disk", || {
        let folder = Folder::new("send-loop");
        let file = on_disk(&folder, b"contents");
        let there = is_there(&file, 0);
        let file = File::from_std(file);
        let (tell, told) = std::sync::mpsc::channel();
        let events = EventLoop::new().unwrap();
        events.set_strict(true);
        let handler = move |_: &EventLoop| {
            let (one, _other) = UnixStream::pair().unwrap();
            let cached = one.send_file(&file, 0, 8);
            kernel::without_cached_reads();
            tell.send((cached, one.send_file(&file, 0, 8))).unwrap();
        };
        events.after(std::time::Duration::ZERO, handler);
        events.run().unwrap();
        let (cached, cold) = told.recv().unwrap();
        match cached {
            Ok(count) => assert!(there && count == 8),
            Err(error) => assert!(!there && WouldBlockLoop::is(&error)),
        }
        assert!(WouldBlockLoop::is(&cold.unwrap_err()));
    });
}

#[test]
fn a_simulated_stream_gets_a_copy() {
    guarded("a simulated stream gets a copy", || {
        let folder = Folder::new("sim");
        let all = bytes(PIECE + 1);
        let path = folder.file("file", &all);
        for seed in 0..5 {
            let simulated = tarae::sim::Builder::new(seed).no_faults().run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut other, _) = listener.accept().unwrap();
                let path = path.clone();
                let sender = tarae::spawn(move || {
                    let file = File::open(path).unwrap();
                    one.send_file(&file, 1, u64::MAX).unwrap()
                });
                let mut arrived = Vec::new();
                other.read_to_end(&mut arrived).unwrap();
                (sender.join().unwrap(), arrived)
            });
            let (count, arrived) = simulated.unwrap().value;
            assert_eq!(count, PIECE as u64);
            assert!(arrived == all[1..], "seed {seed}");
        }
    });
}
