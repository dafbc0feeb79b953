//! Child processes: [`std::process`], whose every wait parks the coroutine in place of blocking the
//! thread.
//!
//! Public. A child's end is waited for by its pidfd, and its pipes are in non-blocking mode at this
//! end, so both are sources of the worker's driver as sockets are. Must never wait for a child by
//! its number, which may be another's by then.
//!
//! ```
//! use std::io::Write;
//! use tarae::process::{Command, Stdio};
//!
//! tarae::run(|| -> std::io::Result<()> {
//!     let mut child = Command::new("cat")
//!         .stdin(Stdio::piped())
//!         .stdout(Stdio::piped())
//!         .spawn()?;
//!     child.stdin.take().unwrap().write_all(b"to be")?;
//!     let output = child.wait_with_output()?;
//!     assert!(output.status.success());
//!     assert_eq!(output.stdout, b"to be");
//!     Ok(())
//! })?
//! # ;
//! # std::io::Result::Ok(())
//! ```
//!
//! * **Starting a child** takes from half a millisecond to as long as it takes to read the program
//!   from the disk, and the kernel blocks the caller meanwhile. So in a coroutine that is a job on
//!   a thread of the [blocking pool](crate::offload::Pool), which is not done when the caller is
//!   cancelled before it has begun, and waited for when it has. A child that asks to be killed with
//!   its parent (`PR_SET_PDEATHSIG`) means the thread that started it: that of a pool ends when it
//!   has been idle for a while, so start such a child on a plain thread.
//! * **Cancellation and deadlines** end a wait for a child, a read or a write with an error and
//!   leave the child alone: it can be waited for again, or killed.
//! * **A `Child` that is dropped** goes on, as std's does, and what is left of it when it ends
//!   stays until this process ends: wait for it.
//! * **Others that wait for any child** of this process take the ends of children away, and so does
//!   ignoring `SIGCHLD`: waiting for a child is an error then.
//! * **Kernels** before Linux 5.4 cannot wait for a child by its pidfd: starting one is an error.
//! * **In a [simulated run](crate::sim)** there are no children: starting one is an error.
//!
//! Types and functions of std's that do not wait are found here too.

mod child;
mod pipe;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;

use crate::offload::Pool;
use crate::sched;

pub use child::Child;
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};

/// How to start a child process; mirrors [`std::process::Command`].
///
/// [`CommandExt`](crate::os::unix::process::CommandExt) has what std has on Unix only.
///
/// # Examples
///
/// ```
/// use tarae::process::Command;
///
/// let output = Command::new("sh").args(["-c", "echo $WORD"]).env("WORD", "hello").output()?;
/// assert_eq!(output.stdout, b"hello\n");
/// # std::io::Result::Ok(())
/// ```
pub struct Command {
    command: std::process::Command,
    /// Whether standard input, output and error were set here: `output` has its own default.
    set: [bool; 3],
}

impl Command {
    /// The program of that path, or, if it has no slash, of that name on the `PATH`; without
    /// arguments, with this process's environment, directory and streams.
    ///
    /// # Examples
    ///
    /// ```
    /// let status = tarae::process::Command::new("true").status()?;
    /// assert!(status.success());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command::from(std::process::Command::new(program))
    }

    /// Adds an argument.
    ///
    /// # Examples
    ///
    /// ```
    /// let output = tarae::process::Command::new("echo").arg("to be").output()?;
    /// assert_eq!(output.stdout, b"to be\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// let output = tarae::process::Command::new("echo").args(["to", "be"]).output()?;
    /// assert_eq!(output.stdout, b"to be\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn args<I, S>(&mut self, arguments: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    ///
    /// # Examples
    ///
    /// See [`Command`].
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.command.env(key, value);
        self
    }

    /// Sets variables of its environment.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = tarae::process::Command::new("sh");
    /// let output = command.args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]).output()?;
    /// assert_eq!(output.stdout, b"12\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.command.envs(variables);
        self
    }

    /// Takes a variable out of its environment.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = tarae::process::Command::new("sh");
    /// command.args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]).env_remove("A");
    /// assert_eq!(command.output()?.stdout, b"2\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.command.env_remove(key);
        self
    }

    /// Takes all variables out of its environment.
    ///
    /// # Examples
    ///
    /// ```
    /// let output = tarae::process::Command::new("env").env_clear().output()?;
    /// assert_eq!(output.stdout, b"");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.command.env_clear();
        self
    }

    /// The directory it starts in.
    ///
    /// # Examples
    ///
    /// ```
    /// let output = tarae::process::Command::new("pwd").current_dir("/proc").output()?;
    /// assert_eq!(output.stdout, b"/proc\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.command.current_dir(directory);
        self
    }

    /// Its standard input. Default: this process's, with [`output`](Command::output) none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::process::{Command, Stdio};
    ///
    /// // A pipe to write to, nothing, a file, or another child's output.
    /// let file = tarae::fs::File::open("/proc/self/comm")?;
    /// let output = Command::new("cat").stdin(file).output()?;
    /// assert!(!output.stdout.is_empty());
    /// let output = Command::new("cat").stdin(Stdio::null()).output()?;
    /// assert!(output.stdout.is_empty());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.command.stdin(stream);
        self.set[0] = true;
        self
    }

    /// Its standard output. Default: this process's, with [`output`](Command::output) a pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use tarae::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("echo").arg("to be").stdout(Stdio::piped()).spawn()?;
    /// let mut text = String::new();
    /// child.stdout.take().unwrap().read_to_string(&mut text)?;
    /// assert_eq!(text, "to be\n");
    /// child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.command.stdout(stream);
        self.set[1] = true;
        self
    }

    /// Its standard error. Default: this process's, with [`output`](Command::output) a pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::process::{Command, Stdio};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo failed >&2"]);
    /// assert_eq!(command.output()?.stderr, b"failed\n");
    /// assert_eq!(command.stderr(Stdio::null()).output()?.stderr, b"");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.command.stderr(stream);
        self.set[2] = true;
        self
    }

    /// Starts the child. Parks the coroutine, or blocks the plain thread, until it has begun its
    /// program.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such program; those of std's call, of `pidfd_open(2)`, and of a
    /// [job that was not begun](super::fs), among them those of a cancellation and a deadline; no
    /// child is there then; [`Unsupported`](io::ErrorKind::Unsupported) in a
    /// [simulated run](crate::sim).
    ///
    /// # Examples
    ///
    /// See [the module](self).
    pub fn spawn(&mut self) -> io::Result<Child> {
        sched::refuse_simulated("a child process")?;
        Pool::Blocking.system_call(|| Child::start(&mut self.command))
    }

    /// Starts the child, waits for its end and gives what it wrote, as
    /// [`Child::wait_with_output`]. A child that is still running when that is cut short is out of
    /// reach, and goes on.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    ///
    /// # Examples
    ///
    /// See [`Command`].
    pub fn output(&mut self) -> io::Result<Output> {
        let [stdin, stdout, stderr] = self.set;
        if !stdin {
            self.command.stdin(Stdio::null());
        }
        if !stdout {
            self.command.stdout(Stdio::piped());
        }
        if !stderr {
            self.command.stderr(Stdio::piped());
        }
        let child = self.spawn();
        if !stdin {
            self.command.stdin(Stdio::inherit());
        }
        if !stdout {
            self.command.stdout(Stdio::inherit());
        }
        if !stderr {
            self.command.stderr(Stdio::inherit());
        }
        child?.wait_with_output()
    }

    /// Starts the child and waits for its end. A child that is still running when that is cut
    /// short is out of reach, and goes on.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(tarae::process::Command::new("false").status()?.code(), Some(1));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// The program.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = tarae::process::Command::new("echo");
    /// command.arg("to be").env("A", "1").current_dir("/proc");
    /// assert_eq!(command.get_program(), "echo");
    /// assert!(command.get_args().eq(["to be"]));
    /// assert_eq!(command.get_envs().count(), 1);
    /// assert_eq!(command.get_current_dir(), Some(std::path::Path::new("/proc")));
    /// ```
    pub fn get_program(&self) -> &OsStr {
        self.command.get_program()
    }

    /// The arguments, without the program.
    ///
    /// # Examples
    ///
    /// See [`get_program`](Command::get_program).
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.command.get_args()
    }

    /// What was set of the environment, and what was removed.
    ///
    /// # Examples
    ///
    /// See [`get_program`](Command::get_program).
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.command.get_envs()
    }

    /// The directory it starts in, if that was set.
    ///
    /// # Examples
    ///
    /// See [`get_program`](Command::get_program).
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.command.get_current_dir()
    }

    /// As std's type.
    ///
    /// # Examples
    ///
    /// ```
    /// let command = tarae::process::Command::new("echo");
    /// assert_eq!(format!("{:?}", command.as_std()), format!("{command:?}"));
    /// ```
    pub fn as_std(&self) -> &std::process::Command {
        &self.command
    }

    /// As std's type, for what is not here: `pre_exec`.
    ///
    /// Streams that are set there are used by `spawn` and `status`; `output` takes its own defaults
    /// for those that were not set by this type.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = tarae::process::Command::new("sh");
    /// command.as_std_mut().args(["-c", "echo $0", "by std"]);
    /// assert_eq!(command.output()?.stdout, b"by std\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.command
    }
}

impl From<std::process::Command> for Command {
    /// Of streams, see [`Command::as_std_mut`].
    fn from(command: std::process::Command) -> Command {
        Command {
            command,
            set: [false; 3],
        }
    }
}

impl From<Command> for std::process::Command {
    fn from(command: Command) -> std::process::Command {
        command.command
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.command.fmt(f)
    }
}
