//! The reactor's server: others are answered while a thread of the pool is blocked by one request.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::program::{Program, connect};

/// A fifo's path; the fifo goes with it.
struct Fifo(std::path::PathBuf);

impl Fifo {
    fn new() -> Fifo {
        let name = format!("tarae-reactor-{}.fifo", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo runs").success());
        Fifo(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the server answers");
    line
}

fn ask(mut stream: &TcpStream, question: &str) {
    writeln!(stream, "{question}").expect("the server reads");
}

#[test]
fn it_answers_others_while_a_request_blocks() {
    let fifo = Fifo::new();
    let (program, address) = Program::server("reactor");
    let slow = connect(&address);
    ask(&slow, &format!("slow {}", fifo.0.display()));
    // Opening a fifo waits for the other end: the request has begun, and reads until we close it.
    let mut writer = File::options().write(true).open(&fifo.0).expect("a fifo");
    for word in ["one", "two"] {
        let other = connect(&address);
        ask(&other, word);
        let answer = line(&mut BufReader::new(&other));
        assert!(answer.starts_with("tarae-blocking-"), "{answer}");
        assert!(answer.ends_with(&format!(": {word}\n")), "{answer}");
    }
    // The same connection's next line is not answered before.
    ask(&slow, "next");
    writer.write_all(b"at last").expect("it reads");
    drop(writer);
    let mut answers = BufReader::new(&slow);
    assert!(line(&mut answers).ends_with(": at last\n"));
    assert!(line(&mut answers).ends_with(": next\n"));
    ask(&slow, "quit");
    assert_eq!(program.rest(), Vec::<String>::new());
}
