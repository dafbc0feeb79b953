//! How a server ends on a signal, as a process: what is closed at once, what is answered, what is
//! cancelled, who is named, and the exit code.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tarae_http::{Handler, Model, Request, Response, Server, Stopped};

use crate::harness::answers;
use crate::host::{Client, GET, GIVE_UP, model, until_read};
use crate::served::{Served, served};

/// `/held` is answered when somebody has asked for `/open`; `/wait` when it is cancelled;
/// `/stubborn` never, and `/spin` not even lets go of its worker.
fn server(drain_timeout: Duration) -> Server<impl Handler> {
    let opened = tarae::sync::Semaphore::new(0);
    let handler = move |request: &mut Request| {
        match request.path() {
            "/held" => drop(opened.acquire()),
            "/open" => opened.add_permits(1),
            "/wait" => tarae::time::sleep(Duration::from_secs(3600)),
            "/stubborn" => loop {
                tarae::cancel::shield(|| tarae::time::sleep(Duration::from_secs(3600)));
            },
            "/spin" => loop {
                std::hint::spin_loop();
            },
            _ => {}
        }
        Response::text("late")
    };
    Server::new(handler).drain_timeout(drain_timeout)
}

const LONG: Duration = Duration::from_secs(3600);

fn ask(server: &Served, path: &str) -> Client {
    let mut client = server.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// The handlers of these requests have begun when this returns, or are about to: what was sent has
/// been read, and with one worker it has been looked at when a later request is answered twice.
fn settle(server: &Served) {
    until_read(server.addr);
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, "200");
    }
}

/// What a handler is called in.
fn who() -> &'static str {
    match model() {
        Model::Coroutine => "coroutine",
        _ => "thread",
    }
}

fn until_refused(server: &Served) {
    let begin = Instant::now();
    while TcpStream::connect(server.addr).is_ok() {
        assert!(begin.elapsed() < GIVE_UP, "it goes on accepting");
        thread::yield_now();
    }
}

#[test]
fn what_waits_is_closed_at_once() {
    let name = "server_drain::what_waits_is_closed_at_once";
    let Some(server) = served(name, "-c 0", || server(LONG)) else {
        return;
    };
    let (unused, mut idle, mut half) = (server.client(), server.client(), server.client());
    assert_eq!(idle.get("/").status, "200");
    half.send(&GET[..20]);
    let mut second_half = server.client();
    second_half.send(format!("{GET}{}", &GET[..20]));
    second_half.answer();
    settle(&server);
    server.signal(Signal::TERM);
    for client in [unused, idle, half, second_half] {
        assert!(client.rest().is_empty(), "there was nothing to answer");
    }
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn what_is_in_flight_is_answered() {
    let name = "server_drain::what_is_in_flight_is_answered";
    let Some(server) = served(name, "-c 0", || server(LONG)) else {
        return;
    };
    let held = ask(&server, "/held");
    // Answered when the server stops already: its head has come before.
    let mut opening = server.client();
    opening.send("POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    settle(&server);
    server.signal(Signal::INT);
    until_refused(&server);
    opening.send("body");
    for client in [held, opening] {
        let found = answers(&client.rest(), &[false]);
        assert_eq!((&*found[0].status, &*found[0].body), ("200", &b"late"[..]));
        assert_eq!(found[0].field("connection"), Some("close"));
    }
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn at_the_deadline_handlers_are_cancelled() {
    let name = "server_drain::at_the_deadline_handlers_are_cancelled";
    let Some(server) = served(name, "-c 0", || server(Duration::from_millis(100))) else {
        return;
    };
    let waiting = ask(&server, "/wait");
    // A body that does not come; a handler that is waited for would be for ever.
    let mut body = server.client();
    body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    settle(&server);
    server.signal(Signal::TERM);
    let found = answers(&waiting.rest(), &[false]);
    assert_eq!((&*found[0].status, &*found[0].body), ("200", &b"late"[..]));
    assert!(body.rest().is_empty());
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn a_handler_that_ignores_it_is_named() {
    let name = "server_drain::a_handler_that_ignores_it_is_named";
    let Some(server) = served(name, "-c 0", || server(Duration::from_millis(100))) else {
        return;
    };
    let _waiting = ask(&server, "/wait");
    let _stubborn = ask(&server, "/stubborn?secret");
    settle(&server);
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(Stopped::STRAGGLERS.into()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains(&format!("GET /stubborn: {} ", who())),
        "{said}"
    );
    assert_eq!(said.contains("spawned at "), who() == "coroutine", "{said}");
    assert!(!said.contains("secret"), "{said}");
}

/// The only worker is held when the time is over.
#[test]
fn a_handler_that_holds_its_worker_is_named() {
    let name = "server_drain::a_handler_that_holds_its_worker_is_named";
    let Some(server) = served(name, "-c 0", || server(Duration::from_millis(500))) else {
        return;
    };
    let mut spinning = server.client();
    spinning.send("POST /spin HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    settle(&server);
    server.signal(Signal::TERM);
    until_refused(&server);
    spinning.send("body");
    let (code, said) = server.end();
    assert_eq!(code, Some(Stopped::STRAGGLERS.into()), "{said}");
    assert!(said.contains(&format!("POST /spin: {} ", who())), "{said}");
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let name = "server_drain::a_second_signal_waits_for_nothing";
    let Some(server) = served(name, "-c 0", || server(LONG)) else {
        return;
    };
    let mut spinning = server.client();
    spinning.send("POST /spin HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    settle(&server);
    server.signal(Signal::TERM);
    until_refused(&server);
    // Even if its workers are held.
    spinning.send("body");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), (Some(Stopped::AT_ONCE.into()), String::new()));
}
