//! Connecting Unix sockets asynchronously: at once where there is room, later where there is none.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tarae::Cancelled;
use tarae::completion::{Check, Completion};
use tarae::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::support::{guarded, run_on};

fn path(name: &str) -> PathBuf {
    let name = format!("tarae-completion-{}-{name}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

type Connecting = Completion<io::Result<UnixStream>>;

/// A listener whose queue is full, the one connection in it, and a call that waits for room.
fn full(path: &Path, by_address: bool) -> (UnixListener, UnixStream, Connecting) {
    let listener = UnixListener::bind(path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let only = UnixStream::connect(path).unwrap();
    let call = match by_address {
        true => UnixStream::start_connect_addr(&SocketAddr::from_pathname(path).unwrap()),
        false => UnixStream::start_connect(path),
    };
    (listener, only, call)
}

/// In a coroutine, and on a plain thread.
fn both(name: &'static str, test: fn()) {
    guarded(name, || {
        run_on(1, test);
        test();
    });
}

#[test]
fn a_connection_is_there_at_once_where_there_is_room() {
    both("connecting to Unix listeners", || {
        let path = path("room");
        let listener = UnixListener::bind(&path).unwrap();
        let mut call = UnixStream::start_connect(&path);
        assert!(call.is_complete());
        let Check::Ready(stream) = call.try_get() else {
            panic!("complete");
        };
        stream.unwrap().unwrap().write_all(b"hello").unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let mut text = [0; 5];
        std::io::Read::read_exact(&mut &accepted, &mut text).unwrap();
        assert_eq!(&text, b"hello");
        drop(listener);
        let refused = UnixStream::start_connect(&path).wait().unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        let nowhere = UnixStream::start_connect(&path).wait().unwrap();
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
        let unnameable = UnixStream::start_connect("\0").wait().unwrap();
        assert_eq!(unnameable.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// The caller goes on: it is the one who makes room.
#[test]
fn a_full_queue_is_waited_for_by_others() {
    both("connecting to a full Unix listener", || {
        for by_address in [false, true] {
            let path = path("full");
            let (listener, _only, call) = full(&path, by_address);
            assert!(!call.is_complete());
            let _first = listener.accept().unwrap();
            let mut stream = call.wait().unwrap().unwrap();
            stream.write_all(b"x").unwrap();
            let (second, _) = listener.accept().unwrap();
            let mut text = [0];
            std::io::Read::read_exact(&mut &second, &mut text).unwrap();
            assert_eq!(&text, b"x");
            std::fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn who_waits_for_room_is_cancelled() {
    both("cancelling a connection to a full Unix listener", || {
        let path = path("cancelled");
        let (_listener, _only, call) = full(&path, false);
        // A coroutine has its turn: it waits then. A pool's thread may have the job by now or not.
        tarae::yield_now();
        call.cancel();
        let is_cancelled = match call.wait() {
            Ok(result) => Cancelled::is(&result.unwrap_err()),
            Err(error) => error.is_cancelled() && tarae::current().spawned_at().is_none(),
        };
        assert!(is_cancelled);
        std::fs::remove_file(&path).unwrap();
    });
}
