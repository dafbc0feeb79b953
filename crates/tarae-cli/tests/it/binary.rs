//! The real binary over real sockets: what it serves and refuses, how it starts and how it ends.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::Signal;
use tarae_http::Model;

use crate::client::{Client, PATIENCE, Running, get, until};
use crate::temp::Temp;

/// Bytes that repeat after a prime number of them only, so that no misplaced block goes unseen.
fn pattern(len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..65_537_u32)
        .map(|at| (at ^ at >> 8 ^ at >> 16) as u8)
        .collect();
    let mut bytes = period.repeat(len / period.len() + 1);
    bytes.truncate(len);
    bytes
}

fn tarae(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tarae"))
        .args(args)
        .output()
        .unwrap()
}

/// Checks that a start fails with this code and one line that holds these words.
#[track_caller]
fn check_failure(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty());
    assert!(
        message.starts_with("tarae: ") && message.lines().count() == 1,
        "{message}"
    );
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn it_serves_a_folder() {
    let temp = Temp::new();
    temp.write("index.html", "<p>home");
    temp.write("sub/타래.txt", "실");
    let server = Running::start(temp.path(), &[]);
    let home = server.get("/");
    assert_eq!((home.status, home.text()), (200, "<p>home"));
    assert_eq!(home.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(home.field("date").is_some());
    let page = server.get("/sub/");
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("href=\"%ED%83%80%EB%9E%98.txt\""),
        "{}",
        page.text()
    );
    assert_eq!(server.get("/sub/%ED%83%80%EB%9E%98.txt").text(), "실");
    assert_eq!(server.get("/sub").field("location"), Some("/sub/"));
    assert_eq!(server.get("/nothing").status, 404);
}

#[test]
fn a_connection_is_kept_for_more_requests() {
    let temp = Temp::new();
    temp.write("a.txt", "a");
    let server = Running::start(temp.path(), &[]);
    let mut client = server.connect();
    client.send("HEAD /a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.head();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("ontent-"),
        "{head}"
    );
    for _ in 0..100 {
        client.send(get("/a.txt"));
        assert_eq!(client.reply().text(), "a");
    }
    let etag = {
        client.send(get("/a.txt"));
        client.reply().field("etag").unwrap().to_owned()
    };
    client.send(format!(
        "GET /a.txt HTTP/1.1\r\nHost: t\r\nIf-None-Match: {etag}\r\n\r\n"
    ));
    assert_eq!(client.reply().status, 304);
    client.send("DELETE /a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let refused = client.reply();
    assert_eq!(
        (refused.status, refused.field("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.reply().status, 204);
    client.send(get("/none"));
    assert_eq!(client.reply().status, 404);
    client.send("GET /a.txt HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(client.reply().text(), "a");
    assert_eq!(client.rest(), b"");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let temp = Temp::new();
    let big = pattern(300_000);
    temp.write("a.txt", "a");
    temp.write("big", &big);
    temp.write("b.txt", "b");
    let server = Running::start(temp.path(), &[]);
    let mut client = server.connect();
    let round = [get("/a.txt"), get("/big"), get("/none"), get("/b.txt")].concat();
    client.send(round.repeat(8));
    for _ in 0..8 {
        assert_eq!(client.reply().text(), "a");
        assert!(client.reply().body == big);
        assert_eq!(client.reply().status, 404);
        assert_eq!(client.reply().text(), "b");
    }
}

#[test]
fn a_big_file_arrives_byte_for_byte() {
    let temp = Temp::new();
    let big = pattern(8 * 1024 * 1024 + 1);
    temp.write("big.bin", &big);
    for options in [&[][..], &["--workers", "1"]] {
        let server = Running::start(temp.path(), options);
        let reply = server.get("/big.bin");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.field("content-length"), Some("8388609"));
        assert!(reply.body == big);
        let range = "GET /big.bin HTTP/1.1\r\nHost: t\r\nRange: bytes=1000000-7999999\r\n\r\n";
        let part = server.ask(range);
        assert_eq!(
            part.field("content-range"),
            Some("bytes 1000000-7999999/8388609")
        );
        assert!(part.status == 206 && part.body == big[1_000_000..8_000_000]);
    }
}

#[test]
fn nothing_outside_the_folder_is_reached() {
    let temp = Temp::new();
    temp.write("secret.txt", "secret");
    temp.write("root/.env", "secret");
    temp.write("root/.git/config", "secret");
    temp.write("root/sub/inside.txt", "inside");
    temp.fifo("root/pipe");
    temp.link("root/out.txt", "../secret.txt");
    temp.link("root/up", "..");
    temp.link("root/abs", temp.join("secret.txt"));
    temp.link("root/good.txt", "sub/inside.txt");
    let server = Running::start(&temp.join("root"), &["--workers", "1"]);
    let attempts: [&[u8]; 30] = [
        b"/../secret.txt",
        b"/sub/../../secret.txt",
        b"/..//secret.txt",
        b"//secret.txt",
        b"/%2e%2e/secret.txt",
        b"/%2E%2e/secret.txt",
        b"/.%2e/secret.txt",
        b"/%2e./secret.txt",
        b"/..%2fsecret.txt",
        b"/%2e%2e%2fsecret.txt",
        b"/sub%2f..%2f..%2fsecret.txt",
        b"/..\\secret.txt",
        b"/..%5csecret.txt",
        b"/%5c..%5csecret.txt",
        b"/..%00/secret.txt",
        b"/sub/inside.txt%00.html",
        b"/..\x00/secret.txt",
        b"/%c0%ae%c0%ae/secret.txt",
        b"/..%c0%afsecret.txt",
        b"/\xc0\xae\xc0\xae/secret.txt",
        b"/..%e0%80%afsecret.txt",
        b"/%252e%252e/secret.txt",
        b"/..;/secret.txt",
        b"/.env",
        b"/%2eenv",
        b"/.git/config",
        b"/out.txt",
        b"/up/secret.txt",
        b"/abs",
        b"/pipe",
    ];
    for path in attempts {
        let request = [b"GET ", path, b" HTTP/1.1\r\nHost: test\r\n\r\n"].concat();
        let reply = server.ask(request);
        let shown = String::from_utf8_lossy(path);
        assert!(matches!(reply.status, 400 | 404), "{shown}: {}", reply.head);
        assert!(
            !reply.text().contains("secret") && !reply.text().contains("inside"),
            "{shown}"
        );
    }
    let absolute = "GET http://test/../secret.txt HTTP/1.1\r\nHost: test\r\n\r\n";
    assert!(matches!(server.ask(absolute).status, 400 | 404));
    assert_eq!(server.get("/good.txt").text(), "inside");
}

#[test]
fn one_worker_is_one_thread() {
    let temp = Temp::new();
    temp.write("big.bin", pattern(32 * 1024 * 1024));
    let server = Running::start(temp.path(), &["--workers", "1"]);
    assert_eq!(server.threads(), 1);
    let mut download = start_download(&server);
    // The download waits for its reader while others are served.
    assert_eq!(server.get("/none").status, 404);
    assert_eq!(server.threads(), 1);
    assert_eq!(download.read(1).len(), 1);
}

#[test]
fn a_connection_has_a_thread_of_its_own() {
    let temp = Temp::new();
    let server = Running::start(temp.path(), &["--model", "thread"]);
    let before = server.threads();
    let mut clients = [server.connect(), server.connect(), server.connect()];
    for client in &mut clients {
        client.send(get("/none"));
        assert_eq!(client.reply().status, 404);
    }
    let with = server.threads();
    drop(clients);
    until("the threads end", || server.threads() == with - 3);
    // A pool for files may have come meanwhile.
    assert!(with >= before + 3, "{before}, then {with}");
}

/// Begins to download `/big.bin` and does not read on. The client's small buffer and the server's,
/// which Linux lets grow to some megabytes, hold less than the file: the server must wait.
fn start_download(server: &Running) -> Client {
    let mut client = server.connect();
    client.limit_receive_buffer(64 * 1024);
    client.send(get("/big.bin"));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    until("the server waits for the client", || server.is_asleep());
    client
}

#[track_caller]
fn check_signal(model: &str, signal: Signal) {
    let temp = Temp::new();
    let big = pattern(32 * 1024 * 1024);
    temp.write("big.bin", &big);
    let mut server = Running::start(temp.path(), &["--model", model]);
    let mut idle = server.connect();
    idle.send(get("/none"));
    assert_eq!(idle.reply().status, 404);
    let mut download = start_download(&server);
    let first = download.read(1_000);
    server.signal(signal);
    until("the port is closed", || {
        TcpStream::connect(server.addr).is_err()
    });
    let rest = download.read(big.len() - 1_000);
    assert!([first, rest].concat() == big);
    assert_eq!(download.rest(), b"");
    assert_eq!(idle.rest(), b"");
    assert_eq!(server.exit_status().code(), Some(0));
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    for model in Model::ALL {
        check_signal(model.name(), Signal::TERM);
    }
}

#[test]
fn sigint_finishes_what_is_in_flight() {
    check_signal("coroutine", Signal::INT);
}

/// Connections on which nothing is under way, or not yet a whole head, hold up no drain, however
/// long that may be.
#[test]
fn what_has_not_arrived_is_closed_at_once() {
    let temp = Temp::new();
    temp.write("a.txt", "a");
    let options = ["--workers", "1", "--drain", "86400"];
    let mut server = Running::start(temp.path(), &options);
    let mut unused = server.connect();
    let mut half = server.connect();
    half.send("GET /a.txt HTTP/1.1\r\nHo");
    let mut second_half = server.connect();
    second_half.send(get("/a.txt") + "GET /a.txt HTTP/1.1\r\nHost: test\r\n\r");
    assert_eq!(second_half.reply().text(), "a");
    // With one worker, what was sent before has been looked at when this is answered.
    let mut idle = server.connect();
    for _ in 0..3 {
        idle.send(get("/a.txt"));
        assert_eq!(idle.reply().text(), "a");
    }
    server.signal(Signal::TERM);
    for client in [&mut unused, &mut half, &mut second_half, &mut idle] {
        assert_eq!(client.rest(), b"", "there was nothing to answer");
    }
    assert_eq!(server.exit_status().code(), Some(0));
}

/// A request whose head has come before the signal is in flight: its body is waited for, and the
/// client is told that nothing more will be answered.
#[test]
fn what_is_in_flight_is_answered_with_connection_close() {
    let temp = Temp::new();
    temp.write("a.txt", "a");
    let options = ["--workers", "1", "--drain", "86400"];
    let mut server = Running::start(temp.path(), &options);
    let mut client = begin_request(&server);
    server.signal(Signal::TERM);
    until("the port is closed", || {
        TcpStream::connect(server.addr).is_err()
    });
    client.send("body");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (200, "a"));
    assert_eq!(reply.field("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    assert_eq!(server.exit_status().code(), Some(0));
}

/// Sends a request of which the body is still to come. Its head has arrived when this returns: with
/// one worker, what was sent before has been looked at when a later connection is answered twice.
fn begin_request(server: &Running) -> Client {
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n");
    let mut other = server.connect();
    for _ in 0..3 {
        // Answered without a look at the folder.
        other.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(other.reply().status, 204);
    }
    client
}

/// A handler that cannot be cancelled, since the disk does not answer: it is named, and the process
/// ends with 3.
#[test]
fn a_request_that_cannot_be_cut_short_is_named() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("not checked: `strace`, which holds up system calls, is not installed");
        return;
    }
    let temp = Temp::new();
    temp.write("root/a.txt", "a");
    let (root, errors) = (temp.join("root"), temp.join("errors"));
    let errors = errors.to_str().unwrap();
    let shell = "exec \"$@\" 2>\"$0\"";
    // The first one is made at the start, later ones take longer than the server waits. With `-D`,
    // the server and not strace is this process's child.
    let rule = "inject=openat2:delay_enter=16s:when=2+";
    let strace = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", rule];
    let launcher = [&["sh", "-c", shell, errors][..], &strace].concat();
    // If the body comes too late, the request is cancelled before its handler is called.
    let ends = (0..3).map(|_| {
        let options = ["--workers", "1", "--drain", "1"];
        let mut server = Running::start_by(&launcher, &root, &options);
        let mut client = begin_request(&server);
        server.signal(Signal::TERM);
        until("the port is closed", || {
            TcpStream::connect(server.addr).is_err()
        });
        client.send("body");
        server.exit_status().code()
    });
    assert_eq!(ends.into_iter().find(|end| *end != Some(0)), Some(Some(3)));
    let said = std::fs::read_to_string(errors).unwrap();
    assert!(said.contains("GET /a.txt: coroutine "), "{said}");
}

/// At the deadline a download that goes on is cut short, which is no failure.
#[test]
fn at_the_deadline_a_download_is_cut_short() {
    let temp = Temp::new();
    let len = 32 * 1024 * 1024;
    temp.write("big.bin", pattern(len));
    let options = ["--workers", "1", "--drain", "0"];
    let mut server = Running::start(temp.path(), &options);
    let mut download = start_download(&server);
    let begin = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_status().code(), Some(0));
    // Neither the time that is the default nor that for a client that does not read is used up.
    assert!(begin.elapsed() < PATIENCE / 3, "{:?}", begin.elapsed());
    assert!(download.rest().len() < len);
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let temp = Temp::new();
    temp.write("big.bin", pattern(32 * 1024 * 1024));
    let mut server = Running::start(temp.path(), &["--workers", "1"]);
    let _download = start_download(&server);
    server.signal(Signal::TERM);
    until("the port is closed", || {
        TcpStream::connect(server.addr).is_err()
    });
    server.signal(Signal::TERM);
    assert_eq!(server.exit_status().code(), Some(1));
}

#[test]
fn a_signal_ends_an_idle_server() {
    let temp = Temp::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Running::start(temp.path(), &["--workers", "1"]);
        server.signal(signal);
        assert_eq!(server.exit_status().code(), Some(0));
    }
}

#[test]
fn a_taken_port_is_named() {
    let temp = Temp::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = tarae(&["serve", temp.path().to_str().unwrap(), "--listen", &addr]);
    check_failure(
        &output,
        1,
        &["cannot listen on", &addr, "taken", "--listen"],
    );
}

#[test]
fn an_address_of_another_machine_is_named() {
    // 192.0.2.0/24 is reserved for documentation, so no machine has it.
    let temp = Temp::new();
    let output = tarae(&[
        "serve",
        temp.path().to_str().unwrap(),
        "--listen",
        "192.0.2.1:8080",
    ]);
    check_failure(
        &output,
        1,
        &["cannot listen on 192.0.2.1:8080", "no such address"],
    );
}

#[test]
fn a_folder_that_cannot_be_served_is_named() {
    let temp = Temp::new();
    let file = temp.write("file.txt", "x");
    let nothing = temp.join("nothing");
    let output = tarae(&["serve", nothing.to_str().unwrap()]);
    check_failure(&output, 1, &[nothing.to_str().unwrap(), "no such folder"]);
    let output = tarae(&["serve", file.to_str().unwrap()]);
    check_failure(&output, 1, &[file.to_str().unwrap(), "not a folder"]);
}

/// Runs as a user without privileges, because root may read everything.
#[test]
fn missing_permission_is_named() {
    let temp = Temp::new();
    let closed = temp.folder("closed");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).unwrap();
    let program = temp.join("tarae");
    std::fs::copy(env!("CARGO_BIN_EXE_tarae"), &program).unwrap();
    let run = |args: &[&str]| -> Option<Output> {
        let mut command = Command::new(&program);
        command.args(args).current_dir(Path::new("/"));
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        command
            .output()
            .inspect_err(|error| println!("skipped: {error}"))
            .ok()
    };
    let closed = closed.to_str().unwrap();
    if let Some(output) = run(&["serve", closed]) {
        check_failure(&output, 1, &[closed, "no permission"]);
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for (args, words) in [
        (&[][..], &["no command"][..]),
        (&["serve", "--listen", "nowhere"], &["--listen nowhere"]),
        (
            &["serve", "--wrokers", "1"],
            &["`--wrokers`", "did you mean `--workers`?"],
        ),
        (&["serve", "--workers", "0"], &["--workers 0"]),
    ] {
        check_failure(&tarae(args), 2, words);
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (args, word) in [
        (&["--help"][..], "Examples:"),
        (&["serve", "--help"], "--workers N"),
        (&["--version"], concat!("tarae ", env!("CARGO_PKG_VERSION"))),
    ] {
        let output = tarae(args);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(
            String::from_utf8(output.stdout).unwrap().contains(word),
            "{args:?}"
        );
    }
}
