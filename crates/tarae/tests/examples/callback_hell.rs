//! One service in three styles: the same pages, the same errors, the same calls.
//!
//! The backend answers some questions only when their siblings have been asked too, so a style that
//! asked them one after the other would never end.

use crate::program::Program;

const STYLES: [&str; 3] = ["callbacks", "completions", "coroutines"];

const USERS: [&str; 8] = [
    "user 1, 101 calls, invoice 7007: 12 orders, sum 1872, discount 93, points 17, \
     last in 5 days, 0 unknown",
    "user 2, 1 calls, failed: `user 2`: refused",
    "user 3, 2 calls, failed: `orders 1003`: the backend hung up",
    "user 4, 97 calls, failed: `price 5 1004051`: refused",
    // Three fail at the same time: the goods of the earliest order count.
    "user 5, 93 calls, failed: `price 3 1005031`: refused",
    // One failure is of no consequence.
    "user 6, 101 calls, invoice 7042: 12 orders, sum 1872, discount 93, points 17, \
     last in 5 days, 1 unknown",
    "user 7, 99 calls, failed: `discount 1007 1872`: refused",
    "user 8, 101 calls, failed: `invoice 1008`: 4x2 is not a number",
];

#[test]
fn all_styles_give_the_same_pages_and_the_same_errors() {
    let lines = Program::example("callback_hell", &[]).rest();
    for style in STYLES {
        let of_style = lines.iter().filter_map(|line| line.strip_prefix(style));
        let pages: Vec<_> = of_style
            .filter_map(|line| line.strip_prefix(": "))
            .collect();
        assert_eq!(pages, USERS, "{style}");
    }
}

/// What the program says of its own sources: straight code is the shortest and the flattest, and
/// writes no error path down.
#[test]
fn the_styles_are_compared() {
    let lines = Program::example("callback_hell", &[]).rest();
    let [callbacks, completions, coroutines] = STYLES.map(|style| {
        let row = lines
            .iter()
            .find_map(|line| line.strip_prefix(&format!("{style} ")));
        let row = row.expect("each has a row").split_whitespace();
        let row: Vec<usize> = row
            .map(|number| number.parse().expect("a number"))
            .collect();
        <[usize; 4]>::try_from(row).expect("four numbers")
    });
    let [
        callback_lines,
        callback_nesting,
        callback_errors,
        callback_passed,
    ] = callbacks;
    let [lines, nesting, errors, passed] = coroutines;
    assert!(lines < completions[0] && completions[0] < callback_lines);
    assert!(nesting < completions[1] && completions[1] < callback_nesting);
    assert!(errors == 0 && completions[2] < callback_errors);
    assert!(callback_passed == 0 && completions[3] < passed);
}
