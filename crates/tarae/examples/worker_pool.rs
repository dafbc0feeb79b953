//! A pool of workers behind a bounded channel: whoever makes jobs faster than they are done has to
//! wait, so memory stays bounded.
//!
//! Shows `mpmc::sync_channel` as backpressure, and `select!` to gather results while feeding.
//!
//! ```text
//! cargo run -p tarae --example worker_pool -- [JOBS [WORKERS [ROOM]]]
//! ```

use std::collections::VecDeque;
use std::io;

use tarae::sync::mpmc;

/// Something that takes a while: the steps of the Collatz sequence from `number` to 1.
fn steps(mut number: u64) -> u32 {
    let mut count = 0;
    while number != 1 {
        number = if number.is_multiple_of(2) {
            number / 2
        } else {
            3 * number + 1
        };
        count += 1;
    }
    count
}

/// The argument at `place`, or `default`; an error that names it if it is no number.
fn number(place: usize, default: usize) -> io::Result<usize> {
    std::env::args().nth(place).map_or(Ok(default), |text| {
        text.parse()
            .map_err(|_| io::Error::other(format!("`{text}` is not a number")))
    })
}

#[tarae::main]
fn main() -> io::Result<()> {
    let (jobs, workers, room) = (number(1, 1_000)?, number(2, 4)?, number(3, 8)?);
    let (submit, queue) = mpmc::sync_channel::<u64>(room);
    let (report, results) = mpmc::sync_channel(room);
    for _ in 0..workers {
        let (queue, report) = (queue.clone(), report.clone());
        tarae::spawn(move || {
            for job in queue {
                if report.send((job, steps(job))).is_err() {
                    return;
                }
            }
        });
    }
    // Only the workers are left: the results end with the last of them.
    drop((queue, report));

    let mut waiting: VecDeque<u64> = (1..=jobs as u64).collect();
    let (mut done, mut in_flight, mut most) = (0, 0, 0);
    let mut longest = (0, 0);
    while done < jobs {
        // Feeding and gathering at once: sending alone could wait for workers that wait for us.
        let result = if let Some(&job) = waiting.front() {
            tarae::select! {
                send(submit, job) -> sent => {
                    sent.map_err(|_| io::Error::other("no worker is left"))?;
                    waiting.pop_front();
                    in_flight += 1;
                    most = most.max(in_flight);
                    continue;
                }
                recv(results) -> result => result,
            }
        } else {
            results.recv()
        };
        let (job, steps) = result.map_err(io::Error::other)?;
        done += 1;
        in_flight -= 1;
        longest = longest.max((steps, job));
    }
    println!("{done} jobs, at most {most} in flight");
    println!("longest: {} with {} steps", longest.1, longest.0);
    Ok(())
}
