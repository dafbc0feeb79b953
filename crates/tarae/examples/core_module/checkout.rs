//! The core of team B: it calls what it is handed, and depends on nobody who hands it something.
//!
//! Called by any team, with a function for what is special about it. A new team changes nothing
//! here; this file must never name one, which a test checks.

use std::sync::mpsc::Receiver;

#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) items: u64,
    /// The price of one.
    pub(crate) each: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) total: u64,
    pub(crate) notes: Vec<String>,
}

/// A synchronous callback: `customise` is called when the sum is known, before this returns, and so
/// may borrow from the caller's frame.
pub(crate) fn checkout(order: &Order, customise: impl FnOnce(&Order, &mut Receipt)) -> Receipt {
    let mut receipt = Receipt {
        total: order.items * order.each,
        notes: vec![format!("{} items", order.items)],
    };
    customise(order, &mut receipt);
    receipt.notes.push("thank you".into());
    receipt
}

/// A deferred callback: this returns at once; `done` is called when the payment was accepted, by
/// the thread that waited for it, and so must own what it needs.
pub(crate) fn checkout_later(
    order: Order,
    accepted: Receiver<()>,
    done: impl FnOnce(Receipt) + Send + 'static,
) {
    let payment =
        tarae::offload::start(move || accepted.recv().map(|()| checkout(&order, |_, _| ())));
    payment.on_complete(|ended| {
        if let Ok(Ok(receipt)) = ended {
            done(receipt);
        }
    });
}
