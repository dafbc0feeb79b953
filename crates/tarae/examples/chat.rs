//! A chat server in blocking style: two coroutines for each client, one that reads and one that
//! writes. Try it with `nc`.
//!
//! A client is asked for a name. From then on each line it sends goes to everybody, itself
//! included; everybody sees the lines in the same order. Joining and leaving are announced.
//!
//! ```text
//! cargo run -p tarae --example chat -- 127.0.0.1:7008
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use tarae::net::{Shutdown, TcpListener, TcpStream};
use tarae::sync::{Arc, Mutex, mpsc};
use tarae::thread;

/// A longer line arrives as several.
const LINE_BYTES_MAX: u64 = 1024;
const NAME_CHARS_MAX: usize = 20;
/// A client that takes nothing for so long is dropped, or its queue would grow without end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is here, each with the queue of lines to be written to it.
#[derive(Default)]
struct Room {
    members: Mutex<BTreeMap<String, mpsc::Sender<Arc<str>>>>,
}

impl Room {
    /// Lets a client in unless the name is taken, tells it who is there, and everybody that it is.
    fn join(&self, name: &str, lines: &mpsc::Sender<Arc<str>>) -> bool {
        let mut members = self.members.lock().unwrap();
        if members.contains_key(name) {
            return false;
        }
        let present: Vec<&str> = members.keys().map(String::as_str).collect();
        // A client whose writer has ended is about to leave: there is nobody to tell.
        let _ = lines.send(format!("* {} here: {}\n", present.len(), present.join(", ")).into());
        members.insert(name.into(), lines.clone());
        broadcast(&members, format!("* {name} joined\n"));
        true
    }

    fn leave(&self, name: &str) {
        let mut members = self.members.lock().unwrap();
        members.remove(name);
        broadcast(&members, format!("* {name} left\n"));
    }

    fn say(&self, name: &str, text: &str) {
        broadcast(&self.members.lock().unwrap(), format!("<{name}> {text}\n"));
    }
}

/// Sending never waits, so the room may stay locked: all queues get all lines in one order.
fn broadcast(members: &BTreeMap<String, mpsc::Sender<Arc<str>>>, line: String) {
    let line: Arc<str> = line.into();
    for lines in members.values() {
        let _ = lines.send(Arc::clone(&line));
    }
}

/// The next line without its end and without control characters; `None` when there are no more.
fn next_line(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let count = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok((count > 0).then(|| text.chars().filter(|c| !c.is_control()).collect()))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && text.chars().all(char::is_alphanumeric)
}

/// The reading half of a client, from its first line to its last.
fn read(stream: TcpStream, room: &Room, lines: &mpsc::Sender<Arc<str>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let name = loop {
        let _ = lines.send("name?\n".into());
        match next_line(&mut reader)? {
            None => return Ok(()),
            Some(name) if !is_name(&name) => {
                let _ = lines.send("* letters and digits, 20 at most\n".into());
            }
            Some(name) if room.join(&name, lines) => break name,
            Some(name) => {
                let _ = lines.send(format!("* {name} is taken\n").into());
            }
        }
    };
    let ended = loop {
        match next_line(&mut reader) {
            Ok(Some(text)) => room.say(&name, &text),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    room.leave(&name);
    ended
}

/// The writing half: ends when nobody can send to this client any more, or it takes nothing.
fn write(mut stream: TcpStream, lines: mpsc::Receiver<Arc<str>>) -> io::Result<()> {
    let mut write_all = || {
        stream.set_write_timeout(Some(PATIENCE))?;
        lines
            .iter()
            .try_for_each(|line| stream.write_all(line.as_bytes()))
    };
    let result = write_all();
    // Ends the reading half too, if it is this one that failed.
    let _ = stream.shutdown(Shutdown::Both);
    result
}

fn serve(stream: TcpStream, room: Arc<Room>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (lines, queue) = mpsc::channel();
    let writing = stream.try_clone()?;
    thread::spawn(move || write(writing, queue));
    thread::spawn(move || read(stream, &room, &lines));
    Ok(())
}

#[tarae::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7008".into());
    let listener = TcpListener::bind(&address)
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    let room = Arc::new(Room::default());
    for stream in listener.incoming() {
        let served = stream.and_then(|stream| serve(stream, Arc::clone(&room)));
        if let Err(error) = served {
            eprintln!("a connection was lost: {error}");
        }
    }
    Ok(())
}
