//! Each call does what std's does.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tarae::fs::{self, DirBuilder, File, OpenOptions};
use tarae::os::unix::fs::{DirBuilderExt, DirEntryExt, FileExt, MetadataExt, OpenOptionsExt};

use crate::support::{Folder, guarded, run_on};

/// In a coroutine, and on a plain thread.
fn both(name: &'static str, test: fn(&Folder)) {
    guarded(name, || {
        let folder = Folder::new(name);
        run_on(1, || test(&folder));
        drop(folder);
        test(&Folder::new(name));
    });
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn paths() {
    both("paths", |folder| {
        let (one, two) = (folder.path("one"), folder.path("two"));
        fs::write(&one, "text").unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), b"text");
        assert_eq!(fs::read(&one).unwrap(), b"text");
        assert_eq!(fs::read_to_string(&one).unwrap(), "text");
        assert_eq!(fs::copy(&one, &two).unwrap(), 4);
        fs::rename(&two, folder.path("three")).unwrap();
        assert!(!fs::exists(&two).unwrap());
        fs::hard_link(&one, &two).unwrap();
        assert_eq!(fs::metadata(&two).unwrap().nlink(), 2);
        let link = folder.path("link");
        tarae::os::unix::fs::symlink("one", &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("one"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::metadata(&link).unwrap().is_file());
        assert_eq!(
            fs::canonicalize(&link).unwrap(),
            std::fs::canonicalize(&one).unwrap()
        );
        fs::remove_file(&one).unwrap();
        assert!(!fs::exists(&link).unwrap());
        let mut permissions = fs::metadata(&two).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&two, permissions).unwrap();
        assert!(std::fs::metadata(&two).unwrap().permissions().readonly());
        assert_eq!(kind(fs::read(&one)), ErrorKind::NotFound);
        assert_eq!(kind(fs::read_dir(&one)), ErrorKind::NotFound);
        assert_eq!(kind(fs::create_dir(&two)), ErrorKind::AlreadyExists);
        fs::write(&one, [0xff]).unwrap();
        assert_eq!(kind(fs::read_to_string(&one)), ErrorKind::InvalidData);
    });
}

#[test]
fn directories() {
    both("directories", |folder| {
        fs::create_dir(folder.path("a")).unwrap();
        fs::create_dir_all(folder.path("b/c/d")).unwrap();
        fs::remove_dir(folder.path("b/c/d")).unwrap();
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(folder.path("b/e/f"))
            .unwrap();
        assert_eq!(
            fs::metadata(folder.path("b/e/f")).unwrap().mode() & 0o777,
            0o700
        );
        assert_eq!(
            kind(fs::remove_dir(folder.path("b"))),
            ErrorKind::DirectoryNotEmpty
        );
        fs::remove_dir_all(folder.path("b")).unwrap();
        // More than one job fetches.
        let names: BTreeSet<_> = (0..600).map(|n| n.to_string()).collect();
        for name in &names {
            folder.file(&format!("a/{name}"), name.as_bytes());
        }
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder.path("a")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert!(entry.file_type().unwrap().is_file());
            let metadata = entry.metadata().unwrap();
            assert_eq!(metadata.len(), name.len() as u64);
            assert_eq!(metadata.ino(), entry.ino());
            assert_eq!(entry.path(), folder.path("a").join(&name));
            assert!(found.insert(name));
        }
        assert_eq!(found, names);
    });
}

#[test]
fn open_files() {
    both("open_files", |folder| {
        let path = folder.path("file");
        let mut file = File::create_new(&path).unwrap();
        assert_eq!(kind(File::create_new(&path)), ErrorKind::AlreadyExists);
        file.write_all(b"0123456789").unwrap();
        let more = [IoSlice::new(b"ab"), IoSlice::new(b"cd")];
        assert_eq!(file.write_vectored(&more).unwrap(), 4);
        file.write_all_at(b"XY", 2).unwrap();
        file.flush().unwrap();
        assert_eq!(file.seek(SeekFrom::End(-4)).unwrap(), 10);
        let mut text = String::new();
        assert_eq!(file.read_to_string(&mut text).unwrap(), 4);
        assert_eq!(file.stream_position().unwrap(), 14);
        file.rewind().unwrap();
        let mut clone = file.try_clone().unwrap();
        let mut four = [0; 4];
        clone.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"01XY");
        assert_eq!((&file).seek(SeekFrom::Current(1)).unwrap(), 5);
        file.set_len(6).unwrap();
        file.sync_data().unwrap();
        assert_eq!(clone.read(&mut four).unwrap(), 1);
        assert_eq!(clone.read(&mut four).unwrap(), 0);
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        file.set_modified(then).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), then);
        let mut permissions = file.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions).unwrap();
        assert!(fs::metadata(&path).unwrap().permissions().readonly());
        assert_eq!(fs::read(&path).unwrap(), b"01XY45");
    });
}

#[test]
fn options_and_conversions() {
    both("options", |folder| {
        let path = folder.path("file");
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        for _ in 0..2 {
            options.open(&path).unwrap().write_all(b"ab").unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"abab");
        let mut flags = File::options();
        flags.read(true).custom_flags(libc::O_DIRECTORY);
        assert_eq!(kind(flags.open(&path)), ErrorKind::NotADirectory);
        let mut plain = std::fs::OpenOptions::new();
        plain.write(true).truncate(true);
        let file = OpenOptions::from(plain).open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert_eq!(kind((&file).read(&mut [0])), kind(file.as_fd_read()));
        let fd = OwnedFd::from(file);
        let mut file = File::from(fd).into_std();
        file.write_all(b"x").unwrap();
        assert!(File::from(file).as_fd().try_clone_to_owned().is_ok());
        File::create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    });
}

/// What std says.
trait AsStd {
    fn as_fd_read(&self) -> std::io::Result<usize>;
}

impl AsStd for File {
    fn as_fd_read(&self) -> std::io::Result<usize> {
        let fd = self.as_fd().try_clone_to_owned()?;
        std::fs::File::from(fd).read(&mut [0])
    }
}
