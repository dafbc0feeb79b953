//! The fan-out: who answers is printed, who does not is cancelled or out of time, and it ends.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::program::Program;

fn backend() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// Takes the question; the answer is the test's to give.
fn asked(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("the example connects");
    let mut question = String::new();
    let mut reader = BufReader::new(&stream);
    reader.read_line(&mut question).expect("it asks");
    assert_eq!(question, "how are you?\n");
    stream
}

/// Two of three are wanted: the third, which stays silent, is cancelled.
#[test]
fn the_first_answers_suffice() {
    let [one, two, three] = [backend(), backend(), backend()];
    let addresses = [one.1.as_str(), two.1.as_str(), three.1.as_str()];
    let arguments = [&["2", "3600000"], &addresses[..]].concat();
    let program = Program::example("fan_out", &arguments);
    let silent = asked(&three.0);
    asked(&two.0).write_all(b"well\n").expect("it reads");
    assert_eq!(
        program.line().as_deref(),
        Some(&*format!("{}: well", two.1))
    );
    asked(&one.0).write_all(b"fine\n").expect("it reads");
    let rest = program.rest();
    let want = [
        format!("{}: fine", one.1),
        format!("{}: cancelled", three.1),
        "2 of 2 answers".into(),
    ];
    assert_eq!(rest, want);
    drop(silent);
}

/// Nobody answers: each child finds that its time is up, and so does whoever waits for them.
#[test]
fn the_deadline_ends_it() {
    let [one, two] = [backend(), backend()];
    let program = Program::example("fan_out", &["2", "50", &one.1, &two.1]);
    let mut lines = program.rest();
    let ends = lines.split_off(2);
    assert_eq!(ends, ["the time is up", "0 of 2 answers"]);
    // Whoever waits for the answers may be the first to notice, and then cancels the others.
    for address in [&one.1, &two.1] {
        let ends = ["the operation timed out", "cancelled"].map(|end| format!("{address}: {end}"));
        assert_eq!(
            lines.iter().filter(|line| ends.contains(line)).count(),
            1,
            "{lines:?}"
        );
    }
}

/// With nothing on the command line it shows itself: the backend that never answers is cancelled.
#[test]
fn it_brings_backends_of_its_own() {
    let lines = Program::example("fan_out", &[]).rest();
    let ending = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(
        (ending(": fine"), ending(": cancelled")),
        (2, 1),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("2 of 2 answers"));
}
