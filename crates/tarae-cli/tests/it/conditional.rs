//! `conditional`: RFC 9110 §13.2.2 (precedence), §13.1 (each field) and §14.2 (ranges).

use tarae_cli::conditional::Decision::{
    self, NotModified, Part, PreconditionFailed, RangeNotSatisfiable, Whole,
};
use tarae_cli::conditional::{Conditions, ETag, IfRange, Validators, decide};

/// The date of the file in all tests here.
const THEN: u64 = 1_000;

fn file(weak: bool, len: u64) -> Validators {
    Validators {
        etag: ETag {
            weak,
            opaque: "now".to_owned(),
        },
        modified: Some(THEN),
        len,
    }
}

fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}

fn check(asked: Conditions, want: Decision) {
    assert_eq!(decide(&asked, &file(false, 100)), want, "{asked:?}");
}

#[test]
fn if_match_compares_strongly() {
    for (list, is_weak, want) in [
        ("\"now\"", false, Whole),
        ("*", false, Whole),
        ("*", true, Whole),
        ("\"a\", \"now\"", false, Whole),
        ("\"a\"", false, PreconditionFailed),
        ("W/\"now\"", false, PreconditionFailed),
        ("\"now\"", true, PreconditionFailed),
        ("W/\"now\"", true, PreconditionFailed),
        ("", false, PreconditionFailed),
        ("now", false, PreconditionFailed),
        ("\"now", false, PreconditionFailed),
    ] {
        let asked = Conditions {
            if_match: text(list),
            ..Conditions::default()
        };
        assert_eq!(
            decide(&asked, &file(is_weak, 100)),
            want,
            "{list} {is_weak}"
        );
    }
}

#[test]
fn if_none_match_compares_weakly() {
    for (list, is_weak, want) in [
        ("\"now\"", false, NotModified),
        ("W/\"now\"", false, NotModified),
        ("\"now\"", true, NotModified),
        (" * ", false, NotModified),
        ("\"a\",\"now\"", false, NotModified),
        ("\"a\", , W/\"b\" ,\t\"now\"", false, NotModified),
        ("\"with, comma\", \"now\"", false, NotModified),
        ("\"a\"", false, Whole),
        ("\"No\", \"NOW\"", false, Whole),
        ("w/\"now\"", false, Whole),
        ("now", false, Whole),
        ("\"*\"", false, Whole),
        ("garbage \"now\"", false, Whole),
        ("", false, Whole),
    ] {
        let asked = Conditions {
            if_none_match: text(list),
            ..Conditions::default()
        };
        assert_eq!(
            decide(&asked, &file(is_weak, 100)),
            want,
            "{list} {is_weak}"
        );
    }
}

#[test]
fn dates_compare_by_the_second() {
    for (date, since, unmodified) in [
        (THEN - 1, Whole, PreconditionFailed),
        (THEN, NotModified, Whole),
        (THEN + 1, NotModified, Whole),
    ] {
        check(
            Conditions {
                if_modified_since: Some(date),
                ..Conditions::default()
            },
            since,
        );
        check(
            Conditions {
                if_unmodified_since: Some(date),
                ..Conditions::default()
            },
            unmodified,
        );
    }
    let undated = Validators {
        modified: None,
        ..file(false, 100)
    };
    let asked = Conditions {
        if_modified_since: Some(THEN),
        if_unmodified_since: Some(THEN),
        ..Conditions::default()
    };
    assert_eq!(decide(&asked, &undated), Whole);
}

#[test]
fn precedence_is_the_rfcs() {
    let all = Conditions::default;
    // If-Match silences If-Unmodified-Since, in both directions.
    check(
        Conditions {
            if_match: text("*"),
            if_unmodified_since: Some(0),
            ..all()
        },
        Whole,
    );
    check(
        Conditions {
            if_match: text("\"a\""),
            if_unmodified_since: Some(THEN),
            ..all()
        },
        PreconditionFailed,
    );
    // If-None-Match silences If-Modified-Since, in both directions.
    check(
        Conditions {
            if_none_match: text("\"a\""),
            if_modified_since: Some(THEN),
            ..all()
        },
        Whole,
    );
    check(
        Conditions {
            if_none_match: text("\"now\""),
            if_modified_since: Some(0),
            ..all()
        },
        NotModified,
    );
    // 412 comes before 304, 304 before a range, 412 before 416.
    check(
        Conditions {
            if_match: text("\"a\""),
            if_none_match: text("*"),
            ..all()
        },
        PreconditionFailed,
    );
    check(
        Conditions {
            if_match: text("\"now\""),
            if_none_match: text("\"now\""),
            ..all()
        },
        NotModified,
    );
    check(
        Conditions {
            if_none_match: text("*"),
            range: text("bytes=0-1"),
            ..all()
        },
        NotModified,
    );
    check(
        Conditions {
            if_unmodified_since: Some(0),
            range: text("bytes=900-"),
            ..all()
        },
        PreconditionFailed,
    );
}

#[test]
fn one_range_of_bytes_is_answered() {
    let part = |first, last| Part { first, last };
    for (range, len, want) in [
        ("bytes=0-0", 100, part(0, 0)),
        ("bytes=0-", 100, part(0, 99)),
        ("bytes=10-19", 100, part(10, 19)),
        ("bytes=10-1000", 100, part(10, 99)),
        ("bytes=99-", 100, part(99, 99)),
        ("bytes=-1", 100, part(99, 99)),
        ("bytes=-100", 100, part(0, 99)),
        ("bytes=-101", 100, part(0, 99)),
        ("BYTES= 1-2 ", 100, part(1, 2)),
        ("bytes=5-99999999999999999999999", 100, part(5, 99)),
        ("bytes=100-", 100, RangeNotSatisfiable),
        ("bytes=100-200", 100, RangeNotSatisfiable),
        ("bytes=99999999999999999999999-", 100, RangeNotSatisfiable),
        ("bytes=-0", 100, RangeNotSatisfiable),
        ("bytes=0-", 0, RangeNotSatisfiable),
        ("bytes=-5", 0, Whole),
        ("bytes=2-1", 100, Whole),
        ("bytes=-", 100, Whole),
        ("bytes=", 100, Whole),
        ("bytes=a-b", 100, Whole),
        ("bytes=+1-2", 100, Whole),
        ("bytes=1-2-3", 100, Whole),
        ("bytes=0-1,5-6", 100, Whole),
        ("bytes 0-1", 100, Whole),
        ("lines=0-1", 100, Whole),
        ("", 100, Whole),
    ] {
        let asked = Conditions {
            range: text(range),
            ..Conditions::default()
        };
        assert_eq!(decide(&asked, &file(false, len)), want, "{range} of {len}");
    }
}

#[test]
fn if_range_needs_the_very_same_file() {
    let part = Part { first: 0, last: 1 };
    let tag = |value: &str| IfRange::Tag(value.as_bytes().to_vec());
    for (if_range, is_weak, want) in [
        (tag("\"now\""), false, part),
        (tag(" \"now\" "), false, part),
        (tag("W/\"now\""), false, Whole),
        (tag("\"now\""), true, Whole),
        (tag("\"a\""), false, Whole),
        (tag("\"now\", \"b\""), false, Whole),
        (tag("*"), false, Whole),
        (IfRange::Date(THEN), false, part),
        (IfRange::Date(THEN), true, Whole),
        (IfRange::Date(THEN - 1), false, Whole),
        (IfRange::Date(THEN + 1), false, Whole),
    ] {
        let asked = Conditions {
            range: text("bytes=0-1"),
            if_range: Some(if_range),
            ..Conditions::default()
        };
        assert_eq!(
            decide(&asked, &file(is_weak, 100)),
            want,
            "{asked:?} {is_weak}"
        );
    }
    // Without a range there is nothing to be conditional about.
    check(
        Conditions {
            if_range: Some(IfRange::Date(0)),
            ..Conditions::default()
        },
        Whole,
    );
}

#[test]
fn tags_are_written_with_their_quotes() {
    assert_eq!(
        ETag {
            weak: false,
            opaque: "x".to_owned()
        }
        .to_field(),
        "\"x\""
    );
    assert_eq!(
        ETag {
            weak: true,
            opaque: "x".to_owned()
        }
        .to_field(),
        "W/\"x\""
    );
}
