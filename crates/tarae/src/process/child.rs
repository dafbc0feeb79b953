//! A child process: its end, by a descriptor of the process, and its pipes.
//!
//! Public by way of `process`. Must never leave a child behind that nobody was told of.

use std::io;
use std::process::{ExitStatus, Output};

use super::pipe::{ChildStderr, ChildStdin, ChildStdout, read_both};
use crate::driver::Source;
use crate::driver::operation::Reap;
use crate::sched::io::{Patience, perform};
use crate::sys;

/// A child process; made by [`Command::spawn`](super::Command::spawn). Mirrors
/// [`std::process::Child`].
///
/// Dropping it leaves the process alone, see [the module](super).
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::process::{Command, Stdio};
///
/// let mut command = Command::new("cat");
/// let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
/// stdin.write_all(b"to be")?;
/// let mut back = [0; 5];
/// stdout.read_exact(&mut back)?;
/// assert_eq!(&back, b"to be");
/// drop(stdin); // The end of its input.
/// assert!(child.wait()?.success());
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// The pipe to its standard input, if that was asked for.
    pub stdin: Option<ChildStdin>,
    /// The pipe from its standard output, if that was asked for.
    pub stdout: Option<ChildStdout>,
    /// The pipe from its standard error, if that was asked for.
    pub stderr: Option<ChildStderr>,
    id: u32,
    /// The pidfd.
    process: Source,
    status: Option<ExitStatus>,
}

impl Child {
    /// In a call that may wait.
    pub(super) fn start(command: &mut std::process::Command) -> io::Result<Child> {
        let mut child = command.spawn()?;
        Child::of(&mut child).inspect_err(|_| {
            // No descriptor is free, for instance. The caller is told that there is no child.
            let _ = child.kill();
            let _ = child.wait();
        })
    }

    fn of(child: &mut std::process::Child) -> io::Result<Child> {
        // Nobody has waited for it yet, so the number is its own.
        let process = sys::pidfd_open(child.id())?;
        Ok(Child {
            stdin: child.stdin.take().map(ChildStdin::new).transpose()?,
            stdout: child.stdout.take().map(ChildStdout::new).transpose()?,
            stderr: child.stderr.take().map(ChildStderr::new).transpose()?,
            id: child.id(),
            process: Source::new(process, false),
            status: None,
        })
    }

    /// Its process number. It may be another's after the child was waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = tarae::process::Command::new("true").spawn()?;
    /// assert_ne!(child.id(), tarae::process::id());
    /// child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Closes [`stdin`](Child::stdin), so that the child does not wait for more, and waits for the
    /// child's end: parks the coroutine, or blocks the plain thread. Once it has ended, gives how
    /// again and again.
    ///
    /// # Errors
    ///
    /// When cut short: an error that [`Cancelled::is`](crate::Cancelled::is) recognises, or
    /// [`TimedOut`](io::ErrorKind::TimedOut); the child goes on, and can be waited for again. Those
    /// of `waitid(2)`, if somebody else has waited for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tarae::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("sleep").arg("3600").spawn()?;
    /// let late = tarae::timeout(Duration::from_millis(5), || child.wait());
    /// assert!(late.is_err());
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.reap(Patience::For(None))
    }

    /// How the child has ended, if it has. Does not wait.
    ///
    /// # Errors
    ///
    /// Those of `waitid(2)`, if somebody else has waited for it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = tarae::process::Command::new("sleep").arg("3600").spawn()?;
    /// assert!(child.try_wait()?.is_none());
    /// child.kill()?;
    /// child.wait()?;
    /// assert!(child.try_wait()?.is_some());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self.reap(Patience::None) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    fn reap(&mut self, patience: Patience) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = perform(&self.process, patience, Reap)?;
        self.status = Some(status);
        Ok(status)
    }

    /// Kills the child with `SIGKILL`. It is to be waited for all the same. Nothing happens when
    /// it has ended. Does not wait.
    ///
    /// # Errors
    ///
    /// When it may not be killed, being another user's by now; or somebody else has waited for it.
    ///
    /// # Examples
    ///
    /// See [`wait`](Child::wait).
    pub fn kill(&mut self) -> io::Result<()> {
        match self.status {
            Some(_) => Ok(()),
            None => sys::pidfd_kill(self.process.raw(), libc::SIGKILL),
        }
    }

    /// Closes [`stdin`](Child::stdin), reads what the child writes to both pipes until they end,
    /// whichever has something, and waits for its end: parks the coroutine, or blocks the plain
    /// thread. Of a pipe that is not there nothing is given.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Child::wait), and those of reading. What was read, and the child, are then
    /// out of reach, and the child goes on: to have it at hand, read its pipes in a
    /// [`scope`](fn@crate::scope), and `wait`.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = read_both(self.stdout.take(), self.stderr.take())?;
        Ok(Output {
            status: self.wait()?,
            stdout,
            stderr,
        })
    }
}
