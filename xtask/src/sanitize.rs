//! The tests of the runtime and the server under AddressSanitizer and ThreadSanitizer: steps of
//! `soak`.
//!
//! Called by `soak` and `cargo xtask sanitize`. Needs a nightly compiler with its source, and has
//! rustup install them. Must never take silence for an answer: before the tests run, each sanitizer
//! has to find the faults in `tests/sanitizers/faults.rs`, and nothing in the same program without
//! them.

use crate::shell::{self, Done, NIGHTLY, target};
use std::process::Command;

struct Sanitizer {
    name: &'static str,
    flags: &'static str,
    /// Arguments for cargo, so that what must be told of switches is told.
    cargo: &'static [&'static str],
    /// The variable with its options, and those for the tests.
    options: (&'static str, &'static str),
    /// Faults, and what it has to say of each.
    faults: &'static [(&'static str, &'static str)],
    /// Tests that cannot run under it, by a part of their names, and why; beside `BOTH`.
    left_out: &'static [(&'static str, &'static str)],
}

/// What neither can run.
const BOTH: &[(&str, &str)] = &[
    (
        "scale::",
        "more stacks than it has numbers (8,128) or shadow for",
    ),
    (
        "fallback::",
        "limits the process, and with it the sanitizer",
    ),
    (
        "limits::on_",
        "limits the process, and with it the sanitizer",
    ),
    ("starved::", "limits the process, and with it the sanitizer"),
    (
        "abort::",
        "builds a program that aborts, for which `std` is there uninstrumented only",
    ),
    (
        "report::",
        "the sanitizer's handler reports an overflow first",
    ),
    (
        "faults::",
        "the sanitizer's handlers see other faults first, too",
    ),
    (
        "watchdog::",
        "the handler copies a stack with poisoned gaps, and is called late",
    ),
    (
        "a_stack_that_is_nearly_full_is_shown_too",
        "fills a stack by the size that its frames have without it",
    ),
    (
        "a_request_costs_one_receive_and_one_send",
        "counts system calls, of which the sanitizer makes some",
    ),
    (
        "ten_thousand",
        "more stacks than it has numbers (8,128) or shadow for",
    ),
    (
        "a_hundred_thousand",
        "measures memory, of which the sanitizer takes more",
    ),
    (
        "a_crowd_is_served_by_and_by",
        "measures memory, of which the sanitizer takes more",
    ),
    (
        "attacked::",
        "measures memory, of which the sanitizer takes more",
    ),
    (
        "server_rests::",
        "counts system calls, of which the sanitizer makes some",
    ),
    ("two_hundred_runs", "measures address space, as above"),
    ("leaked_stacks_are_seen", "measures address space, as above"),
    ("stacks_are_reused", "measures address space, as above"),
];

const ADDRESS: Sanitizer = Sanitizer {
    name: "asan",
    flags: "-Zsanitizer=address",
    cargo: &["--features", "corosensei/sanitizer"],
    // Tests leak on purpose: stacks that will not end, sockets that are forgotten. So leaks are
    // looked for in the program without faults only.
    options: ("ASAN_OPTIONS", "detect_leaks=0"),
    faults: &[
        ("use-after-free", "heap-use-after-free"),
        ("beyond-a-local", "stack-buffer-overflow"),
    ],
    left_out: &[
        (
            "a_stack_size_of_its_own",
            "the shadow of all of a stack is cleared at its end; that one is of many gigabytes",
        ),
        (
            "stress::receives_end_once",
            "the process grows by gigabytes under it, and to 10 MiB without",
        ),
    ],
};

const THREAD: Sanitizer = Sanitizer {
    name: "tsan",
    // Without the notes on entries and exits of functions it would keep a stack of its own for each
    // fiber, which a panic leaves uneven until memory is overwritten. Its reports then name the
    // innermost function only; what it finds is the same.
    flags: "-Zsanitizer=thread --cfg tarae_tsan -Cunsafe-allow-abi-mismatch=sanitizer \
            -Cllvm-args=-tsan-instrument-func-entry-exit=0",
    cargo: &["-Zbuild-std"],
    // The first report ends the test it is in.
    options: ("TSAN_OPTIONS", "halt_on_error=1"),
    faults: &[("race", "data race")],
    left_out: &[
        (
            "signals::",
            "it delays signals until the thread makes a call that it knows",
        ),
        ("signals_come_as_events", "as above"),
        ("server_drain::", "as above"),
        ("out_of_descriptors_it_stops", "as above"),
        (
            "connections_are_spread_evenly",
            "a thousand coroutines are too slow under it to end within the grace",
        ),
    ],
};

/// Both sanitizers; the first report ends it.
pub(crate) fn run() -> Done {
    install()?;
    address()?;
    thread()
}

/// The tests under AddressSanitizer.
pub(crate) fn address() -> Done {
    ADDRESS.run()
}

/// The tests under ThreadSanitizer.
pub(crate) fn thread() -> Done {
    THREAD.run()
}

/// Sees to it that the nightly compiler and its source are there.
pub(crate) fn install() -> Done {
    if !shell::has("rustup") {
        return Err(format!(
            "the sanitizers need a {NIGHTLY} compiler and the component rust-src, by rustup"
        ));
    }
    let words = ["toolchain", "install", NIGHTLY, "--profile", "minimal"];
    let there = Command::new("rustup")
        .args(["run", NIGHTLY, "rustc", "-V"])
        .output();
    if !there.is_ok_and(|output| output.status.success()) {
        shell::run(Command::new("rustup").args(words))?;
    }
    let source = ["component", "add", "rust-src", "--toolchain", NIGHTLY];
    shell::run(Command::new("rustup").args(source))
}

impl Sanitizer {
    fn run(&self) -> Done {
        self.find("none", None)?;
        for (fault, said) in self.faults {
            self.find(fault, Some(said))?;
        }
        // Tests start the examples; `cargo test` makes them only where it is not told what to test.
        let packages = ["--package=tarae", "--package=tarae-http"];
        shell::run(self.cargo("build").args(packages).arg("--examples"))?;
        let mut tests = self.cargo("test");
        tests.env(self.options.0, self.options.1);
        tests
            .args(packages)
            .args(["--lib", "--tests", "--no-fail-fast"]);
        tests.arg("--");
        for (name, why) in BOTH.iter().chain(self.left_out) {
            println!("left out: {name}: {why}");
            tests.args(["--skip", name]);
        }
        shell::run(&mut tests)
    }

    /// Runs the program with one of its faults, and sees whether it is found.
    fn find(&self, fault: &str, said: Option<&str>) -> Done {
        println!("{}: looking for the fault `{fault}`", self.name);
        let mut program = self.cargo("test");
        program.args(["--package=tarae", "--test=sanitizer_faults", "--", fault]);
        let result = shell::output(&mut program);
        match (result, said) {
            (Ok(_), None) => Ok(()),
            (Err(message), Some(said)) if message.contains(said) => Ok(()),
            (Ok(_), Some(_)) => Err(format!("{} did not find `{fault}`", self.name)),
            (Err(message), _) => Err(message),
        }
    }

    fn cargo(&self, command: &str) -> Command {
        let mut cargo = shell::nightly_cargo(command);
        cargo
            .args(self.cargo)
            .arg(format!("--target={}", shell::platform()))
            .env("RUSTFLAGS", self.flags)
            .env("CARGO_TARGET_DIR", target().join("xtask").join(self.name));
        cargo
    }
}
