//! A server in a process of its own: this program again, asked for one test only, which serves. For
//! what happens to a process: signals, exit codes, descriptors. Decides nothing itself.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use tarae::net::TcpListener;
use tarae_http::{Handler, Model, Server};

use crate::host::{Client, GIVE_UP, model};

const VARIABLE: &str = "TARAE_HTTP_TEST_SERVED";

/// A running process. Dropping it kills it.
pub(crate) struct Served {
    child: Child,
    pub(crate) addr: SocketAddr,
    output: BufReader<ChildStdout>,
    errors: Option<ChildStderr>,
}

/// Starts the process for the test `name`, which is to return at once if it is given none: there it
/// was the server. `limit` is what `ulimit` is called with.
pub(crate) fn served<H: Handler>(
    name: &str,
    limit: &str,
    server: impl FnOnce() -> Server<H>,
) -> Option<Served> {
    served_by("", name, limit, server)
}

/// As `served`, by way of `launcher`, a program with arguments that ends with the command's own.
pub(crate) fn served_by<H: Handler>(
    launcher: &str,
    name: &str,
    limit: &str,
    server: impl FnOnce() -> Server<H>,
) -> Option<Served> {
    if std::env::var(VARIABLE).is_ok_and(|value| value == name) {
        serve(server());
        return None;
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit {limit} && exec {launcher} \"$0\" \"$@\""),
        ])
        .arg(own)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let errors = child.stderr.take();
    let addr = loop {
        let mut line = String::new();
        let count = output.read_line(&mut line).expect("UTF-8");
        assert_ne!(count, 0, "no test is called `{name}`");
        if let Some((_, addr)) = line.trim_end().split_once("listening on ") {
            break addr.parse().expect("an address");
        }
    };
    Some(Served {
        child,
        addr,
        output,
        errors,
    })
}

fn serve(server: Server<impl Handler>) {
    let model = model();
    let serve = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let ready = |addr| println!("listening on {addr}");
        server.model(model).serve_until_signal(listener, ready)
    };
    let outcome = if model == Model::Coroutine {
        let runtime = tarae::Builder::new().workers(1);
        runtime.run(serve).expect("everything ended")
    } else {
        serve()
    };
    outcome.expect("it served");
}

impl Served {
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process"), signal).expect("it runs");
    }

    /// A figure of `/proc/PID/status`, such as `VmHWM:` in KiB.
    pub(crate) fn status(&self, name: &str) -> usize {
        figure(self.child.id(), name)
    }

    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).expect("it runs").count()
    }

    /// Waits for its end. Gives its exit code and what it wrote to standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                break status;
            }
            assert!(begin.elapsed() < GIVE_UP, "it does not end");
            thread::yield_now();
        };
        let (mut said, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut said).expect("UTF-8");
        let mut stderr = self.errors.take().expect("taken once");
        stderr.read_to_string(&mut errors).expect("UTF-8");
        (status.code(), errors)
    }
}

/// The figure that follows `name` in `/proc/PID/status`.
pub(crate) fn figure(process: u32, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.expect("a figure").parse().expect("digits")
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
