//! The table's rows of files: the only thread of the blocking pool is held, so that the call has to
//! wait for it. On a plain thread each is std's own call, and not cut short.

use std::fs::FileTimes;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use tarae::fs::{self, DirBuilder, File, OpenOptions};
use tarae::offload::Pool;
use tarae::os::unix::fs::{FileExt, symlink};

use crate::table::{Case, Cut, Held, io};

/// A folder with a file, a directory and a link.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("tarae-table-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("dir")).unwrap();
        std::fs::write(folder.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A path in the folder.
type At<'a> = &'a dyn Fn(&str) -> PathBuf;

/// A call on the folder.
fn within<T>(cut: Cut, call: fn(At<'_>) -> io::Result<T>) -> &'static str {
    let folder = Folder::new();
    let _held = Held::new(Pool::Blocking);
    io(cut.run(|| call(&|name| folder.0.join(name))))
}

/// A call on the open file.
fn on<T>(cut: Cut, call: fn(&File) -> io::Result<T>) -> &'static str {
    let folder = Folder::new();
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).open(folder.0.join("file"));
    let file = File::from_std(file.unwrap());
    let _held = Held::new(Pool::Blocking);
    io(cut.run(|| call(&file)))
}

/// A call on one of which the kernel never says that it is in memory.
fn read<T>(cut: Cut, call: fn(&File) -> io::Result<T>) -> &'static str {
    let file = File::from_std(std::fs::File::open("/proc/self/status").unwrap());
    let _held = Held::new(Pool::Blocking);
    io(cut.run(|| call(&file)))
}

/// A call on the first of more entries than one job fetches, or on all of them.
fn entries(cut: Cut, call: fn(&mut fs::ReadDir) -> io::Result<()>) -> &'static str {
    let folder = Folder::new();
    (0..300).for_each(|n| std::fs::write(folder.0.join(n.to_string()), "").unwrap());
    let mut entries = fs::read_dir(&folder.0).unwrap();
    let _held = Held::new(Pool::Blocking);
    io(cut.run(|| call(&mut entries)))
}

fn permissions(path: &Path) -> std::fs::Permissions {
    std::fs::metadata(path).unwrap().permissions()
}

const THEN: SystemTime = SystemTime::UNIX_EPOCH;

#[rustfmt::skip]
pub(crate) const CASES: &[(&str, Case)] = &[
    ("fs::canonicalize", |cut| within(cut, |at| fs::canonicalize(at("file")))),
    ("fs::copy", |cut| within(cut, |at| fs::copy(at("file"), at("copy")))),
    ("fs::create_dir", |cut| within(cut, |at| fs::create_dir(at("new")))),
    ("fs::create_dir_all", |cut| within(cut, |at| fs::create_dir_all(at("new/er")))),
    ("fs::exists", |cut| within(cut, |at| fs::exists(at("file")))),
    ("fs::hard_link", |cut| within(cut, |at| fs::hard_link(at("file"), at("other")))),
    ("fs::metadata", |cut| within(cut, |at| fs::metadata(at("file")))),
    ("fs::read", |cut| within(cut, |at| fs::read(at("file")))),
    ("fs::read_dir", |cut| within(cut, |at| fs::read_dir(at("dir")))),
    ("fs::read_link", |cut| within(cut, |at| fs::read_link(at("link")))),
    ("fs::read_to_string", |cut| within(cut, |at| fs::read_to_string(at("file")))),
    ("fs::remove_dir", |cut| within(cut, |at| fs::remove_dir(at("dir")))),
    ("fs::remove_dir_all", |cut| within(cut, |at| fs::remove_dir_all(at("dir")))),
    ("fs::remove_file", |cut| within(cut, |at| fs::remove_file(at("file")))),
    ("fs::rename", |cut| within(cut, |at| fs::rename(at("file"), at("other")))),
    ("fs::set_permissions", |cut| within(cut, |at| {
        fs::set_permissions(at("file"), permissions(&at("file")))
    })),
    ("fs::symlink_metadata", |cut| within(cut, |at| fs::symlink_metadata(at("link")))),
    ("fs::write", |cut| within(cut, |at| fs::write(at("file"), "more"))),
    ("os::unix::fs::symlink", |cut| within(cut, |at| symlink("file", at("other")))),
    ("DirBuilder::create", |cut| within(cut, |at| DirBuilder::new().create(at("new")))),
    ("OpenOptions::open", |cut| within(cut, |at| OpenOptions::new().read(true).open(at("file")))),
    ("File::open", |cut| within(cut, |at| File::open(at("file")))),
    ("File::create", |cut| within(cut, |at| File::create(at("new")))),
    ("File::create_new", |cut| within(cut, |at| File::create_new(at("new")))),
    ("File::sync_all", |cut| on(cut, File::sync_all)),
    ("File::sync_data", |cut| on(cut, File::sync_data)),
    ("File::set_len", |cut| on(cut, |file| file.set_len(2))),
    ("File::metadata", |cut| on(cut, File::metadata)),
    ("File::set_permissions", |cut| on(cut, |file| {
        file.set_permissions(permissions(Path::new("/proc/self/exe")))
    })),
    ("File::set_times", |cut| on(cut, |file| {
        file.set_times(FileTimes::new().set_accessed(THEN))
    })),
    ("File::set_modified", |cut| on(cut, |file| file.set_modified(THEN))),
    ("File::read", |cut| read(cut, |mut file| file.read(&mut [0]))),
    ("File::read_vectored", |cut| read(cut, |mut file| {
        file.read_vectored(&mut [IoSliceMut::new(&mut [0])])
    })),
    ("File::read_to_end", |cut| read(cut, |mut file| file.read_to_end(&mut Vec::new()))),
    ("File::read_to_string", |cut| read(cut, |mut file| file.read_to_string(&mut String::new()))),
    ("File::read_at", |cut| read(cut, |file| file.read_at(&mut [0], 1))),
    ("File::write", |cut| on(cut, |mut file| file.write(b"more"))),
    ("File::write_vectored", |cut| on(cut, |mut file| {
        file.write_vectored(&[IoSlice::new(b"more")])
    })),
    ("File::write_all", |cut| on(cut, |mut file| file.write_all(b"more"))),
    ("File::write_at", |cut| on(cut, |file| file.write_at(b"more", 1))),
    ("File::write_all_at", |cut| on(cut, |file| file.write_all_at(b"more", 1))),
    ("File::seek", |cut| on(cut, |mut file| file.seek(SeekFrom::End(0)))),
    ("ReadDir::next", |cut| entries(cut, |entries| {
        // Those that are fetched already are given, whatever has happened.
        assert!(entries.by_ref().take(256).all(|entry| entry.is_ok()));
        let more = entries.next().expect("more, or why not").map(drop);
        assert_eq!(more.is_err(), entries.next().is_none());
        more
    })),
    ("DirEntry::metadata", |cut| entries(cut, |entries| {
        entries.next().unwrap()?.metadata().map(drop)
    })),
];
