//! Directories: their entries, a number at a time, and the builder that makes them.
//!
//! Public by way of `fs`. Must never ask the system for an entry on a worker's thread.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};

use crate::offload::Pool;

/// How many entries one job fetches: about what one system call gives.
const FETCHED_MAX: usize = 256;

/// The entries of a directory; made by [`read_dir`](super::read_dir). Mirrors
/// [`std::fs::ReadDir`].
///
/// In a coroutine one job fetches up to 256 entries, the first ones when the directory is opened.
/// An error, of the system or since the caller was cut short, is given once and ends the iteration.
/// On a plain thread so many are fetched at once too, right there.
///
/// # Examples
///
/// ```
/// tarae::run(|| -> std::io::Result<()> {
///     let mut entries = tarae::fs::read_dir("/proc/self/ns")?;
///     // Waits for a thread of the pool when those that were fetched are used up.
///     let first = entries.next().expect("there are some")?;
///     println!("{}, and {} more", first.path().display(), entries.count());
///     Ok(())
/// })?
/// # ;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct ReadDir {
    entries: fs::ReadDir,
    fetched: VecDeque<io::Result<DirEntry>>,
    ended: bool,
}

impl ReadDir {
    /// In a call that may wait.
    pub(super) fn open(path: &Path) -> io::Result<ReadDir> {
        let mut opened = ReadDir {
            entries: fs::read_dir(path)?,
            fetched: VecDeque::new(),
            ended: false,
        };
        opened.fetch();
        Ok(opened)
    }

    /// As `open`.
    fn fetch(&mut self) {
        while !self.ended && self.fetched.len() < FETCHED_MAX {
            match self.entries.next() {
                // After an error std's iteration gives no more.
                Some(entry) => self.fetched.push_back(entry.map(DirEntry::new)),
                None => self.ended = true,
            }
        }
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    /// Parks the coroutine, or blocks the plain thread, when all fetched entries have been given.
    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.fetched.is_empty() && !self.ended {
            let fetched = Pool::Blocking.system_call(|| {
                self.fetch();
                Ok(())
            });
            if let Err(error) = fetched {
                self.ended = true;
                return Some(Err(error));
            }
        }
        self.fetched.pop_front()
    }
}

/// An entry of a directory; mirrors [`std::fs::DirEntry`].
///
/// # Examples
///
/// ```
/// for entry in tarae::fs::read_dir("/proc/self/task")? {
///     let entry = entry?;
///     assert!(entry.file_type()?.is_dir() && entry.metadata()?.is_dir());
///     assert_eq!(entry.path().file_name(), Some(&*entry.file_name()));
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct DirEntry {
    entry: fs::DirEntry,
    /// The kernel gave it with the name, as a rule; asked for where waiting is allowed.
    file_type: Option<FileType>,
}

impl DirEntry {
    /// As `ReadDir::open`.
    fn new(entry: fs::DirEntry) -> DirEntry {
        DirEntry {
            file_type: entry.file_type().ok(),
            entry,
        }
    }

    /// The directory's path, as given to `read_dir`, with the entry's name. Does not wait.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// The entry's name. Does not wait.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// What is known of the file; of a symbolic link, of the link itself.
    ///
    /// # Errors
    ///
    /// Those of std's call, and of a [job that was not begun](super).
    pub fn metadata(&self) -> io::Result<Metadata> {
        Pool::Blocking.system_call(|| self.entry.metadata())
    }

    /// What kind of file it is. Waits only if it could not be had together with the name.
    ///
    /// # Errors
    ///
    /// Those of std's call, and of a [job that was not begun](super).
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => Pool::Blocking.system_call(|| self.entry.file_type()),
        }
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.entry.ino()
    }
}

/// Makes directories as it is told; mirrors [`std::fs::DirBuilder`].
///
/// # Examples
///
/// ```
/// use tarae::fs::DirBuilder;
///
/// let top = std::env::temp_dir().join(format!("tarae-builder-{}", std::process::id()));
/// DirBuilder::new().recursive(true).create(top.join("inner"))?;
/// tarae::fs::remove_dir_all(top)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct DirBuilder(fs::DirBuilder);

impl DirBuilder {
    /// One that makes a single directory.
    #[allow(clippy::new_without_default, reason = "as std's")]
    pub fn new() -> DirBuilder {
        DirBuilder(fs::DirBuilder::new())
    }

    /// Whether to make those above it too; one that is there already is then no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.0.recursive(recursive);
        self
    }

    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// Those of std's call, and of a [job that was not begun](super).
    pub fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        Pool::Blocking.system_call(|| self.0.create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.0.mode(mode);
        self
    }
}
