//! Files and directories: [`std::fs`], whose every call parks the coroutine in place of blocking
//! the thread.
//!
//! Public. A file is always "ready" for epoll, and then a read waits for the disk all the same. So
//! in a coroutine each call is one job on a thread of the [blocking pool](crate::offload::Pool),
//! which borrows the caller's buffers: nothing is copied. On a plain thread it is std's own call.
//!
//! ```
//! use std::io::{Read, Seek, Write};
//! use tarae::fs::{self, File};
//!
//! tarae::run(|| -> std::io::Result<()> {
//!     let folder = std::env::temp_dir().join(format!("tarae-fs-{}", std::process::id()));
//!     fs::create_dir(&folder)?;
//!     let path = folder.join("poem");
//!
//!     let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
//!     file.write_all(b"to be or not to be")?;
//!     file.rewind()?;
//!     let mut word = [0; 2];
//!     file.read_exact(&mut word)?;
//!     assert_eq!(&word, b"to");
//!
//!     fs::copy(&path, folder.join("copy"))?;
//!     assert_eq!(fs::read_to_string(folder.join("copy"))?.len(), 18);
//!     assert_eq!(fs::read_dir(&folder)?.count(), 2);
//!     fs::remove_dir_all(&folder)
//! })?
//! # ;
//! # std::io::Result::Ok(())
//! ```
//!
//! * **What is in memory is read at once.** A [`File`] is first read with `preadv2(RWF_NOWAIT)`,
//!   which gives what the page cache has, without a thread, and gives up where it would wait. Up to
//!   1 MiB is read so in one call; a read may stop short there or where the cache ends, as a
//!   read of std's may at any time. Nothing else is done at once: a write, an `open`, a look at the
//!   metadata may each wait for a disk.
//! * **Make large calls.** A job costs two wake-ups of threads. [`read()`], [`write()`], [`copy`]
//!   and `read_to_end` are one, however large the file; many small writes are better gathered by a
//!   [`BufWriter`](std::io::BufWriter).
//! * **To a socket** a file goes without a copy in the program's memory:
//!   [`TcpStream::send_file`](crate::net::TcpStream::send_file).
//! * **Cancellation.** When the caller is cancelled, or its deadline passes, before the job has
//!   begun, nothing is done, and the call gives an error: one that
//!   [`Cancelled::is`](crate::Cancelled::is) recognises, or
//!   [`TimedOut`](std::io::ErrorKind::TimedOut). A job that has begun is waited for and its result
//!   given, since it borrows: so a call on a pipe or a terminal opened as a file can hold its
//!   caller, and a thread of the pool, for as long as nobody writes. In a coroutine that has been
//!   cancelled already every call is refused, but for reads of what is in memory; what has to be
//!   written all the same belongs into a [`shield`](crate::shield), a `BufWriter`'s flush too.
//! * **Who goes on meanwhile** has [`File::start_read`], [`File::start_write`] and their like,
//!   which take the buffer and give a [`Completion`](crate::Completion); for all other calls there
//!   is [`offload::start`](crate::offload::start).
//! * **On the thread of an [event loop](crate::event)** a call that may block is reported, or
//!   refused with [`WouldBlockLoop`](crate::event::WouldBlockLoop).
//! * **In a [simulated run](crate::sim)** the files are the real ones: the call is std's, made in
//!   the coroutine after some others have had their turn, and takes no virtual time. Nothing is
//!   read ahead of that, or what the system has in memory would decide the order of a run.
//! * **Dropping a [`File`]** closes it right here. That waits only on file systems that write back
//!   on closing, as NFS does: call [`File::sync_all`] first.
//!
//! Methods of [`Path`] that look at the file system, such as `exists`, are std's
//! and block the thread.

mod directory;
mod file;
mod starting;

use std::io;
use std::path::{Path, PathBuf};

use crate::offload::Pool;

pub use directory::{DirBuilder, DirEntry, ReadDir};
pub(crate) use file::tries_at_once;
pub use file::{File, OpenOptions};
pub use std::fs::{FileTimes, FileType, Metadata, Permissions};

/// The absolute path, with every symbolic link resolved.
/// See [`std::fs::canonicalize`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// assert_eq!(tarae::fs::canonicalize("/proc/../proc")?, std::path::Path::new("/proc"));
/// # std::io::Result::Ok(())
/// ```
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::canonicalize(path))
}

/// Copies the contents and the permissions of a file, in one job, and gives the number of bytes.
/// What was at `to` is replaced.
/// See [`std::fs::copy`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// See the [module](self).
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    Pool::Blocking.system_call(|| std::fs::copy(from, to))
}

/// Makes a directory.
/// See [`std::fs::create_dir`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// See the [module](self).
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::create_dir(path))
}

/// Makes a directory and those above it that are missing.
/// See [`std::fs::create_dir_all`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// let top = std::env::temp_dir().join(format!("tarae-dirs-{}", std::process::id()));
/// tarae::fs::create_dir_all(top.join("a/b"))?;
/// tarae::fs::remove_dir(top.join("a/b"))?;
/// tarae::fs::remove_dir_all(top)?;
/// # std::io::Result::Ok(())
/// ```
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::create_dir_all(path))
}

/// Whether there is something at `path`; of a symbolic link, at what it leads to.
/// See [`std::fs::exists`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// assert!(tarae::fs::exists("/proc")?);
/// # std::io::Result::Ok(())
/// ```
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::exists(path))
}

/// Gives a file another name.
/// See [`std::fs::hard_link`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// let (one, two) = (std::env::temp_dir(), std::process::id());
/// let (one, two) = (one.join(format!("tarae-one-{two}")), one.join(format!("tarae-two-{two}")));
/// tarae::fs::write(&one, "text")?;
/// tarae::fs::hard_link(&one, &two)?;
/// tarae::fs::remove_file(&one)?;
/// assert_eq!(tarae::fs::read(&two)?, b"text");
/// tarae::fs::remove_file(&two)?;
/// # std::io::Result::Ok(())
/// ```
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    Pool::Blocking.system_call(|| std::fs::hard_link(original, link))
}

/// What is known of a file; of a symbolic link, of what it leads to.
/// See [`std::fs::metadata`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// assert!(tarae::fs::metadata("/proc")?.is_dir());
/// # std::io::Result::Ok(())
/// ```
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::metadata(path))
}

/// The whole contents of a file, in one job.
/// See [`std::fs::read`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// assert!(tarae::fs::read("/proc/self/cmdline")?.contains(&0));
/// # std::io::Result::Ok(())
/// ```
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::read(path))
}

/// The entries of a directory, without `.` and `..`, in no particular order.
/// See [`std::fs::read_dir`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// for entry in tarae::fs::read_dir("/proc/self/task")? {
///     println!("{}", entry?.path().display());
/// }
/// # std::io::Result::Ok(())
/// ```
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| ReadDir::open(path))
}

/// Where a symbolic link leads to.
/// See [`std::fs::read_link`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// println!("{}", tarae::fs::read_link("/proc/self/exe")?.display());
/// # std::io::Result::Ok(())
/// ```
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::read_link(path))
}

/// The whole contents of a file as text, in one job. It must be UTF-8.
/// See [`std::fs::read_to_string`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// assert!(tarae::fs::read_to_string("/proc/self/status")?.starts_with("Name:"));
/// # std::io::Result::Ok(())
/// ```
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::read_to_string(path))
}

/// Removes an empty directory.
/// See [`std::fs::remove_dir`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// See [`create_dir_all`].
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::remove_dir(path))
}

/// Removes a directory with all there is in it, in one job. Symbolic links are not followed.
/// See [`std::fs::remove_dir_all`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// See [`create_dir_all`].
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::remove_dir_all(path))
}

/// Removes a name of a file; when it was the last one, and nobody has it open, the file.
/// See [`std::fs::remove_file`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// See [`rename`].
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::remove_file(path))
}

/// Gives a file or directory another name, and replaces what had that one. Both are on one file
/// system.
/// See [`std::fs::rename`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// let (one, two) = (std::env::temp_dir(), std::process::id());
/// let (one, two) = (one.join(format!("tarae-old-{two}")), one.join(format!("tarae-new-{two}")));
/// tarae::fs::write(&one, "text")?;
/// tarae::fs::rename(&one, &two)?;
/// assert!(!tarae::fs::exists(&one)?);
/// tarae::fs::remove_file(&two)?;
/// # std::io::Result::Ok(())
/// ```
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    Pool::Blocking.system_call(|| std::fs::rename(from, to))
}

/// Changes who may do what with a file.
/// See [`std::fs::set_permissions`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// let path = std::env::temp_dir().join(format!("tarae-mode-{}", std::process::id()));
/// tarae::fs::write(&path, "text")?;
/// let mut permissions = tarae::fs::metadata(&path)?.permissions();
/// permissions.set_readonly(true);
/// tarae::fs::set_permissions(&path, permissions)?;
/// assert!(tarae::fs::metadata(&path)?.permissions().readonly());
/// tarae::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::set_permissions(path, permissions))
}

/// What is known of a file; of a symbolic link, of the link itself.
/// See [`std::fs::symlink_metadata`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// assert!(tarae::fs::symlink_metadata("/proc/self")?.is_symlink());
/// # std::io::Result::Ok(())
/// ```
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    Pool::Blocking.system_call(|| std::fs::symlink_metadata(path))
}

/// Writes a file with these contents, in one job. What was there is replaced.
/// See [`std::fs::write`] and [the module](self).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](self).
///
/// # Examples
///
/// ```
/// let path = std::env::temp_dir().join(format!("tarae-write-{}", std::process::id()));
/// tarae::fs::write(&path, "text")?;
/// assert_eq!(tarae::fs::read_to_string(&path)?, "text");
/// tarae::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    Pool::Blocking.system_call(|| std::fs::write(path, contents))
}
