//! Descriptors in transit: all arrive, close-on-exec and usable, or all are closed.
//!
//! A pipe tells whether a descriptor leaked: its reader is at the end only when every copy of the
//! writing end is closed. Counting the process's descriptors would not do beside other tests.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tarae::os::unix::net::{UnixDatagram, UnixStream};

use super::side::{abstract_name, everywhere};
use super::support::alone;

fn pipes(count: usize) -> (Vec<PipeReader>, Vec<PipeWriter>) {
    (0..count).map(|_| std::io::pipe().unwrap()).unzip()
}

fn borrowed<T: AsFd>(all: &[T]) -> Vec<BorrowedFd<'_>> {
    all.iter().map(AsFd::as_fd).collect()
}

/// Every copy of the writing ends is closed: would hang, and be caught by the watchdog, if not.
fn all_closed(readers: Vec<PipeReader>) {
    for mut reader in readers {
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}

/// They come in order, and write into the pipes that they are the ends of.
fn usable(readers: &mut [PipeReader], fds: Vec<OwnedFd>) {
    assert_eq!(readers.len(), fds.len());
    for (index, (reader, fd)) in readers.iter_mut().zip(fds).enumerate() {
        assert!(
            rustix::io::fcntl_getfd(&fd)
                .unwrap()
                .contains(FdFlags::CLOEXEC)
        );
        PipeWriter::from(fd).write_all(&[index as u8]).unwrap();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [index as u8]);
    }
}

/// From one descriptor, whose control message leaves room for a second one, to as many as go.
const COUNTS: [usize; 6] = [0, 1, 2, 3, 17, 253];

#[test]
fn a_stream_carries_descriptors() {
    everywhere("a_stream_carries_descriptors", |side| {
        for count in COUNTS {
            let (a, b) = UnixStream::pair().unwrap();
            let (mut readers, writers) = pipes(count);
            let receiver = side.spawn(move || b.recv_fds(&mut [0; 9], count).unwrap());
            receiver.until_waiting();
            assert_eq!(a.send_fds(b"data", &borrowed(&writers)).unwrap(), 4);
            drop(writers);
            let (size, fds) = receiver.join();
            assert_eq!(size, 4);
            usable(&mut readers, fds);
            all_closed(readers);
        }
    });
}

#[test]
fn a_datagram_carries_descriptors() {
    everywhere("a_datagram_carries_descriptors", |side| {
        for count in COUNTS {
            let name = abstract_name();
            let b = UnixDatagram::bind_addr(&name).unwrap();
            let a = UnixDatagram::bind_addr(&abstract_name()).unwrap();
            let (mut readers, writers) = pipes(count);
            let receiver = side.spawn(move || {
                let first = b.recv_fds_from(&mut [0; 9], count).unwrap();
                // Not even a byte of data is needed here, unlike over a stream.
                let second = b.recv_fds(&mut [], count).unwrap();
                (first, second)
            });
            receiver.until_waiting();
            let fds = borrowed(&writers);
            assert_eq!(a.send_fds_to_addr(b"data", &fds, &name).unwrap(), 4);
            a.connect_addr(&name).unwrap();
            assert_eq!(a.send_fds(b"", &fds).unwrap(), 0);
            drop(writers);
            let ((size, first, from), (none, second)) = receiver.join();
            assert_eq!((size, none), (4, 0));
            let sender = a.local_addr().unwrap();
            assert_eq!(from.as_pathname(), sender.as_pathname());
            assert_eq!(format!("{from:?}"), format!("{sender:?}"));
            usable(&mut readers, first);
            usable(&mut readers, second);
            all_closed(readers);
        }
    });
}

/// More than asked for is an error that leaves none open, whether they fitted into the memory or
/// not; the next message is not touched by it.
#[test]
fn too_many_descriptors_are_all_closed() {
    everywhere("too_many_descriptors_are_all_closed", |_| {
        for (sent, asked) in [
            (1, 0),
            (2, 1),
            (3, 2),
            (17, 16),
            (70, 1),
            (253, 0),
            (253, 252),
        ] {
            let (a, b) = UnixStream::pair().unwrap();
            let (readers, writers) = pipes(sent);
            a.send_fds(b"lost", &borrowed(&writers)).unwrap();
            a.send_fds(b"next", &[a.as_fd()]).unwrap();
            drop(writers);
            let error = b.recv_fds(&mut [0; 9], asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{sent} for {asked}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("than the {asked} asked for"))
            );
            all_closed(readers);
            let (size, fds) = b.recv_fds(&mut [0; 9], 1).unwrap();
            assert_eq!((size, fds.len()), (4, 1));

            let (a, b) = UnixDatagram::pair().unwrap();
            let (readers, writers) = pipes(sent);
            a.send_fds(b"lost", &borrowed(&writers)).unwrap();
            a.send(b"next").unwrap();
            drop(writers);
            let error = b.recv_fds(&mut [0; 9], asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{sent} for {asked}");
            all_closed(readers);
            assert_eq!(b.recv(&mut [0; 9]).unwrap(), 4);
        }
    });
}

/// Where nobody asks for descriptors, the kernel closes them.
#[test]
fn an_ordinary_read_leaks_none() {
    everywhere("an_ordinary_read_leaks_none", |_| {
        let (a, mut b) = UnixStream::pair().unwrap();
        let (readers, writers) = pipes(3);
        a.send_fds(b"data", &borrowed(&writers)).unwrap();
        assert_eq!(b.read(&mut [0; 9]).unwrap(), 4);
        let (a, b) = UnixDatagram::pair().unwrap();
        a.send_fds(b"data", &borrowed(&writers)).unwrap();
        drop(writers);
        assert_eq!(b.recv(&mut [0; 9]).unwrap(), 4);
        all_closed(readers);
    });
}

/// Sent and never received: they go with the socket.
#[test]
fn descriptors_on_the_way_are_closed_with_the_socket() {
    everywhere("descriptors_on_the_way_are_closed_with_the_socket", |_| {
        let (a, b) = UnixStream::pair().unwrap();
        let (readers, writers) = pipes(3);
        a.send_fds(b"data", &borrowed(&writers)).unwrap();
        drop((writers, a, b));
        all_closed(readers);
    });
}

#[test]
fn what_cannot_be_sent_is_refused() {
    everywhere("what_cannot_be_sent_is_refused", |_| {
        let (a, mut b) = UnixStream::pair().unwrap();
        let (_, writers) = pipes(1);
        let one = writers[0].as_fd();
        let refused = |result: std::io::Result<usize>, why: &str| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(why), "{error}");
        };
        refused(a.send_fds(b"", &[one]), "at least one byte");
        refused(a.send_fds(b"x", &[one; 254]), "253 descriptors, not 254");
        let (c, d) = UnixDatagram::pair().unwrap();
        refused(c.send_fds(b"x", &[one; 254]), "253 descriptors, not 254");
        let name = abstract_name();
        let refused_to = c.send_fds_to_addr(b"x", &[one; 254], &name);
        refused(refused_to, "253 descriptors, not 254");
        assert_eq!(a.send_fds(b"", &[]).unwrap(), 0);
        for nothing in [b.set_nonblocking(true), d.set_nonblocking(true)] {
            nothing.unwrap();
        }
        assert_eq!(
            b.read(&mut [0; 9]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert_eq!(
            d.recv(&mut [0; 9]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// A sending with descriptors that must wait, because the buffer is full, sends them once.
#[test]
fn sending_descriptors_waits_for_room() {
    everywhere("sending_descriptors_waits_for_room", |side| {
        let (a, mut b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let mut filled = 0;
        while let Ok(count) = (&a).write(&[0; 1000]) {
            filled += count;
        }
        a.set_nonblocking(false).unwrap();
        let (mut readers, writers) = pipes(2);
        let sender = side.spawn(move || a.send_fds(b"!", &borrowed(&writers)).unwrap());
        sender.until_waiting();
        let mut buffer = vec![0; filled];
        b.read_exact(&mut buffer).unwrap();
        let (size, fds) = b.recv_fds(&mut [0; 9], 2).unwrap();
        assert_eq!((size, sender.join()), (1, 1));
        usable(&mut readers, fds);
        all_closed(readers);
    });
}

/// Out of descriptors in the middle of a message: an error, and those that came are closed.
#[test]
fn running_out_of_descriptors_closes_what_came() {
    fn test() {
        let (a, b) = UnixStream::pair().unwrap();
        let (readers, writers) = pipes(5);
        a.send_fds(b"data", &borrowed(&writers)).unwrap();
        drop(writers);
        let duplicate = || b.as_fd().try_clone_to_owned();
        let three: Vec<OwnedFd> = (0..3).map(|_| duplicate().unwrap()).collect();
        let highest = duplicate().unwrap().as_raw_fd();
        let before = getrlimit(Resource::Nofile);
        let limit = Rlimit {
            current: Some(highest as u64),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let fillers: Vec<OwnedFd> = std::iter::from_fn(|| duplicate().ok()).collect();
        drop(three);
        // Now three are free, and five come.
        let error = b.recv_fds(&mut [0; 9], 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let free: Vec<OwnedFd> = std::iter::from_fn(|| duplicate().ok()).collect();
        assert_eq!(free.len(), 3, "those that came are closed again");
        setrlimit(Resource::Nofile, before).unwrap();
        drop((fillers, free));
        all_closed(readers);
    }
    alone("fds::running_out_of_descriptors_closes_what_came", || {
        tarae::Builder::new().workers(1).run(test).unwrap();
        test();
    });
}
