//! Callbacks against conditions: the same output, a core that knows nobody, and on which thread
//! each kind of callback runs.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use crate::program::{PATIENCE, Program};

/// The core alone, without any team: that it compiles here is half of the test.
#[path = "../../examples/core_module/checkout.rs"]
mod checkout;

fn source(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/core_module");
    let text = std::fs::read_to_string(folder.join(file)).expect("the source is there");
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n").to_lowercase()
}

/// What both cores print for an order of a team, in the order of `main`.
fn receipts(lines: &[String], way: &str) -> Vec<String> {
    let ours = lines.iter().filter_map(|line| line.strip_prefix(way));
    ours.map(str::to_owned).collect()
}

#[test]
fn the_core_names_no_team_and_the_conditional_one_all() {
    for word in ["team", "campaign", "wrapping", "delivery"] {
        assert!(
            !source("checkout.rs").contains(word),
            "the core knows of {word}"
        );
        assert!(source("conditional.rs").contains(word), "blind to {word}");
    }
}

/// Team E, of which nobody has heard.
#[test]
fn the_core_serves_a_team_that_came_later() {
    let order = checkout::Order { items: 3, each: 5 };
    let receipt = checkout::checkout(&order, |order, receipt| receipt.total += order.items);
    assert_eq!(receipt.total, 18);
    assert_eq!(receipt.notes, ["3 items", "thank you"]);
}

#[test]
fn callbacks_and_conditions_give_the_same_receipts() {
    let lines = Program::example("core_module", &[]).rest();
    let callback = receipts(&lines, "callback: ");
    assert_eq!(callback, receipts(&lines, "condition: "));
    let want = [
        "A pays 1650 (2 items, delivery 250, thank you)",
        "C pays 1460 (2 items, wrapping 60, thank you)",
        "D pays 1260 (2 items, campaign 10 %, thank you)",
        "A pays 4500 (5 items, delivery free, thank you)",
    ];
    assert_eq!(callback[..4], want);
    assert_eq!(callback.len(), 9);
}

#[test]
fn the_program_tells_the_two_kinds_of_callbacks_apart() {
    let lines = Program::example("core_module", &[]).rest();
    let want = [
        "synchronous: callback then return, on the caller's thread: true",
        "synchronous: total 1400",
        "deferred: return then callback, on the caller's thread: false",
        "deferred: called on tarae-blocking-0: 1400",
    ];
    assert_eq!(lines[lines.len() - 4..], want);
}

/// The same of the core itself, by thread ids: the callback holds what its caller lent, or what it
/// was given for good.
#[test]
fn a_synchronous_callback_is_on_the_callers_thread_and_a_deferred_one_is_not() {
    let order = checkout::Order { items: 1, each: 1 };
    let here = thread::current().id();
    let mut called_on = None;
    checkout::checkout(&order, |_, _| called_on = Some(thread::current().id()));
    assert_eq!(called_on, Some(here));

    let (accept, accepted) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    accept.send(()).expect("we have the receiver");
    checkout::checkout_later(order, accepted, move |_| {
        tell.send(thread::current().id()).expect("somebody listens");
    });
    assert_ne!(told.recv_timeout(PATIENCE).expect("called"), here);
}
