//! Opening and listing what lies beneath one folder, and never outside it.
//!
//! `serve` opens the root once; `site` asks it for every request. It must never follow anything
//! out of the folder, not even when names are exchanged for symbolic links while it looks, and
//! it must never block on what it opens. Links are followed when they are relative and stay
//! inside; absolute ones count as leaving.
//!
//! On Linux 5.6 and later the kernel does the walk (`openat2` with `RESOLVE_BENEATH`), which
//! leaves no moment between check and use. Where that call is missing or forbidden (old kernels,
//! some sandboxes) the same rules are applied here, one component at a time: every step is
//! relative to a folder that is already open, so nothing renamed meanwhile leads elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// An opened folder, and the way to what is beneath it.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    kernel_resolves: bool,
}

/// What was found at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file and its state at the moment of opening.
    File(File, Stat),
    /// A folder.
    Folder(File),
}

/// One line of a folder's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as it is.
    pub name: String,
    /// Whether it is a folder or a link to one.
    pub is_folder: bool,
    /// The length in bytes; meaningless for a folder.
    pub len: u64,
    /// When it was last changed, in seconds since 1970.
    pub modified: i64,
}

/// The contents of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// What can be served, in no order.
    pub entries: Vec<Entry>,
    /// Whether the folder holds more than [`ENTRIES_MAX`] names, so that some were left out.
    pub is_cut: bool,
}

/// So many names of a folder are looked at: a listing must not occupy a worker for seconds.
pub const ENTRIES_MAX: usize = 10_000;

/// The kernel's own bound on links in one path.
const LINKS_MAX: usize = 40;

/// `openat2` gives up when something is renamed during a walk through `..`; so often it is asked.
const RACES_MAX: usize = 16;

/// How things are opened: for reading, without waiting for the other end of a pipe or for a
/// device, and without making a terminal ours.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Root {
    /// Opens a folder as the root.
    ///
    /// # Errors
    ///
    /// Those of the system: no such folder, not a folder, no permission to read or enter it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut root = Self::open_without_openat2(path)?;
        root.kernel_resolves = true;
        match root.resolve_by_kernel(".", READ) {
            // Missing, or forbidden by a filter on system calls: permission on the folder itself
            // was checked by the walk in the line above.
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
                root.kernel_resolves = false;
            }
            result => {
                result?;
            }
        }
        Ok(root)
    }

    /// Opens a folder as the root and never uses `openat2`, as on a kernel without it.
    ///
    /// # Errors
    ///
    /// As [`Root::open`].
    pub fn open_without_openat2(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let root = Self {
            folder,
            kernel_resolves: false,
        };
        // A folder that can be read but not entered serves nothing: better said at the start.
        root.resolve_by_steps(".", READ)?;
        Ok(root)
    }

    /// Opens the file or folder at a path relative to the root (`.` is the root itself).
    ///
    /// # Errors
    ///
    /// `NotFound` for what does not exist, leaves the root, or is neither a regular file nor a
    /// folder; otherwise the system's.
    pub fn find(&self, relative: &str) -> io::Result<Found> {
        let file = File::from(self.resolve(relative, READ).map_err(not_found)?);
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::File(file, stat)),
            FileType::Directory => Ok(Found::Folder(file)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Lists a folder that [`Root::find`] opened at this path: exactly the names that it would
    /// serve, so no hidden, special, dangling or escaping ones.
    ///
    /// # Errors
    ///
    /// Those of reading the folder. An entry that vanishes meanwhile is left out.
    pub fn entries(&self, folder: &File, relative: &str) -> io::Result<Entries> {
        let mut found = Entries::default();
        for item in Dir::read_from(folder)? {
            let Ok(name) = item?.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if !crate::path::is_servable_name(&name) {
                continue;
            }
            if found.entries.len() == ENTRIES_MAX {
                found.is_cut = true;
                break;
            }
            found
                .entries
                .extend(self.entry(folder.as_fd(), relative, name));
        }
        Ok(found)
    }

    fn entry(&self, folder: BorrowedFd<'_>, relative: &str, name: String) -> Option<Entry> {
        let mut stat = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            // The target's size and date are shown only if the target would be served.
            let target = self
                .resolve(&format!("{relative}/{name}"), OFlags::PATH)
                .ok()?;
            stat = rustix::fs::fstat(target).ok()?;
        }
        let is_folder = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => false,
            FileType::Directory => true,
            _ => return None,
        };
        Some(Entry {
            name,
            is_folder,
            len: stat.st_size as u64,
            modified: stat.st_mtime,
        })
    }

    fn resolve(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if self.kernel_resolves {
            self.resolve_by_kernel(relative, flags)
        } else {
            self.resolve_by_steps(relative, flags)
        }
    }

    fn resolve_by_kernel(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let rules = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut result = Err(Errno::AGAIN);
        for _ in 0..RACES_MAX {
            result = rustix::fs::openat2(&self.folder, relative, flags, Mode::empty(), rules);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result
    }

    /// The walk in user space. `open` holds the folders from the root down to where the walk is,
    /// so `..` goes back to the folder it came from and above the root there is nothing.
    fn resolve_by_steps(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut open: Vec<OwnedFd> = Vec::new();
        let mut pending = reversed_names(relative.as_bytes());
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let here = open.last().unwrap_or(&self.folder);
            if name == ".." {
                open.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            let next = rustix::fs::openat(here, &name, step, Mode::empty())?;
            match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
                FileType::Directory => open.push(next),
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
                    links += 1;
                    if target.starts_with(b"/") {
                        return Err(Errno::XDEV);
                    }
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP);
                    }
                    pending.extend(reversed_names(&target));
                }
                _ if !pending.is_empty() => return Err(Errno::NOTDIR),
                // Opened by name once more, now for use: a link put here meanwhile is not
                // followed.
                _ => {
                    return rustix::fs::openat(
                        here,
                        &name,
                        flags | OFlags::NOFOLLOW,
                        Mode::empty(),
                    );
                }
            }
        }
        rustix::fs::openat(
            open.last().unwrap_or(&self.folder),
            ".",
            flags,
            Mode::empty(),
        )
    }
}

/// The names of a path, last first, without `.` and empty ones.
fn reversed_names(path: &[u8]) -> Vec<OsString> {
    let names = path.split(|&byte| byte == b'/').rev();
    names
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect()
}

/// The errors that mean "there is no such thing to serve": no such name, a file used as a
/// folder, a name or path too long, too many links, a way out of the root, a socket or a device
/// that is gone.
fn not_found(error: Errno) -> io::Error {
    match error {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NXIO
        | Errno::NODEV => io::ErrorKind::NotFound.into(),
        other => other.into(),
    }
}
