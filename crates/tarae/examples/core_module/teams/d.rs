//! Team D runs campaigns: its callback carries state. Handed to the core by `main`.

use crate::checkout::{Order, Receipt};

pub(crate) struct Campaign {
    pub(crate) percent: u64,
}

impl Campaign {
    pub(crate) fn apply(&self, _: &Order, receipt: &mut Receipt) {
        receipt.total -= receipt.total * self.percent / 100;
        receipt.notes.push(format!("campaign {} %", self.percent));
    }
}
