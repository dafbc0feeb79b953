//! What the tests share: a watchdog, a process of one's own, kernels that refuse, figures of the
//! process, coroutines that park until they are let go. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/kernel.rs"]
pub(crate) mod kernel;
#[path = "../shared/alone.rs"]
mod process;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tarae::inspect::{State, WaitReason, coroutines};
use tarae::thread::{self, JoinHandle};

use guards::guard_saying;
pub(crate) use process::alone;

/// How long a test may take before it counts as stuck.
fn patience() -> Duration {
    Duration::from_secs(if soak() { 300 } else { 60 })
}

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let _guard = guard_saying(name, patience(), || ());
    test()
}

/// Whether the long versions are wanted (`cargo xtask soak`).
pub(crate) fn soak() -> bool {
    std::env::var_os("TARAE_SOAK").is_some()
}

/// Runs on one worker; every coroutine is expected to end.
pub(crate) fn run<T>(main: impl FnOnce() -> T) -> T {
    tarae::Builder::new().workers(1).run(main).unwrap()
}

/// Bytes of a line such as `VmRSS:` of the process's status.
pub(crate) fn memory(line: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let digits = found.unwrap().trim().trim_end_matches(" kB");
    digits.parse::<usize>().unwrap() * 1024
}

/// The process's mappings, one line each.
pub(crate) fn mappings() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().map(str::to_owned).collect()
}

/// The guards made by protection: mappings of 64 KiB that nobody may touch.
pub(crate) fn protected_guards() -> usize {
    let is_guard = |line: &&String| {
        let mut words = line.split(' ');
        let (from, to) = words.next().unwrap().split_once('-').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        let private = words.next() == Some("---p");
        private && address(to) - address(from) == 64 * 1024
    };
    mappings().iter().filter(is_guard).count()
}

/// Whether guards take no mappings here.
pub(crate) fn has_guard_advice() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').flat_map(str::parse::<u32>);
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 13)
}

/// How many mappings a process may have.
pub(crate) fn mappings_max() -> usize {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    text.trim().parse().unwrap()
}

/// Lets the process have so much of something from now on, or as much as it may.
pub(crate) fn limit(resource: Resource, bytes: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    let current = bytes.or(maximum);
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

/// Lets the address space grow by so much.
pub(crate) fn limit_growth(bytes: usize) {
    limit(Resource::As, Some((memory("VmSize:") + bytes) as u64));
}

/// A place where coroutines park until it opens.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    open: Arc<AtomicBool>,
    arrived: Arc<AtomicUsize>,
    through: Arc<AtomicUsize>,
}

impl Gate {
    /// Spawns a coroutine that calls `f`, waits here, and gives what it got.
    #[track_caller]
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let gate = self.clone();
        tarae::spawn(move || {
            let value = f();
            gate.pass();
            value
        })
    }

    /// Waits here.
    pub(crate) fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while !self.open.load(Ordering::SeqCst) {
            thread::park();
        }
        self.through.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many have begun to wait here.
    pub(crate) fn until_arrived(&self, count: usize) {
        until(|| self.arrived() >= count);
    }

    pub(crate) fn arrived(&self) -> usize {
        self.arrived.load(Ordering::SeqCst)
    }

    pub(crate) fn through(&self) -> usize {
        self.through.load(Ordering::SeqCst)
    }

    /// Lets all go that are and will be here.
    pub(crate) fn open<T>(&self, waiting: &[JoinHandle<T>]) {
        self.open.store(true, Ordering::SeqCst);
        waiting.iter().for_each(|handle| handle.thread().unpark());
    }
}

/// Yields until `condition` holds; the watchdog of the test bounds it.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// Lets the worker go idle until `condition` holds, looking now and then.
pub(crate) fn idle_until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many coroutines are parked by `park`, and how many wait for a stack. The main one is not
/// counted: it parks for the answers.
pub(crate) fn parked_and_starved() -> (usize, usize) {
    let mut all = coroutines(Duration::from_secs(60));
    all.retain(|one| one.name.as_deref() != Some("main"));
    let count = |state, reason| {
        let is = |one: &&tarae::inspect::Coroutine| (one.state, one.waits_for) == (state, reason);
        all.iter().filter(is).count()
    };
    (
        count(State::Parked, WaitReason::Park),
        count(State::Unstarted, WaitReason::Stack),
    )
}
