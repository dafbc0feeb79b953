//! The hand-written scheduler: who runs when is decided by the program alone, so its output is
//! always the same.

use crate::program::Program;

const OUTPUT: &str = "\
turn  1  ann    1 of 4
turn  2  bob    1 of 2
turn  3  tower  disk 1: A to B
turn  4  ann    2 of 4
turn  5  bob    2 of 2 (ends)
turn  6  tower  disk 2: A to C
turn  7  ann    3 of 4
turn  8  tower  disk 1: B to C
turn  9  ann    4 of 4 (ends)
turn 10  tower  all disks moved (ends)
10 turns on one thread";

#[test]
fn coroutines_take_turns_in_the_order_of_the_queue() {
    let lines = Program::example("round_robin", &[]).rest();
    assert_eq!(lines.join("\n"), OUTPUT);
}
