//! The table's rows of child processes. Every child ends with its input, which the case keeps open
//! as long as the call is to wait; whatever a call leaves behind is waited for here.

use std::io::{IoSlice, IoSliceMut, PipeWriter, Read, Write};

use rustix::process::{WaitOptions, wait};
use tarae::offload::Pool;
use tarae::process::{Child, Command, Stdio};

use crate::table::{Case, Cut, Held, io};

/// A command whose children go on until the pipe's end is dropped.
fn cat() -> (Command, PipeWriter) {
    let (input, keep) = std::io::pipe().unwrap();
    let mut command = Command::new("cat");
    command.stdin(input);
    (command, keep)
}

/// Waits for all children that are left: nobody else has any in this process.
fn reap() {
    while wait(WaitOptions::empty()).is_ok() {}
}

/// A call that starts a child, of which nothing has come when it is cut short.
fn starting<T>(cut: Cut, call: impl FnOnce(&mut Command) -> std::io::Result<T>) -> &'static str {
    let (mut command, keep) = cat();
    let report = io(cut.run(|| call(&mut command)));
    drop(keep);
    reap();
    report
}

/// As above; the start itself has to wait, for a thread of the pool.
fn spawn(cut: Cut) -> &'static str {
    let _held = Held::new(Pool::Blocking);
    starting(cut, Command::spawn)
}

/// A call on a child that runs; what it writes to is piped.
fn running<T>(cut: Cut, call: impl FnOnce(&mut Child) -> std::io::Result<T>) -> &'static str {
    let (mut command, keep) = cat();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let report = io(cut.run(|| call(&mut child)));
    drop((keep, command, child));
    reap();
    report
}

fn wait_with_output(cut: Cut) -> &'static str {
    let (mut command, keep) = cat();
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let report = io(cut.run(|| child.wait_with_output()));
    drop(keep);
    reap();
    report
}

/// A write to a child that reads nothing.
fn writing(cut: Cut, call: fn(&[u8], &mut dyn Write) -> std::io::Result<usize>) -> &'static str {
    let mut command = Command::new("sleep");
    let mut child = command.arg("3600").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let report = io(cut.run(|| {
        // The first ones fill the pipe.
        (0..1_000).try_for_each(|_| call(&[0; 65_536], &mut stdin).map(drop))
    }));
    child.kill().unwrap();
    child.wait().unwrap();
    report
}

fn vectored(pipe: &mut impl Read) -> std::io::Result<usize> {
    pipe.read_vectored(&mut [IoSliceMut::new(&mut [0])])
}

#[rustfmt::skip]
pub(crate) const CASES: &[(&str, Case)] = &[
    ("Command::spawn", spawn),
    ("Command::status", |cut| starting(cut, Command::status)),
    ("Command::output", |cut| starting(cut, Command::output)),
    ("Child::wait", |cut| running(cut, Child::wait)),
    ("Child::wait_with_output", wait_with_output),
    ("Child::try_wait", |cut| running(cut, |child| {
        child.try_wait().inspect(|status| assert!(status.is_none()))
    })),
    ("Child::kill", |cut| running(cut, Child::kill)),
    ("ChildStdin::write", |cut| writing(cut, |data, stdin| stdin.write(data))),
    ("ChildStdin::write_vectored", |cut| writing(cut, |data, stdin| {
        stdin.write_vectored(&[IoSlice::new(data)])
    })),
    ("ChildStdout::read", |cut| running(cut, |child| {
        child.stdout.as_mut().unwrap().read(&mut [0])
    })),
    ("ChildStdout::read_vectored", |cut| running(cut, |child| {
        vectored(child.stdout.as_mut().unwrap())
    })),
    ("ChildStderr::read", |cut| running(cut, |child| {
        child.stderr.as_mut().unwrap().read(&mut [0])
    })),
    ("ChildStderr::read_vectored", |cut| running(cut, |child| {
        vectored(child.stderr.as_mut().unwrap())
    })),
];
