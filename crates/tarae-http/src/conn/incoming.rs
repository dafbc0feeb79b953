//! The body of the message that a connection is at, as far as it has come: told apart from what
//! follows it, and decoded in place.
//!
//! Called by `input`. Whether a body is collected, read by its handler or thrown away is not known
//! here.

use crate::Limits;
use crate::body::Chunked;
use crate::framing::Length;
use crate::head::Reject;

#[derive(Clone, Copy, Debug)]
pub(super) enum Incoming {
    /// So many bytes are yet to come; so many of the buffer are the body's.
    Sized {
        left: u64,
        here: usize,
    },
    Chunked(Chunked),
}

impl Incoming {
    pub(super) fn new(length: Length, body_max: u64) -> Incoming {
        match length {
            Length::Bytes(left) => Incoming::Sized { left, here: 0 },
            Length::Chunked => Incoming::Chunked(Chunked::new(body_max)),
        }
    }

    /// Decodes what is in `bytes`, which begins where it began the last time. Afterwards
    /// `bytes[..written]` is body and `bytes[read..]` what follows. True once it is complete.
    pub(super) fn decode(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<bool, Reject> {
        match self {
            Incoming::Sized { left, here } => {
                let more = (*left).min((bytes.len() - *here) as u64);
                *left -= more;
                *here += more as usize;
                Ok(*left == 0)
            }
            Incoming::Chunked(chunked) => chunked.decode(bytes, limits),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Incoming::Sized { left, .. } => *left == 0,
            Incoming::Chunked(chunked) => chunked.is_done(),
        }
    }

    /// What is known to come yet at least.
    pub(super) fn left(&self) -> u64 {
        match self {
            Incoming::Sized { left, .. } => *left,
            Incoming::Chunked(_) => 0,
        }
    }

    /// Whether what comes is body and nothing else, up to `left`.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Incoming::Sized { .. })
    }

    /// Bytes of a plain body that did not go through the buffer.
    pub(super) fn passed_by(&mut self, bytes: usize) {
        if let Incoming::Sized { left, .. } = self {
            *left -= bytes as u64;
        }
    }

    pub(super) fn read(&self) -> usize {
        match self {
            Incoming::Sized { here, .. } => *here,
            Incoming::Chunked(chunked) => chunked.read,
        }
    }

    pub(super) fn written(&self) -> usize {
        match self {
            Incoming::Sized { here, .. } => *here,
            Incoming::Chunked(chunked) => chunked.written,
        }
    }

    /// All has been read: what comes next may stand right behind the first `kept` bytes.
    pub(super) fn close_gaps(&mut self, kept: usize) {
        match self {
            Incoming::Sized { here, .. } => *here = kept,
            Incoming::Chunked(chunked) => (chunked.read, chunked.written) = (kept, kept),
        }
    }
}
