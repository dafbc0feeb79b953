//! The backend that is asked: a line comes, a line with a number is the answer.
//!
//! Started by `main`. It fails where `FAULTS` says so, always in the same way. Questions that are
//! to be asked in parallel wait here for each other: whoever asks them one after the other gets no
//! answer at all.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tarae::net::{TcpListener, TcpStream};
use tarae::sync::{Barrier, Mutex};

/// The orders of an account.
pub(crate) const ORDERS: usize = 12;

#[derive(Clone, Copy)]
enum Fault {
    Refuse,
    HangUp,
    Garbage,
}

const FAULTS: &[(&str, Fault)] = &[
    ("user 2", Fault::Refuse),
    ("orders 1003", Fault::HangUp),
    ("price 5 1004051", Fault::Refuse),
    // Three at once: the answer must not depend on which comes first.
    ("carrier 100509", Fault::HangUp),
    ("rate 1005032", Fault::Garbage),
    ("price 3 1005031", Fault::Refuse),
    ("eta 1006022", Fault::Refuse),
    ("discount 1007 1872", Fault::Refuse),
    ("invoice 1008", Fault::Garbage),
];

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    meetings: Mutex<HashMap<String, Arc<Barrier>>>,
}

#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Backend {
    /// On a free port; it ends with the runtime.
    pub(crate) fn start() -> io::Result<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let backend = Backend {
            address: listener.local_addr()?,
            shared: Arc::default(),
        };
        let shared = Arc::clone(&backend.shared);
        tarae::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                tarae::spawn(move || shared.serve(stream));
            }
        });
        Ok(backend)
    }

    /// How many questions came since the last time.
    pub(crate) fn take_calls(&self) -> usize {
        self.shared.calls.swap(0, Relaxed)
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut question = String::new();
        BufReader::new(&stream).read_line(&mut question)?;
        let question = question.trim_end();
        self.calls.fetch_add(1, Relaxed);
        if let Some((key, number)) = meeting(question) {
            let mut meetings = self.meetings.lock().expect("nobody panics with it");
            let barrier = meetings
                .entry(key)
                .or_insert_with(|| Arc::new(Barrier::new(number)));
            let barrier = Arc::clone(barrier);
            drop(meetings);
            barrier.wait();
        }
        let fault = FAULTS.iter().find(|(faulty, _)| *faulty == question);
        match fault.map(|(_, fault)| fault) {
            None => writeln!(stream, "{}", answer(question)),
            Some(Fault::Refuse) => writeln!(stream, "no"),
            Some(Fault::Garbage) => writeln!(stream, "4x2"),
            Some(Fault::HangUp) => Ok(()),
        }
    }
}

/// Which questions wait for each other, and how many they are: all orders of an account; the item
/// and the carrier of an order.
fn meeting(question: &str) -> Option<(String, usize)> {
    let (what, rest) = question.split_once(' ')?;
    match what {
        "order" => Some((format!("order {}", rest.split_once(' ')?.0), ORDERS)),
        "item" | "carrier" => Some((format!("parts {rest}"), 2)),
        _ => None,
    }
}

/// Numbers that tell where they come from, so that the next question depends on them.
fn answer(question: &str) -> u64 {
    let mut words = question.split(' ');
    let what = words.next();
    let mut number = || {
        words
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    match (what, number()) {
        (Some("user"), user) => 1_000 + user,
        (Some("orders"), _) => ORDERS as u64,
        (Some("order"), account) => account * 100 + number(),
        (Some("item"), order) => order * 10 + 1,
        (Some("carrier"), order) => order * 10 + 2,
        (Some("supplier"), item) => item / 10 % 10,
        (Some("price"), supplier) => 100 + supplier * 10,
        (Some("rate"), carrier) => carrier / 10 % 10,
        (Some("eta"), carrier) => 1 + carrier / 10 % 5,
        (Some("tax"), amount) => amount / 10,
        (Some("discount"), _) => number() / 20,
        (Some("points"), _) => number() / 100,
        (Some("invoice"), account) => account * 7,
        _ => 0,
    }
}
