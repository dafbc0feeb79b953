//! Asks many backends at once and goes on with the first answers, or with those that came in time;
//! whoever is still being asked then is cancelled.
//!
//! Called from the command line with how many answers are wanted, how long they may take in
//! milliseconds, and the backends; prints each answer as it comes, and in the end what it has:
//!
//! ```text
//! cargo run -p tarae --example fan_out -- 2 500 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003
//! ```
//!
//! A backend is sent a line and answers with a line. With nothing on the command line it asks three
//! of its own for two answers: one is quick, one is slower, one never answers.
//!
//! `first_answers` is all there is to it: a scope whose children borrow the question, a deadline
//! around it, and a channel for the answers.

use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sync::mpsc;

/// Asks one backend.
fn ask(backend: &str, question: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(backend)?;
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// The first `wanted` answers of those that come within `patience`.
fn first_answers(
    backends: &[String],
    question: &str,
    wanted: usize,
    patience: Duration,
) -> Vec<String> {
    let mut answers = Vec::new();
    let in_time = tarae::timeout(patience, || {
        tarae::scope(|s| {
            let (sender, receiver) = mpsc::channel();
            for backend in backends {
                let sender = sender.clone();
                s.spawn(move || match ask(backend, question) {
                    // The receiver stays until the scope ends.
                    Ok(answer) => drop(sender.send(format!("{backend}: {answer}"))),
                    Err(error) if tarae::Cancelled::is(&error) => println!("{backend}: cancelled"),
                    Err(error) => println!("{backend}: {error}"),
                });
            }
            drop(sender);
            for answer in receiver.iter().take(wanted) {
                println!("{answer}");
                answers.push(answer);
            }
            // Nobody needs the others: the scope waits until they have noticed.
            s.cancel();
        });
    });
    if in_time.is_err() {
        println!("the time is up");
    }
    answers
}

/// Backends of our own: the first two answer after a while, the last never.
fn own_backends() -> io::Result<Vec<String>> {
    let delays = [Some(10), Some(30), None].map(|delay| delay.map(Duration::from_millis));
    let started = delays.into_iter().map(|delay| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        tarae::spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            BufReader::new(&stream).read_line(&mut String::new())?;
            match delay {
                Some(delay) => tarae::time::sleep(delay),
                // Until the other side hangs up.
                None => drop(io::copy(&mut &stream, &mut io::sink())),
            }
            stream.write_all(b"fine\n")
        });
        Ok(address)
    });
    started.collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: fan_out WANTED MILLISECONDS BACKEND...";
    let (mut wanted, mut patience) = (2, 500);
    let ask_own = arguments.len() == 0;
    if !ask_own {
        wanted = arguments.next().ok_or(usage)?.parse()?;
        patience = arguments.next().ok_or(usage)?.parse()?;
    }
    let patience = Duration::from_millis(patience);
    let mut backends: Vec<String> = arguments.collect();
    tarae::run(|| {
        if ask_own {
            backends = own_backends()?;
        }
        let answers = first_answers(&backends, "how are you?\n", wanted, patience);
        println!(
            "{} of {} answers",
            answers.len(),
            wanted.min(backends.len())
        );
        Ok(())
    })?
}
