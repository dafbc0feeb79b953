//! The page in nested callbacks: what comes next is inside of what comes before, and so is what
//! happens when it fails (section 2.5.7: callback hell).
//!
//! Called by `main`. `page` returns at once; `done` is called in the end, on a worker, exactly once
//! if every path below sees to it: nothing else does.

use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::{Failure, flat, start};
use crate::page::{Line, Page, sum};

type Done<T> = Box<dyn FnOnce(Result<Vec<T>, Failure>) + Send>;

/// Collects the ends of calls that run in parallel, and calls `done` when the last has come.
struct Join<T>(Mutex<State<T>>);

struct State<T> {
    missing: usize,
    ends: Vec<Option<Result<T, Failure>>>,
    done: Option<Done<T>>,
}

impl<T> Join<T> {
    fn new(
        number: usize,
        done: impl FnOnce(Result<Vec<T>, Failure>) + Send + 'static,
    ) -> Arc<Join<T>> {
        Arc::new(Join(Mutex::new(State {
            missing: number,
            ends: (0..number).map(|_| None).collect(),
            done: Some(Box::new(done)),
        })))
    }

    fn put(&self, place: usize, end: Result<T, Failure>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ends[place] = Some(end);
        state.missing -= 1;
        if state.missing == 0 {
            let (ends, done) = (mem::take(&mut state.ends), state.done.take());
            // Whatever `done` does, it does without our lock.
            drop(state);
            if let Some(done) = done {
                done(ends.into_iter().flatten().collect());
            }
        }
    }
}

/// A price, or a rate and how many days it takes.
type Part = Result<(u64, Option<u64>), Failure>;

fn goods(at: SocketAddr, id: u64, done: impl FnOnce(Part) + Send + 'static) {
    start(at, format!("item {id}")).on_complete(move |item| match flat(item) {
        Err(failure) => done(Err(failure)),
        Ok(item) => {
            let supplier = start(at, format!("supplier {item}"));
            supplier.on_complete(move |supplier| match flat(supplier) {
                Err(failure) => done(Err(failure)),
                Ok(supplier) => {
                    let price = start(at, format!("price {supplier} {item}"));
                    price.on_complete(move |price| done(flat(price).map(|price| (price, None))));
                }
            });
        }
    });
}

fn shipping(at: SocketAddr, id: u64, done: impl FnOnce(Part) + Send + 'static) {
    start(at, format!("carrier {id}")).on_complete(move |carrier| match flat(carrier) {
        Err(failure) => done(Err(failure)),
        Ok(carrier) => {
            let rate = start(at, format!("rate {carrier}"));
            rate.on_complete(move |rate| match flat(rate) {
                Err(failure) => done(Err(failure)),
                Ok(rate) => {
                    let eta = start(at, format!("eta {carrier}"));
                    eta.on_complete(move |eta| done(Ok((rate, flat(eta).ok()))));
                }
            });
        }
    });
}

fn order(
    at: SocketAddr,
    account: u64,
    index: usize,
    done: impl FnOnce(Result<Line, Failure>) + Send + 'static,
) {
    let id = start(at, format!("order {account} {index}"));
    id.on_complete(move |id| match flat(id) {
        Err(failure) => done(Err(failure)),
        Ok(id) => {
            let both = Join::new(2, move |parts: Result<Vec<(u64, _)>, _>| match parts {
                Err(failure) => done(Err(failure)),
                Ok(parts) => {
                    let (price, (rate, eta)) = (parts[0].0, parts[1]);
                    let tax = start(at, format!("tax {}", price + rate));
                    tax.on_complete(move |tax| match flat(tax) {
                        Err(failure) => done(Err(failure)),
                        Ok(tax) => {
                            let total = price + rate + tax;
                            done(Ok(Line { total, eta }));
                        }
                    });
                }
            });
            let other = Arc::clone(&both);
            goods(at, id, move |price| both.put(0, price));
            shipping(at, id, move |shipped| other.put(1, shipped));
        }
    });
}

/// The orders are there: what is left is one call after the other, and so one inside the other.
fn totals(
    at: SocketAddr,
    account: u64,
    lines: Vec<Line>,
    done: impl FnOnce(Result<Page, Failure>) + Send + 'static,
) {
    let sum = sum(&lines);
    let discount = start(at, format!("discount {account} {sum}"));
    discount.on_complete(move |discount| match flat(discount) {
        Err(failure) => done(Err(failure)),
        Ok(discount) => {
            let points = start(at, format!("points {account} {}", sum - discount));
            points.on_complete(move |points| match flat(points) {
                Err(failure) => done(Err(failure)),
                Ok(points) => {
                    let invoice = start(at, format!("invoice {account}"));
                    invoice.on_complete(move |invoice| match flat(invoice) {
                        Err(failure) => done(Err(failure)),
                        Ok(invoice) => done(Ok(Page {
                            lines,
                            discount,
                            points,
                            invoice,
                        })),
                    });
                }
            });
        }
    });
}

pub(crate) fn page(
    at: SocketAddr,
    user: u64,
    done: impl FnOnce(Result<Page, Failure>) + Send + 'static,
) {
    start(at, format!("user {user}")).on_complete(move |account| match flat(account) {
        Err(failure) => done(Err(failure)),
        Ok(account) => {
            start(at, format!("orders {account}")).on_complete(move |orders| match flat(orders) {
                Err(failure) => done(Err(failure)),
                Ok(orders) => {
                    let orders = orders as usize;
                    let all = Join::new(orders, move |lines| match lines {
                        Err(failure) => done(Err(failure)),
                        Ok(lines) => totals(at, account, lines, done),
                    });
                    for index in 0..orders {
                        let all = Arc::clone(&all);
                        order(at, account, index, move |line| all.put(index, line));
                    }
                }
            });
        }
    });
}
