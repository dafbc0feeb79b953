//! Who is at work for a server, and at what: for the end, when those are to be cancelled, and named
//! if they do not heed it.
//!
//! Written by `exchange` for every request, so it must cost next to nothing: an entry belongs to
//! the buffers that a connection works with, and is a few words that are stored without order.
//! Whoever reads them may find the begin of one request and the rest of another of the same
//! connection. That is for people to read; the number of the coroutine or thread is one word.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::Head;
use crate::request::NOTED_BYTES;

/// How much of a request's head is kept, in words.
const WORDS: usize = NOTED_BYTES / 8;

/// Marks the number of a thread, which is one of the system's.
const THREAD: u64 = 1 << 63;

#[cold]
fn thread_id() -> u64 {
    THREAD | rustix::thread::gettid().as_raw_nonzero().get() as u64
}

/// Who is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// By their numbers.
    Coroutine(u64),
    Thread(u64),
}

impl Who {
    fn of(id: u64) -> Option<Who> {
        match id {
            0 => None,
            id if id & THREAD != 0 => Some(Who::Thread(id & !THREAD)),
            id => Some(Who::Coroutine(id)),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Coroutine(id) => write!(f, "coroutine {id}"),
            Who::Thread(id) => write!(f, "thread {id}"),
        }
    }
}

/// One that may be at work.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Who it is; 0 if there is nobody.
    id: AtomicU64,
    head: [AtomicU64; WORDS],
}

impl Entry {
    /// The calling coroutine or thread takes up work.
    pub(super) fn begin(&self) {
        let id = tarae::inspect::coroutine_id().unwrap_or_else(thread_id);
        self.id.store(id, Ordering::Release);
    }

    /// Keeps what the request's first bytes say.
    #[inline]
    pub(super) fn note(&self, head: &Head) {
        let Some(bytes) = head.first_bytes() else {
            return;
        };
        let (words, _) = bytes.as_chunks::<8>();
        for (kept, word) in self.head.iter().zip(words) {
            kept.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }

    pub(super) fn end(&self) {
        self.id.store(0, Ordering::Release);
    }

    /// `METHOD PATH`, as far as it was kept; empty before the first request.
    fn request(&self) -> String {
        let words = self.head.iter().map(|word| word.load(Ordering::Relaxed));
        let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        let is_part = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let line: Vec<u8> = bytes.iter().copied().take_while(is_part).collect();
        let text = String::from_utf8_lossy(&line);
        let (method, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (target, is_whole) = match rest.split_once(' ') {
            Some((target, _)) => (target, true),
            None => (rest, line.len() < NOTED_BYTES),
        };
        // What is asked for may be confidential.
        let (path, is_whole) = match target.split_once('?') {
            Some((path, _)) => (path, true),
            None => (target, is_whole),
        };
        let more = if is_whole { "" } else { "…" };
        format!("{method} {path}{more}").trim_end().to_owned()
    }
}

/// All entries of a server.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Vec<Weak<Entry>>>);

impl Roster {
    fn entries(&self) -> MutexGuard<'_, Vec<Weak<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self) -> Arc<Entry> {
        let entry = Arc::new(Entry::default());
        let mut entries = self.entries();
        if entries.len() == entries.capacity() {
            entries.retain(|entry| entry.strong_count() > 0);
        }
        entries.push(Arc::downgrade(&entry));
        entry
    }

    /// Those at work, each with what it was asked for last.
    pub(super) fn at_work(&self) -> Vec<(Who, String)> {
        let entries = self.entries();
        let entries = entries.iter().filter_map(Weak::upgrade);
        let at_work = |entry: Arc<Entry>| {
            let who = Who::of(entry.id.load(Ordering::Acquire))?;
            Some((who, entry.request()))
        };
        entries.filter_map(at_work).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_is_called() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(100));
        let cut = format!("GET /{}…", "a".repeat(NOTED_BYTES - 5));
        for (head, want) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /"),
            ("POST /a/b?token=x HTTP/1.1\r\n", "POST /a/b"),
            ("OPTIONS * HTTP/1.1\r\n", "OPTIONS *"),
            (&*long, &*cut),
            ("", ""),
        ] {
            let roster = Roster::default();
            let entry = roster.add();
            let mut bytes = head.as_bytes().to_vec();
            bytes.resize(NOTED_BYTES.max(bytes.len()), 0);
            for (kept, word) in entry.head.iter().zip(bytes.as_chunks::<8>().0) {
                kept.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
            }
            assert_eq!(roster.at_work(), []);
            entry.id.store(7, Ordering::Release);
            assert_eq!(roster.at_work(), [(Who::Coroutine(7), want.to_owned())]);
        }
    }

    #[test]
    fn entries_that_are_gone_are_forgotten() {
        let roster = Roster::default();
        let kept = roster.add();
        kept.id.store(1, Ordering::Release);
        for _ in 0..10_000 {
            drop(roster.add());
        }
        assert!(roster.entries().len() < 100);
        assert_eq!(roster.at_work().len(), 1);
    }
}
