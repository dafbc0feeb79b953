//! Running `wrk`, and reading what it prints.
//!
//! Called by the limit benchmark and by the smoke test. Must never pass over an answer that `wrk`
//! counted as wrong.

use crate::shell::{Done, output, root};
use std::process::{Child, Command, Stdio};

/// One run.
pub(crate) struct Load {
    /// Held open at once.
    pub(crate) connections: usize,
    /// Requests sent together on one connection: 1, or what `bench/pipeline.lua` sends.
    pub(crate) pipeline: usize,
    /// How long.
    pub(crate) seconds: u64,
    /// The core that `wrk` may use.
    pub(crate) core: usize,
}

/// What one run gave.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    /// Answers received.
    pub(crate) requests: u64,
    /// In that time.
    pub(crate) seconds: f64,
    /// 99 of 100 answers came within that many milliseconds.
    pub(crate) p99_ms: f64,
    /// Connections refused or broken, and timeouts.
    pub(crate) socket_errors: u64,
}

/// Requests in one write of `bench/pipeline.lua`.
pub(crate) const PIPELINE: usize = 16;

/// Runs `wrk` with one thread.
pub(crate) fn run(load: &Load, url: &str) -> Done<Report> {
    report(url, &output(&mut command(load, url))?)
}

/// Of a server that answered at least once.
fn report(url: &str, text: &str) -> Done<Report> {
    let report = parse(text).map_err(|fault| format!("wrk printed {fault}:\n{text}"))?;
    if report.requests == 0 {
        return Err(format!("wrk: {url} answered nothing:\n{text}"));
    }
    Ok(report)
}

fn command(load: &Load, url: &str) -> Command {
    let mut command = Command::new("taskset");
    command
        .arg("-c")
        .arg(load.core.to_string())
        .args(["wrk", "-t1", "--latency"]);
    command.args(["--timeout", "8s", &format!("-c{}", load.connections)]);
    command.arg(format!("-d{}s", load.seconds));
    if load.pipeline == PIPELINE {
        command.arg("-s").arg(root().join("bench/pipeline.lua"));
    }
    command.arg(url);
    command
}

/// A `wrk` that runs, or is stopped. Dropping it ends it.
pub(crate) struct Running {
    /// `None` once its report is waited for.
    child: Option<Child>,
    url: String,
}

impl Running {
    /// Starts one.
    pub(crate) fn start(load: &Load, url: &str) -> Done<Self> {
        let started = command(load, url).stdout(Stdio::piped()).spawn();
        let child = started.map_err(|error| format!("wrk: cannot start: {error}"))?;
        Ok(Running {
            child: Some(child),
            url: url.to_owned(),
        })
    }

    /// Has it do nothing until `go`.
    pub(crate) fn stop(&self) -> Done {
        self.signal("-STOP")
    }

    /// Has it go on.
    pub(crate) fn go(&self) -> Done {
        self.signal("-CONT")
    }

    fn signal(&self, name: &str) -> Done {
        let pid = self.child.as_ref().map_or(0, Child::id).to_string();
        crate::shell::run(Command::new("kill").args([name, &pid]))
    }

    /// Has it go on and waits for its report.
    pub(crate) fn finish(mut self) -> Done<Report> {
        self.go()?;
        let child = self.child.take().expect("present until now");
        let output = child
            .wait_with_output()
            .map_err(|error| format!("wrk: {error}"))?;
        report(&self.url, &String::from_utf8_lossy(&output.stdout))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Holds that many connections for two seconds; every one must be answered, and rightly.
pub(crate) fn hold(url: &str, connections: usize) -> Done {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        "-d2s",
        "--timeout",
        "20s",
        &format!("-c{connections}"),
        "--latency",
    ]);
    let text = output(command.arg(url))?;
    let report = report(url, &text)?;
    if report.socket_errors > 0 || report.requests < connections as u64 {
        return Err(format!(
            "{connections} connections were not all served:\n{text}"
        ));
    }
    Ok(())
}

/// Reads the report; the error says what is wrong with it.
fn parse(text: &str) -> Result<Report, String> {
    let line = |words: &str| {
        text.lines()
            .map(str::trim)
            .find(|line| line.contains(words))
    };
    if let Some(wrong) = line("Non-2xx") {
        return Err(format!("`{wrong}`"));
    }
    let total = line(" requests in ").ok_or("no total")?;
    let (requests, rest) = total.split_once(" requests in ").ok_or("no total")?;
    let time = rest.split(',').next().unwrap_or_default();
    let latency = line("99%").ok_or("no percentiles")?;
    let latency = latency.split_whitespace().nth(1).unwrap_or_default();
    let errors = line("Socket errors:").unwrap_or_default();
    let errors = errors
        .split([' ', ','])
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    Ok(Report {
        requests: requests
            .parse()
            .map_err(|_| format!("no count in `{total}`"))?,
        seconds: seconds(time).ok_or_else(|| format!("no time in `{total}`"))?,
        p99_ms: seconds(latency).ok_or_else(|| format!("no time in `{latency}`"))? * 1000.0,
        socket_errors: errors,
    })
}

/// `1.50m`, `2.10s`, `3.00ms`, `640.00us`.
fn seconds(text: &str) -> Option<f64> {
    let units = [
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 2s test @ http://127.0.0.1:1/\n  Latency Distribution\n\
        \x20    50%  640.00us\n     99%    3.50ms\n  240116 requests in 2.10s, 30.46MB read\n\
        \x20 Socket errors: connect 1, read 2, write 0, timeout 4\nRequests/sec: 114342.04\n";

    #[test]
    fn the_report_is_read() {
        let want = Report {
            requests: 240_116,
            seconds: 2.1,
            p99_ms: 3.5,
            socket_errors: 7,
        };
        assert_eq!(parse(TEXT), Ok(want));
    }

    #[test]
    fn wrong_answers_are_errors() {
        let text = format!("{TEXT}  Non-2xx or 3xx responses: 3\n");
        assert_eq!(parse(&text), Err("`Non-2xx or 3xx responses: 3`".into()));
    }

    #[test]
    fn times_have_units() {
        let cases = [
            ("90.00us", 90e-6),
            ("1.50m", 90.0),
            ("2.00s", 2.0),
            ("1.00h", 3600.0),
        ];
        for (text, want) in cases {
            let got = seconds(text).expect("a time");
            assert!((got - want).abs() < 1e-12, "{text}: {got}");
        }
        assert_eq!(seconds("4"), None);
    }
}
