//! Socket operations for those who go on meanwhile: what `completion::io` attempts.
//!
//! Used by the stream and listener types of `net` and `os`. Each attempt is a call as any other;
//! the buffer is moved in, and comes back with the result whatever that is.

use std::io;
use std::sync::Arc;

use crate::completion::io::Asynchronous;
use crate::driver::operation::{FinishConnect, Recv, Send as SendBytes};
use crate::driver::{Direction, Source};
use crate::sched::io::{Patience, perform};

/// A receive into a buffer.
pub(crate) struct Reading<B>(pub(crate) B);

impl<B: AsMut<[u8]> + Send + 'static> Asynchronous for Reading<B> {
    type Value = usize;
    type Output = (io::Result<usize>, B);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source, patience: Patience) -> io::Result<usize> {
        perform(source, patience, Recv(self.0.as_mut()))
    }

    fn finish(self, _: Arc<Source>, result: io::Result<usize>) -> Self::Output {
        (result, self.0)
    }
}

/// A send of a buffer's bytes, as many as there is room for.
pub(crate) struct Writing<B>(pub(crate) B);

impl<B: AsRef<[u8]> + Send + 'static> Asynchronous for Writing<B> {
    type Value = usize;
    type Output = (io::Result<usize>, B);
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source, patience: Patience) -> io::Result<usize> {
        perform(source, patience, SendBytes(self.0.as_ref()))
    }

    fn finish(self, _: Arc<Source>, result: io::Result<usize>) -> Self::Output {
        (result, self.0)
    }
}

/// An accept, by the listener's own function.
pub(crate) struct Accepting<C>(pub(crate) fn(&Source, Patience) -> io::Result<C>);

impl<C: Send + 'static> Asynchronous for Accepting<C> {
    type Value = C;
    type Output = io::Result<C>;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, source: &Source, patience: Patience) -> io::Result<C> {
        (self.0)(source, patience)
    }

    fn finish(self, _: Arc<Source>, result: io::Result<C>) -> io::Result<C> {
        result
    }
}

/// The end of a connection that was begun, as a stream of the type that the function makes.
pub(crate) struct Connecting<S>(pub(crate) fn(Arc<Source>) -> S);

impl<S: Send + 'static> Asynchronous for Connecting<S> {
    type Value = ();
    type Output = io::Result<S>;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, source: &Source, patience: Patience) -> io::Result<()> {
        perform(source, patience, FinishConnect)
    }

    fn finish(self, source: Arc<Source>, result: io::Result<()>) -> io::Result<S> {
        result.map(|()| (self.0)(source))
    }
}

/// Starting reads and writes of a stream. `$make` makes two that are connected, `socket` and
/// `other`, for the examples, in a coroutine that returns `io::Result`.
macro_rules! start_methods {
    ($type:ident, $make:literal) => {
        impl $type {
            /// Starts a read into `buffer` and goes on: its [`Completion`] gives what
            /// [`read`](std::io::Read::read) would, and the buffer back, on errors and
            /// cancellation too. At most the buffer's length is read, so a vector is to be filled
            /// first.
            ///
            /// Never waits. On a worker's thread the worker's event loop reads when something has
            /// come, without a coroutine; it does so whatever the handle's blocking mode is.
            /// Elsewhere a thread of the [blocking](crate::offload::Pool::Blocking) pool reads. The
            /// read time-out holds. The operation keeps the socket open; neither a cancellation nor
            /// a deadline of the caller reaches it, [`cancel`](crate::Completion::cancel) does.
            ///
            /// [`Completion`]: crate::Completion
            ///
            /// # Examples
            ///
            /// ```
            /// # use std::io::Write;
            /// # tarae::run(|| {
            #[doc = $make]
            /// let read = socket.start_read(vec![0; 1024]);
            /// (&other).write_all(b"hello")?;
            /// let (count, buffer) = read.wait().unwrap();
            /// assert_eq!(&buffer[..count?], b"hello");
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn start_read<B>(&self, buffer: B) -> crate::Completion<(io::Result<usize>, B)>
            where
                B: AsMut<[u8]> + std::marker::Send + 'static,
            {
                let reading = crate::net::starting::Reading(buffer);
                crate::completion::io::start(self.socket.shared_source(), reading)
            }

            /// Starts a write of the bytes in `buffer` and goes on: its [`Completion`] gives what
            /// [`write`](std::io::Write::write) would, which may be fewer than there are, and the
            /// buffer back. As [`start_read`](Self::start_read) otherwise, with the write time-out.
            ///
            /// [`Completion`]: crate::Completion
            ///
            /// # Examples
            ///
            /// ```
            /// # use std::io::Read;
            /// # tarae::run(|| {
            #[doc = $make]
            /// let (count, _buffer) = socket.start_write(*b"hello").wait().unwrap();
            /// assert_eq!(count?, 5);
            /// let mut text = [0; 5];
            /// (&other).read_exact(&mut text)?;
            /// assert_eq!(&text, b"hello");
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn start_write<B>(&self, buffer: B) -> crate::Completion<(io::Result<usize>, B)>
            where
                B: AsRef<[u8]> + std::marker::Send + 'static,
            {
                let writing = crate::net::starting::Writing(buffer);
                crate::completion::io::start(self.socket.shared_source(), writing)
            }
        }
    };
}
pub(crate) use start_methods;
