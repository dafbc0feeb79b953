//! Two servers under load by turns of a fraction of a second.
//!
//! Called by the limit benchmark. On a machine whose speed changes from second to second, a run of
//! one server and then of the other compares two machines. Here each server has a `wrk` of its own
//! for the whole run, and one of the two is stopped (SIGSTOP) at any time.

use super::limit::{cpu_ns, load, url};
use super::wrk::{Report, Running};
use crate::server::Server;
use crate::shell::Done;
use std::time::{Duration, Instant};

/// One server's turn.
const TURN: Duration = Duration::from_millis(200);
/// For connecting, before the first turn.
const CONNECT: Duration = Duration::from_secs(1);

/// What one server did.
pub(super) struct Share {
    pub(super) cpu_ns: u64,
    pub(super) report: Report,
}

/// Has the servers work for so many seconds each.
pub(super) fn run(
    servers: [&Server; 2],
    connections: usize,
    pipeline: usize,
    seconds: u64,
) -> Done<[Share; 2]> {
    let before = [cpu_ns(servers[0].pid())?, cpu_ns(servers[1].pid())?];
    // `wrk` looks at the clock: the time it is stopped for counts.
    let all = 2 * (seconds + CONNECT.as_secs());
    let begin = |server: &Server| {
        let running = Running::start(&load(connections, pipeline, all), &url(server))?;
        std::thread::sleep(CONNECT);
        running.stop()?;
        Ok::<_, String>(running)
    };
    let start = Instant::now();
    let clients = [begin(servers[0])?, begin(servers[1])?];
    let mut turn = 0;
    while start.elapsed() + TURN < Duration::from_secs(all) {
        // There and back again, so that neither always follows the other.
        let client = &clients[[0, 1, 1, 0][turn % 4]];
        client.go()?;
        std::thread::sleep(TURN);
        client.stop()?;
        turn += 1;
    }
    let [one, other] = clients;
    let [first, second] = [one.finish()?, other.finish()?];
    // The closing of the connections belongs to the run.
    std::thread::sleep(TURN);
    let share = |side: usize, report| {
        let cpu_ns = cpu_ns(servers[side].pid())?.saturating_sub(before[side]);
        Ok::<_, String>(Share { cpu_ns, report })
    };
    Ok([share(0, first)?, share(1, second)?])
}
