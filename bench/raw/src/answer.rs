//! The canned answer, and the counting of request ends.
//!
//! Called by the loop in `main`. Pure: it must never touch a socket.

use memchr::memmem;

/// How many answers lie side by side, ready to leave in one `send`.
pub(crate) const BATCH: usize = 64;

const END: &[u8] = b"\r\n\r\n";

/// Same fields and same length as what `tarae-http`'s `plaintext` example answers;
/// `cargo xtask bench limit` refuses to measure when the lengths differ. The date stands still:
/// keeping it would be our server's work, and this is the limit.
const ANSWER: &str = "HTTP/1.1 200 OK\r\n\
    Server: tarae\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 13\r\n\r\n\
    Hello, World!";

/// [`BATCH`] answers in a row, and the length of one.
pub(crate) fn answers() -> (Vec<u8>, usize) {
    (ANSWER.as_bytes().repeat(BATCH), ANSWER.len())
}

/// Counts `\r\n\r\n`, also where a read cuts one in two.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scanner {
    /// How many bytes of the terminator the input so far ends in.
    matched: u8,
}

impl Scanner {
    /// How many requests end in `input`.
    pub(crate) fn count(&mut self, input: &[u8]) -> usize {
        // The usual case by far: one read, one whole request.
        let mut rest = input;
        let mut count = 0;
        while self.matched > 0 {
            let Some((&byte, tail)) = rest.split_first() else {
                return count;
            };
            rest = tail;
            count += self.step(byte);
        }
        let mut start = 0;
        for end in memmem::find_iter(rest, END) {
            count += 1;
            start = end + END.len();
        }
        // At most three bytes can belong to a terminator that goes on in the next read.
        for &byte in &rest[start.max(rest.len().saturating_sub(END.len() - 1))..] {
            count += self.step(byte);
        }
        count
    }

    fn step(&mut self, byte: u8) -> usize {
        if byte == END[self.matched as usize] {
            self.matched += 1;
            if self.matched as usize == END.len() {
                self.matched = 0;
                return 1;
            }
        } else {
            self.matched = u8::from(byte == b'\r');
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_counts_the_same() {
        let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: \r\r\n\r\n\r\n\r\n";
        for first in 0..input.len() {
            for second in first..input.len() {
                let mut scanner = Scanner::default();
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                let count: usize = pieces.iter().map(|piece| scanner.count(piece)).sum();
                assert_eq!(count, 3, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn the_answer_states_its_length() {
        let (head, body) = ANSWER.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
