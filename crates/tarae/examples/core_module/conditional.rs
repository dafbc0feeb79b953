//! How the core looks without callbacks: it asks who calls. Kept beside `checkout` to be compared.
//!
//! Called by `main` only. Each team's logic is in the middle of the core, and each new one is one
//! more condition in a file that belongs to somebody else.

use crate::checkout::{Order, Receipt};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Team {
    A,
    C,
    D,
}

pub(crate) fn checkout(order: &Order, team: Team) -> Receipt {
    let mut receipt = Receipt {
        total: order.items * order.each,
        notes: vec![format!("{} items", order.items)],
    };
    if team == Team::A {
        if receipt.total < 3_000 {
            receipt.total += 250;
            receipt.notes.push("delivery 250".into());
        } else {
            receipt.notes.push("delivery free".into());
        }
    } else if team == Team::C {
        let wrapping = order.items * 30;
        receipt.total += wrapping;
        receipt.notes.push(format!("wrapping {wrapping}"));
    } else if team == Team::D {
        let percent = 10;
        receipt.total -= receipt.total * percent / 100;
        receipt.notes.push(format!("campaign {percent} %"));
    }
    receipt.notes.push("thank you".into());
    receipt
}
