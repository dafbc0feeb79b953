//! Synchronous or asynchronous, blocking or non-blocking: measured (section 2.7 of the notes).
//!
//! The same thing, a message over a socket, is had in six ways. Two questions are asked of each:
//! had the call *returned* before the message was sent? Then it was asynchronous: its caller did
//! not wait for the result. And did the calling thread *run* anything before that? Then it was not
//! blocked. Beside it stand the thread's voluntary context switches (it gave the CPU up), its CPU
//! time against the time of the clock, the number of `read` calls, and which thread called, read
//! and processed.
//!
//! ```text
//! cargo run -p tarae --example quadrants
//! ```

use std::io;

mod measure;
mod ways;

use measure::Row;

fn named(rows: &[Row], returned: bool, ran: bool) -> String {
    let in_it = rows
        .iter()
        .filter(|row| row.returned == returned && (row.ran > 0) == ran);
    let names: Vec<_> = in_it.map(|row| row.way).collect();
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}

fn quadrants(rows: &[Row]) {
    println!();
    println!("synchronous and blocking: {}", named(rows, false, false));
    println!("synchronous and non-blocking: {}", named(rows, false, true));
    println!("asynchronous and non-blocking: {}", named(rows, true, true));
    println!("asynchronous and blocking: {}", named(rows, true, false));
    println!(
        "\n\
        The last cannot be filled. An asynchronous call has returned before its result is there,\n\
        and a caller that was returned to runs; a blocked thread runs nothing. So what blocks is\n\
        synchronous. What does not block may be either: polling runs, but all it runs is the\n\
        question whether the result is there, and it returns no sooner.\n\
        A coroutine waits as well, in the line of its call; but what waits is the coroutine.\n\
        It is parked, and its thread runs the others."
    );
}

fn main() -> io::Result<()> {
    let rows = [
        ways::blocking()?,
        ways::polling()?,
        ways::check()?,
        ways::notification()?,
        ways::callback()?,
        ways::coroutine()?,
    ];
    print!("way          returned   ran reads voluntary  cpu_us wall_us ");
    println!("called       read_on      processed_on");
    rows.iter().for_each(|row| println!("{row}"));
    quadrants(&rows);
    Ok(())
}
