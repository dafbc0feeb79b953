//! `File` and how it is opened.
//!
//! Public by way of `fs`. Must never wait for a disk on a worker's thread.
//!
//! The kernel lets one call at a time use a file's position, and has others wait: one that reads at
//! once would wait for one that a disk keeps. So all handles of a file count who uses its position,
//! and a call at once is made by one that finds nobody there. Those who come meanwhile are jobs,
//! and wait on a thread of the pool.

use std::fmt;
use std::fs::{self, FileTimes, Metadata, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use crate::offload::Pool;
use crate::sched::{self, loop_thread};
use crate::sys;

/// How much is copied at once on a worker's thread, which others wait for: some 50 microseconds.
/// With less the kernel copies more slowly: by half, in pieces of a quarter of it.
const AT_ONCE_MAX: usize = 1024 * 1024;

/// After a copy of as much others have their turn.
const TURN_BYTES: usize = 64 * 1024;

/// The file's own position, as an offset of `sys::read_cached`.
const POSITION: i64 = -1;

/// An open file: [`std::fs::File`], whose every call parks the coroutine in place of blocking the
/// thread.
///
/// It is `Read`, `Write` and `Seek`, by reference too, and implements std's
/// [`FileExt`]. It may be used by coroutines of several workers and by plain threads at once. What
/// is in memory is read at once; for that, for cancellation, and for files that are pipes or
/// terminals see [the module](super).
///
/// # Examples
///
/// ```
/// use std::io::{BufRead, BufReader};
/// use tarae::fs::File;
///
/// tarae::run(|| -> std::io::Result<()> {
///     let file = BufReader::new(File::open("/proc/self/status")?);
///     for line in file.lines() {
///         println!("{}", line?);
///     }
///     Ok(())
/// })?
/// # ;
/// # std::io::Result::Ok(())
/// ```
pub struct File {
    /// Shared with the calls that were started.
    pub(super) file: Arc<fs::File>,
    pub(super) position: Arc<Position>,
}

/// Who uses the position of a file: how many calls.
#[derive(Default)]
pub(super) struct Position(AtomicUsize);

/// One of them.
pub(super) struct Use<P: Deref<Target = Position>>(P);

impl<P: Deref<Target = Position>> Use<P> {
    pub(super) fn of(position: P) -> Use<P> {
        position.0.fetch_add(1, Ordering::Relaxed);
        Use(position)
    }

    /// If there is no other. That decides who may wait, and nothing about memory.
    fn alone(position: P) -> Option<Use<P>> {
        let order = Ordering::Relaxed;
        let alone = position.0.compare_exchange(0, 1, order, order);
        alone.is_ok().then(|| Use(position))
    }
}

impl<P: Deref<Target = Position>> Drop for Use<P> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a call that does not wait is worth a try: where waiting costs a job, or is refused.
pub(crate) fn tries_at_once() -> bool {
    (sched::in_coroutine() && sched::simulation().is_none()) || loop_thread::is_marked()
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of std's call, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`File`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing; what was in it is gone, and if there was none it is made.
    ///
    /// # Errors
    ///
    /// Those of std's call, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`set_len`](File::set_len).
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file that was not there, for reading and writing.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when it was; those of std's call, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`try_clone`](File::try_clone).
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(path)
    }

    /// How to open a file, to be said in detail: [`OpenOptions::new`]. Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let file = tarae::fs::File::options().read(true).open("/proc/self/status")?;
    /// assert!(file.metadata()?.is_file());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file of std's. Who goes on using duplicates of it may keep a worker waiting
    /// here while a call on them uses the file's position; those of
    /// [`try_clone`](File::try_clone) do not. Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let mut file = tarae::fs::File::from_std(std::fs::File::open("/proc/self/status")?);
    /// let mut name = [0; 5];
    /// file.read_exact(&mut name)?;
    /// // The position has come with it.
    /// let mut std = file.into_std();
    /// std.read_exact(&mut name)?;
    /// assert_eq!(name[0], b'\t');
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std(file: fs::File) -> File {
        File {
            file: Arc::new(file),
            position: Arc::default(),
        }
    }

    /// Gives the file as std's type. While a call that was [started](File::start_read) is under way
    /// it is a duplicate, and the call keeps the other one. Does not wait.
    ///
    /// # Panics
    ///
    /// When it has to be a duplicate, and no descriptor is free.
    ///
    /// # Examples
    ///
    /// See [`from_std`](File::from_std).
    pub fn into_std(self) -> fs::File {
        Arc::try_unwrap(self.file).unwrap_or_else(|file| {
            let duplicate = file.try_clone();
            duplicate.expect("giving a file away that a call is using")
        })
    }

    /// Waits until contents and metadata have reached the disk.
    ///
    /// # Errors
    ///
    /// Those of `fsync(2)`, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`set_len`](File::set_len).
    pub fn sync_all(&self) -> io::Result<()> {
        self.job(fs::File::sync_all)
    }

    /// Waits until the contents have reached the disk, and what is needed to find them.
    ///
    /// # Errors
    ///
    /// Those of `fdatasync(2)`, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`set_len`](File::set_len).
    pub fn sync_data(&self) -> io::Result<()> {
        self.job(fs::File::sync_data)
    }

    /// Cuts the file to so many bytes, or fills it up with zeros. The position stays.
    ///
    /// # Errors
    ///
    /// Those of `ftruncate(2)`, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("tarae-length-{}", std::process::id()));
    /// let file = tarae::fs::File::create(&path)?;
    /// file.set_len(1_000)?;
    /// file.sync_data()?; // The length,
    /// file.sync_all()?; // and when it was modified.
    /// assert_eq!(file.metadata()?.len(), 1_000);
    /// tarae::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.job(move |file| file.set_len(bytes))
    }

    /// What is known of the file.
    ///
    /// # Errors
    ///
    /// Those of `statx(2)`, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`set_len`](File::set_len).
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.job(fs::File::metadata)
    }

    /// Another handle with a descriptor of its own; the position is shared. Does not wait.
    ///
    /// # Errors
    ///
    /// When no descriptor is free.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Seek, Write};
    ///
    /// let path = std::env::temp_dir().join(format!("tarae-clone-{}", std::process::id()));
    /// let mut file = tarae::fs::File::create_new(&path)?;
    /// let mut other = file.try_clone()?;
    /// file.write_all(b"text")?;
    /// assert_eq!(other.stream_position()?, 4);
    /// tarae::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(File {
            file: Arc::new(self.file.try_clone()?),
            position: Arc::clone(&self.position),
        })
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    ///
    /// Those of `fchmod(2)`, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::os::unix::fs::PermissionsExt;
    ///
    /// let path = std::env::temp_dir().join(format!("tarae-owner-{}", std::process::id()));
    /// let file = tarae::fs::File::create(&path)?;
    /// file.set_permissions(PermissionsExt::from_mode(0o600))?;
    /// assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
    /// tarae::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.job(move |file| file.set_permissions(permissions))
    }

    /// Changes when the file was accessed and modified.
    ///
    /// # Errors
    ///
    /// Those of `futimens(2)`, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tarae::fs::{File, FileTimes};
    ///
    /// let path = std::env::temp_dir().join(format!("tarae-times-{}", std::process::id()));
    /// let file = File::create(&path)?;
    /// let times = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH);
    /// file.set_times(times.set_modified(SystemTime::UNIX_EPOCH))?;
    /// assert_eq!(file.metadata()?.modified()?, SystemTime::UNIX_EPOCH);
    /// file.set_modified(SystemTime::now())?;
    /// assert!(file.metadata()?.modified()? > SystemTime::UNIX_EPOCH);
    /// tarae::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.job(move |file| file.set_times(times))
    }

    /// Changes when the file was modified.
    ///
    /// # Errors
    ///
    /// As for [`set_times`](File::set_times).
    ///
    /// # Examples
    ///
    /// See [`set_times`](File::set_times).
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    fn job<T: Send>(&self, f: impl FnOnce(&fs::File) -> io::Result<T> + Send) -> io::Result<T> {
        Pool::Blocking.system_call(|| f(&self.file))
    }

    /// Reads a piece at `offset` and forgets it, so that it is in memory; in one job. Gives how
    /// much of it there was.
    pub(crate) fn read_in(&self, offset: u64, bytes: u64) -> io::Result<u64> {
        self.job(|file| {
            let mut buffer = vec![0; bytes.min(TURN_BYTES as u64) as usize];
            let mut read = 0;
            while read < bytes {
                let room = (bytes - read).min(TURN_BYTES as u64) as usize;
                match file.read_at(&mut buffer[..room], offset + read) {
                    Ok(0) => break,
                    Ok(count) => read += count as u64,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if read == 0 => return Err(error),
                    // What is before it can be sent.
                    Err(_) => break,
                }
            }
            Ok(read)
        })
    }

    /// A call that uses the file's position.
    fn job_at_position<T: Send>(
        &self,
        f: impl FnOnce(&fs::File) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let _user = Use::of(&*self.position);
        self.job(f)
    }

    /// What can be read without waiting; none if that is nothing, or unknown, or an error, which
    /// the job then gives.
    fn read_at_once(&self, buffers: &mut [IoSliceMut<'_>], offset: i64) -> Option<usize> {
        if !tries_at_once() {
            return None;
        }
        let _user = match offset {
            POSITION => Some(Use::alone(&*self.position)?),
            _ => None,
        };
        let count = sys::read_cached(self.file.as_raw_fd(), buffers, offset);
        let count = count.ok().filter(|&count| count > 0)?;
        if count < TURN_BYTES {
            sched::spend_budget();
        } else if sched::in_coroutine() {
            sched::yield_now();
        }
        Some(count)
    }
}

/// No more of the buffer than is read at once.
fn at_once(buffer: &mut [u8]) -> [IoSliceMut<'_>; 1] {
    let bytes = buffer.len().min(AT_ONCE_MAX);
    [IoSliceMut::new(&mut buffer[..bytes])]
}

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read_at_once(&mut at_once(buffer), POSITION) {
            Some(count) => Ok(count),
            None => self.job_at_position(|mut file| file.read(buffer)),
        }
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if buffers.iter().map(|buffer| buffer.len()).sum::<usize>() <= AT_ONCE_MAX
            && let Some(count) = self.read_at_once(buffers, POSITION)
        {
            return Ok(count);
        }
        self.job_at_position(|mut file| file.read_vectored(buffers))
    }

    /// In one job, however much it is.
    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.job_at_position(|mut file| file.read_to_end(buffer))
    }

    /// In one job, however much it is.
    fn read_to_string(&mut self, buffer: &mut String) -> io::Result<usize> {
        self.job_at_position(|mut file| file.read_to_string(buffer))
    }
}

impl Write for &File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.job_at_position(|mut file| file.write(data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.job_at_position(|mut file| file.write_vectored(data))
    }

    /// In one job, however much it is.
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.job_at_position(|mut file| file.write_all(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    /// At once, but where the end of the file has to be asked for, or another call uses the
    /// position.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if tries_at_once()
            && !matches!(to, SeekFrom::End(_))
            && let Some(_user) = Use::alone(&*self.position)
        {
            return (&*self.file).seek(to);
        }
        self.job_at_position(|mut file| file.seek(to))
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }

    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buffer)
    }

    fn read_to_string(&mut self, buffer: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buffer)
    }
}

impl Write for File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        (&*self).write_all(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

/// Std's own trait, also found as [`os::unix::fs::FileExt`](crate::os::unix::fs::FileExt).
///
/// ```
/// use tarae::os::unix::fs::FileExt;
///
/// let file = tarae::fs::File::open("/proc/self/status")?;
/// let mut text = [0; 4];
/// file.read_exact_at(&mut text, 1)?;
/// assert_eq!(&text, b"ame:");
/// # std::io::Result::Ok(())
/// ```
impl FileExt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Beyond that it is an error, and not the file's position.
        if let Ok(offset) = i64::try_from(offset)
            && let Some(count) = self.read_at_once(&mut at_once(buffer), offset)
        {
            return Ok(count);
        }
        self.job(|file| file.read_at(buffer, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.job(|file| file.write_at(data, offset))
    }

    /// In one job, however much it is.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.job(|file| file.write_all_at(data, offset))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> File {
        File::from_std(file)
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File::from_std(fd.into())
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> fs::File {
        file.into_std()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        file.into_std().into()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        file.into_std().into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.into_std().into_raw_fd()
    }
}

crate::driver::source::from_raw_fd!(File);

/// How to open a file; mirrors [`std::fs::OpenOptions`]. Only [`open`](OpenOptions::open) waits.
///
/// # Examples
///
/// ```
/// use std::io::{Seek, Write, read_to_string};
/// use tarae::fs::OpenOptions;
/// use tarae::os::unix::fs::OpenOptionsExt;
///
/// let path = std::env::temp_dir().join(format!("tarae-options-{}", std::process::id()));
/// let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
/// file.write_all(b"a line\n")?;
/// file.rewind()?;
/// assert_eq!(read_to_string(&file)?, "a line\n");
///
/// let mut log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
/// log.write_all(b"another\n")?;
/// assert_eq!(tarae::fs::read(&path)?, b"a line\nanother\n");
///
/// OpenOptions::new().write(true).truncate(true).open(&path)?;
/// assert_eq!(tarae::fs::metadata(&path)?.len(), 0);
/// tarae::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
pub struct OpenOptions(fs::OpenOptions);

impl OpenOptions {
    /// None of them set.
    #[allow(clippy::new_without_default, reason = "as std's")]
    pub fn new() -> OpenOptions {
        OpenOptions(fs::OpenOptions::new())
    }

    /// Whether the file is to be read.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.0.read(read);
        self
    }

    /// Whether the file is to be written.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.0.write(write);
        self
    }

    /// Whether what is written goes to the end, wherever that is then.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.0.append(append);
        self
    }

    /// Whether what is in the file is to be gone; it must be opened for writing.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.0.truncate(truncate);
        self
    }

    /// Whether to make the file if there is none.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.0.create(create);
        self
    }

    /// Whether the file has to be new: one that is there, or a symbolic link, is an error.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file. In a coroutine this is a job, always: see [the module](super).
    ///
    /// # Errors
    ///
    /// Those of std's call, and of a [job that was not begun](super).
    ///
    /// # Examples
    ///
    /// See [`OpenOptions`].
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        Pool::Blocking
            .system_call(|| self.0.open(path))
            .map(File::from_std)
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }
}

impl From<fs::OpenOptions> for OpenOptions {
    fn from(options: fs::OpenOptions) -> OpenOptions {
        OpenOptions(options)
    }
}
