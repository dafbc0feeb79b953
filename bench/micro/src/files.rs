//! Files: large ones read from one end to the other and sent over sockets beside std, and many
//! small reads at once beside tokio: `micro files`.
//!
//! Called by `main`. Everybody reads the same files, in turns. They are in memory, but in the table
//! that says otherwise. It must never count the making of threads: each runtime reads once before
//! its clock starts.

use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use crate::sending::{GOALS, Over, SENDERS, SENT};

const LARGE: usize = 256 << 20;
const SMALL: usize = 4 << 10;
/// Small reads at once.
const READS: usize = 1_000;
/// How often that.
const TIMES: u32 = 5;

/// Reads the large file; with so large a buffer, or all of it into one vector.
type InSequence = fn(&Path, Option<usize>) -> Duration;

/// Reads `READS` times something small, `TIMES` times; the time of all.
type AtOnce = fn(&Arc<Files>) -> Duration;

const IN_SEQUENCE: &[(&str, InSequence)] = &[("tarae", ours_in_sequence), ("std", std_in_sequence)];

const WHOLE: &[(&str, AtOnce)] = &[
    ("tarae, 1 worker", |files| ours(1, files, ours_whole)),
    ("tarae, 2 workers", |files| ours(2, files, ours_whole)),
    ("tokio current_thread", |files| on_one(files, tokio_whole)),
    ("tokio multi_thread (2)", |files| on_two(files, tokio_whole)),
];

const APART: &[(&str, AtOnce)] = &[
    ("tarae, 1 worker", |files| ours(1, files, ours_apart)),
    ("tarae, 2 workers", |files| ours(2, files, ours_apart)),
    ("tokio current_thread", |files| on_one(files, tokio_apart)),
    ("tokio multi_thread (2)", |files| on_two(files, tokio_apart)),
];

const OPEN: &[(&str, AtOnce)] = &[
    ("tarae, 1 worker", |files| ours(1, files, ours_open)),
    ("tarae, 2 workers", |files| ours(2, files, ours_open)),
    ("tokio current_thread", |files| on_one(files, tokio_open)),
    ("tokio multi_thread (2)", |files| on_two(files, tokio_open)),
];

/// Ours, how many times the figure of whom it should take at most, and who that is.
pub(crate) type Goal = (&'static str, f64, &'static str);

const NEAR_STD: &[Goal] = &[("tarae", 1.15, "std")];
const AS_TOKIO: &[Goal] = &[
    ("tarae, 1 worker", 1.0, "tokio current_thread"),
    ("tarae, 2 workers", 1.0, "tokio multi_thread (2)"),
];

/// What is read; goes when this does.
struct Files {
    folder: PathBuf,
    large: PathBuf,
    small: Vec<PathBuf>,
    ours: tarae::fs::File,
    std: Arc<std::fs::File>,
    /// Whether the large file is to be read from the disk each time.
    cold: AtomicBool,
}

impl Files {
    fn new() -> Files {
        let folder = std::env::temp_dir().join(format!("tarae-micro-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder of our own");
        let large = folder.join("large");
        std::fs::write(&large, vec![7; LARGE]).expect("room for 256 MiB");
        let path = |number: usize| folder.join(number.to_string());
        let small: Vec<_> = (0..READS).map(path).collect();
        for path in &small {
            std::fs::write(path, [7; SMALL]).expect("room for it");
        }
        let open = || std::fs::File::open(&large).expect("just made");
        // What has not reached the disk would be written while others are timed, and not be let go
        // of.
        open().sync_all().expect("a disk");
        Files {
            ours: open().into(),
            std: Arc::new(open()),
            cold: AtomicBool::new(false),
            folder,
            large,
            small,
        }
    }

    /// Has the kernel forget the large file, if it is to be read from the disk.
    fn prepare(&self) {
        if self.cold.load(Ordering::Relaxed) {
            let advise = |advice| rustix::fs::fadvise(&self.std, 0, None, advice);
            advise(rustix::fs::Advice::DontNeed).expect("advice");
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Measures; `report` prints the medians over the rounds.
pub(crate) fn run(rounds: usize, report: impl Fn(&[&str], &[Vec<f64>], &[Goal])) {
    let files = Arc::new(Files::new());
    for buffer in [Some(64 << 10), Some(1 << 20), None] {
        let how = match buffer {
            Some(bytes) => format!("with a buffer of {} KiB", bytes >> 10),
            None => "by read_to_end".to_owned(),
        };
        println!("\nfiles: 256 MiB in memory, read {how}, µs for a MiB");
        let figures = take_turns(rounds, IN_SEQUENCE, |run| {
            run(&files.large, buffer).as_secs_f64() * 1e6 / (LARGE >> 20) as f64
        });
        report(&names(IN_SEQUENCE), &figures, NEAR_STD);
    }
    for over in [Over::Tcp, Over::Unix] {
        println!("\nfiles: 64 MiB in memory, sent over {over:?}, µs of CPU for a MiB");
        let figures = take_turns(rounds, SENDERS, |run| {
            run(over, &files.large).as_secs_f64() * 1e6 / (SENT >> 20) as f64
        });
        report(&names(SENDERS), &figures, GOALS);
    }
    let tables = [
        ("small files, fs::read", WHOLE, false),
        ("small files, open, read, close", APART, false),
        ("read_at of an open file", OPEN, false),
        ("read_at of an open file, from the disk", OPEN, true),
    ];
    for (what, peers, cold) in tables {
        files.cold.store(cold, Ordering::Relaxed);
        println!("\nfiles: {READS} reads of 4 KiB at once, {what}, ns for one");
        let figures = take_turns(rounds, peers, |run| {
            run(&files).as_nanos() as f64 / (READS as f64 * f64::from(TIMES))
        });
        report(&names(peers), &figures, AS_TOKIO);
    }
}

fn names<R>(peers: &[(&'static str, R)]) -> Vec<&'static str> {
    peers.iter().map(|(name, _)| *name).collect()
}

fn take_turns<R: Copy>(
    rounds: usize,
    peers: &[(&str, R)],
    measure: impl Fn(R) -> f64,
) -> Vec<Vec<f64>> {
    let mut figures = vec![Vec::new(); peers.len()];
    for _ in 0..rounds {
        for ((_, run), figures) in peers.iter().zip(&mut figures) {
            figures.push(measure(*run));
        }
    }
    figures
}

fn std_in_sequence(path: &Path, buffer: Option<usize>) -> Duration {
    to_the_end(std::fs::File::open(path).expect("it is there"), buffer)
}

fn ours_in_sequence(path: &Path, buffer: Option<usize>) -> Duration {
    let run = || to_the_end(tarae::fs::File::open(path).expect("it is there"), buffer);
    let runtime = tarae::Builder::new().workers(1);
    runtime.run(run).expect("a runtime")
}

fn to_the_end(mut file: impl Read, buffer: Option<usize>) -> Duration {
    let mut bytes = vec![1; buffer.unwrap_or_default()];
    let start = Instant::now();
    let mut read = 0;
    if buffer.is_none() {
        read = file.read_to_end(&mut bytes).expect("a read");
    } else {
        loop {
            match file.read(black_box(&mut bytes)).expect("a read") {
                0 => break,
                count => read += count,
            }
        }
    }
    assert_eq!(read, LARGE);
    start.elapsed()
}

/// The time of all batches but the first, which makes the threads.
fn clock(files: &Files, mut batch: impl FnMut()) -> Duration {
    files.prepare();
    batch();
    let times = (0..TIMES).map(|_| {
        files.prepare();
        let start = Instant::now();
        batch();
        start.elapsed()
    });
    times.sum()
}

fn ours(workers: usize, files: &Arc<Files>, read: fn(&Files, usize) -> usize) -> Duration {
    let run = || {
        clock(files, || {
            let reads: Vec<_> = (0..READS)
                .map(|number| {
                    let files = Arc::clone(files);
                    tarae::spawn(move || assert_eq!(read(&files, number), SMALL))
                })
                .collect();
            reads
                .into_iter()
                .for_each(|one| one.join().expect("no panic"));
        })
    };
    let runtime = tarae::Builder::new().workers(workers);
    runtime.run(run).expect("a runtime")
}

fn ours_whole(files: &Files, number: usize) -> usize {
    tarae::fs::read(&files.small[number]).expect("a read").len()
}

fn ours_apart(files: &Files, number: usize) -> usize {
    let mut file = tarae::fs::File::open(&files.small[number]).expect("it is there");
    file.read(black_box(&mut [0; SMALL])).expect("a read")
}

fn ours_open(files: &Files, number: usize) -> usize {
    let mut bytes = [0; SMALL];
    let file = &files.ours;
    file.read_at(black_box(&mut bytes), offset(number))
        .expect("a read")
}

/// Far apart, so that what the kernel reads ahead is not what another one wants.
fn offset(number: usize) -> u64 {
    (number * (LARGE / READS) / SMALL * SMALL) as u64
}

async fn tokio_reads<F>(files: Arc<Files>, read: fn(Arc<Files>, usize) -> F) -> Duration
where
    F: Future<Output = usize> + Send + 'static,
{
    let mut all = Duration::ZERO;
    for batch in 0..=TIMES {
        files.prepare();
        let start = Instant::now();
        let reads: Vec<_> = (0..READS)
            .map(|number| tokio::spawn(read(Arc::clone(&files), number)))
            .collect();
        for one in reads {
            assert_eq!(one.await.expect("no panic"), SMALL);
        }
        if batch > 0 {
            all += start.elapsed();
        }
    }
    all
}

fn on_one<F>(files: &Arc<Files>, read: fn(Arc<Files>, usize) -> F) -> Duration
where
    F: Future<Output = usize> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let reads = tokio_reads(Arc::clone(files), read);
    runtime.expect("a runtime").block_on(reads)
}

fn on_two<F>(files: &Arc<Files>, read: fn(Arc<Files>, usize) -> F) -> Duration
where
    F: Future<Output = usize> + Send + 'static,
{
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).build().expect("a runtime");
    let reads = runtime.spawn(tokio_reads(Arc::clone(files), read));
    runtime.block_on(reads).expect("no panic")
}

async fn tokio_whole(files: Arc<Files>, number: usize) -> usize {
    let read = tokio::fs::read(&files.small[number]).await;
    read.expect("a read").len()
}

async fn tokio_apart(files: Arc<Files>, number: usize) -> usize {
    let file = tokio::fs::File::open(&files.small[number]).await;
    let mut bytes = [0; SMALL];
    let read = file.expect("it is there").read(&mut bytes).await;
    read.expect("a read")
}

/// `tokio::fs` has no `read_at`: what it would do.
async fn tokio_open(files: Arc<Files>, number: usize) -> usize {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = [0; SMALL];
        files.std.read_at(black_box(&mut bytes), offset(number))
    });
    read.await.expect("no panic").expect("a read")
}
