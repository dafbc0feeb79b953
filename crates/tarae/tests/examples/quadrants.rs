//! The quadrants: who ran what, how many reads it took, and who gave the CPU up; never how long.

use crate::program::Program;

/// What the program says of one way.
struct Row {
    returned: String,
    ran: usize,
    reads: usize,
    voluntary: usize,
    called: String,
    read_on: String,
    processed_on: String,
}

fn row(lines: &[String], way: &str) -> Row {
    let line = lines
        .iter()
        .find(|line| line.starts_with(&format!("{way} ")));
    let words: Vec<_> = line
        .expect("each way has a row")
        .split_whitespace()
        .collect();
    let number = |place: usize| words[place].parse().expect("a number");
    Row {
        returned: words[1].into(),
        ran: number(2),
        reads: number(3),
        voluntary: number(4),
        called: words[7].into(),
        read_on: words[8].into(),
        processed_on: words[9].into(),
    }
}

fn measured() -> Vec<String> {
    Program::example("quadrants", &[]).rest()
}

#[test]
fn blocking_gives_the_thread_up_and_reads_once() {
    let row = row(&measured(), "blocking");
    assert_eq!((row.returned.as_str(), row.ran, row.reads), ("after", 0, 1));
    assert!(row.voluntary > 0, "it slept in the read");
    assert_eq!(
        (&row.read_on, &row.processed_on),
        (&row.called, &row.called)
    );
}

#[test]
fn polling_keeps_the_thread_and_is_synchronous_all_the_same() {
    let row = row(&measured(), "polling");
    assert_eq!((row.returned.as_str(), row.voluntary), ("after", 0));
    assert!(
        row.ran >= 3 && row.reads > 1,
        "it asked {} times",
        row.reads
    );
    assert_eq!(
        (&row.read_on, &row.processed_on),
        (&row.called, &row.called)
    );
}

#[test]
fn asynchronous_calls_are_read_elsewhere_and_processed_where_the_way_says() {
    let lines = measured();
    for way in ["check", "notification", "callback"] {
        let row = row(&lines, way);
        assert_eq!(
            (row.returned.as_str(), row.ran, row.reads),
            ("before", 3, 1),
            "{way}"
        );
        assert_ne!(row.read_on, row.called, "{way}");
        let processed_on = if way == "callback" {
            &row.read_on
        } else {
            &row.called
        };
        assert_eq!(&row.processed_on, processed_on, "{way}");
    }
}

#[test]
fn a_parked_coroutine_does_not_block_its_thread() {
    let row = row(&measured(), "coroutine");
    assert_eq!((row.returned.as_str(), row.ran, row.reads), ("after", 3, 1));
    assert_eq!(
        (&row.read_on, &row.processed_on),
        (&row.called, &row.called)
    );
}

#[test]
fn nothing_is_asynchronous_and_blocking() {
    let lines = measured();
    for want in [
        "synchronous and blocking: blocking",
        "synchronous and non-blocking: polling, coroutine",
        "asynchronous and non-blocking: check, notification, callback",
        "asynchronous and blocking: nothing",
    ] {
        assert!(lines.iter().any(|line| line == want), "{want}: {lines:#?}");
    }
}
