//! What [`std::os::unix::process`] adds to commands and to how children end.
//!
//! Public. Passes on to std's command; nothing in here waits.

use std::ffi::OsStr;
use std::io;

use crate::process::Command;
use crate::sched;

pub use std::os::unix::process::{ExitStatusExt, parent_id};

/// What a [`Command`] has on Unix only; mirrors [`std::os::unix::process::CommandExt`].
///
/// Its `pre_exec` is unsafe: call it on [`Command::as_std_mut`]. The function runs in the child of
/// the process, never in a coroutine.
///
/// # Examples
///
/// ```
/// use tarae::os::unix::process::{CommandExt, ExitStatusExt};
/// use tarae::process::Command;
///
/// let mut command = Command::new("sh");
/// command.arg0("another name").args(["-c", "echo $0; kill -9 $$"]).process_group(0);
/// let output = command.output()?;
/// assert_eq!(output.stdout, b"another name\n");
/// assert_eq!(output.status.signal(), Some(9));
/// # std::io::Result::Ok(())
/// ```
pub trait CommandExt: sealed::Sealed {
    /// The user it runs as. Also gives the supplementary groups up, if this process may do that.
    fn uid(&mut self, id: u32) -> &mut Command;

    /// The group it runs as.
    fn gid(&mut self, id: u32) -> &mut Command;

    /// The name that it is told it was called by, in place of the program's.
    fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Command;

    /// The process group it joins; 0: a new one, of its own number.
    fn process_group(&mut self, group: i32) -> &mut Command;

    /// Runs the program in place of this one: of this process nothing goes on, no coroutine, no
    /// thread, no destructor. Returns only if that fails. Does not park: the thread is blocked
    /// until then, in a coroutine too.
    ///
    /// # Errors
    ///
    /// As for [`Command::spawn`], but that no job is needed. This process is not as it was then,
    /// with std's either: streams and directory may be those of the command, no signal is blocked
    /// in this thread any more, and a broken pipe ends the process. Say why, and end it.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// use tarae::os::unix::process::CommandExt;
    ///
    /// let error = tarae::process::Command::new("/no/such/program").exec();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    fn exec(&mut self) -> io::Error;
}

impl CommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Command {
        std::os::unix::process::CommandExt::uid(self.as_std_mut(), id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command {
        std::os::unix::process::CommandExt::gid(self.as_std_mut(), id);
        self
    }

    fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        std::os::unix::process::CommandExt::arg0(self.as_std_mut(), name);
        self
    }

    fn process_group(&mut self, group: i32) -> &mut Command {
        std::os::unix::process::CommandExt::process_group(self.as_std_mut(), group);
        self
    }

    fn exec(&mut self) -> io::Error {
        match sched::refuse_simulated("another program in place of this one") {
            Ok(()) => std::os::unix::process::CommandExt::exec(self.as_std_mut()),
            Err(error) => error,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::process::Command {}
}
