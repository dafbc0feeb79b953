//! A program in which nothing can ever run again says so, and ends with an error if it asked for
//! that. A program of its own, since the test runner has threads; each case is a process, which
//! this starts again with the case's name. Exits with an error if something is not so.

use std::sync::Arc;
use std::time::Duration;

use tarae::sync::{Barrier, Mutex, Notify, mpsc};

/// The cases: name, what it runs, whether it is to stand still.
const CASES: &[(&str, fn(), bool)] = &[
    ("park", || stands(1, tarae::thread::park), true),
    ("two workers", || stands(2, tarae::thread::park), true),
    ("locks and messages", || stands(2, locks_and_messages), true),
    ("a circle", || stands(2, circle), true),
    ("spread out", || stands(2, spread_out), true),
    (
        "sleep",
        || ends(|| tarae::time::sleep(Duration::from_millis(20))),
        false,
    ),
    ("listener", || ends(listener), false),
    ("another thread", || ends(another_thread), false),
    ("offload", || ends(offload), false),
    ("turns", || ends(turns), false),
];

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

fn offload() {
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
