//! What is put together for a user: the same in all three styles.
//!
//! For each of an account's orders, in parallel, two chains that run in parallel themselves:
//!
//! ```text
//! user ─► orders ─┬► order ─┬► item ─► supplier ─► price ─┬► tax ─┬► discount ► points ► invoice
//!                 │         └► carrier ─► rate ─► eta ────┘       │
//!                 └► order … (12 of them) ────────────────────┘
//! ```
//!
//! 101 calls. A failure of `eta` is no reason to give no page. Otherwise every chain is followed to
//! its own end, and the failure that counts is the first in the order of this drawing: that of an
//! earlier order before that of a later, that of its goods before that of its shipping.

use std::fmt;

/// What is known of an order in the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Price, rate and tax.
    pub(crate) total: u64,
    /// Days, if the carrier tells them.
    pub(crate) eta: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) lines: Vec<Line>,
    pub(crate) discount: u64,
    pub(crate) points: u64,
    pub(crate) invoice: u64,
}

/// The sum of all orders.
pub(crate) fn sum(lines: &[Line]) -> u64 {
    lines.iter().map(|line| line.total).sum()
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sum, orders) = (sum(&self.lines), self.lines.len());
        let etas = || self.lines.iter().map(|line| line.eta);
        let last = etas().flatten().max().unwrap_or(0);
        let unknown = etas().filter(Option::is_none).count();
        write!(f, "invoice {}: {orders} orders, sum {sum}, ", self.invoice)?;
        write!(f, "discount {}, points {}, ", self.discount, self.points)?;
        write!(f, "last in {last} days, {unknown} unknown")
    }
}
