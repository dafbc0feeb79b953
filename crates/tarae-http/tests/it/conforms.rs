//! Holds a connection to the conformance cases.

use std::collections::BTreeSet;

use crate::conformance::{Case, all};
use crate::harness::{PIECES, came_of};

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// Collects what differs, so that one run shows all of it.
fn each(mut check: impl FnMut(&Case) -> Vec<String>) {
    let faults: Vec<String> = all()
        .flat_map(|case| {
            let named = |fault| format!("{}: {}: {fault}", case.name, case.input.escape_ascii());
            check(&case).into_iter().map(named).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What comes of the case when `more` follows it, for each way of cutting.
fn differing(case: &Case, more: &[u8], want: &str) -> Vec<String> {
    let input = [&case.input, more].concat();
    let limits = case.limits();
    let mut faults = Vec::new();
    for piece in PIECES {
        let got = came_of(&input, piece, &limits, case.end);
        if got != want {
            faults.push(format!("`{got}`, not `{want}`, in pieces of {piece}"));
        }
    }
    faults
}

#[test]
fn every_case_comes_out_as_written_however_it_is_cut() {
    each(|case| differing(case, b"", case.want));
}

#[test]
fn nothing_after_the_last_answer_is_looked_at() {
    each(|case| {
        let last = case.want.ends_with(" closed") && !case.end;
        let faults = last.then(|| differing(case, NEXT, case.want));
        faults.unwrap_or_default()
    });
}

#[test]
fn what_follows_a_whole_message_is_the_next_one() {
    each(|case| {
        let limited = !case.bounds.is_empty();
        let (Some(seen), false) = (case.want.strip_suffix(" open"), limited) else {
            return Vec::new();
        };
        let (seen, statuses) = seen.rsplit_once('|').expect("a bar");
        let comma = if seen.is_empty() { "" } else { ", " };
        let seen = seen.trim_end();
        let want = format!("{seen}{comma}GET /next |{statuses} 200 open");
        differing(case, NEXT, &want)
    });
}

/// None may vanish unnoticed, nor be written twice. `cargo xtask conformance` shows the number.
#[test]
fn there_are_at_least_eight_hundred_cases() {
    let mut seen = BTreeSet::new();
    each(|case| {
        let key = (case.input.clone(), case.end, format!("{:?}", case.bounds));
        let twice = !seen.insert(key);
        twice.then(|| "twice".to_owned()).into_iter().collect()
    });
    println!("{} conformance cases", seen.len());
    assert!(seen.len() >= 800, "{}", seen.len());
}
