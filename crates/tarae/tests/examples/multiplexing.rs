//! The costs of an event, in calls: their shape for few descriptors and for more.

use crate::program::Program;

/// Waits, reads, descriptors looked at, and threads, as the program counts them for an event.
fn costs(lines: &[String], way: &str, fds: usize) -> [usize; 4] {
    let row = lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut row = row.filter(|row| row[0] == way && row[1] == fds.to_string());
    let row = row.next().expect("each way has a row");
    let costs: Vec<_> = row[2..]
        .iter()
        .map(|word| word.parse().expect(way))
        .collect();
    costs.try_into().expect("four numbers")
}

#[test]
fn only_epoll_costs_the_same_however_many_there_are() {
    let lines = Program::example("multiplexing", &["10", "100"]).rest();
    for fds in [10, 100] {
        assert_eq!(costs(&lines, "scan", fds), [0, fds, fds, 1]);
        assert_eq!(costs(&lines, "threads", fds), [0, 1, 1, fds]);
        assert_eq!(costs(&lines, "poll", fds), [1, 1, fds, 1]);
        assert_eq!(costs(&lines, "epoll", fds), [1, 1, 1, 1]);
    }
}

#[test]
fn more_descriptors_than_the_limit_are_refused_by_name() {
    let lines = Program::example("multiplexing", &["4000000000"]).rest();
    let told = lines
        .last()
        .expect("it prints")
        .starts_with("4000000000 descriptors: the limit is ");
    assert!(told, "{lines:?}");
}
