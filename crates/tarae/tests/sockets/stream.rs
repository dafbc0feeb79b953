//! What Unix streams do with bytes: connections by path and by name, ends, reads that stop short.

use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::mpsc;

use tarae::net::{Wake, park_until_readable};
use tarae::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use super::side::{Folder, Side, abstract_name, everywhere};
use super::support::{guarded, look};

/// Reads with a large buffer until what came ends with `last`, and gives the pieces.
fn pieces(mut stream: &UnixStream, last: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    while !pieces.last().is_some_and(|piece| piece.ends_with(last)) {
        let mut buffer = [0; 100];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the end, after {pieces:?}");
        pieces.push(String::from_utf8(buffer[..count].to_vec()).unwrap());
    }
    pieces
}

/// A read stops short behind where descriptors were sent, with more to come, and no edge tells of
/// the rest: whoever takes a short read for the end would wait for ever, and so would we for the
/// answer. The reader waits first, so that its socket is registered and all comes as one edge.
#[test]
fn a_read_that_stops_short_is_not_the_end() {
    everywhere("a_read_that_stops_short_is_not_the_end", |side| {
        let (a, b) = UnixStream::pair().unwrap();
        let reader = side.spawn(move || {
            pieces(&b, "begin");
            (&b).write_all(b"1").unwrap();
            let pieces = pieces(&b, "rest");
            (&b).write_all(b"2").unwrap();
            assert_eq!((&b).read(&mut [0; 9]).unwrap(), 0);
            pieces
        });
        reader.until_waiting();
        (&a).write_all(b"begin").unwrap();
        (&a).read_exact(&mut [0]).unwrap();
        reader.until_waiting();
        (&a).write_all(b"before, ").unwrap();
        a.send_fds(b"first, ", &[a.as_fd()]).unwrap();
        a.send_fds(b"second, ", &[a.as_fd()]).unwrap();
        (&a).write_all(b"rest").unwrap();
        (&a).read_exact(&mut [0]).unwrap();
        drop(a);
        let got = reader.join();
        assert_eq!(got.concat(), "before, first, second, rest");
        if side == Side::Coroutine {
            // It did not run before all had been sent, so this is how the kernel cuts it.
            assert_eq!(got, ["before, first, ", "second, ", "rest"]);
        }
    });
}

/// The same for a wait without a coroutine: what is left over wakes it, without another edge.
#[test]
fn what_a_short_read_leaves_wakes_the_parked() {
    guarded("what_a_short_read_leaves_wakes_the_parked", || {
        let runtime = tarae::Builder::new().workers(1);
        runtime.run(|| parked(Side::Coroutine)).unwrap();
        parked(Side::Thread);
    });

    fn parked(side: Side) {
        let (a, b) = UnixStream::pair().unwrap();
        let (tell, told) = mpsc::channel();
        if side == Side::Thread {
            // There it waits right here.
            send(&a);
        }
        park_until_readable(b, None, move |b, wake| step(b, wake, tell));
        if side == Side::Coroutine {
            look();
            send(&a);
        }
        let mut text = String::new();
        while !text.ends_with("rest") {
            match told.try_recv() {
                Ok(piece) => text += piece,
                Err(_) => tarae::yield_now(),
            }
        }
        assert_eq!(text, "first|second|rest");
    }

    fn send(a: &UnixStream) {
        a.send_fds(b"first|", &[a.as_fd()]).unwrap();
        a.send_fds(b"second|", &[a.as_fd()]).unwrap();
        (&mut &*a).write_all(b"rest").unwrap();
    }

    fn step(mut b: UnixStream, wake: Wake, tell: mpsc::Sender<&'static str>) {
        assert_eq!(wake, Wake::Ready);
        let mut buffer = [0; 100];
        let count = b.read(&mut buffer).unwrap();
        let words = ["first|", "second|", "rest"];
        let word = words
            .into_iter()
            .find(|word| word.as_bytes() == &buffer[..count]);
        let word = word.expect("one word a read");
        tell.send(word).unwrap();
        if word != "rest" {
            park_until_readable(b, None, move |b, wake| step(b, wake, tell));
        }
    }
}

/// By path and by abstract name: both ways, names as they should be, the end after the last byte.
#[test]
fn connections_by_path_and_by_name() {
    everywhere("connections_by_path_and_by_name", |side| {
        let folder = Folder::new();
        let path = SocketAddr::from_pathname(folder.path("socket")).unwrap();
        for address in [path, abstract_name()] {
            let listener = UnixListener::bind_addr(&address).unwrap();
            let same = |other: SocketAddr| format!("{other:?}") == format!("{address:?}");
            assert!(same(listener.local_addr().unwrap()));
            let again = UnixListener::bind_addr(&address).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AddrInUse);
            let server = side.spawn(move || {
                let (stream, from) = listener.accept().unwrap();
                assert!(from.is_unnamed());
                for line in BufReader::new(&stream).lines() {
                    writeln!(&stream, "you said {}", line.unwrap()).unwrap();
                }
            });
            server.until_waiting();
            let mut client = UnixStream::connect_addr(&address).unwrap();
            assert!(same(client.peer_addr().unwrap()));
            assert_eq!(
                client.peer_cred().unwrap().pid,
                Some(std::process::id() as i32)
            );
            client.write_all(b"one\ntwo\n").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "you said one\nyou said two\n");
            server.join();
            let refused = UnixStream::connect_addr(&address).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        // A name is free again with its last socket, a path is not.
        let path = folder.path("socket");
        let error = UnixListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap();
    });
}

#[test]
fn peeks_and_slices() {
    everywhere("peeks_and_slices", |side| {
        let (mut a, b) = UnixStream::pair().unwrap();
        let clone = b.try_clone().unwrap();
        let peeker = side.spawn(move || clone.peek(&mut [0; 3]).unwrap());
        peeker.until_waiting();
        let slices = [
            IoSlice::new(b"abc"),
            IoSlice::new(b""),
            IoSlice::new(b"defg"),
        ];
        assert_eq!(a.write_vectored(&slices).unwrap(), 7);
        assert_eq!(peeker.join(), 3);
        assert_eq!(b.peek(&mut [0; 99]).unwrap(), 7);
        let (mut one, mut two) = ([0; 2], [0; 9]);
        let mut slices = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!((&b).read_vectored(&mut slices).unwrap(), 7);
        assert_eq!((&one, &two[..5]), (b"ab", &b"cdefg"[..]));
        drop(a);
        assert_eq!(b.peek(&mut [0; 9]).unwrap(), 0);
    });
}

/// Much more than fits in between, with both sides waiting again and again.
#[test]
fn a_large_transfer_arrives_whole() {
    everywhere("a_large_transfer_arrives_whole", |side| {
        const SIZE: usize = 4 << 20;
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let byte = |at: usize| (at * 31 % 251) as u8;
        let writer = side.spawn(move || {
            let data: Vec<u8> = (0..SIZE).map(byte).collect();
            a.write_all(&data).unwrap();
        });
        let mut data = Vec::new();
        b.read_to_end(&mut data).unwrap();
        writer.join();
        assert_eq!(data.len(), SIZE);
        assert!(data.iter().enumerate().all(|(at, got)| *got == byte(at)));
    });
}
