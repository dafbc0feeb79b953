//! A program in which nothing can ever run again says so, and ends with an error if it asked for
//! that. A program of its own, since the test runner has threads; each case is a process, which
//! this starts again with the case's name. Exits with an error if something is not so.

use std::sync::Arc;
use std::time::Duration;

use tarae::offload::{self, Pool};
use tarae::sync::{Barrier, Mutex, Notify, mpsc};

/// The cases: name, what it runs, whether it is to stand still.
const CASES: &[(&str, fn(), bool)] = &[
    ("park", || stands(1, tarae::thread::park), true),
    ("two workers", || stands(2, tarae::thread::park), true),
    ("locks and messages", || stands(2, locks_and_messages), true),
    ("a circle", || stands(2, circle), true),
    ("spread out", || stands(2, spread_out), true),
    (
        "an idle pool",
        || stands_beside("tarae-cpu", idle_pool),
        true,
    ),
    ("a watchdog", watchdog, true),
    (
        "an idle service thread",
        || stands_beside("tarae-service", idle_service),
        true,
    ),
    ("a thread that ends", || stands(1, thread_that_ends), true),
    (
        "sleep",
        || ends(|| tarae::time::sleep(Duration::from_millis(20))),
        false,
    ),
    ("listener", || ends(listener), false),
    ("another thread", || ends(another_thread), false),
    ("offload", || ends(offloaded), false),
    ("a job that nobody waits for", || ends(detached_job), false),
    ("callbacks", || ends(callbacks), false),
    ("turns", || ends(turns), false),
];

/// A time that does not pass in a test.
const FAR: Duration = Duration::from_secs(3600);

const SAID: &str = "tarae: deadlock: nothing can ever run again";

fn main() {
    if cfg!(tarae_tsan) {
        println!(
            "left out: ThreadSanitizer has a thread of its own, which is as good as any other"
        );
        return;
    }
    let asked = std::env::args().nth(1);
    if let Some((_, case, _)) = CASES
        .iter()
        .find(|(name, ..)| asked.as_deref() == Some(name))
    {
        return case();
    }
    for (name, _, stands) in CASES {
        let program = std::env::current_exe().expect("this program's path");
        let output = std::process::Command::new(program).arg(name).output();
        let output = output.expect("starting this program again");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}\n{said}", output.status);
        assert_eq!(
            said.matches(SAID).count(),
            usize::from(*stands),
            "{name}: {said}"
        );
        if *stands {
            assert!(said.contains("(main), spawned at"), "{name}: {said}");
        }
        if *name == "locks and messages" {
            for innermost in [
                "locks_and_messages\n             at ",
                "get\n             at ",
            ] {
                assert!(said.contains(innermost), "{name}: {said}");
            }
        }
    }
    println!("{} cases stand still or do not; ok", CASES.len());
}

fn runtime(workers: usize) -> tarae::Builder {
    let runtime = tarae::Builder::new().workers(workers);
    runtime
        .grace(Duration::from_millis(10))
        .deadlock_is_error(true)
}

fn stands(workers: usize, main: fn()) {
    let error = runtime(workers).run(main).unwrap_err();
    assert!(error.is_deadlock(), "{error}");
}

fn ends(main: fn()) {
    (1..=2).for_each(|workers| runtime(workers).run(main).unwrap());
}

/// One waits for a lock that is held by one that waits for a message of the first.
fn locks_and_messages() {
    let (sender, receiver) = mpsc::channel::<()>();
    let lock = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&lock);
    tarae::spawn(move || {
        let _held = theirs.lock().unwrap();
        get(&receiver);
    });
    while lock.try_lock().is_ok() {
        tarae::yield_now();
    }
    drop(lock.lock());
    drop(sender);
}

/// It is reported as one first, by a thread that is not to be taken for one that could help.
fn circle() {
    let lock = Mutex::new(());
    let _held = lock.lock();
    drop(lock.lock());
}

/// Such a thread is still there when it is found out.
fn stands_beside(name: &str, main: fn()) {
    stands(2, main);
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut names =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")));
    assert!(
        names.any(|known| known.is_ok_and(|known| known.starts_with(name))),
        "{name} is there"
    );
}

/// A pool whose threads stay for longer than anybody has patience.
fn idle_for_long() {
    let limits = offload::Builder::new(Pool::Cpu).idle(FAR);
    limits.apply().unwrap();
}

/// Its thread is at a job, which this coroutine is told of; then it has nothing to do.
fn idle_pool() {
    idle_for_long();
    offload::start_in(Pool::Cpu, || ()).wait().unwrap();
    tarae::thread::park();
}

/// It looks after the workers all the time.
fn watchdog() {
    let watched = runtime(2).watchdog(FAR);
    let error = watched.run(tarae::thread::park).unwrap_err();
    assert!(error.is_deadlock(), "{error}");
}

/// A callback for which there is neither a worker nor a pool's thread any more.
fn idle_service() {
    idle_for_long();
    await_callback();
    tarae::thread::park();
}

/// Woken by a thread that slept when it was given the callback, and may not be up before this one
/// has nothing to do. Likewise a pool's thread with a job.
fn callbacks() {
    for _ in 0..1_000 {
        await_callback();
        offload::start_in(Pool::Cpu, || ()).wait().unwrap();
    }
}

fn await_callback() {
    let call = offload::start_in(Pool::Cpu, || ());
    while !call.is_complete() {
        tarae::yield_now();
    }
    let this = tarae::current();
    call.on_complete(move |_| this.unpark());
    tarae::thread::park();
}

/// It looks on until this thread sleeps, and ends without a word.
fn thread_that_ends() {
    std::thread::spawn(until_asleep());
    tarae::thread::park();
}

/// Its thread is no bystander. The one before has made it, and left it idle.
fn detached_job() {
    offload::start(|| ()).wait().unwrap();
    let (this, until_asleep) = (tarae::current(), until_asleep());
    drop(offload::start(move || {
        until_asleep();
        this.unpark();
    }));
    tarae::thread::park();
}

/// Waits on another thread until this one sleeps.
fn until_asleep() -> impl FnOnce() + Send + 'static {
    let this = rustix::thread::gettid().as_raw_nonzero();
    move || {
        let path = format!("/proc/self/task/{this}/stat");
        let sleeps = || std::fs::read_to_string(&path).unwrap().contains(") S ");
        while !sleeps() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[inline(never)]
fn get(receiver: &mpsc::Receiver<()>) {
    receiver.recv().unwrap_err();
}

/// Many on both workers, after a lot of work.
fn spread_out() {
    let barrier = Arc::new(Barrier::new(101));
    for _ in 0..99 {
        let barrier = Arc::clone(&barrier);
        tarae::spawn(move || {
            (0..100).for_each(|_| tarae::yield_now());
            barrier.wait();
        });
    }
    barrier.wait();
}

fn listener() {
    let listener = tarae::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tarae::spawn(move || drop(listener.accept().unwrap()));
    tarae::yield_now();
    drop(tarae::net::TcpStream::connect(address).unwrap());
    acceptor.join().unwrap();
}

/// It takes its time; the runtime has nothing to do meanwhile.
fn another_thread() {
    let notify = Arc::new(Notify::new());
    let theirs = Arc::clone(&notify);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        theirs.notify_one();
    });
    notify.notified().wait().unwrap();
    thread.join().unwrap();
}

fn offloaded() {
    tarae::offload(|| std::thread::sleep(Duration::from_millis(20))).unwrap();
}

/// Two wake each other all the time: workers are quiet again and again, and never all for good.
fn turns() {
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let theirs = (Arc::clone(&ping), Arc::clone(&pong));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let theirs = (Arc::clone(&theirs.0), Arc::clone(&theirs.1));
            tarae::spawn(move || {
                for _ in 0..10_000 {
                    theirs.0.notified().wait().unwrap();
                    theirs.1.notify_one();
                }
            })
        })
        .collect();
    // Blocked, so that another worker takes one of the two.
    std::thread::sleep(Duration::from_millis(5));
    for _ in 0..20_000 {
        ping.notify_one();
        pong.notified().wait().unwrap();
    }
    for other in others {
        other.join().unwrap();
    }
}
