//! The page in coroutines: straight code, and a scope for what is to be done in parallel.
//!
//! Called by `main`. Whoever calls `page` waits for it; its coroutine is parked, no thread blocks.

use std::net::SocketAddr;

use crate::client::{Failure, ask};
use crate::page::{Line, Page, sum};

fn goods(at: SocketAddr, id: u64) -> Result<u64, Failure> {
    let item = ask(at, &format!("item {id}"))?;
    let supplier = ask(at, &format!("supplier {item}"))?;
    ask(at, &format!("price {supplier} {item}"))
}

fn shipping(at: SocketAddr, id: u64) -> Result<(u64, Option<u64>), Failure> {
    let carrier = ask(at, &format!("carrier {id}"))?;
    let rate = ask(at, &format!("rate {carrier}"))?;
    let eta = ask(at, &format!("eta {carrier}")).ok();
    Ok((rate, eta))
}

fn order(at: SocketAddr, account: u64, index: u64) -> Result<Line, Failure> {
    let id = ask(at, &format!("order {account} {index}"))?;
    let (price, shipped) = tarae::scope(|s| {
        let shipped = s.spawn(|| shipping(at, id));
        (goods(at, id), shipped.join().expect("it does not panic"))
    });
    let (price, (rate, eta)) = (price?, shipped?);
    let tax = ask(at, &format!("tax {}", price + rate))?;
    let total = price + rate + tax;
    Ok(Line { total, eta })
}

pub(crate) fn page(at: SocketAddr, user: u64) -> Result<Page, Failure> {
    let account = ask(at, &format!("user {user}"))?;
    let orders = ask(at, &format!("orders {account}"))?;
    let lines: Result<Vec<Line>, Failure> = tarae::scope(|s| {
        let lines = (0..orders).map(|index| s.spawn(move || order(at, account, index)));
        let lines: Vec<_> = lines.collect();
        let ends = lines
            .into_iter()
            .map(|line| line.join().expect("it does not panic"));
        // All of them, before the first failure is looked for.
        ends.collect::<Vec<_>>().into_iter().collect()
    });
    let lines = lines?;
    let sum = sum(&lines);
    let discount = ask(at, &format!("discount {account} {sum}"))?;
    let points = ask(at, &format!("points {account} {}", sum - discount))?;
    let invoice = ask(at, &format!("invoice {account}"))?;
    Ok(Page {
        lines,
        discount,
        points,
        invoice,
    })
}
