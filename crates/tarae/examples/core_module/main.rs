//! One core, many users: callbacks instead of conditions (sections 2.5.1 to 2.5.6 of the notes).
//!
//! Team B writes the core, checkout; teams A, C and D use it, and each wants something of its own
//! in the middle of it. In `conditional` the core asks who calls and does what that team wants: it
//! knows all teams and is changed with each of them. In `checkout` it calls a function that it is
//! handed: the core knows *when*, the team knows *what*. Both give the same receipts.
//!
//! A callback is *synchronous* when the core calls it before it returns, on its caller's frame and
//! thread; it is *deferred*, or asynchronous, when the core has returned by then, and somebody else
//! calls it.
//!
//! ```text
//! cargo run -p tarae --example core_module
//! ```

use std::sync::mpsc;
use std::thread;

mod checkout;
mod conditional;
mod teams;

use checkout::{Order, Receipt};
use conditional::Team;

const ORDERS: [Order; 3] = [
    Order {
        items: 2,
        each: 700,
    },
    Order {
        items: 5,
        each: 900,
    },
    Order {
        items: 12,
        each: 40,
    },
];

fn print(way: &str, team: &str, receipt: &Receipt) {
    let notes = receipt.notes.join(", ");
    println!("{way}: {team} pays {} ({notes})", receipt.total);
}

/// Each team's orders, by the core that is handed a function and by the one that asks who calls.
fn both_ways() {
    for order in &ORDERS {
        print(
            "callback",
            "A",
            &checkout::checkout(order, teams::a::customise),
        );
        print(
            "callback",
            "C",
            &checkout::checkout(order, teams::c::customise),
        );
        // A callback may know more than its function says: it is a closure of team D's.
        let campaign = teams::d::Campaign { percent: 10 };
        let receipt = checkout::checkout(order, |order, receipt| campaign.apply(order, receipt));
        print("callback", "D", &receipt);
    }
    for order in &ORDERS {
        for (team, name) in [(Team::A, "A"), (Team::C, "C"), (Team::D, "D")] {
            print("condition", name, &conditional::checkout(order, team));
        }
    }
}

/// The callback borrows what is on this frame and changes it: it is called before the core returns.
fn synchronous() {
    let mut log = Vec::new();
    let mut callback_thread = None;
    let receipt = checkout::checkout(&ORDERS[0], |_, _| {
        log.push("callback");
        callback_thread = Some(thread::current().id());
    });
    log.push("return");
    let same = callback_thread == Some(thread::current().id());
    println!(
        "synchronous: {}, on the caller's thread: {same}",
        log.join(" then ")
    );
    println!("synchronous: total {}", receipt.total);
}

/// The callback owns what it needs, for this frame may be gone; it is called on another thread.
///
/// The payment is not accepted before the core has returned: so the order is no matter of luck.
fn deferred() {
    let (accept, accepted) = mpsc::channel();
    let (log, events) = mpsc::channel();
    let of_callback = log.clone();
    checkout::checkout_later(ORDERS[0].clone(), accepted, move |receipt| {
        let here = thread::current();
        let name = here.name().unwrap_or("unnamed").to_owned();
        let _ = of_callback.send(("callback", here.id(), format!("{name}: {}", receipt.total)));
    });
    let _ = log.send(("return", thread::current().id(), "main".into()));
    drop(log);
    let _ = accept.send(());
    let events: Vec<_> = events.iter().collect();
    let order: Vec<_> = events.iter().map(|(what, ..)| *what).collect();
    let same = events
        .iter()
        .all(|(_, id, _)| *id == thread::current().id());
    println!(
        "deferred: {}, on the caller's thread: {same}",
        order.join(" then ")
    );
    for (_, _, who) in events.iter().filter(|(what, ..)| *what == "callback") {
        println!("deferred: called on {who}");
    }
}

fn main() {
    both_ways();
    synchronous();
    deferred();
}
