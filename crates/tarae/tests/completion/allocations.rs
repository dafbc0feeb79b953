//! At most two allocations for a completion, in every way of starting and collecting: a test with
//! an allocator that counts, in a program of its own.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

use tarae::completion::{Check, Completion, Completions};
use tarae::fs::File;
use tarae::net::{TcpListener, TcpStream};
use tarae::offload::{self, Builder, Pool};

struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

// SAFETY: `System` does the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(1, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.fetch_add(1, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Calls that are counted together, so that what grows now and then does not hide one of each.
const CALLS: u64 = 200;

static COLLECTED: AtomicU64 = AtomicU64::new(0);

fn collected<R>(_: R) {
    COLLECTED.fetch_add(1, SeqCst);
}

/// Allocations for each call, rounded up to a quarter, when all queues have grown. Everything that
/// was allocated is freed again.
fn per_call(start_and_collect: &mut dyn FnMut()) -> f64 {
    let mut run = || {
        let before = ALLOCATED.load(SeqCst);
        for _ in 0..CALLS {
            let goal = COLLECTED.load(SeqCst) + 1;
            start_and_collect();
            while COLLECTED.load(SeqCst) < goal {
                tarae::yield_now();
                std::thread::yield_now();
            }
        }
        ALLOCATED.load(SeqCst) - before
    };
    run();
    let before = FREED.load(SeqCst);
    let allocated = run();
    // What grows stays. A job may be freed by its pool's thread a little later.
    let is_freed = || allocated <= FREED.load(SeqCst) - before + 16;
    let waited = (0..10_000).find(|_| {
        let is_freed = is_freed();
        std::thread::sleep(Duration::from_millis(u64::from(!is_freed)));
        is_freed
    });
    assert!(waited.is_some(), "{allocated} allocated, not all freed");
    // A queue may grow for the first time now, if its reader has been fast until here.
    (allocated.saturating_sub(8) * 4).div_ceil(CALLS) as f64 / 4.0
}

type Collector<T> = (&'static str, Box<dyn Fn(Completion<T>)>);

/// Every way, but for executors, whose interface is a box.
fn collectors<T: Send + 'static>() -> Vec<Collector<T>> {
    let queue = Completions::new();
    queue.notify_fd().unwrap();
    vec![
        (
            "check",
            Box::new(|mut call| {
                loop {
                    match call.try_get() {
                        Check::Ready(result) => return collected(result),
                        _ => tarae::yield_now(),
                    }
                }
            }),
        ),
        (
            "callback, registered late",
            Box::new(|call| {
                while !call.is_complete() {
                    tarae::yield_now();
                }
                call.on_complete(collected);
            }),
        ),
        // After the one before, which has made the service thread: a job may be done so soon that
        // its callback comes late.
        ("callback", Box::new(|call| call.on_complete(collected))),
        (
            "notification",
            Box::new(move |call| {
                queue.add(1, call);
                while let Some((_, result)) = queue.next() {
                    collected(result);
                }
            }),
        ),
        (
            "future",
            Box::new(|mut call| {
                let mut context = Context::from_waker(Waker::noop());
                while Future::poll(Pin::new(&mut call), &mut context).is_pending() {
                    tarae::yield_now();
                }
                collected(call);
            }),
        ),
        ("wait", Box::new(|call| collected(call.wait()))),
    ]
}

fn check<T: Send + 'static>(starter: &str, most: f64, mut start: impl FnMut() -> Completion<T>) {
    for (collector, collect) in collectors() {
        let count = per_call(&mut || collect(start()));
        println!("{starter}, {collector}: {count}");
        assert!(count <= most, "{starter}, {collector}: {count} each");
        assert!(count >= 0.75, "{starter}, {collector}: {count} each");
    }
}

#[test]
fn a_completion_costs_two_allocations_at_most() {
    // One thread that stays, so that none is made while it counts.
    Builder::new(Pool::Cpu).threads(1).apply().unwrap();
    Builder::new(Pool::Blocking).threads(1).apply().unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    let runtime = tarae::Builder::new().workers(1);
    let ended = runtime.run(|| {
        // While there is a timer nobody looks for a standstill, which reads the list of threads.
        let _timer = tarae::spawn(|| tarae::time::sleep(Duration::from_secs(3600)));
        check("coroutine", 2.0, || tarae::start(|| [1u64; 4]));
        check("job", 1.0, || offload::start_in(Pool::Cpu, || [1u64; 4]));
        check("a file's read", 1.0, || file.start_read_at([0u8; 1], 0));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        check("a read that waits", 2.0, || {
            let read = client.start_read([0u8; 1]);
            assert!(!read.is_complete());
            (&server).write_all(b"a").unwrap();
            read
        });
        check("a write that is done at once", 1.0, || {
            let write = server.start_write(*b"a");
            let _ = std::io::Read::read(&mut &client, &mut [0; 64]);
            write
        });
    });
    ended.unwrap();
    check("job, without a runtime", 1.0, || {
        offload::start_in(Pool::Cpu, || [1u64; 4])
    });
}
