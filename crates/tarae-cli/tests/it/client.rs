//! The real binary, started on a free port and ended with the test, and a client of raw sockets.
//! Waits end by their cause; `PATIENCE` only keeps a broken server from hanging the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running `tarae serve`.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// Kept open, so that the server could still write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(dir: &Path, options: &[&str]) -> Self {
        Self::start_by(&[], dir, options)
    }

    /// By way of `launcher`, a program with arguments, or directly.
    pub(crate) fn start_by(launcher: &[&str], dir: &Path, options: &[&str]) -> Self {
        let words = [launcher, &[env!("CARGO_BIN_EXE_tarae")]].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg("serve")
            .arg(dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on http://");
        let addr = addr.unwrap_or_else(|| panic!("unexpected first line {line:?}"));
        Self {
            addr: addr.parse().unwrap(),
            child,
            _stdout: stdout,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).unwrap())
    }

    /// The answer to a request sent alone on a connection of its own.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut client = self.connect();
        client.send(request);
        client.reply()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(get(path))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn threads(&self) -> usize {
        self.thread_states().len()
    }

    /// Whether every thread waits in the kernel, so that there is nothing left to do.
    pub(crate) fn is_asleep(&self) -> bool {
        self.thread_states().iter().all(|state| state == "S")
    }

    fn thread_states(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads
            .map(|thread| {
                let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
                let (_, after_name) = stat.rsplit_once(") ").unwrap();
                after_name.split(' ').next().unwrap().to_owned()
            })
            .collect()
    }

    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        let mut status = None;
        until("the server exits", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in the tests of how it ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// So many bytes wait in the kernel at most, instead of a number that grows.
    pub(crate) fn limit_receive_buffer(&self, bytes: usize) {
        rustix::net::sockopt::set_socket_recv_buffer_size(self.stream.get_ref(), bytes).unwrap();
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Reads one answer with its body.
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.head();
        let len = field(&head, "content-length").map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).unwrap();
        Reply {
            status: status(&head),
            head,
            body,
        }
    }

    /// Reads one head, as for HEAD or before a body that is read in parts.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(
                self.stream.read_line(&mut head).unwrap(),
                0,
                "closed after {head:?}"
            );
        }
        head
    }

    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

impl Reply {
    /// Reads an answer from the bytes of one.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head")
            + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Self {
            status: status(&head),
            head,
            body: bytes[end..].to_vec(),
        }
    }

    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// Waits for a state that the caller has caused.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
