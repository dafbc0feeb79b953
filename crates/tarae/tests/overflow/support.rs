//! What the tests share: a test in a process of its own that is to die, and ways to overflow.
//! Called by every test; decides nothing itself.

#[path = "../shared/kernel.rs"]
pub(crate) mod kernel;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "TARAE_TEST_CHILD";

/// How a process ended.
pub(crate) struct End {
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl End {
    /// Killed by SIGABRT after one report; gives its lines without the mark.
    pub(crate) fn report(&self) -> Vec<&str> {
        self.killed_by(libc_signal::ABORT);
        let mark = "tarae: ";
        let lines = self.stderr.lines();
        let report: Vec<&str> = lines.filter_map(|line| line.strip_prefix(mark)).collect();
        assert_eq!(report.len(), 2, "{}", self.stderr);
        report
    }

    pub(crate) fn killed_by(&self, signal: i32) -> &End {
        assert_eq!(
            self.signal,
            Some(signal),
            "code {:?}: {}",
            self.code,
            self.stderr
        );
        self
    }

    pub(crate) fn unreported(&self) -> &End {
        assert!(!self.stderr.contains("tarae: "), "{}", self.stderr);
        self
    }
}

/// The signals' numbers, the same on every platform that is supported.
pub(crate) mod libc_signal {
    pub(crate) const ABORT: i32 = 6;
    pub(crate) const SEGV: i32 = 11;
}

/// Runs `body` on the first thread of a process that runs nothing but the test `name`; gives its
/// end. The body must not return.
pub(crate) fn end_of(name: &str, body: impl FnOnce()) -> End {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        leave_no_core();
        end_if_stuck();
        body();
        eprintln!("the end of the body was reached");
        std::process::exit(99);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    End {
        signal: output.status.signal(),
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ends the process with 98 when it hangs; a generous bound, since the machine may be busy.
fn end_if_stuck() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(120));
        eprintln!("stuck");
        std::process::exit(98);
    });
}

fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).unwrap();
}

/// Deep recursion by small frames.
#[inline(never)]
pub(crate) fn recurse(depth: u64) -> u64 {
    let local = black_box([depth; 4]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + local[3]
}

/// One frame of `BYTES`.
#[inline(never)]
pub(crate) fn frame<const BYTES: usize>() -> u8 {
    let local = black_box([1u8; BYTES]);
    local[BYTES / 2]
}

/// Recursion by frames larger than the guard.
#[inline(never)]
pub(crate) fn recurse_by_large_frames(depth: u64) -> u64 {
    let local = black_box([1u8; 100 * 1024]);
    if depth == u64::MAX {
        return 0;
    }
    recurse_by_large_frames(depth + 1) + u64::from(local[1000])
}
