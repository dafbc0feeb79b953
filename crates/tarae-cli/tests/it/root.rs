//! `root`: what is found beneath a folder and that nothing leads out of it. Everything is checked
//! twice: resolved by the kernel and step by step.

use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::temp::Temp;
use tarae_cli::root::{ENTRIES_MAX, Found, Root};

fn roots(temp: &Temp) -> [Root; 2] {
    let path = temp.join("root");
    [
        Root::open(&path).unwrap(),
        Root::open_without_openat2(&path).unwrap(),
    ]
}

/// What a path leads to: the contents of a file, `folder`, or the kind of the error.
fn look(root: &Root, relative: &str) -> Result<String, ErrorKind> {
    match root.find(relative) {
        Ok(Found::Folder(_)) => Ok("folder".to_owned()),
        Ok(Found::File(mut file, stat)) => {
            let mut contents = String::new();
            file.read_to_string(&mut contents).unwrap();
            assert_eq!(stat.st_size, contents.len() as i64);
            Ok(contents)
        }
        Err(error) => Err(error.kind()),
    }
}

#[track_caller]
fn check(temp: &Temp, relative: &str, want: Result<&str, ErrorKind>) {
    for root in roots(temp) {
        let got = look(&root, relative);
        assert_eq!(
            got.as_deref(),
            want.as_ref().map(|w| *w),
            "{relative} by {root:?}"
        );
    }
}

const NONE: Result<&str, ErrorKind> = Err(ErrorKind::NotFound);

#[test]
fn files_and_folders_are_found() {
    let temp = Temp::new();
    temp.write("root/a.txt", "a");
    temp.write("root/sub/deep/b.txt", "b");
    temp.write("root/타래/이름.txt", "c");
    check(&temp, "a.txt", Ok("a"));
    check(&temp, "sub/deep/b.txt", Ok("b"));
    check(&temp, "타래/이름.txt", Ok("c"));
    check(&temp, ".", Ok("folder"));
    check(&temp, "sub", Ok("folder"));
    check(&temp, "nothing", NONE);
    check(&temp, "a.txt/b", NONE);
    check(&temp, "sub/nothing/x", NONE);
    check(&temp, &"n".repeat(300), NONE);
    check(&temp, &"n/".repeat(3_000), NONE);
}

#[test]
fn links_are_followed_only_inside() {
    let temp = Temp::new();
    temp.write("secret.txt", "secret");
    temp.write("root/sub/b.txt", "b");
    let inside = [
        ("root/file", "sub/b.txt"),
        ("root/folder", "sub"),
        ("root/sub/up", "../sub/b.txt"),
        ("root/chain", "folder/../sub/./up"),
        ("root/sub/here", "."),
    ];
    let outside = [
        ("root/out", "../secret.txt"),
        ("root/parent", ".."),
        ("root/sub/above", "../../secret.txt"),
        ("root/around", "../root/sub/b.txt"),
        ("root/absolute", "/etc/passwd"),
        ("root/slash", "/"),
        ("root/loop", "loop"),
        ("root/dangling", "nothing"),
        ("root/through", "sub/b.txt/.."),
    ];
    for (link, target) in inside.iter().chain(&outside) {
        temp.link(link, target);
    }
    temp.link("root/inner-absolute", temp.join("root/sub/b.txt"));
    for (relative, want) in [
        ("file", "b"),
        ("folder/b.txt", "b"),
        ("sub/up", "b"),
        ("chain", "b"),
        ("sub/here", "folder"),
    ] {
        check(&temp, relative, Ok(want));
    }
    for (link, _) in outside {
        check(&temp, link.strip_prefix("root/").unwrap(), NONE);
    }
    check(&temp, "parent/secret.txt", NONE);
    check(&temp, "slash/etc/passwd", NONE);
    check(&temp, "inner-absolute", NONE);
    check(&temp, "..", NONE);
    check(&temp, "sub/../../secret.txt", NONE);
    check(&temp, "/etc/passwd", NONE);
}

#[test]
fn special_files_are_not_found_and_do_not_block() {
    let temp = Temp::new();
    temp.folder("root");
    temp.fifo("root/pipe");
    let _listener = UnixListener::bind(temp.join("root/socket")).unwrap();
    temp.link("root/link", "pipe");
    for name in ["pipe", "socket", "link"] {
        check(&temp, name, NONE);
    }
}

#[test]
fn a_listing_holds_what_would_be_served() {
    let temp = Temp::new();
    temp.write("secret.txt", "secret");
    temp.write("root/a.txt", "four");
    temp.write("root/.hidden", "x");
    temp.write("root/.git/config", "x");
    temp.write("root/sub/b.txt", "b");
    temp.write("root/back\\slash", "x");
    temp.link("root/file", "a.txt");
    temp.link("root/folder", "sub");
    temp.link("root/out", "../secret.txt");
    temp.link("root/dangling", "nothing");
    temp.fifo("root/pipe");
    let not_utf8 = std::ffi::OsStr::from_bytes(b"caf\xe9");
    std::fs::write(temp.join("root").join(not_utf8), "x").unwrap();
    for root in roots(&temp) {
        let Ok(Found::Folder(folder)) = root.find(".") else {
            panic!()
        };
        let found = root.entries(&folder, ".").unwrap();
        let mut shown: Vec<_> = found
            .entries
            .iter()
            .map(|e| (e.name.as_str(), e.is_folder, e.len))
            .collect();
        shown.sort_unstable();
        let folders = shown
            .extract_if(.., |entry| entry.1)
            .map(|e| e.0)
            .collect::<Vec<_>>();
        assert_eq!(folders, ["folder", "sub"]);
        assert_eq!(shown, [("a.txt", false, 4), ("file", false, 4)]);
        assert!(!found.is_cut && found.entries.iter().all(|entry| entry.modified > 0));
    }
}

#[test]
fn a_listing_is_bounded() {
    let temp = Temp::new();
    temp.folder("root");
    for number in 0..=ENTRIES_MAX {
        std::fs::write(temp.join(&format!("root/{number}")), "").unwrap();
    }
    let [root, _] = roots(&temp);
    let Ok(Found::Folder(folder)) = root.find(".") else {
        panic!()
    };
    let found = root.entries(&folder, ".").unwrap();
    assert_eq!((found.entries.len(), found.is_cut), (ENTRIES_MAX, true));
}

#[test]
fn what_cannot_be_a_root_is_refused_at_once() {
    let temp = Temp::new();
    temp.write("file", "x");
    for (name, want) in [
        ("nothing", ErrorKind::NotFound),
        ("file", ErrorKind::NotADirectory),
    ] {
        assert_eq!(
            Root::open(&temp.join(name)).unwrap_err().kind(),
            want,
            "{name}"
        );
    }
}

/// Two names are exchanged as fast as possible, one honest and one a link to the outside, while
/// they are opened. Whatever is opened is the honest one or nothing.
#[track_caller]
fn check_race(honest: &str, escape: &str, opened: &str) {
    let temp = Temp::new();
    temp.write("outside/x.txt", "secret");
    temp.write("root/real/x.txt", "honest");
    temp.write("root/x.txt", "honest");
    temp.link("root/inside", "real");
    temp.link("root/folder", "../outside");
    temp.link("root/file", "../outside/x.txt");
    let (from, to) = (
        temp.join("root").join(honest),
        temp.join("root").join(escape),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapper = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE).unwrap();
        }
    });
    for root in roots(&temp) {
        for _ in 0..2_000 {
            let got = look(&root, opened);
            assert!(
                matches!(got.as_deref(), Ok("honest") | Err(ErrorKind::NotFound)),
                "{got:?}"
            );
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
}

#[test]
fn a_race_with_renames_never_leads_outside() {
    check_race("inside", "folder", "inside/x.txt");
    check_race("real", "folder", "real/x.txt");
    check_race("x.txt", "file", "x.txt");
}
