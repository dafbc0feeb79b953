//! Threads of a model.

pub(super) use loom::thread::*;

/// As `loom`'s, and the new thread may come first. Without the yield the checker never lets it run
/// before the first load of the thread that spawns it: it switches at a load only where another
/// thread has already written.
pub(super) fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let handle = loom::thread::spawn(f);
    yield_now();
    handle
}
