//! Many messages, with time-outs and cancellations at random: none lost, none doubled.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tarae::select;
use tarae::sync::mpmc::{self, Receiver, Sender};

use crate::support::{Random, guard, join_threads, run_on, soak};

/// Numbers still to be sent; each sender takes the next one when it may send.
struct Source {
    next: AtomicUsize,
    count: usize,
    /// Made, and given back unsent.
    returned: Mutex<Vec<usize>>,
}

impl Source {
    fn take(&self) -> Option<usize> {
        if let Some(number) = self.returned.lock().unwrap().pop() {
            return Some(number);
        }
        let number = self.next.fetch_add(1, SeqCst);
        (number < self.count).then_some(number)
    }
}

/// Sends until the source is empty or this coroutine is cancelled. True: empty.
fn send(source: &Source, senders: &[Sender<usize>], mut random: Random) -> bool {
    loop {
        let Some(number) = source.take() else {
            return true;
        };
        let wait = Duration::from_micros(random.below(2_000));
        let (one, two) = (
            &senders[random.below(3) as usize],
            &senders[random.below(3) as usize],
        );
        let sent = match random.below(3) {
            0 => one.send(number).map_err(|error| error.0),
            1 => one.send_timeout(number, wait).map_err(|error| error.0),
            _ => select! {
                send(one, number) -> sent => sent.map_err(|error| error.0),
                send(two, number) -> sent => sent.map_err(|error| error.0),
                sleep(wait) => Err(number),
            },
        };
        if let Err(number) = sent {
            source.returned.lock().unwrap().push(number);
            if tarae::thread::is_cancelled() {
                return false;
            }
        }
    }
}

/// Receives until nobody can send any more or this coroutine is cancelled. True: nobody.
fn receive(got: &Mutex<Vec<usize>>, from: &[Receiver<usize>], mut random: Random) -> bool {
    let mut mine = Vec::new();
    let mut open = [true; 3];
    let over = loop {
        let wait = Duration::from_micros(random.below(2_000));
        let first = random.below(3) as usize;
        let (a, b, c) = (first, (first + 1) % 3, (first + 2) % 3);
        let (which, received) = match random.below(4) {
            0 => (a, from[a].recv_timeout(wait)),
            _ => select! {
                recv(from[a]) -> message => (a, message.map_err(Into::into)),
                recv(from[b]) -> message => (b, message.map_err(Into::into)),
                recv(from[c]) -> message => (c, message.map_err(Into::into)),
                sleep(wait) => (a, Err(mpmc::RecvTimeoutError::Timeout)),
            },
        };
        match received {
            Ok(number) => mine.push(number),
            Err(error) if error.is_disconnected() => open[which] = false,
            Err(_) => {}
        }
        if open == [false; 3] {
            break true;
        }
        if received.is_err() && tarae::thread::is_cancelled() {
            break false;
        }
    };
    got.lock().unwrap().extend(mine);
    over
}

/// Runs `work` in a coroutine that is cancelled again and again, until it says that it is done.
fn interrupted(mut random: Random, work: impl Fn(Random) -> bool + Clone + Send + 'static) {
    loop {
        let (work, seed) = (work.clone(), Random(random.below(u64::MAX >> 12) | 1));
        let handle = tarae::spawn(move || work(seed));
        tarae::time::sleep(Duration::from_millis(1 + random.below(5)));
        handle.cancel();
        match handle.join() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
}

/// Four coroutines on two workers and two plain threads on each side of three channels.
#[test]
fn no_message_is_lost_or_doubled() {
    let _guard = guard("messages through select");
    let count = if soak() { 1_000_000 } else { 50_000 };
    let source = Arc::new(Source {
        next: AtomicUsize::new(0),
        count,
        returned: Mutex::default(),
    });
    let got = Arc::new(Mutex::new(Vec::new()));
    let made = [0, 1, 16].map(mpmc::sync_channel::<usize>);
    let senders = Arc::new(made.each_ref().map(|(sender, _)| sender.clone()));
    let receivers = Arc::new(made.each_ref().map(|(_, receiver)| receiver.clone()));
    drop(made);
    run_on(2, || {
        let mut sending = Vec::new();
        let mut receiving = Vec::new();
        let mut plain_senders = Vec::new();
        let mut threads = Vec::new();
        for n in 1..=4u64 {
            let (source, senders) = (Arc::clone(&source), Arc::clone(&senders));
            let (got, receivers) = (Arc::clone(&got), Arc::clone(&receivers));
            let send = move |random| send(&source, &senders[..], random);
            let receive = move |random| receive(&got, &receivers[..], random);
            if n <= 2 {
                let (send, receive) = (send.clone(), receive.clone());
                plain_senders.push(std::thread::spawn(move || send(Random(n))));
                threads.push(std::thread::spawn(move || receive(Random(n + 10))));
            }
            sending.push(tarae::spawn(move || interrupted(Random(n + 20), send)));
            receiving.push(tarae::spawn(move || interrupted(Random(n + 30), receive)));
        }
        for one in sending {
            one.join().unwrap();
        }
        assert!(join_threads(plain_senders).iter().all(|over| *over));
        // What was given back by those that ended last.
        assert!(send(&source, &senders[..], Random(99)));
        drop(senders);
        let over = join_threads(threads);
        assert!(over.iter().all(|over| *over));
        receiving.into_iter().for_each(|one| one.join().unwrap());
    });
    let mut got = std::mem::take(&mut *got.lock().unwrap());
    got.sort_unstable();
    assert!(got.iter().copied().eq(0..count), "lost or doubled");
}
