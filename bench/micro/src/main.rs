//! Our primitives beside those of other runtimes, in one run: `cargo xtask bench micro [NAME]`.
//!
//! Every figure is the median over rounds in which all peers take turns, so that a busy moment of
//! the machine hits all alike; what carries to another machine is the ratio. It must never share a
//! process between two figures of memory: each parks its tasks in a process of its own.

mod channels;
mod files;
mod locks;
mod peers;
mod sending;

use peers::{PEERS, Peer, Run};
use std::process::Command;
use std::time::Duration;

const ROUNDS: usize = 9;
const PARKED: usize = 10_000;
/// What each of ours should take at most of resident memory: one page of stack and its record.
const PARKED_BYTES: f64 = 4.4 * 1024.0;

/// One line of the table.
struct Measure {
    name: &'static str,
    what: &'static str,
    of: fn(&Peer) -> Option<Run>,
    /// How often; a peer with threads does it less often.
    times: u32,
    times_threads: u32,
    /// What ours should take at most.
    goal: Option<Goal>,
}

/// A bound for our figure.
enum Goal {
    /// So many nanoseconds.
    Ns(f64),
    /// So many times the figure of the peer of that name, in the same run.
    Times(f64, &'static str),
}

const MEASURES: &[Measure] = &[
    Measure {
        name: "switch",
        what: "into a bare coroutine and back, ns",
        of: |peer| peer.switch,
        times: 2_000_000,
        times_threads: 0,
        goal: None,
    },
    Measure {
        name: "yield",
        what: "one yield, two tasks taking turns on one worker, ns",
        of: |peer| peer.yields,
        times: 500_000,
        times_threads: 20_000,
        goal: Some(Goal::Ns(50.0)),
    },
    Measure {
        name: "spawn",
        what: "spawn, run and join one empty task, from inside a task, ns",
        of: |peer| peer.spawn,
        times: 200_000,
        times_threads: 2_000,
        goal: Some(Goal::Ns(250.0)),
    },
    Measure {
        name: "wake",
        what: "a thread wakes a sleeping task, which wakes the thread: round trip, ns",
        of: |peer| peer.wake,
        times: 10_000,
        times_threads: 10_000,
        goal: None,
    },
    Measure {
        name: "cross",
        what: "a task wakes one of another worker, which wakes the first: round trip, ns",
        of: |peer| peer.cross,
        times: 10_000,
        times_threads: 10_000,
        goal: None,
    },
    Measure {
        name: "offload",
        what: "an empty job on a thread of the blocking pool, from inside a task, ns",
        of: |peer| peer.offload,
        times: 10_000,
        times_threads: 0,
        goal: Some(Goal::Times(1.3, "tokio current_thread")),
    },
    Measure {
        name: "lock",
        what: "lock and unlock a mutex that nobody else wants, inside a task, ns",
        of: locks::uncontended,
        times: 2_000_000,
        times_threads: 2_000_000,
        goal: None,
    },
    Measure {
        name: "hand-over",
        what: "a mutex from one task to another that waits for it, and one yield, ns",
        of: locks::handed_over,
        times: 200_000,
        times_threads: 0,
        goal: Some(Goal::Times(1.0, "tokio current_thread")),
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            MEASURES.iter().for_each(measure);
            parked();
            channels();
            files();
        }
        ["channels"] => channels(),
        ["files"] => files(),
        ["parked"] => parked(),
        ["--parked", name] => park(name),
        ["--may-across", times] => channels::print_may_across(times),
        [name] if MEASURES.iter().any(|one| one.name == *name) => {
            MEASURES
                .iter()
                .filter(|one| one.name == *name)
                .for_each(measure);
        }
        _ => {
            let names: Vec<&str> = MEASURES.iter().map(|one| one.name).collect();
            eprintln!(
                "usage: micro [{} | parked | channels | files]",
                names.join(" | ")
            );
            std::process::exit(2);
        }
    }
}

/// Rounds of all peers, then their medians.
fn measure(measure: &Measure) {
    println!("\n{}: {}", measure.name, measure.what);
    let runs: Vec<_> = PEERS
        .iter()
        .filter_map(|peer| Some((peer, (measure.of)(peer)?)))
        .collect();
    let mut figures = vec![Vec::new(); runs.len()];
    for _ in 0..ROUNDS {
        for ((peer, run), figures) in runs.iter().zip(&mut figures) {
            let times = if peer.threads {
                measure.times_threads
            } else {
                measure.times
            };
            figures.push(run(times).as_nanos() as f64 / f64::from(times));
        }
    }
    let names: Vec<&str> = runs.iter().map(|(peer, _)| peer.name).collect();
    let ours = print(&names, &figures);
    let Some((goal, figure)) = measure.goal.as_ref().zip(ours) else {
        return;
    };
    let (bound, text) = match goal {
        Goal::Ns(bound) => (*bound, format!("{bound:.0}")),
        Goal::Times(times, peer) => {
            let at = names.iter().position(|name| name == peer);
            let theirs = median(&figures[at.expect("a peer that was measured")]);
            (times * theirs, format!("{times} x {peer}"))
        }
    };
    judge(figure, bound, &text);
}

fn judge(figure: f64, bound: f64, text: &str) {
    let verdict = if figure <= bound { "met" } else { "MISSED" };
    println!("  goal for ours <= {text}: {verdict}");
}

fn channels() {
    channels::run(ROUNDS, |names, figures| {
        print(names, figures);
    });
}

fn files() {
    files::run(ROUNDS, |names, figures, goals| {
        print(names, figures);
        let of = |name: &str| {
            let at = names.iter().position(|one| *one == name);
            median(&figures[at.expect("somebody who was measured")])
        };
        for (ours, times, theirs) in goals {
            judge(of(ours), times * of(theirs), &format!("{times} x {theirs}"));
        }
    });
}

/// Memory for each of many parked tasks, and the page tables that map it.
fn parked() {
    let own = std::env::current_exe().expect("our own path");
    let mut names = Vec::new();
    let (mut resident, mut tables) = (Vec::new(), Vec::new());
    let mut failures = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.park.is_some()) {
        let output = Command::new(&own).args(["--parked", peer.name]).output();
        let output = output.expect("our own program starts");
        let printed = String::from_utf8_lossy(&output.stdout);
        let figures: Vec<f64> = printed.split_whitespace().flat_map(str::parse).collect();
        if let [bytes, table_bytes] = figures[..] {
            names.push(peer.name);
            resident.push(vec![bytes]);
            tables.push(vec![table_bytes]);
        } else {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            failures.push(format!("  {:<24} failed: {}", peer.name, why.trim()));
        }
    }
    println!("\nparked: resident memory for each of {PARKED} parked tasks, bytes");
    failures.iter().for_each(|failure| println!("{failure}"));
    if let Some(ours) = print(&names, &resident) {
        judge(ours, PARKED_BYTES, "4.4 KiB");
    }
    println!("\nparked: page tables for each of them, bytes, beside the resident memory");
    print(&names, &tables);
}

/// The child's part: parks, prints the figures, and ends without waking anybody.
fn park(name: &str) {
    let peer = PEERS
        .iter()
        .find(|peer| peer.name == name)
        .expect("a peer of that name");
    let park = peer.park.expect("a peer that parks");
    let figures = || ["VmRSS:", "VmPTE:"].map(status_bytes);
    let before = std::cell::Cell::new([0; 2]);
    let ready = || before.set(figures());
    let done = || {
        std::thread::sleep(Duration::from_millis(200));
        for (now, before) in figures().iter().zip(before.get()) {
            println!("{}", now.saturating_sub(before) as f64 / PARKED as f64);
        }
        std::process::exit(0);
    };
    park(PARKED, &ready, &done);
}

/// Prints one table. Gives our figure, if we are in it.
fn print(names: &[&str], figures: &[Vec<f64>]) -> Option<f64> {
    let medians: Vec<f64> = figures.iter().map(|figures| median(figures)).collect();
    let ours = names
        .iter()
        .position(|name| name.starts_with(peers::OURS))
        .map(|at| medians[at]);
    for (name, figure) in names.iter().zip(&medians) {
        let ratio = ours.map(|ours| format!("{:>8.2} x ours", figure / ours));
        println!("  {name:<24}{figure:>12.1}{}", ratio.unwrap_or_default());
    }
    ours
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A figure of this process, by the name of its line.
fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own figures");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("a line of that name");
    let kib = line
        .split_whitespace()
        .next()
        .and_then(|word| word.parse::<u64>().ok());
    kib.expect("a figure") * 1024
}
