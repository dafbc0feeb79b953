//! An example as a process of its own, with what can be seen of it from outside.
//!
//! Used by the tests that need a process: its descriptors, its system calls, its end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Instant;
use std::{fs, thread};

use crate::host::{Client, GIVE_UP};

/// Where an example is to listen.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";

/// A running server. Dropping it kills the process.
pub(crate) struct Program {
    child: Child,
    pub(crate) addr: SocketAddr,
    output: BufReader<ChildStdout>,
}

/// Where cargo puts examples: beside the folder of this test's own program.
pub(crate) fn path(example: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let profile = own.ancestors().nth(2).expect("it lies in PROFILE/deps");
    let path = profile.join("examples").join(example);
    let remedy = "run `cargo build -p tarae-http --examples`";
    assert!(path.exists(), "{}: {remedy}", path.display());
    path
}

impl Program {
    /// Starts `plaintext` by way of `launcher`, a program with arguments, or directly.
    pub(crate) fn start(launcher: &[&str], workers: &str) -> Program {
        let arguments = ["--listen", ANY_PORT, "--workers", workers];
        Program::example("plaintext", launcher, &arguments)
    }

    /// Starts an example with these arguments, `ANY_PORT` among them.
    pub(crate) fn example(name: &str, launcher: &[&str], arguments: &[&str]) -> Program {
        let own = path(name);
        let mut command = match launcher {
            [] => Command::new(own),
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(own);
                command
            }
        };
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("UTF-8");
        let addr = line.trim_end().strip_prefix("listening on http://");
        let addr = addr.unwrap_or_else(|| panic!("it says {line:?}")).parse();
        Program {
            child,
            addr: addr.expect("an address"),
            output,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors below `limit` are in use. (It may have inherited one above.)
    pub(crate) fn descriptors_below(&self, limit: usize) -> usize {
        let folder = format!("/proc/{}/fd", self.id());
        fs::read_dir(folder)
            .expect("it runs")
            .map(|entry| entry.expect("it runs").file_name())
            .filter(|name| name.to_str().and_then(|name| name.parse().ok()) < Some(limit))
            .count()
    }

    /// Waits for its end. Gives what it printed after its address.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                break status;
            }
            assert!(begin.elapsed() < GIVE_UP, "it does not end");
            thread::yield_now();
        };
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("UTF-8");
        (status, rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
