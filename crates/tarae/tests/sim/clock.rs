//! Virtual time: it stands while anybody runs, and moves straight to the next deadline.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::sim::{Builder, random, run};
use tarae::sync::mpsc;
use tarae::time::{Instant, interval, sleep, system_time};

use crate::seeds;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn thousands_of_timers_over_days_each_end_at_their_millisecond_and_in_order() {
    seeds(3, |seed| {
        let report = run(seed, || {
            let start = Instant::now();
            let ended = Arc::new(Mutex::new(Vec::new()));
            let sleepers: Vec<_> = (0..3_000)
                .map(|_| {
                    // Of every size: the wheel's levels all have their share.
                    let most = 1 << (4 + random().unwrap() % 28);
                    let time = Duration::from_millis(random().unwrap() % most);
                    let ended = Arc::clone(&ended);
                    tarae::spawn(move || {
                        let begun = start.elapsed();
                        sleep(time);
                        assert_eq!(start.elapsed(), begun + time);
                        ended.lock().unwrap().push(start.elapsed());
                    })
                })
                .collect();
            sleepers
                .into_iter()
                .for_each(|sleeper| sleeper.join().unwrap());
            let ended = ended.lock().unwrap();
            assert!(ended.is_sorted(), "seed {seed}");
            *ended.last().unwrap()
        });
        let report = report.unwrap();
        assert_eq!(
            report.elapsed, report.value,
            "the clock stops at the last of them"
        );
        assert!(report.elapsed > DAY, "seed {seed}");
    });
}

#[test]
fn the_clock_stands_while_somebody_can_run() {
    let report = run(1, || {
        let sleeper = tarae::spawn(|| sleep(Duration::from_millis(1)));
        let start = Instant::now();
        for _ in 0..1_000 {
            tarae::yield_now();
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
        assert!(!sleeper.is_finished());
        sleeper.join().unwrap();
        start.elapsed()
    });
    assert_eq!(report.unwrap().value, Duration::from_millis(1));
}

#[test]
fn no_real_time_gets_in() {
    let program = |pause: Duration| {
        run(4, || {
            let start = (Instant::now(), system_time());
            std::thread::sleep(pause);
            sleep(Duration::from_secs(1));
            std::thread::sleep(pause);
            assert_eq!(Instant::now() - start.0, Duration::from_secs(1));
            assert_eq!(Instant::coarse() - start.0, Duration::from_secs(1));
            start.1
        })
        .unwrap()
    };
    assert_eq!(program(Duration::ZERO), program(Duration::from_millis(30)));
}

#[test]
fn every_wait_with_a_bound_ends_exactly_there() {
    seeds(20, |seed| {
        let quiet = Builder::new(seed).no_faults();
        let waits = quiet.run(|| {
            let timed = |wait: &dyn Fn()| {
                let start = Instant::now();
                wait();
                start.elapsed().as_millis()
            };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_sender, receiver) = mpsc::channel::<()>();
            let mut ticks = interval(Duration::from_secs(7));
            ticks.tick();
            let mut waits = vec![
                timed(&|| tarae::thread::park_timeout(Duration::from_secs(30))),
                timed(&|| assert!(receiver.recv_timeout(Duration::from_millis(1)).is_err())),
                timed(&|| {
                    let timeout = Some(Duration::from_micros(1_500));
                    client.set_read_timeout(timeout).unwrap();
                    let error = (&client).read(&mut [0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                }),
            ];
            let start = Instant::now();
            client.set_read_timeout(Some(DAY)).unwrap();
            assert_eq!(
                client.read(&mut [0]).unwrap_err().kind(),
                ErrorKind::TimedOut
            );
            waits.push(start.elapsed().as_millis());
            waits
        });
        // A deadline is never early: a part of a millisecond counts as a whole one.
        assert_eq!(
            waits.unwrap().value,
            [30_000, 1, 2, DAY.as_millis()],
            "seed {seed}"
        );
    });
}
