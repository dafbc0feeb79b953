//! The pipes to children.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tarae::Cancelled;
use tarae::process::{ChildStdin, ChildStdout, Stdio};

use crate::support::{both, cat, guarded, parked, run_on, shell, until};

/// More than any pipe holds.
const LARGE: usize = 4 << 20;

#[test]
fn what_goes_in_comes_out() {
    both("cat", || {
        let mut child = cat();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        for word in ["to", "be", "or"] {
            input.write_all(word.as_bytes()).unwrap();
            let mut back = [0; 2];
            output.read_exact(&mut back).unwrap();
            assert_eq!(back, word.as_bytes());
        }
        assert_eq!(output.read(&mut []).unwrap(), 0);
        drop(input);
        assert_eq!(output.read(&mut [0]).unwrap(), 0);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn several_buffers_at_once() {
    both("vectored reads and writes", || {
        let mut child = cat();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let words = [&b"to be"[..], &[], b" or not"].map(IoSlice::new);
        assert_eq!(input.write_vectored(&words).unwrap(), 12);
        assert_eq!(input.write_vectored(&[]).unwrap(), 0);
        drop(input);
        let (mut one, mut other) = ([0; 3], [0; 16]);
        let mut buffers = [&mut one[..], &mut [], &mut other].map(IoSliceMut::new);
        // `cat` writes at once what it has read at once.
        assert_eq!(output.read_vectored(&mut buffers).unwrap(), 12);
        assert_eq!((&one, &other[..9]), (b"to ", &b"be or not"[..]));
        assert_eq!(output.read_vectored(&mut []).unwrap(), 0);
        // More than the kernel takes in one call.
        let mut child = cat();
        let many = vec![IoSlice::new(b"x"); 2_000];
        let mut input = child.stdin.take().unwrap();
        assert_eq!(input.write_vectored(&many).unwrap(), 1_024);
        drop(input);
        assert_eq!(child.wait_with_output().unwrap().stdout, [b'x'; 1_024]);
    });
}

/// Any descriptor is taken for a pipe, in non-blocking mode: who reads parks.
#[test]
fn pipes_are_made_of_descriptors() {
    guarded("pipes of descriptors", || {
        run_on(1, || {
            let (ours, theirs) = std::io::pipe().unwrap();
            let mut output = ChildStdout::from(OwnedFd::from(ours));
            let mut input = ChildStdin::from(OwnedFd::from(theirs));
            let reader = tarae::spawn(move || {
                let mut back = Vec::new();
                output.read_to_end(&mut back).map(|_| back)
            });
            until(|| parked(1));
            input.write_all(b"hello").unwrap();
            drop(input);
            assert_eq!(reader.join().unwrap().unwrap(), b"hello");
        });
    });
}

/// Both sides of one child at once, by reference, on two workers.
#[test]
fn full_and_empty_pipes_park() {
    guarded("both sides of cat", || {
        run_on(2, || {
            let data: Vec<u8> = (0..LARGE).map(|n| (n * n / 7 % 256) as u8).collect();
            let mut child = cat();
            let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let expected = data.clone();
            let writer = tarae::spawn(move || (&input).write_all(&data));
            // Nobody reads: the writer gets no further than the two pipes.
            until(|| parked(1));
            let mut back = Vec::new();
            (&output).read_to_end(&mut back).unwrap();
            writer.join().unwrap().unwrap();
            assert!(back == expected);
            assert!(child.wait().unwrap().success());
        });
    });
}

/// Whichever is read first to its end, the child would be stuck in writing to the other.
#[test]
fn much_of_both_without_deadlock() {
    both("much of both", || {
        let piece = "head -c 4194304 /dev/zero";
        for script in [
            format!("{piece} >&2; {piece}"),
            format!("{piece}; {piece} >&2"),
            format!("{piece} & {piece} >&2; wait"),
        ] {
            let output = shell(&script).output().unwrap();
            assert!(output.status.success());
            assert_eq!((output.stdout.len(), output.stderr.len()), (LARGE, LARGE));
        }
        // One closes early, and there may be only one.
        let mut command = shell("exec 2>&-; head -c 4194304 /dev/zero");
        assert_eq!(command.output().unwrap().stdout.len(), LARGE);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout.len(), LARGE);
    });
}

#[test]
fn what_nobody_reads_is_a_broken_pipe() {
    both("a broken pipe", || {
        let mut child = shell("exec <&-; echo closed; read line")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .unwrap();
        let error = child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"anybody?")
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        child.wait().unwrap();
    });
}

/// A writer that is parked is told when the reader goes.
#[test]
fn a_parked_writer_is_told_of_the_end() {
    guarded("a parked writer", || {
        run_on(1, || {
            let mut child = shell("read line; exit 0")
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let input = child.stdin.take().unwrap();
            // A line without an end keeps it reading, a byte at a time; then it is gone.
            let writer = tarae::spawn(move || (&input).write_all(&[b'x'; LARGE]));
            until(|| parked(1));
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(
                writer.join().unwrap().unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
        });
    });
}

#[test]
fn reads_and_writes_are_cut_short() {
    guarded("cut short", || {
        run_on(1, || {
            let mut child = shell("exec sleep 3600")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let soon = Duration::from_millis(2);
            let late = tarae::timeout(soon, || (&output).read(&mut [0])).unwrap_err();
            assert_eq!(late.into_inner().unwrap_err().kind(), ErrorKind::TimedOut);
            let late = tarae::timeout(soon, || (&input).write_all(&[0; LARGE])).unwrap_err();
            assert_eq!(late.into_inner().unwrap_err().kind(), ErrorKind::TimedOut);
            let reader = tarae::spawn(move || (&output).read(&mut [0]).unwrap_err());
            until(|| parked(1));
            reader.cancel();
            assert!(Cancelled::is(&reader.join().unwrap()));
            child.kill().unwrap();
            child.wait().unwrap();
        });
    });
}

/// Who gets the pipe gets it in blocking mode.
#[test]
fn a_pipe_is_given_on() {
    both("pipelines", || {
        let mut first = shell("head -c 4194304 /dev/zero")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let between = first.stdout.take().unwrap();
        // It fails when its input would have it wait.
        let mut second = shell("sleep 0.01; exec dd bs=65536 iflag=fullblock 2>/dev/null | wc -c");
        let output = second.stdin(between).output().unwrap();
        assert_eq!(output.stdout.trim_ascii(), LARGE.to_string().as_bytes());
        assert!(first.wait().unwrap().success());

        let mut child = cat();
        let fd = OwnedFd::from(child.stdin.take().unwrap());
        let flags = rustix::fs::fcntl_getfl(&fd).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        std::fs::File::from(fd).write_all(b"by std").unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"by std");
    });
}
