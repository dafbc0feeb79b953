//! `cargo xtask bench limit`: our server beside the raw epoll loop of `bench/raw`.
//!
//! Both servers pinned to core 0, under a `wrk` each pinned to core 1, work by turns of a fraction
//! of a second (`turns`). The figure that counts is a server's CPU time per request (`schedstat`),
//! for `wrk` and not the server is the slower side. It is taken from the difference of a short and
//! a long run, so that connecting and closing drop out. It judges but never fails on a figure: an
//! error means that something broke.

use super::turns;
use super::wrk::{self, Load, PIPELINE};
use crate::server::{Server, ask};
use crate::shell::{Done, read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
const IDLE_CONNECTIONS: usize = 10_000;
/// Descriptors that 10,000 connections and everything else need.
const FILES_MIN: u64 = 10_200;
/// The short run whose share is taken off the long one.
const SHORT_SECONDS: u64 = 1;
/// A run for the time of an answer.
const ALONE_SECONDS: u64 = 2;
const PATH: &str = "/plaintext";
/// A larger share used by other programs is worth a warning.
const OTHERS_MAX: f64 = 0.05;

struct Scenario {
    name: &'static str,
    connections: usize,
    pipeline: usize,
    /// The goal: our CPU per request over the raw loop's.
    ratio_max: f64,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "64",
        connections: 64,
        pipeline: 1,
        ratio_max: 1.10,
    },
    Scenario {
        name: "64 x pipeline 16",
        connections: 64,
        pipeline: PIPELINE,
        ratio_max: 1.5,
    },
    Scenario {
        name: "1,000",
        connections: 1000,
        pipeline: 1,
        ratio_max: 1.10,
    },
    Scenario {
        name: "10,000",
        connections: 10_000,
        pipeline: 1,
        ratio_max: 1.35,
    },
];

/// As wide as what `print_scenario` prints.
const HEADING: &str = "connections          raw us  ours us   CPU x    raw /s   ours /s    /s x  \
    raw p99 ours p99  goal";

/// What the user chose.
pub(super) struct Options {
    rounds: usize,
    seconds: u64,
    connections: Option<usize>,
    server: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(words: &[&str]) -> Done<Self> {
        let mut options = Options {
            rounds: 5,
            seconds: 5,
            connections: None,
            server: None,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{}: needs a value", pair[0]));
            };
            let number = || value.parse::<usize>().ok().filter(|number| *number > 0);
            let number = || number().ok_or_else(|| format!("{name} {value}: not a count"));
            match *name {
                "--rounds" => options.rounds = number()?,
                "--seconds" => options.seconds = number()? as u64,
                "--connections" => options.connections = Some(number()?),
                "--server" => options.server = Some(PathBuf::from(value)),
                _ => return Err(format!("bench limit: {name}: no such option")),
            }
        }
        Ok(options)
    }
}

/// One server's figures in one round.
#[derive(Clone, Copy)]
struct Figures {
    cpu_us: f64,
    requests_per_s: f64,
    p99_ms: f64,
    socket_errors: u64,
}

/// Builds both, checks both, measures, prints.
pub(super) fn run(options: &Options) -> Done {
    raise_file_limit()?;
    let raw = super::build_peer("tarae-bench-raw", "raw")?;
    let ours = match &options.server {
        Some(path) => path.clone(),
        None => super::build_ours()?,
    };
    check_answers(&raw, &ours)?;
    let chosen = |scenario: &&Scenario| {
        options
            .connections
            .is_none_or(|connections| connections == scenario.connections)
    };
    println!(
        "\nmedians of {} rounds of {} s",
        options.rounds, options.seconds
    );
    println!("us: server CPU per request; x: ours / raw, median over rounds; p99: ms\n");
    println!("{HEADING}");
    for scenario in SCENARIOS.iter().filter(chosen) {
        let rounds = measure(scenario, &raw, &ours, options)?;
        print_scenario(scenario, &rounds);
    }
    println!("\nRSS per connection, {IDLE_CONNECTIONS} idle after one request each:");
    for (name, program) in [("raw", &raw), ("ours", &ours)] {
        println!("  {name:<5} {:>7.0} bytes", idle_rss(program)?);
    }
    Ok(())
}

/// Without enough descriptors, starts itself again with the most that is allowed.
fn raise_file_limit() -> Done {
    use std::os::unix::process::CommandExt;
    let limits = read(Path::new("/proc/self/limits"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut columns = line.unwrap_or_default().split_whitespace();
    let mut next = || match columns.next() {
        Some("unlimited") => u64::MAX,
        word => word.and_then(|text| text.parse().ok()).unwrap_or(0),
    };
    let (soft, hard) = (next(), next());
    if soft >= FILES_MIN {
        return Ok(());
    }
    if hard < FILES_MIN {
        return Err(format!(
            "{hard} open files allowed, {FILES_MIN} needed: raise `ulimit -Hn`"
        ));
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut again = Command::new("sh");
    again.args(["-c", "ulimit -Sn \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""]);
    Err(again
        .arg(own)
        .args(std::env::args().skip(1))
        .exec()
        .to_string())
}

fn start(program: &Path) -> Done<Server> {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(SERVER_CORE.to_string()).arg(program);
    Server::start(command.args(["--listen", "127.0.0.1:0", "--workers", "1"]))
}

/// Both must answer the same question with as many bytes, alone and pipelined.
fn check_answers(raw: &Path, ours: &Path) -> Done {
    let mut lengths = Vec::new();
    for program in [raw, ours] {
        let server = start(program)?;
        let mut stream = connect(&server)?;
        for answer in ask(&mut stream, PATH, 3)? {
            let fields = ["Server", "Date"]
                .iter()
                .all(|name| answer.field(name).is_some());
            let kind = answer.field("Content-Type").unwrap_or_default();
            let right =
                answer.head.starts_with("HTTP/1.1 200 OK") && answer.body == b"Hello, World!";
            if !right || !fields || !kind.starts_with("text/plain") {
                return Err(format!(
                    "{}: wrong answer:\n{}",
                    program.display(),
                    answer.head
                ));
            }
            lengths.push(answer.wire_bytes());
        }
    }
    if lengths.iter().any(|length| *length != lengths[0]) {
        let what = "the answer in bench/raw/src/answer.rs is not as long as ours";
        return Err(format!("{what}: bytes of three answers each: {lengths:?}"));
    }
    println!("answers checked: {} bytes each", lengths[0]);
    Ok(())
}

fn connect(server: &Server) -> Done<TcpStream> {
    TcpStream::connect(server.address())
        .map_err(|error| format!("{}: cannot connect: {error}", server.address()))
}

/// Rounds in which both servers work by turns; the order changes each time.
fn measure(
    scenario: &Scenario,
    raw: &Path,
    ours: &Path,
    options: &Options,
) -> Done<Vec<[Figures; 2]>> {
    let servers = [start(raw)?, start(ours)?];
    let before = Machine::now(&servers)?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let [raw, ours] = &servers;
        rounds.push(if round % 2 == 0 {
            figures(scenario, [raw, ours], options.seconds)?
        } else {
            let [ours, raw] = figures(scenario, [ours, raw], options.seconds)?;
            [raw, ours]
        });
    }
    let others = before.others_share(&Machine::now(&servers)?);
    if others > OTHERS_MAX {
        let percent = others * 100.0;
        println!("other programs use {percent:.0} % of the machine; the next figures are rough:");
    }
    Ok(rounds)
}

/// Where the machine's time went so far, in ticks of 10 ms.
struct Machine {
    all: f64,
    busy: f64,
    /// The servers', and that of the `wrk` runs that have ended.
    measured: f64,
}

impl Machine {
    fn now(servers: &[Server]) -> Done<Self> {
        let numbers = |text: &str| -> Vec<f64> {
            text.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        let text = read(Path::new("/proc/stat"))?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests count as user.
        let machine = numbers(text.lines().next().unwrap_or_default());
        let own = read(Path::new("/proc/self/stat"))?;
        // Past the name in parentheses and the state; the 16th and 17th field of proc(5).
        let own = numbers(own.rsplit(')').next().unwrap_or_default());
        if machine.len() < 8 || own.len() < 14 {
            return Err("/proc/stat or /proc/self/stat: not understood".into());
        }
        let mut measured = own[12] + own[13];
        for server in servers {
            measured += cpu_ns(server.pid())? as f64 / 1e7;
        }
        let all = machine[..8].iter().sum();
        Ok(Machine {
            all,
            busy: all - machine[3] - machine[4],
            measured,
        })
    }

    /// From then to later: the share of what neither a server nor `wrk` used.
    fn others_share(&self, later: &Machine) -> f64 {
        let others = (later.busy - self.busy) - (later.measured - self.measured);
        others / (later.all - self.all).max(1.0)
    }
}

/// A short run and a long one; the difference is the measured window. The time of an answer is
/// taken from runs of their own, since one that is under way at the end of a turn waits for the
/// next.
fn figures(scenario: &Scenario, servers: [&Server; 2], seconds: u64) -> Done<[Figures; 2]> {
    let Scenario {
        connections,
        pipeline,
        ..
    } = *scenario;
    let short = turns::run(servers, connections, pipeline, SHORT_SECONDS)?;
    let long = turns::run(servers, connections, pipeline, SHORT_SECONDS + seconds)?;
    let figures = |side: usize| {
        let (short, long, server) = (&short[side], &long[side], servers[side]);
        let requests = long.report.requests as f64 - short.report.requests as f64;
        if requests <= 0.0 {
            return Err(format!(
                "{}: no more answers in {seconds} s more: server or machine stuck",
                server.address()
            ));
        }
        let alone = wrk::run(&load(connections, pipeline, ALONE_SECONDS), &url(server))?;
        Ok(Figures {
            cpu_us: (long.cpu_ns as f64 - short.cpu_ns as f64) / 1000.0 / requests,
            requests_per_s: requests / seconds as f64,
            p99_ms: alone.p99_ms,
            socket_errors: long.report.socket_errors,
        })
    };
    Ok([figures(0)?, figures(1)?])
}

pub(super) fn load(connections: usize, pipeline: usize, seconds: u64) -> Load {
    Load {
        connections,
        pipeline,
        seconds,
        core: CLIENT_CORE,
    }
}

pub(super) fn url(server: &Server) -> String {
    format!("http://{}{PATH}", server.address())
}

/// CPU time of all threads of a process.
pub(super) fn cpu_ns(pid: u32) -> Done<u64> {
    let folder = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut sum = 0;
    for thread in threads.map_while(Result::ok) {
        // A thread that ended since the folder was read has no figures any more.
        let Ok(text) = read(&thread.path().join("schedstat")) else {
            continue;
        };
        let first = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        sum += first.ok_or_else(|| format!("{folder}: schedstat reads `{text}`"))?;
    }
    Ok(sum)
}

fn print_scenario(scenario: &Scenario, rounds: &[[Figures; 2]]) {
    let of = |side: usize, part: fn(&Figures) -> f64| median(rounds.iter().map(|r| part(&r[side])));
    let ratio =
        |part: fn(&Figures) -> f64| median(rounds.iter().map(|r| part(&r[1]) / part(&r[0])));
    // wrk measures no percentiles of pipelined requests.
    let p99 = |side| match of(side, |figures| figures.p99_ms) {
        0.0 => "-".to_owned(),
        figure => format!("{figure:.2}"),
    };
    let cpu = ratio(|figures| figures.cpu_us);
    let verdict = if cpu <= scenario.ratio_max {
        "met"
    } else {
        "MISSED"
    };
    println!(
        "{:<18}{:>9.3}{:>9.3}{:>8.3}{:>10.0}{:>10.0}{:>8.3}{:>9}{:>9}  <= {:.2}: {verdict}",
        scenario.name,
        of(0, |figures| figures.cpu_us),
        of(1, |figures| figures.cpu_us),
        cpu,
        of(0, |figures| figures.requests_per_s),
        of(1, |figures| figures.requests_per_s),
        ratio(|figures| figures.requests_per_s),
        p99(0),
        p99(1),
        scenario.ratio_max,
    );
    let ratios = rounds
        .iter()
        .map(|[raw, ours]| format!("{:.3}", ours.cpu_us / raw.cpu_us));
    println!(
        "    CPU x of each round: {}",
        ratios.collect::<Vec<_>>().join(" ")
    );
    for (side, name) in ["raw", "ours"].iter().enumerate() {
        let errors: u64 = rounds.iter().map(|round| round[side].socket_errors).sum();
        if errors > 0 {
            println!("    {name}: {errors} socket errors (refused, broken or timed out)");
        }
    }
}

/// Of at least one figure.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// Memory of a fresh server for each of many connections that asked once and then stay silent.
fn idle_rss(program: &Path) -> Done<f64> {
    let server = start(program)?;
    // What a first request sets up once is not a connection's.
    ask(&mut connect(&server)?, PATH, 1)?;
    let before = rss_bytes(server.pid())?;
    let mut streams = Vec::with_capacity(IDLE_CONNECTIONS);
    for _ in 0..IDLE_CONNECTIONS {
        let mut stream = connect(&server)?;
        ask(&mut stream, PATH, 1)?;
        streams.push(stream);
    }
    // All answers have come; what the server still does afterwards is to park.
    std::thread::sleep(Duration::from_secs(1));
    let after = rss_bytes(server.pid())?;
    Ok((after as f64 - before as f64) / streams.len() as f64)
}

fn rss_bytes(pid: u32) -> Done<u64> {
    let path = format!("/proc/{pid}/status");
    let text = read(Path::new(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| format!("{path}: no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn options_are_checked() {
        let parsed = Options::parse(&["--rounds", "2", "--server", "a"]).expect("good options");
        assert_eq!(
            (parsed.rounds, parsed.seconds, parsed.connections),
            (2, 5, None)
        );
        for bad in [&["--rounds", "0"][..], &["--rounds"], &["--fast", "1"]] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn figures_of_our_own_process_are_there() {
        let pid = std::process::id();
        assert!(rss_bytes(pid).expect("rss") > 0);
        assert!(cpu_ns(pid).is_ok());
    }
}
