//! What is in memory is read at once, and all else by a thread of the pool.

use std::cell::Cell;
use std::io::{IoSliceMut, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::sync::Arc;

use rustix::io::{ReadWriteFlags, preadv2};
use tarae::event::{EventLoop, WouldBlockLoop};
use tarae::fs::{self, File};
use tarae::offload::stats;
use tarae::os::unix::fs::FileExt;

use crate::support::{Folder, Held, alone, guarded, kernel, run_on, threads, until};

/// Whether the kernel and the test's file system can tell what is in memory: what is expected
/// below follows from it.
fn can_tell(file: &std::fs::File) -> bool {
    let mut byte = [0];
    preadv2(
        file,
        &mut [IoSliceMut::new(&mut byte)],
        0,
        ReadWriteFlags::NOWAIT,
    )
    .is_ok()
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

#[test]
fn what_is_in_memory_needs_no_thread() {
    alone("at_once::what_is_in_memory_needs_no_thread", || {
        let folder = Folder::new("cached");
        let contents = numbers(1_000_000);
        let path = folder.file("file", &contents);
        let file = std::fs::File::open(path).unwrap();
        let expected = usize::from(!can_tell(&file));
        let mut file = File::from_std(file);
        run_on(1, || {
            let mut all = vec![0; contents.len()];
            file.read_exact(&mut all).unwrap();
            assert_eq!(all, contents);
            assert_eq!(file.stream_position().unwrap(), 1_000_000);
            file.seek(SeekFrom::Start(500_000)).unwrap();
            let (mut one, mut other) = ([0; 10], [0; 20]);
            let mut both = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            assert_eq!(file.read_vectored(&mut both).unwrap(), 30);
            assert_eq!([&one[..], &other].concat(), contents[500_000..500_030]);
            let mut there = [0; 100];
            file.read_exact_at(&mut there, 7_000).unwrap();
            assert_eq!(there, contents[7_000..7_100]);
            assert_eq!(file.stream_position().unwrap(), 500_030);
            // More than the kernel takes.
            let mut bytes = [[0; 1]; 1_500];
            let mut each: Vec<_> = bytes.iter_mut().map(|one| IoSliceMut::new(one)).collect();
            assert_eq!(file.read_vectored(&mut each).unwrap(), 1_024);
            assert_eq!(bytes.concat()[..1_024], contents[500_030..501_054]);
            assert_eq!(threads(), expected);
            // The end has to be asked for.
            file.seek(SeekFrom::End(0)).unwrap();
            assert_eq!(threads(), 1);
            assert_eq!(file.read(&mut there).unwrap(), 0);
            assert_eq!(file.stream_position().unwrap(), 1_000_000);
        });
    });
}

/// Nothing read need not be the end of the file: some kernels say so of what is not in memory.
#[test]
fn the_end_has_to_be_asked_for() {
    alone("at_once::the_end_has_to_be_asked_for", || {
        let folder = Folder::new("end");
        let path = folder.file("file", b"contents");
        let mut file = File::from_std(std::fs::File::open(path).unwrap());
        run_on(1, || {
            assert_eq!(file.read_at(&mut [0], 8).unwrap(), 0);
            assert_eq!(threads(), 1);
            // Which is -1 to the kernel, and would be the file's position.
            let beyond = file.read_at(&mut [0], u64::MAX).unwrap_err();
            assert_eq!(beyond.raw_os_error(), Some(22));
            assert_eq!(file.stream_position().unwrap(), 0);
        });
    });
}

/// One call copies no more than this at once, however large its buffer.
#[test]
fn a_large_read_is_cut() {
    alone("at_once::a_large_read_is_cut", || {
        let folder = Folder::new("large");
        let contents = numbers(1_500_000);
        let path = folder.file("file", &contents);
        let file = std::fs::File::open(path).unwrap();
        let cut = can_tell(&file);
        let mut file = File::from_std(file);
        run_on(1, || {
            let mut buffer = vec![0; contents.len()];
            let expected = if cut { 1024 * 1024 } else { contents.len() };
            assert_eq!(file.read(&mut buffer).unwrap(), expected);
            assert_eq!(
                file.read_at(&mut buffer, 1).unwrap(),
                expected.min(1_499_999)
            );
            // As a job it is whole.
            assert_eq!(threads(), usize::from(!cut));
            file.rewind().unwrap();
            let (one, other) = buffer.split_at_mut(700_000);
            let mut both = [IoSliceMut::new(one), IoSliceMut::new(other)];
            assert_eq!(file.read_vectored(&mut both).unwrap(), contents.len());
            assert_eq!(threads(), 1);
            file.seek(SeekFrom::Start(expected as u64)).unwrap();
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, contents[expected..]);
        });
    });
}

/// Reads at once do not wait, so others run in between: after each that copies much, and after a
/// number of small ones.
#[test]
fn who_reads_at_once_lets_others_run() {
    alone("at_once::who_reads_at_once_lets_others_run", || {
        let folder = Folder::new("turns");
        let path = folder.file("file", &numbers(1_000_000));
        let file = std::fs::File::open(path).unwrap();
        // What is read by jobs waits.
        let file = can_tell(&file).then(|| File::from_std(file));
        for (bytes, reads_max) in [(100_000, 1), (1, 1_024)] {
            let Some(file) = &file else { continue };
            run_on(1, || {
                let reads = Rc::new(Cell::new(0));
                let theirs = Rc::clone(&reads);
                let other = tarae::spawn_local(move || {
                    let seen = (0..5).map(|_| (tarae::yield_now(), theirs.get()).1);
                    seen.collect::<Vec<usize>>()
                });
                let mut buffer = vec![0; bytes];
                while reads.get() < 6 * reads_max {
                    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), bytes);
                    reads.set(reads.get() + 1);
                }
                let seen = other.join().unwrap();
                let at_most = |two: &[usize]| two[1] - two[0] <= reads_max;
                assert!(
                    seen[0] <= reads_max && seen.windows(2).all(at_most),
                    "{seen:?}"
                );
            });
        }
        assert_eq!(threads(), 0);
    });
}

#[test]
fn a_file_that_cannot_tell_is_read_by_a_thread() {
    alone(
        "at_once::a_file_that_cannot_tell_is_read_by_a_thread",
        || {
            let mut file = File::from_std(std::fs::File::open("/proc/self/status").unwrap());
            run_on(1, || {
                let mut name = [0; 5];
                file.read_exact(&mut name).unwrap();
                assert_eq!((&name, threads()), (b"Name:", 1));
            });
        },
    );
}

/// By many at once, from two workers.
#[test]
fn what_is_not_in_memory_is_read_by_threads() {
    alone("at_once::what_is_not_in_memory_is_read_by_threads", || {
        kernel::without_cached_reads();
        let folder = Folder::new("uncached");
        let contents = numbers(100_000);
        let path = folder.file("file", &contents);
        let file = Arc::new(File::from_std(std::fs::File::open(path).unwrap()));
        assert!(!can_tell(&std::fs::File::from(file.try_clone().unwrap())));
        run_on(2, || {
            let readers: Vec<_> = (0..1_000)
                .map(|n| {
                    let (file, want) = (Arc::clone(&file), contents[n * 100..][..100].to_vec());
                    tarae::spawn(move || {
                        let mut buffer = [0; 100];
                        file.read_exact_at(&mut buffer, n as u64 * 100).unwrap();
                        assert_eq!(buffer, want[..]);
                    })
                })
                .collect();
            readers.into_iter().for_each(|one| one.join().unwrap());
        });
        assert!((1..=512).contains(&threads()));
    });
}

/// While a job may have the position, a call at once would hold its worker up.
#[test]
fn nobody_waits_for_the_position_on_a_worker() {
    alone("at_once::nobody_waits_for_the_position_on_a_worker", || {
        let folder = Folder::new("position");
        let path = folder.file("file", b"0123456789");
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).open(path).unwrap();
        let can_tell = can_tell(&file);
        let file = File::from_std(file);
        let (other, third) = (file.try_clone().unwrap(), file.try_clone().unwrap());
        let held = Held::new();
        run_on(1, || {
            let writer = tarae::spawn(move || (&file).write_all(b"ab"));
            until(|| stats().blocking.queued == 1);
            // What has its own position is read meanwhile.
            let mut two = [0; 2];
            if can_tell {
                other.read_exact_at(&mut two, 4).unwrap();
                assert_eq!(&two, b"45");
            }
            let reader = tarae::spawn(move || {
                let mut two = [0; 2];
                (&other).read_exact(&mut two).unwrap();
                let position = (&other).stream_position().unwrap();
                (two, position)
            });
            until(|| stats().blocking.queued == 2);
            let seeker = tarae::spawn(move || (&third).stream_position().unwrap());
            until(|| stats().blocking.queued == 3);
            drop(held);
            writer.join().unwrap().unwrap();
            assert_eq!(reader.join().unwrap(), (*b"23", 4));
            assert_eq!(seeker.join().unwrap(), 4);
        });
    });
}

#[test]
fn a_plain_thread_needs_no_other() {
    alone("at_once::a_plain_thread_needs_no_other", || {
        let folder = Folder::new("plain");
        let path = folder.path("file");
        fs::write(&path, "some text").unwrap();
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        file.write_all(b", and more").unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 19);
        assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 1);
        assert_eq!(threads(), 0);
    });
}

#[test]
fn a_simulated_run_has_no_threads() {
    alone("at_once::a_simulated_run_has_no_threads", || {
        let folder = Folder::new("simulated");
        let path = folder.file("file", b"contents");
        let run = |seed| {
            tarae::sim::run(seed, || {
                let order = Arc::new(std::sync::Mutex::new(Vec::new()));
                let readers: Vec<_> = (0..8)
                    .map(|n| {
                        let (path, order) = (path.clone(), Arc::clone(&order));
                        tarae::spawn(move || {
                            let mut file = File::open(path).unwrap();
                            let mut text = [0; 8];
                            file.read_exact(&mut text).unwrap();
                            assert_eq!(&text, b"contents");
                            order.lock().unwrap().push(n);
                        })
                    })
                    .collect();
                readers.into_iter().for_each(|one| one.join().unwrap());
                Arc::into_inner(order).unwrap().into_inner().unwrap()
            })
            .unwrap()
            .value
        };
        let orders: Vec<_> = (0..5).map(run).collect();
        assert_eq!(orders, (0..5).map(run).collect::<Vec<_>>());
        assert!(orders.iter().any(|order| *order != orders[0]));
        assert_eq!(threads(), 0);
    });
}

/// There what the system has in memory changes nothing: a read waits for its turn, and is refused
/// as one that waits.
#[test]
fn a_simulated_run_does_not_read_at_once() {
    guarded("reads in a simulated run", || {
        let folder = Folder::new("simulated-read");
        let file = File::open(folder.file("file", b"contents")).unwrap();
        let run = || {
            let token = tarae::CancelToken::new();
            token.cancel();
            let read = token.run(|| file.read_at(&mut [0], 0));
            assert!(tarae::Cancelled::is(&read.unwrap_err()));
        };
        tarae::sim::run(1, run).unwrap();
    });
}

#[test]
fn an_event_loop_is_not_blocked() {
    alone("at_once::an_event_loop_is_not_blocked", || {
        let folder = Folder::new("loop");
        let path = folder.file("file", b"contents");
        let file = std::fs::File::open(&path).unwrap();
        let can_tell = can_tell(&file);
        let file = File::from_std(file);
        let events = EventLoop::new().unwrap();
        events.set_strict(true);
        // A panic of a handler would end it alone.
        let (tell, told) = std::sync::mpsc::channel();
        let handler = move |_: &EventLoop| {
            let mut text = [0; 8];
            let read = (&file).read_exact(&mut text).map(|()| text);
            let position = (&file).stream_position();
            tell.send((fs::metadata(&path), read, position)).unwrap();
        };
        events.after(std::time::Duration::ZERO, handler);
        events.run().unwrap();
        let (metadata, read, position) = told.recv().unwrap();
        assert!(WouldBlockLoop::is(&metadata.unwrap_err()));
        match read {
            Ok(text) => assert!(can_tell && text == *b"contents"),
            Err(error) => assert!(!can_tell && WouldBlockLoop::is(&error), "{error}"),
        }
        assert_eq!(position.unwrap(), if can_tell { 8 } else { 0 });
    });
}
