//! Files sent over streams, cut short: by a slow reader, a time-out, a cancellation, a peer that is
//! gone, and a file that becomes shorter. What was sent is told.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tarae::Cancelled;
use tarae::fs::File;
use tarae::os::unix::net::UnixStream;
use tarae::thread::JoinHandle;

use crate::sending::{bytes, on_disk};
use crate::support::{Folder, Held, alone, guarded, kernel, parked, run_on};

/// More than a socket takes.
const SIZE: usize = 8 << 20;

/// Runs a test with a stream's two ends, and a file that is on its way into the first of them.
fn with_sender(
    name: &'static str,
    test: impl Fn(JoinHandle<std::io::Result<u64>>, UnixStream, UnixStream, &File, &[u8]),
) {
    guarded(name, || {
        let folder = Folder::new(&name.replace(' ', "-"));
        let all = bytes(SIZE);
        let file = File::from_std(on_disk(&folder, &all));
        run_on(1, || {
            let (one, other) = UnixStream::pair().unwrap();
            let (ours, theirs) = (one.try_clone().unwrap(), file.try_clone().unwrap());
            let sender = tarae::spawn(move || one.send_file(&theirs, 0, u64::MAX));
            // This coroutine goes on, on the same worker.
            parked();
            assert!(!sender.is_finished());
            test(sender, ours, other, &file, &all);
        });
    });
}

/// What has arrived.
fn rest(mut other: &UnixStream) -> Vec<u8> {
    let mut arrived = Vec::new();
    other.set_nonblocking(true).unwrap();
    let end = other.read_to_end(&mut arrived).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
    arrived
}

fn check_part(count: u64, arrived: &[u8], all: &[u8]) {
    assert!(0 < count && count < all.len() as u64, "{count}");
    assert_eq!(count, arrived.len() as u64);
    assert!(arrived == &all[..count as usize]);
}

#[test]
fn who_sends_to_a_slow_reader_parks() {
    with_sender("slow reader", |sender, ours, mut other, _, all| {
        drop(ours);
        let mut arrived = vec![0; all.len()];
        let (first, rest) = arrived.split_at_mut(1 << 20);
        other.read_exact(first).unwrap();
        parked();
        other.read_exact(rest).unwrap();
        assert!(arrived == all);
        assert_eq!(sender.join().unwrap().unwrap(), all.len() as u64);
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_cancelled_send_tells_what_was_sent() {
    with_sender("cancelled send", |sender, ours, other, file, all| {
        sender.cancel();
        let count = sender.join().unwrap().unwrap();
        let token = tarae::CancelToken::new();
        token.cancel();
        let next = token.run(|| ours.send_file(file, count, 1)).unwrap_err();
        assert!(Cancelled::is(&next), "{next}");
        check_part(count, &rest(&other), all);
    });
}

#[test]
fn a_send_that_is_too_late_tells_what_was_sent() {
    with_sender("late send", |sender, ours, other, file, all| {
        // The wait that has begun is without bound.
        sender.cancel();
        let count = sender.join().unwrap().unwrap();
        check_part(count, &rest(&other), all);

        let soon = Duration::from_millis(5);
        ours.set_write_timeout(Some(soon)).unwrap();
        let count = ours.send_file(file, 0, u64::MAX).unwrap();
        let late = ours.send_file(file, count, u64::MAX).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        check_part(count, &rest(&other), all);

        ours.set_write_timeout(None).unwrap();
        let send = || ours.send_file(file, 0, u64::MAX);
        let count = tarae::timeout(soon, send).unwrap_err().into_inner();
        check_part(count.unwrap(), &rest(&other), all);

        ours.set_nonblocking(true).unwrap();
        let count = ours.send_file(file, 0, u64::MAX).unwrap();
        let full = ours.send_file(file, count, u64::MAX).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        check_part(count, &rest(&other), all);
    });
}

#[test]
fn a_peer_that_goes_is_told_after_what_was_sent() {
    with_sender("peer goes", |sender, ours, other, file, all| {
        drop(other);
        let count = sender.join().unwrap().unwrap();
        assert!(0 < count && count < all.len() as u64);
        let gone = ours.send_file(file, count, 1).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    });
}

/// What is on its way may have become zeros, in the last page.
#[test]
fn a_file_that_becomes_shorter_ends_the_send() {
    with_sender("shorter file", |sender, ours, mut other, file, all| {
        drop(ours);
        file.set_len(all.len() as u64 / 2 + 1).unwrap();
        let mut arrived = Vec::new();
        other.read_to_end(&mut arrived).unwrap();
        let count = sender.join().unwrap().unwrap();
        assert_eq!(count, all.len() as u64 / 2 + 1);
        assert!(arrived == all[..count as usize]);
    });
}

/// What has to be read in first is not sent by one who is cancelled.
#[test]
fn what_has_not_been_read_in_is_not_sent() {
    alone("sending_cut::what_has_not_been_read_in_is_not_sent", || {
        kernel::without_cached_reads();
        let folder = Folder::new("not-read-in");
        let file = File::from_std(on_disk(&folder, b"contents"));
        let _held = Held::new();
        run_on(1, || {
            let (one, mut other) = UnixStream::pair().unwrap();
            let soon = Duration::from_millis(5);
            let late = tarae::timeout(soon, || one.send_file(&file, 0, 8)).unwrap_err();
            let error = late.into_inner().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let token = tarae::CancelToken::new();
            token.cancel();
            let error = token.run(|| one.send_file(&file, 0, 8)).unwrap_err();
            assert!(Cancelled::is(&error), "{error}");
            drop(one);
            assert_eq!(other.read(&mut [0]).unwrap(), 0);
        });
    });
}
