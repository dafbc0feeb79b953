//! Runtimes, and conditions to yield for. Decides nothing itself.

/// Runs on so many workers; every coroutine is expected to end.
pub(crate) fn run_on<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    tarae::Builder::new().workers(workers).run(main).unwrap()
}

#[allow(dead_code, reason = "not every test program needs each of these")]
/// Yields until `condition` holds; the guard of the test bounds it.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tarae::yield_now();
        std::thread::yield_now();
    }
}
