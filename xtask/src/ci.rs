//! `cargo xtask ci`: what every change must pass, in order, each step with its time.
//!
//! Called by people and `.ci/run`. Must never skip a step in silence, and must end with the test
//! runner, so that the last lines are cargo's own.

use crate::shell::{self, Done, cargo};
use crate::{setup, smoke, tidy};
use std::time::{Duration, Instant};

/// A step's name and what it does.
type Step = (&'static str, fn() -> Done);

/// Cheap steps first: the commonest faults show within seconds.
const STEPS: &[Step] = &[
    ("set-up", setup::run_step),
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("doc", doc),
    ("hello", smoke::hello),
    ("smoke", smoke::serve),
];

/// Runs all steps; the first failure ends it.
pub(crate) fn run_all(steps: &[Step]) -> Done {
    let mut times = Vec::new();
    for (name, step) in steps {
        println!("\n=== {name}");
        let start = Instant::now();
        step().map_err(|message| format!("{name}: {message}"))?;
        let time = start.elapsed();
        println!("=== {name}: passed in {}", seconds(time));
        times.push(format!("{name} {}", seconds(time)));
    }
    println!("\n=== passed so far: {}", times.join(", "));
    Ok(())
}

/// The whole of `cargo xtask ci`.
pub(crate) fn run() -> Done {
    run_all(STEPS)?;
    println!("=== tests");
    shell::run(&mut cargo(&["test", "--workspace"]))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn fmt() -> Done {
    shell::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    let others = [
        "bench/Cargo.toml",
        "examples/hello/Cargo.toml",
        "fuzz/Cargo.toml",
        "crates/tarae/tests/sched/abort/Cargo.toml",
    ];
    for manifest in others {
        shell::run(&mut cargo(&[
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            manifest,
        ]))?;
    }
    Ok(())
}

fn clippy() -> Done {
    shell::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc() -> Done {
    let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}
