//! Reads and writes of files for those who go on meanwhile: jobs of the blocking pool.
//!
//! Public by way of `File`. Must never make a call on the thread that starts it, but in a simulated
//! run, which has no other.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::File;
use super::file::{Position, Use};
use crate::Completion;
use crate::completion::CompletionError;
use crate::completion::job::{self, Work};
use crate::offload::{OffloadError, Pool};

/// A read or a write that owns its buffer and keeps the file open.
struct Started<B> {
    call: fn(&fs::File, &mut B, u64) -> io::Result<usize>,
    buffer: B,
    /// Where; of no meaning to a call at the file's position.
    offset: u64,
    /// Of a call at the file's position, from the start: a thread may take it at any time.
    _user: Option<Use<Arc<Position>>>,
    file: Arc<fs::File>,
}

impl<B: Send + 'static> Work for Started<B> {
    type Output = (io::Result<usize>, B);

    /// Lets go of the file before the result is there: then it is the handle's alone again.
    fn run(mut self) -> Self::Output {
        let result = (self.call)(&self.file, &mut self.buffer, self.offset);
        (result, self.buffer)
    }

    fn refuse(self, error: OffloadError) -> Result<Self::Output, CompletionError> {
        Ok((Err(error.into()), self.buffer))
    }
}

/// Calls for those who go on meanwhile.
impl File {
    /// Starts a read into `buffer`, at the file's position, and goes on: its [`Completion`] gives
    /// what [`read`](Read::read) would, which may be fewer bytes than there are, and the buffer
    /// back, on errors and cancellation too. At most the buffer's length is read, so a vector is to
    /// be filled first.
    ///
    /// Never waits, and needs no runtime: a thread of the [blocking](Pool::Blocking) pool reads,
    /// even what is in memory. A callback runs on that thread, or on the service thread if it is
    /// registered when the result is there
    /// ([where callbacks run](crate::completion#where-callbacks-run)). Two that are under way
    /// at once come to the position in no certain order: for that there is
    /// [`start_read_at`](File::start_read_at).
    ///
    /// It keeps the file open. Neither a cancellation nor a deadline of the caller reaches it. When
    /// it is [cancelled](Completion::cancel) before a thread has taken it, nothing is read, and its
    /// error is one that [`Cancelled::is`](crate::Cancelled::is) recognises; later it is read all
    /// the same. In a [simulated run](crate::sim) it is read at once.
    ///
    /// # Errors
    ///
    /// Of the read: those of std's call, and [`WouldBlock`](io::ErrorKind::WouldBlock) when the
    /// pool's queue is full. Of the completion: a panic of the buffer's `as_mut`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::fs::File;
    ///
    /// tarae::run(|| -> std::io::Result<()> {
    ///     let read = File::open("/proc/self/status")?.start_read(vec![0; 5]);
    ///     // … whatever else there is to do …
    ///     let (count, buffer) = read.wait().unwrap();
    ///     assert_eq!(&buffer[..count?], b"Name:");
    ///     Ok(())
    /// })?
    /// # ;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_read<B>(&self, buffer: B) -> Completion<(io::Result<usize>, B)>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        self.start_at_position(buffer, |mut file, buffer, _| file.read(buffer.as_mut()))
    }

    /// Starts a write of the bytes in `buffer`, at the file's position, or at the end if the file
    /// was opened to append, and goes on: its [`Completion`] gives what [`write`](Write::write)
    /// would, which may be fewer than there are, and the buffer back. As
    /// [`start_read`](File::start_read) otherwise; cancelled when a thread has taken it, it is
    /// written.
    ///
    /// # Errors
    ///
    /// As for [`start_read`](File::start_read).
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("tarae-start-{}", std::process::id()));
    /// let file = tarae::fs::File::create(&path)?;
    /// let (count, _buffer) = file.start_write(*b"text").wait().unwrap();
    /// assert_eq!(count?, 4);
    /// assert_eq!(tarae::fs::read(&path)?, b"text");
    /// tarae::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_write<B>(&self, buffer: B) -> Completion<(io::Result<usize>, B)>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.start_at_position(buffer, |mut file, buffer, _| file.write(buffer.as_ref()))
    }

    /// Starts a read at `offset`, in bytes, which leaves the file's position alone. As
    /// [`start_read`](File::start_read) otherwise. Any number may be under way at once.
    ///
    /// # Errors
    ///
    /// As for [`start_read`](File::start_read).
    ///
    /// # Examples
    ///
    /// Many at once, told by a queue:
    ///
    /// ```
    /// use tarae::completion::Completions;
    ///
    /// let file = tarae::fs::File::open("/proc/self/status")?;
    /// let reads = Completions::new();
    /// for offset in 0..5 {
    ///     reads.add(offset, file.start_read_at([0], offset));
    /// }
    /// let mut name = [0; 5];
    /// while let Some((offset, read)) = reads.next() {
    ///     let (count, [byte]) = read.unwrap();
    ///     assert_eq!(count?, 1);
    ///     name[offset as usize] = byte;
    /// }
    /// assert_eq!(&name, b"Name:");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_read_at<B>(&self, buffer: B, offset: u64) -> Completion<(io::Result<usize>, B)>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let call = |file: &fs::File, buffer: &mut B, offset| file.read_at(buffer.as_mut(), offset);
        self.start(call, buffer, offset, None)
    }

    /// Starts a write at `offset`, in bytes, which leaves the file's position alone. As
    /// [`start_write`](File::start_write) otherwise; in a file that was opened to append Linux
    /// writes at the end, whatever the offset is.
    ///
    /// # Errors
    ///
    /// As for [`start_read`](File::start_read).
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("tarae-start-at-{}", std::process::id()));
    /// let file = tarae::fs::File::create(&path)?;
    /// let (one, other) = (file.start_write_at(*b"to ", 0), file.start_write_at(*b"be", 3));
    /// assert_eq!((one.wait().unwrap().0?, other.wait().unwrap().0?), (3, 2));
    /// assert_eq!(tarae::fs::read(&path)?, b"to be");
    /// tarae::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_write_at<B>(&self, buffer: B, offset: u64) -> Completion<(io::Result<usize>, B)>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let call = |file: &fs::File, buffer: &mut B, offset| file.write_at(buffer.as_ref(), offset);
        self.start(call, buffer, offset, None)
    }

    fn start_at_position<B: Send + 'static>(
        &self,
        buffer: B,
        call: fn(&fs::File, &mut B, u64) -> io::Result<usize>,
    ) -> Completion<(io::Result<usize>, B)> {
        let user = Use::of(Arc::clone(&self.position));
        self.start(call, buffer, 0, Some(user))
    }

    fn start<B: Send + 'static>(
        &self,
        call: fn(&fs::File, &mut B, u64) -> io::Result<usize>,
        buffer: B,
        offset: u64,
        user: Option<Use<Arc<Position>>>,
    ) -> Completion<(io::Result<usize>, B)> {
        let started = Started {
            call,
            buffer,
            offset,
            _user: user,
            file: Arc::clone(&self.file),
        };
        job::start_work(Pool::Blocking, started)
    }
}
