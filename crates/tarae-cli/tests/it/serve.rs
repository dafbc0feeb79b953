//! `serve`: how errors at the start are explained. What it does is tested with the real binary.

use std::io::{Error as Cause, ErrorKind};
use std::path::Path;

use tarae_cli::serve::Error;

#[track_caller]
fn check(error: &Error, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
    assert!(
        !message.contains('\n') && !message.contains("  "),
        "{message:?}"
    );
}

#[test]
fn folders_are_explained() {
    for (cause, words) in [
        (ErrorKind::NotFound.into(), &["`a/b`", "no such folder"][..]),
        (ErrorKind::NotADirectory.into(), &["`a/b`", "not a folder"]),
        (
            ErrorKind::PermissionDenied.into(),
            &["`a/b`", "no permission", "readable"],
        ),
        (Cause::other("odd"), &["`a/b`", "odd"]),
    ] {
        check(&Error::folder(Path::new("a/b"), &cause), words);
    }
}

#[test]
fn addresses_are_explained() {
    for (cause, words) in [
        (
            ErrorKind::AddrInUse.into(),
            &["[::1]:80", "taken", "`--listen [::1]:0`"][..],
        ),
        (
            ErrorKind::PermissionDenied.into(),
            &["[::1]:80", "1024", "`--listen [::1]:8080`"],
        ),
        (
            ErrorKind::AddrNotAvailable.into(),
            &["[::1]:80", "no such address", "0.0.0.0"],
        ),
        (Cause::other("odd"), &["[::1]:80", "odd"]),
    ] {
        check(&Error::listen("[::1]:80".parse().unwrap(), &cause), words);
    }
}
