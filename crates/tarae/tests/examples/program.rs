//! A running example: started, watched, and ended with the test that started it.
//!
//! Used by all files here. Nothing waits for longer than `PATIENCE`; nothing is concluded from how
//! long anything took.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// After this something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A child process and the lines it prints. Dropping it ends the process.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

/// Where cargo puts examples: beside the folder of this test's own program.
fn path_of(example: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let profile = own.ancestors().nth(2).expect("it lies in PROFILE/deps");
    profile.join("examples").join(example)
}

impl Program {
    pub(crate) fn example(name: &str, arguments: &[&str]) -> Program {
        Program::start(&path_of(name), arguments)
    }

    /// # Panics
    ///
    /// When there is no such program, naming what would build it.
    pub(crate) fn start(path: &Path, arguments: &[&str]) -> Program {
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                let remedy = "run `cargo build -p tarae --examples`";
                panic!("{}: {error}; {remedy}", path.display())
            });
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Program { child, lines }
    }

    /// Starts a server on a free port.
    pub(crate) fn server(name: &str) -> (Program, String) {
        Program::example(name, &["127.0.0.1:0"]).announced("listening on ")
    }

    /// Waits for the line that tells the address.
    pub(crate) fn announced(self, prefix: &str) -> (Program, String) {
        let line = self.line().expect("a server says where it listens");
        let address = line.strip_prefix(prefix).expect("the announced form");
        let address = address.to_owned();
        (self, address)
    }

    /// The next line it prints; `None` when it has closed its output.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the program prints nothing"),
        }
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        let tasks = format!("/proc/{}/task", self.child.id());
        std::fs::read_dir(tasks).expect("it runs").count()
    }

    /// What else it prints, to its end; it must end by itself, with code 0.
    pub(crate) fn rest(mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.line()).collect();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(status.success(), "the program ended with {status}");
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already; there is nothing to be done about either failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects, with a bound on every later wait.
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// All that comes until the server closes.
pub(crate) fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .expect("the server closes in good order");
    bytes
}
