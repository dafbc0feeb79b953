//! Readiness and completion, told apart by where the data is when the program is told.

use crate::kernel;
use crate::program::Program;

const EPOLL: [&str; 4] = [
    "epoll: told that it is readable: 0 bytes in our buffer, 5 in the socket",
    "epoll: after our read: 5 bytes in our buffer, 0 in the socket",
    "epoll: 5 bytes by a read of ours",
    "epoll: a file: Operation not permitted (os error 1)",
];
const REFUSED: [&str; 1] = ["io_uring: not permitted here: Operation not permitted (os error 1)"];

#[test]
fn epoll_leaves_the_read_to_us_and_io_uring_has_done_it() {
    let lines = Program::example("readiness_vs_completion", &[]).rest();
    let ring = [
        "io_uring: told that it is read: 5 bytes in our buffer, 0 in the socket",
        "io_uring: 5 bytes without a read of ours",
        "io_uring: a file: [package]",
    ];
    assert_eq!(lines[..4], EPOLL);
    // A machine may forbid io_uring; it may not fail in any other way.
    assert!(lines[4..] == ring || lines[4..] == REFUSED, "{lines:#?}");
}

/// The filter holds for this thread and for the program that it starts.
#[test]
fn where_io_uring_is_forbidden_it_says_so() {
    let start = || {
        kernel::without_io_uring();
        Program::example("readiness_vs_completion", &[]).rest()
    };
    let lines = std::thread::spawn(start).join().expect("it does not panic");
    assert_eq!(lines, [EPOLL.as_slice(), &REFUSED].concat());
}
