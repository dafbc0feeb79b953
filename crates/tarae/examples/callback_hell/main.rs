//! Callback hell and the ways out: one service, written three times (section 2.5.7 of the notes).
//!
//! A page for a user is put together from 101 calls of a backend, each over a connection of its
//! own; see `page`. Some depend on the answer of another, others run in parallel, and for most
//! users one of them fails. `callbacks` nests what comes next in what comes before; `completions`
//! keeps the state by hand and takes the answers out of a queue; `coroutines` is straight code. All
//! three give the same pages and the same errors. In the end the program counts how much of each
//! source it took, and how often it had to say what becomes of an error.
//!
//! ```text
//! cargo run -p tarae --example callback_hell
//! ```

use std::io;
use std::net::SocketAddr;

use tarae::sync::oneshot;

mod backend;
mod callbacks;
mod client;
mod completions;
mod coroutines;
mod page;

use backend::Backend;
use client::Failure;
use page::Page;

/// For the first all goes well.
const USERS: std::ops::RangeInclusive<u64> = 1..=8;

type Style = fn(SocketAddr, u64) -> Result<Page, Failure>;

/// The callbacks' page has no caller to return to: it is handed over to one here.
fn page_by_callbacks(at: SocketAddr, user: u64) -> Result<Page, Failure> {
    let (tell, told) = oneshot::channel();
    callbacks::page(at, user, move |page| drop(tell.send(page)));
    let lost = |_| Err(Failure::new("page", "a callback did not go on"));
    told.recv().unwrap_or_else(lost)
}

/// One line of the comparison: all that is code and no comment.
fn measure(style: &str, source: &str) {
    let lines = || {
        let code = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        code.filter(|line| !line.trim().is_empty())
    };
    let count = |what: &str| {
        lines()
            .map(|line| line.matches(what).count())
            .sum::<usize>()
    };
    let indent = |line: &str| (line.len() - line.trim_start().len()) / 4;
    let deepest = lines().map(indent).max().unwrap_or(0);
    println!(
        "{style:<12} {:>5} {deepest:>7} {:>11} {:>10}",
        lines().count(),
        count("Err("),
        count("?;") + count("?,") + count("?)"),
    );
}

fn compare() {
    println!("\nstyle        lines nesting written Err passed by ?");
    measure("callbacks", include_str!("callbacks.rs"));
    measure("completions", include_str!("completions.rs"));
    measure("coroutines", include_str!("coroutines.rs"));
}

#[tarae::main(workers = 1)]
fn main() -> io::Result<()> {
    let backend = Backend::start()?;
    let styles: [(&str, Style); 3] = [
        ("callbacks", page_by_callbacks),
        ("completions", completions::page),
        ("coroutines", coroutines::page),
    ];
    for user in USERS {
        for (name, page) in styles {
            let page = page(backend.address, user);
            let calls = backend.take_calls();
            match page {
                Ok(page) => println!("{name}: user {user}, {calls} calls, {page}"),
                Err(failure) => println!("{name}: user {user}, {calls} calls, failed: {failure}"),
            }
        }
    }
    compare();
    Ok(())
}
