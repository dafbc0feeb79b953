//! The page in completions: single calls are waited for, parallel ones come out of a queue, and
//! what each order needs next is a state that is kept by hand.
//!
//! Called by `main`. `page` waits as the coroutines do, but for the whole fan-out at once.

use std::net::SocketAddr;

use tarae::completion::Completions;

use crate::client::{Answer, Failure, flat, start};
use crate::page::{Line, Page, sum};

/// Which answer has come.
#[derive(Clone, Copy)]
enum Step {
    Order,
    Item,
    Supplier { item: u64 },
    Price,
    Carrier,
    Rate { carrier: u64 },
    Eta { rate: u64 },
    Tax,
}

/// An order on its way.
#[derive(Clone, Default)]
struct Order {
    goods: Option<Result<u64, Failure>>,
    shipping: Option<Result<(u64, Option<u64>), Failure>>,
    line: Option<Result<Line, Failure>>,
}

struct Orders {
    at: SocketAddr,
    calls: Completions<(usize, Step), Answer>,
    orders: Vec<Order>,
}

impl Orders {
    fn ask(&self, index: usize, step: Step, question: String) {
        self.calls.add((index, step), start(self.at, question));
    }

    /// An answer has come; asks what follows from it.
    fn answered(&mut self, index: usize, step: Step, answer: Answer) {
        let order = &mut self.orders[index];
        match (step, answer) {
            (Step::Order, Ok(id)) => {
                self.ask(index, Step::Item, format!("item {id}"));
                self.ask(index, Step::Carrier, format!("carrier {id}"));
            }
            (Step::Order | Step::Tax, Err(failure)) => order.line = Some(Err(failure)),
            (Step::Item, Ok(item)) => {
                self.ask(index, Step::Supplier { item }, format!("supplier {item}"));
            }
            (Step::Supplier { item }, Ok(supplier)) => {
                self.ask(index, Step::Price, format!("price {supplier} {item}"));
            }
            (Step::Price, goods) | (Step::Item | Step::Supplier { .. }, goods @ Err(_)) => {
                order.goods = Some(goods);
                self.join(index);
            }
            (Step::Carrier, Ok(carrier)) => {
                self.ask(index, Step::Rate { carrier }, format!("rate {carrier}"));
            }
            (Step::Rate { carrier }, Ok(rate)) => {
                self.ask(index, Step::Eta { rate }, format!("eta {carrier}"));
            }
            (Step::Eta { rate }, eta) => {
                order.shipping = Some(Ok((rate, eta.ok())));
                self.join(index);
            }
            (Step::Carrier | Step::Rate { .. }, Err(failure)) => {
                order.shipping = Some(Err(failure));
                self.join(index);
            }
            (Step::Tax, Ok(tax)) => {
                if let (Some(Ok(price)), Some(Ok((rate, eta)))) = (&order.goods, &order.shipping) {
                    let (total, eta) = (price + rate + tax, *eta);
                    order.line = Some(Ok(Line { total, eta }));
                }
            }
        }
    }

    /// One of an order's two chains has ended.
    fn join(&mut self, index: usize) {
        let order = &mut self.orders[index];
        let (Some(goods), Some(shipping)) = (&order.goods, &order.shipping) else {
            return;
        };
        match (goods, shipping) {
            (Ok(price), Ok((rate, _))) => {
                let question = format!("tax {}", price + rate);
                self.ask(index, Step::Tax, question);
            }
            (Err(failure), _) | (_, Err(failure)) => order.line = Some(Err(failure.clone())),
        }
    }

    fn lines(at: SocketAddr, account: u64, orders: u64) -> Result<Vec<Line>, Failure> {
        let mut this = Orders {
            at,
            calls: Completions::new(),
            orders: vec![Order::default(); orders as usize],
        };
        for index in 0..this.orders.len() {
            this.ask(index, Step::Order, format!("order {account} {index}"));
        }
        while let Some(((index, step), ended)) = this.calls.next() {
            this.answered(index, step, flat(ended));
        }
        let lines = this.orders.into_iter().map(|order| order.line);
        lines
            .map(|line| line.expect("its calls have ended"))
            .collect()
    }
}

pub(crate) fn page(at: SocketAddr, user: u64) -> Result<Page, Failure> {
    let ask = |question| flat(start(at, question).wait());
    let account = ask(format!("user {user}"))?;
    let orders = ask(format!("orders {account}"))?;
    let lines = Orders::lines(at, account, orders)?;
    let sum = sum(&lines);
    let discount = ask(format!("discount {account} {sum}"))?;
    let points = ask(format!("points {account} {}", sum - discount))?;
    let invoice = ask(format!("invoice {account}"))?;
    Ok(Page {
        lines,
        discount,
        points,
        invoice,
    })
}
