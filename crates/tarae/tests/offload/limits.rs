//! The pools' limits: lazily started, never more threads than allowed, a bounded queue, idle
//! threads that end, the figures. Each test in a process of its own.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::offload::{Builder, Pool, stats};

use crate::support::{Gate, alone, run_on, thread_names, threads_called, until};

#[test]
fn pools_start_lazily() {
    alone("limits::pools_start_lazily", || {
        let before = thread_names().len();
        run_on(1, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            assert_eq!(thread_names().len(), before, "nothing offloaded, no thread");
            assert_eq!(stats().blocking.threads, 0);
            for _ in 0..100 {
                tarae::offload(|| ()).unwrap();
            }
            // One after the other: one thread, which is idle again before its caller goes on.
            assert_eq!((stats().blocking.threads, stats().blocking.running), (1, 0));
            assert_eq!(thread_names().len(), before + 1);
            assert_eq!(threads_called("tarae-blocking"), 1);
            assert_eq!((stats().cpu.threads, stats().dns.threads), (0, 0));
        });
    });
}

/// Twenty jobs on three threads: never more than three at once, and at some time three.
#[test]
fn threads_are_bounded() {
    alone("limits::threads_are_bounded", || {
        Builder::new(Pool::Cpu).threads(3).apply().unwrap();
        let (gate, inside, most) = (
            Arc::new(Gate::default()),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        run_on(1, || {
            let jobs: Vec<_> = (0..20)
                .map(|_| {
                    let (gate, inside, most) = (gate.clone(), inside.clone(), most.clone());
                    tarae::spawn(move || {
                        tarae::offload::cpu(|| {
                            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                            gate.pass();
                            inside.fetch_sub(1, SeqCst);
                        })
                    })
                })
                .collect();
            until(|| gate.arrived() == 3 && stats().cpu.queued == 17);
            let cpu = stats().cpu;
            assert_eq!((cpu.threads, cpu.threads_max, cpu.running), (3, 3, 3));
            assert_eq!((cpu.queued_max, cpu.waiting), (65_536, 0));
            assert_eq!(threads_called("tarae-cpu-"), 3);
            gate.open();
            jobs.into_iter()
                .for_each(|job| job.join().unwrap().unwrap());
        });
        assert_eq!((gate.arrived(), most.load(SeqCst)), (20, 3));
        assert_eq!(stats().cpu.threads, 3);
    });
}

/// One thread, two places in the queue: `try_offload` gives an error, the others wait in turn and
/// run in the order they came.
#[test]
fn a_full_queue_makes_callers_wait() {
    alone("limits::a_full_queue_makes_callers_wait", || {
        Builder::new(Pool::Blocking)
            .threads(1)
            .queue(2)
            .apply()
            .unwrap();
        let (gate, order) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        run_on(1, || {
            let jobs: Vec<_> = (0..6)
                .map(|_| {
                    let (gate, order) = (gate.clone(), order.clone());
                    tarae::spawn(move || {
                        tarae::offload(|| {
                            gate.pass();
                            order.fetch_add(1, SeqCst)
                        })
                    })
                })
                .collect();
            until(|| gate.arrived() == 1 && stats().blocking.waiting == 3);
            assert_eq!(stats().blocking.queued, 2);
            let error = tarae::try_offload(|| unreachable!("refused")).unwrap_err();
            assert!(
                error.is_full() && !error.is_cancelled() && !error.is_no_thread(),
                "{error}"
            );
            assert!(error.to_string().contains("2 jobs"), "{error}");
            let error = std::io::Error::from(error);
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            let plain = std::thread::spawn(|| tarae::try_offload(|| ()).unwrap_err().is_full());
            assert!(plain.join().unwrap());
            gate.open();
            let got: Vec<_> = jobs
                .into_iter()
                .map(|job| job.join().unwrap().unwrap())
                .collect();
            assert_eq!(got, [0, 1, 2, 3, 4, 5]);
            assert_eq!(tarae::try_offload(|| "room again").unwrap(), "room again");
        });
        assert_eq!(stats().blocking.threads, 1);
    });
}

/// Without any place in the queue a job is taken by an idle or a new thread, and refused otherwise.
#[test]
fn a_queue_of_none_hands_over_only() {
    alone("limits::a_queue_of_none_hands_over_only", || {
        Builder::new(Pool::Cpu).threads(1).queue(0).apply().unwrap();
        let gate = Arc::new(Gate::default());
        let theirs = Arc::clone(&gate);
        let first = std::thread::spawn(move || Pool::Cpu.try_run(|| theirs.pass()));
        until(|| gate.arrived() == 1);
        assert!(Pool::Cpu.try_run(|| ()).unwrap_err().is_full());
        gate.open();
        first.join().unwrap().unwrap();
        until(|| stats().cpu.running == 0);
        Pool::Cpu.try_run(|| ()).unwrap();
    });
}

#[test]
fn idle_threads_end_and_new_ones_come() {
    alone("limits::idle_threads_end_and_new_ones_come", || {
        let pool = Builder::new(Pool::Blocking).idle(Duration::ZERO);
        pool.apply().unwrap();
        for round in 1..=3 {
            assert_eq!(tarae::offload(|| round).unwrap(), round);
            until(|| stats().blocking.threads == 0);
            until(|| threads_called("tarae-blocking") == 0);
        }
    });
}

#[test]
fn limits_are_set_before_the_first_job_only() {
    alone("limits::limits_are_set_before_the_first_job_only", || {
        Builder::new(Pool::Dns).threads(3).apply().unwrap();
        Builder::new(Pool::Dns).queue(5).apply().unwrap();
        assert_eq!((stats().dns.threads_max, stats().dns.queued_max), (3, 5));
        Pool::Dns.run(|| ()).unwrap();
        let error = Builder::new(Pool::Dns).threads(4).apply().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("Dns"), "{error}");
        assert_eq!(stats().dns.threads_max, 3);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(
            (stats().cpu.threads_max, stats().blocking.threads_max),
            (cores, 512)
        );
    });
}

/// Without a thread to be had a first job is refused; a pool that has one goes on with it.
#[test]
fn no_thread_is_an_error() {
    alone("limits::no_thread_is_an_error", || {
        let gate = Gate::default();
        std::thread::scope(|scope| {
            scope.spawn(|| Pool::Cpu.run(|| gate.pass()).unwrap());
            until(|| gate.arrived() == 1);
            let begun = Gate::default();
            begun.open();
            let begun = Arc::new(begun);
            let theirs = Arc::clone(&begun);
            let second = scope.spawn(move || {
                theirs.pass();
                until(|| stats().dns.threads_max == 1);
                Pool::Cpu.run(|| 5).unwrap()
            });
            // Once it runs it needs no more memory.
            until(|| begun.arrived() == 1);
            forbid_memory();
            let error = tarae::offload(|| unreachable!("no thread")).unwrap_err();
            assert!(error.is_no_thread(), "{error}");
            assert!(std::io::Error::from(error).raw_os_error().is_some());
            assert_eq!(stats().blocking.threads, 0);
            Builder::new(Pool::Dns).threads(1).apply().unwrap();
            gate.open();
            assert_eq!(second.join().unwrap(), 5);
        });
    });
}

/// Leaves no address space for the stack of another thread.
fn forbid_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB").parse::<u64>();
    let limit = Rlimit {
        current: Some(kib.unwrap() * 1024 + (256 << 10)),
        maximum: getrlimit(Resource::As).maximum,
    };
    setrlimit(Resource::As, limit).unwrap();
}
