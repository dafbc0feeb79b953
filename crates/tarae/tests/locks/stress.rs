//! Each primitive between coroutines of two workers and four plain threads: the counts are exact
//! only if nobody is let in wrongly, and come about only if no wake-up is lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::sync::{
    Barrier, Condvar, LazyLock, Mutex, Notify, OnceLock, RwLock, Semaphore, WaitGroup,
};
use tarae::time::Instant;

use crate::support::{PARTIES, contend};

const EACH: usize = 5_000;

fn soon() -> Instant {
    Instant::now() + Duration::from_micros(200)
}

/// Some of those who lock give up when it takes too long.
#[test]
fn mutex() {
    let locked = Arc::new(Mutex::new(0usize));
    let gave_up = Arc::new(AtomicUsize::new(0));
    let (lock, missed) = (Arc::clone(&locked), Arc::clone(&gave_up));
    let inside = AtomicUsize::new(0);
    contend("mutex", move |party| {
        for n in 0..EACH {
            let guard = if n % 3 == 0 {
                lock.lock_cancellable(soon())
            } else {
                Ok(lock.lock())
            };
            let Ok(guard) = guard else {
                missed.fetch_add(1, SeqCst);
                continue;
            };
            let mut total = guard.unwrap();
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "two inside");
            *total += 1;
            if n % 100 == party {
                // Held across a suspension.
                tarae::yield_now();
            }
            inside.fetch_sub(1, SeqCst);
        }
    });
    let total = *locked.try_lock().unwrap();
    assert_eq!(total + gave_up.load(SeqCst), PARTIES * EACH);
}

#[test]
fn rwlock() {
    let locked = Arc::new(RwLock::new((0usize, 0usize)));
    let lock = Arc::clone(&locked);
    let written = Arc::new(AtomicUsize::new(0));
    let wrote = Arc::clone(&written);
    contend("rwlock", move |party| {
        for n in 0..EACH {
            if n % 4 == 0 {
                let Ok(guard) = lock.write_cancellable((n % 8 == 0).then(soon)) else {
                    continue;
                };
                let mut pair = guard.unwrap();
                pair.0 += 1;
                if n % 100 == party {
                    tarae::yield_now();
                }
                pair.1 += 1;
                wrote.fetch_add(1, SeqCst);
            } else {
                let pair = lock.read().unwrap();
                assert_eq!(pair.0, pair.1, "a reader beside a writer");
            }
        }
    });
    let count = written.load(SeqCst);
    assert_eq!(*locked.try_write().unwrap(), (count, count));
}

/// Requests of different size; some give up.
#[test]
fn semaphore() {
    const PERMITS: usize = 3;
    let permits = Arc::new(Semaphore::new(PERMITS));
    let semaphore = Arc::clone(&permits);
    let inside = AtomicUsize::new(0);
    let served = Arc::new(AtomicUsize::new(0));
    let got = Arc::clone(&served);
    contend("semaphore", move |party| {
        for n in 0..EACH {
            let count = (n + party) % PERMITS + 1;
            let permit = if n % 5 == 0 {
                semaphore.acquire_many_until(count as u32, soon())
            } else {
                semaphore.acquire_many(count as u32)
            };
            let Ok(permit) = permit else { continue };
            let others = inside.fetch_add(count, SeqCst);
            assert!(others + count <= PERMITS, "too many inside");
            if n % 100 == party {
                tarae::yield_now();
            }
            inside.fetch_sub(count, SeqCst);
            assert_eq!(permit.num_permits(), count);
            got.fetch_add(1, SeqCst);
        }
    });
    assert_eq!(permits.available_permits(), PERMITS);
    assert!(served.load(SeqCst) >= PARTIES * EACH * 4 / 5);
}

/// A buffer with room for four: half of the parties put, half take; one condition for each.
#[test]
fn condvar() {
    #[derive(Default)]
    struct Buffer {
        items: Mutex<VecDeque<usize>>,
        came: Condvar,
        went: Condvar,
    }
    let buffer = Buffer::default();
    let (put, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let sums = (Arc::clone(&put), Arc::clone(&taken));
    contend("condvar", move |party| {
        for n in 0..EACH {
            let items = buffer.items.lock().unwrap();
            if party % 2 == 0 {
                let mut items = buffer
                    .went
                    .wait_while(items, |items| items.len() >= 4)
                    .unwrap();
                items.push_back(n);
                buffer.came.notify_one();
                put.fetch_add(n, SeqCst);
                continue;
            }
            let empty = |items: &mut VecDeque<usize>| items.is_empty();
            let mut items = items;
            // Some give up again and again: their notification must not go with them.
            while items.is_empty() {
                items = if n % 2 == 0 {
                    buffer.came.wait_while(items, empty).unwrap()
                } else {
                    let brief = Duration::from_micros(100);
                    buffer.came.wait_timeout(items, brief).unwrap().0
                };
            }
            taken.fetch_add(items.pop_front().unwrap(), SeqCst);
            buffer.went.notify_one();
        }
    });
    assert_eq!(sums.0.load(SeqCst), sums.1.load(SeqCst));
    assert_eq!(sums.0.load(SeqCst), PARTIES / 2 * EACH * (EACH - 1) / 2);
}

/// All take turns by one condition, without any other end of a wait: one notification that is
/// missed stops everybody.
#[test]
fn condvar_turns() {
    let turn = Mutex::new(0usize);
    let changed = Condvar::new();
    contend("condvar_turns", move |party| {
        for round in 0..1_000 {
            let mine = round * PARTIES + party;
            let own = turn.lock().unwrap();
            let mut own = changed.wait_while(own, |turn| *turn != mine).unwrap();
            *own += 1;
            changed.notify_all();
        }
    });
}

#[test]
fn barrier() {
    const ROUNDS: usize = 500;
    let barrier = Barrier::new(PARTIES);
    let arrived = AtomicUsize::new(0);
    let leaders = Arc::new(AtomicUsize::new(0));
    let led = Arc::clone(&leaders);
    contend("barrier", move |_| {
        for round in 1..=ROUNDS {
            arrived.fetch_add(1, SeqCst);
            if barrier.wait().is_leader() {
                led.fetch_add(1, SeqCst);
            }
            let now = arrived.load(SeqCst);
            assert!(now >= round * PARTIES, "let go before all were here");
            assert!(now <= (round + 1) * PARTIES, "somebody is a round ahead");
        }
    });
    assert_eq!(leaders.load(SeqCst), ROUNDS);
}

/// The initialiser suspends while the others wait.
#[test]
fn once_lock() {
    const CELLS: usize = 500;
    let cells: Vec<OnceLock<usize>> = (0..CELLS).map(|_| OnceLock::new()).collect();
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    contend("once_lock", move |party| {
        for (n, cell) in cells.iter().enumerate() {
            let value = cell.get_or_init(|| {
                count.fetch_add(1, SeqCst);
                tarae::yield_now();
                n
            });
            assert_eq!(*value, n, "of party {party}");
        }
    });
    assert_eq!(made.load(SeqCst), CELLS);
}

#[test]
fn lazy_lock() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static VALUE: LazyLock<usize> = LazyLock::new(|| {
        tarae::yield_now();
        MADE.fetch_add(1, SeqCst) + 7
    });
    contend("lazy_lock", |_| assert_eq!(*VALUE, 7));
    assert_eq!(MADE.load(SeqCst), 1);
}

#[test]
fn wait_group() {
    const ROUNDS: usize = 200;
    contend("wait_group", |_| {
        for _ in 0..ROUNDS {
            let group = WaitGroup::new();
            let done = Arc::new(AtomicUsize::new(0));
            for _ in 0..3 {
                let (part, done) = (group.clone(), Arc::clone(&done));
                let member = move || {
                    done.fetch_add(1, SeqCst);
                    drop(part);
                };
                // Spawned on a plain thread it might go to another test's runtime.
                if tarae::inspect::worker_index().is_some() {
                    tarae::spawn(member);
                } else {
                    std::thread::spawn(member);
                }
            }
            group.wait();
            assert_eq!(done.load(SeqCst), 3);
        }
    });
}

/// Half of the parties leave a piece of work and notify, half take one for each notification they
/// get; some give up in between. Work that is left always has a notification on its way.
#[test]
fn notify() {
    let notify = Notify::new();
    let work = AtomicUsize::new(0);
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    const ALL: usize = PARTIES / 2 * EACH;
    contend("notify", move |party| {
        if party % 2 == 0 {
            for _ in 0..EACH {
                work.fetch_add(1, SeqCst);
                notify.notify_one();
            }
            return;
        }
        while count.load(SeqCst) < ALL {
            let told = notify.notified();
            let some = work.swap(0, SeqCst);
            if some > 0 {
                count.fetch_add(some, SeqCst);
                continue;
            }
            if party == 1 {
                let _ = told.wait_until(soon());
            } else {
                told.wait().unwrap();
            }
        }
        // All is done: whoever still waits is to see it.
        notify.notify_one();
    });
    assert_eq!(taken.load(SeqCst), ALL);
}
