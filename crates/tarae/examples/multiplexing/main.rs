//! I/O multiplexing against what it replaces (section 2.8.4 of the notes).
//!
//! Of many descriptors one has an event, then another. They are listened to in four ways: one after
//! the other, with a thread for each, by `poll`, by epoll. For each it is counted, where the calls
//! are made, how many an event costs, how many descriptors are looked at for it, and how many
//! threads it takes.
//!
//! ```text
//! cargo run -p tarae --example multiplexing -- [DESCRIPTORS...]
//! ```

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod ways;

use ways::Costs;

/// What the process has open besides.
const OTHERS: u64 = 64;

type Way = fn(usize) -> io::Result<Costs>;

const WAYS: [(&str, Way); 4] = [
    ("scan", ways::scan),
    ("threads", ways::threads),
    ("poll", ways::poll),
    ("epoll", ways::epoll),
];

/// Raises the limit of descriptors as far as it goes, and gives it.
fn limit() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(maximum.unwrap_or(u64::MAX))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers = std::env::args().skip(1).map(|number| number.parse());
    let mut numbers = numbers.collect::<Result<Vec<usize>, _>>()?;
    if numbers.is_empty() {
        numbers = vec![10, 1_000, 10_000];
    }
    let limit = limit()?;
    println!("per event:    fds  waits  reads looked_at threads");
    for number in numbers {
        if number == 0 || number as u64 + OTHERS > limit {
            println!("{number} descriptors: the limit is {limit}");
            continue;
        }
        for (name, way) in WAYS {
            match way(number) {
                Ok(costs) => println!("{name:<10} {number:>6} {costs}"),
                Err(error) => println!("{name:<10} {number:>6} {error}"),
            }
        }
    }
    Ok(())
}
