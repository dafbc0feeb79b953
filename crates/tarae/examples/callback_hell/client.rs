//! One call to the backend, for all three styles: they differ in how calls are put together only.
//!
//! Called by the styles; `ask` waits, `start` does not.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;

use tarae::completion::{Completion, CompletionError};
use tarae::net::TcpStream;

/// Why there is no page: which question failed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(question: &str, reason: impl fmt::Display) -> Failure {
        Failure(format!("`{question}`: {reason}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Answer = Result<u64, Failure>;

/// Asks, and waits for the answer: in a coroutine, which is parked meanwhile.
pub(crate) fn ask(backend: SocketAddr, question: &str) -> Answer {
    let exchange = || {
        let mut stream = TcpStream::connect(backend)?;
        stream.write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer: std::io::Result<String> = exchange();
    let answer = answer.map_err(|error| Failure::new(question, error))?;
    match answer.trim_end() {
        "" => Err(Failure::new(question, "the backend hung up")),
        "no" => Err(Failure::new(question, "refused")),
        text => text
            .parse()
            .map_err(|_| Failure::new(question, format!("{text} is not a number"))),
    }
}

/// Asks, and goes on: the answer is the completion's.
pub(crate) fn start(backend: SocketAddr, question: String) -> Completion<Answer> {
    tarae::start(move || ask(backend, &question))
}

/// A call that did not even run has failed as well.
pub(crate) fn flat(ended: Result<Answer, CompletionError>) -> Answer {
    ended.unwrap_or_else(|error| Err(Failure::new("call", error)))
}
