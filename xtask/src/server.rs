//! A server under test: started, awaited, asked, and always ended.
//!
//! Used by the smoke test, the Dockerfile test and the benchmarks. Must never outlive its owner:
//! dropping it kills the process.

use crate::shell::Done;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a server prints when it accepts connections.
const READY: &str = "listening on http://";

/// A debug build on a busy machine starts in far less.
const START_MAX: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server and waits for its line `listening on http://ADDRESS`.
    pub(crate) fn start(command: &mut Command) -> Done<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: cannot start: {error}"))?;
        let output = child.stdout.take().expect("stdout is piped");
        let (sender, receiver) = mpsc::channel();
        // Reads on to the end, so that the server never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(address) = line.trim().strip_prefix(READY) {
                    let _ = sender.send(address.trim_end_matches('/').to_owned());
                }
            }
        });
        // Owned before the wait, so that a server that never gets ready is ended too.
        let mut server = Server {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        let text = receiver.recv_timeout(START_MAX).map_err(|_| {
            format!("{name}: ended or stayed silent; it must print `{READY}ADDRESS`")
        })?;
        server.address = text
            .parse()
            .map_err(|_| format!("{name}: printed `{READY}{text}`: not an address"))?;
        Ok(server)
    }

    /// Where it listens; a server on every address is asked on the loopback.
    pub(crate) fn address(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        address
    }

    /// Its process, for the figures in `/proc`.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end, bounded.
    pub(crate) fn terminate(mut self) -> Done<ExitStatus> {
        crate::shell::run(Command::new("kill").arg(self.pid().to_string()))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the server did not end within 30 s of SIGTERM".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer: its head, without the blank line, and its body.
pub(crate) struct Answer {
    /// Status line and fields.
    pub(crate) head: String,
    /// As many bytes as `Content-Length` says.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// How many bytes it took on the wire.
    pub(crate) fn wire_bytes(&self) -> usize {
        self.head.len() + 4 + self.body.len()
    }

    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends `GET path` as often as stated in one write and reads as many answers.
pub(crate) fn ask(stream: &mut TcpStream, path: &str, times: usize) -> Done<Vec<Answer>> {
    let failed = |error: std::io::Error| format!("GET {path}: {error}");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(times);
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut input = Vec::new();
    let mut answers = Vec::new();
    while answers.len() < times {
        if let Some(answer) = take_answer(&mut input)? {
            answers.push(answer);
            continue;
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).map_err(failed)?;
        if count == 0 {
            return Err(format!(
                "GET {path}: closed after {} of {times} answers",
                answers.len()
            ));
        }
        input.extend_from_slice(&piece[..count]);
    }
    Ok(answers)
}

/// Takes the first whole answer off the input, if one is there.
fn take_answer(input: &mut Vec<u8>) -> Done<Option<Answer>> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&input[..end]).into_owned();
    let mut answer = Answer {
        head,
        body: Vec::new(),
    };
    let length = answer
        .field("content-length")
        .and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or_else(|| format!("no Content-Length in:\n{}", answer.head))?;
    if input.len() < end + 4 + length {
        return Ok(None);
    }
    answer.body = input[end + 4..end + 4 + length].to_vec();
    input.drain(..end + 4 + length);
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::take_answer;

    #[test]
    fn answers_are_taken_whole_and_in_order() {
        let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 404 No\r\n".to_vec();
        for cut in 0..wire.len() {
            let mut input = wire[..cut].to_vec();
            let whole = take_answer(&mut input).expect("well formed").is_some();
            assert_eq!(whole, cut >= 40, "after {cut} bytes");
        }
        let mut input = wire;
        let answer = take_answer(&mut input)
            .expect("well formed")
            .expect("whole");
        assert_eq!(
            (answer.body.as_slice(), answer.wire_bytes()),
            (b"ab".as_slice(), 40)
        );
        assert!(input.starts_with(b"HTTP/1.1 404"));
    }
}
