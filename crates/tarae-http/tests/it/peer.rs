//! A peer in memory: what it sends, in pieces, and all that it is sent. Used by the tests of
//! streams; decides nothing itself.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use tarae_http::{CommonHeaders, Handler, Limits, Served, serve_stream};

/// Reads give one piece each, then the end; or a time-out, if it is one that falls silent.
pub(crate) struct Peer {
    pieces: VecDeque<Vec<u8>>,
    falls_silent: bool,
    pub(crate) output: Vec<u8>,
    /// How much had been sent to it at each read.
    pub(crate) at_reads: Vec<usize>,
    /// The largest room that a read had.
    pub(crate) widest_read: usize,
    /// Writes fail from this many bytes on.
    pub(crate) broken_after: usize,
    /// Only one of them, that is.
    pub(crate) recovers: bool,
}

impl Peer {
    pub(crate) fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Peer {
        Peer {
            pieces: pieces.into_iter().map(<[u8]>::to_vec).collect(),
            falls_silent: false,
            output: Vec::new(),
            at_reads: Vec::new(),
            widest_read: 0,
            broken_after: usize::MAX,
            recovers: false,
        }
    }

    pub(crate) fn silent_at_the_end(mut self) -> Peer {
        self.falls_silent = true;
        self
    }

    pub(crate) fn serve(&mut self, handler: &impl Handler) -> Served {
        let (limits, mut common) = (Limits::default(), CommonHeaders::default());
        serve_stream(self, handler, &limits, &mut common, None).expect("no error but time-outs")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The statuses of what it was sent, interim ones included, bodies being without line breaks.
    pub(crate) fn statuses(&self) -> Vec<String> {
        let text = self.text();
        let heads = text.split("HTTP/1.1 ").skip(1);
        heads.map(|head| head[..3].to_owned()).collect()
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.at_reads.push(self.output.len());
        self.widest_read = self.widest_read.max(buf.len());
        let Some(piece) = self.pieces.front_mut() else {
            return match self.falls_silent {
                true => Err(ErrorKind::TimedOut.into()),
                false => Ok(0),
            };
        };
        let count = piece.len().min(buf.len());
        buf[..count].copy_from_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Ok(count)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Of an odd size, so that partial ones are covered.
        let room = self.broken_after.saturating_sub(self.output.len());
        let count = bytes.len().min(70_001).min(room);
        if count == 0 && !bytes.is_empty() {
            if self.recovers {
                self.broken_after = usize::MAX;
            }
            return Err(ErrorKind::TimedOut.into());
        }
        self.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of an answer in chunks, its trailers, and what follows. None where no last chunk is.
pub(crate) fn unchunk(mut bytes: &[u8]) -> Option<(Vec<u8>, String, &[u8])> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[..end]).expect("digits");
        assert!(!digits.starts_with('0') || digits == "0", "{digits}");
        let size = usize::from_str_radix(digits, 16).expect("a size");
        bytes = &bytes[end + 2..];
        if size == 0 {
            let end = bytes.windows(2).position(|two| two == b"\r\n")?;
            if end == 0 {
                return Some((body, String::new(), &bytes[2..]));
            }
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
            let trailers = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Some((body, trailers, &bytes[end + 4..]));
        }
        body.extend_from_slice(bytes.get(..size)?);
        assert_eq!(bytes.get(size..size + 2)?, b"\r\n");
        bytes = &bytes[size + 2..];
    }
}

/// What stands behind the first head.
pub(crate) fn after_head(output: &[u8]) -> &[u8] {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    &output[end.expect("a head") + 4..]
}
