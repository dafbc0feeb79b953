//! An acceptor that cannot go on does not spin: its system calls are counted by strace, and follow
//! from what it has been given to do and from how often it may look again, not from how fast it is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tarae_http::{Handler, Request, Response, Server};

use crate::host::{Client, GET, GIVE_UP};
use crate::served::{Served, served_by};

/// The calls that somebody who spins would make.
const CALLS: [&str; 2] = ["accept4(", "epoll_wait("];
/// How long a server is left to itself.
const ALONE: Duration = Duration::from_millis(500);
/// The acceptor's, where there is nothing to wait for.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A server whose calls are written to a file, until it has ended.
struct Traced {
    server: Served,
    file: PathBuf,
}

/// As `served`, with options of strace. Nothing also where there is no strace.
fn traced<H: Handler>(
    name: &str,
    options: &str,
    server: impl FnOnce() -> Server<H>,
) -> Option<Traced> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("not checked: `strace`, which counts system calls, is not installed");
        return None;
    }
    let end = name.rsplit("::").next().expect("a name");
    let own = std::process::id();
    let file = std::env::temp_dir().join(format!("tarae-http-{end}-{own}"));
    let path = file.display();
    let launcher = format!("strace -D -f -q -e trace=accept4,epoll_wait {options} -o '{path}'");
    let server = served_by(&launcher, name, "-n 200", server)?;
    Some(Traced { server, file })
}

impl Traced {
    /// Ends the server. Gives how often each of `CALLS` was made.
    fn calls(self) -> [usize; 2] {
        self.server.signal(Signal::TERM);
        let code = self.server.end().0;
        let begin = Instant::now();
        let text = loop {
            let text = fs::read_to_string(&self.file).expect("written by strace");
            if text.contains("+++ exited") {
                break text;
            }
            assert!(begin.elapsed() < GIVE_UP, "strace does not end");
            thread::yield_now();
        };
        fs::remove_file(&self.file).expect("it is there");
        assert_eq!(code, Some(0));
        CALLS.map(|call| text.lines().filter(|line| line.contains(call)).count())
    }
}

/// At its limit it waits for somebody to go: no call of it is wasted.
#[test]
fn at_the_limit_the_acceptor_waits() {
    const NAME: &str = "server_rests::at_the_limit_the_acceptor_waits";
    const REQUESTS: usize = 100;
    let server = || Server::new(|_: &mut Request| Response::text("hello")).max_connections(4);
    let Some(traced) = traced(NAME, "", server) else {
        return;
    };
    let mut open: Vec<Client> = (0..4).map(|_| traced.server.client()).collect();
    for client in &mut open {
        assert_eq!(client.get("/").status, "200");
    }
    let mut waiting: Vec<Client> = (0..8).map(|_| traced.server.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(GET));
    for _ in 0..REQUESTS / 4 {
        for client in &mut open {
            assert_eq!(client.get("/").status, "200");
        }
    }
    thread::sleep(ALONE);
    for mut client in waiting {
        drop(open.remove(0));
        assert_eq!(client.answer().status, "200");
        open.push(client);
    }
    drop(open);
    let [accepts, waits] = traced.calls();
    // Twelve have come, and after each there may have been none.
    assert!((12..=2 * 12 + 2).contains(&accepts), "{accepts} accepts");
    // One for each arrival, request and departure, and one in which nothing is found.
    let events = REQUESTS + 4 * 12;
    assert!(waits <= 2 * events, "{waits} waits for {events} events");
}

/// When accept fails again and again, for want of memory or of descriptors while the one in
/// reserve does not help, it looks again at the end of each rest.
#[test]
fn where_accept_fails_the_acceptor_rests() {
    const NAME: &str = "server_rests::where_accept_fails_the_acceptor_rests";
    for error in ["ENOMEM", "EMFILE"] {
        let server = || Server::new(|_: &mut Request| Response::text("hello"));
        // Before that one client is accepted, and twice there is none.
        let inject = format!("-e inject=accept4:error={error}:when=4+");
        let begin = Instant::now();
        let Some(traced) = traced(NAME, &inject, server) else {
            return;
        };
        let mut client = traced.server.client();
        assert_eq!(client.get("/").status, "200");
        let queued: Vec<Client> = (0..4).map(|_| traced.server.client()).collect();
        thread::sleep(ALONE);
        assert_eq!(client.get("/").status, "200");
        drop((client, queued));
        let [accepts, waits] = traced.calls();
        // However long that took: no more rests can have passed.
        let rests = (begin.elapsed().as_millis() / BACK_OFF.as_millis()) as usize;
        // Twice for each rest where the reserve is given up.
        assert!(
            (4..=2 * rests + 8).contains(&accepts),
            "{accepts} accepts, {rests} rests"
        );
        assert!(waits <= 4 * rests + 40, "{waits} waits, {rests} rests");
    }
}
