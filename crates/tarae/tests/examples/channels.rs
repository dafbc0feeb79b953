//! The examples of channels: what they find, and the bounds they keep.

use crate::program::Program;

/// The numbers in the lines that a program prints.
fn numbers(example: &str, arguments: &[&str]) -> Vec<usize> {
    let lines = Program::example(example, arguments).rest();
    let words = lines.iter().flat_map(|line| line.split(' '));
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn the_crawler_visits_each_page_once_and_keeps_its_bound() {
    let found = numbers("crawler", &["150", "3"]);
    assert_eq!(found[..2], [150, 150], "pages, visits");
    assert!((1..=3).contains(&found[2]), "{} at once", found[2]);
}

#[test]
fn the_pool_does_every_job_and_keeps_its_bound() {
    let found = numbers("worker_pool", &["500", "3", "2"]);
    // Two in each channel, and one with each worker.
    assert_eq!(found[0], 500);
    assert!(
        (1..=2 + 3 + 2).contains(&found[1]),
        "{} in flight",
        found[1]
    );
    // The longest sequence below 501 begins at 327.
    assert_eq!(found[2..], [327, 143]);
}
