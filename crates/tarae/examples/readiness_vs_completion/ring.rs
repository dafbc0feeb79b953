//! io_uring with one read at a time, in a safe interface: the only unsafe code of the examples.
//!
//! Called by `main`.
//!
//! Invariant: the buffer and the descriptor of a read that was submitted are the ring's until its
//! completion was taken: nobody else can touch or free them. If the ring is dropped before that,
//! they are leaked, for the kernel may still write into the buffer.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use io_uring::{IoUring, opcode, types};

pub(crate) struct Ring {
    ring: IoUring,
    /// What the kernel is working with.
    submitted: Option<(OwnedFd, Vec<u8>)>,
}

impl Ring {
    pub(crate) fn new() -> io::Result<Ring> {
        let ring = IoUring::new(1)?;
        let submitted = None;
        Ok(Ring { ring, submitted })
    }

    /// Hands the kernel a buffer to be filled, and does not wait.
    ///
    /// # Panics
    ///
    /// When there is a read under way.
    pub(crate) fn start_read(&mut self, from: impl AsFd, buffer: Vec<u8>) -> io::Result<()> {
        assert!(self.submitted.is_none(), "one read at a time");
        let fd = from.as_fd().try_clone_to_owned()?;
        let (fd, buffer) = self.submitted.insert((fd, buffer));
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let read = opcode::Read::new(types::Fd(fd.as_raw_fd()), buffer.as_mut_ptr(), length);
        // SAFETY: descriptor and buffer are in `submitted`, which keeps them until the completion;
        // the length is the buffer's, or less.
        unsafe { self.ring.submission().push(&read.build()) }.expect("the queue is empty");
        self.ring.submit().map(drop)
    }

    /// Waits until the kernel has read; gives how much, and the buffer back.
    pub(crate) fn wait(&mut self) -> io::Result<(io::Result<usize>, Vec<u8>)> {
        let completion = loop {
            if let Some(completion) = self.ring.completion().next() {
                break completion;
            }
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => drop(waited?),
            }
        };
        let (_, buffer) = self.submitted.take().expect("what completed was submitted");
        let result = completion.result();
        let result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        Ok((result, buffer))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        mem::forget(self.submitted.take());
    }
}
