//! The reactor's server: others are answered while a thread of the pool is blocked by one request.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::program::{PATIENCE, Program, connect};

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

    /// Its end for writing, once somebody reads it: they do so until this is closed.
    fn writer(&self) -> File {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let start = Instant::now();
        loop {
            match rustix::fs::open(&self.0, flags, Mode::empty()) {
                Ok(writer) => return writer.into(),
                Err(error) => assert_eq!(error, rustix::io::Errno::NXIO, "a fifo"),
            }
            assert!(start.elapsed() < PATIENCE, "nobody reads the fifo");
            thread::sleep(Duration::from_millis(5));
        }
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
    let mut writer = fifo.writer();
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
