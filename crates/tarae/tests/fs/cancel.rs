//! Calls that are cut short: what has not begun is not done, what has begun is.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use tarae::Cancelled;
use tarae::fs::{self, File};
use tarae::offload::stats;

use crate::support::{Folder, Held, alone, guarded, in_read, kernel, run_on, until};

#[test]
fn what_has_not_begun_is_not_done() {
    alone("cancel::what_has_not_begun_is_not_done", || {
        let folder = Folder::new("not-begun");
        let path = folder.file("file", b"old");
        let held = Held::new();
        run_on(1, || {
            let theirs = path.clone();
            let writer = tarae::spawn(move || fs::write(theirs, "new"));
            until(|| stats().blocking.queued == 1);
            writer.cancel();
            let error = writer.join().unwrap().unwrap_err();
            assert!(Cancelled::is(&error), "{error}");
            let soon = Duration::from_millis(1);
            let late = tarae::timeout(soon, || fs::write(&path, "new")).unwrap_err();
            let error = late.into_inner().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(stats().blocking.queued, 0);
        });
        drop(held);
        run_on(1, || assert_eq!(fs::read(&path).unwrap(), b"old"));
    });
}

/// A call that is one job does all of its work or none, in memory or not.
#[test]
fn a_read_to_the_end_is_all_or_nothing() {
    guarded("a read to the end that is cut short", || {
        let folder = Folder::new("all-or-nothing");
        let file = File::open(folder.file("file", b"contents")).unwrap();
        run_on(1, || {
            let token = tarae::CancelToken::new();
            token.cancel();
            let (mut bytes, mut text) = (Vec::new(), String::new());
            token.run(|| {
                assert!(Cancelled::is(&(&file).read_to_end(&mut bytes).unwrap_err()));
                assert!(Cancelled::is(
                    &(&file).read_to_string(&mut text).unwrap_err()
                ));
            });
            assert_eq!((bytes.len(), text.len()), (0, 0));
            assert_eq!((&file).read_to_end(&mut bytes).unwrap(), 8);
        });
    });
}

/// A pipe opened as a file: the read waits for a writer, cancelled or not.
#[test]
fn what_has_begun_is_waited_for() {
    alone("cancel::what_has_begun_is_waited_for", || {
        let folder = Folder::new("begun");
        let path = folder.path("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
        // Both directions, so that opening does not wait.
        let mut options = File::options();
        let pipe = options.read(true).write(true).open(&path).unwrap();
        let mut writer = pipe.try_clone().unwrap();
        run_on(1, || {
            let before = stats().blocking.running;
            let reader = tarae::spawn(move || {
                let mut text = [0; 4];
                let result = (&pipe).read(&mut text);
                let refused = fs::metadata("/").unwrap_err();
                assert!(Cancelled::is(&refused), "{refused}");
                (result.unwrap(), text)
            });
            until(|| stats().blocking.running > before && stats().blocking.queued == 0);
            // The count is also that of threads on their way to a job; the read is seen here.
            until(in_read);
            reader.cancel();
            (0..1_000).for_each(|_| tarae::yield_now());
            assert!(!reader.is_finished());
            writer.write_all(b"text").unwrap();
            assert_eq!(reader.join().unwrap(), (4, *b"text"));
        });
    });
}

#[test]
fn an_error_of_the_system_ends_an_iteration() {
    alone("cancel::an_error_of_the_system_ends_an_iteration", || {
        kernel::without_directories();
        let test = || {
            let mut entries = fs::read_dir("/").unwrap();
            let error = entries.next().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            assert!(entries.next().is_none());
        };
        test();
        run_on(1, test);
    });
}

#[test]
fn an_iteration_that_is_cut_short_ends() {
    alone("cancel::an_iteration_that_is_cut_short_ends", || {
        let folder = Folder::new("iteration");
        (0..300).for_each(|n| drop(folder.file(&n.to_string(), b"")));
        run_on(1, || {
            let mut entries = fs::read_dir(folder.path("")).unwrap();
            let (mut given, mut errors) = (0, 0);
            let token = tarae::CancelToken::new();
            token.cancel();
            token.run(|| {
                for entry in &mut entries {
                    match entry {
                        // The kinds came with the names.
                        Ok(entry) => given += u32::from(entry.file_type().unwrap().is_file()),
                        Err(error) => {
                            assert!(Cancelled::is(&error), "{error}");
                            errors += 1;
                        }
                    }
                }
            });
            assert_eq!((given, errors), (256, 1));
            assert!(entries.next().is_none());
        });
    });
}
