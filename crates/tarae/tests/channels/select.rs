//! `select!`: which branch is taken, what the others keep, how it ends.

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use tarae::cancel::CancelToken;
use tarae::inspect::WaitReason;
use tarae::net::{TcpListener, TcpStream};
use tarae::select;
use tarae::sync::{broadcast, mpmc, mpsc, oneshot, watch};
use tarae::time::Instant;

use crate::support::{guard, run_on, until_waiting};

/// Runs a check in a coroutine and on a plain thread.
fn everywhere(check: fn()) {
    run_on(1, check);
    check();
}

#[test]
fn biased_takes_the_first_that_can_be() {
    let _guard = guard("biased");
    everywhere(|| {
        let (one, first) = mpmc::channel();
        let (two, second) = mpsc::channel();
        (0..3).for_each(|n| one.send(n).unwrap());
        (0..3).for_each(|n| two.send(n + 10).unwrap());
        let mut got = Vec::new();
        for _ in 0..7 {
            got.push(select! {
                biased;
                recv(first) -> n => n.unwrap(),
                recv(second) -> n => n.unwrap(),
                default => 99,
            });
        }
        assert_eq!(got, [0, 1, 2, 10, 11, 12, 99]);
    });
}

#[test]
fn fair_takes_each_often() {
    let _guard = guard("fair");
    everywhere(|| {
        let (_one, first) = watch::channel(0);
        let (sender, receiver) = mpmc::channel();
        let mut taken = [0; 3];
        for _ in 0..10_000 {
            sender.send(()).unwrap();
            let which = select! {
                recv(receiver) -> _ => 0,
                sleep(Duration::ZERO) => 1,
                send(sender, ()) -> _ => 2,
                changed(first) -> _ => unreachable!(),
            };
            taken[which] += 1;
        }
        assert!(taken.iter().all(|count| *count > 1_500), "{taken:?}");
        // Nothing was lost by the branches that were not taken.
        assert_eq!(receiver.len(), 10_000 - taken[0] + taken[2]);
    });
}

/// The message of `send` is made only when there is room for it.
#[test]
fn a_message_is_made_when_it_is_sent() {
    let _guard = guard("made when sent");
    everywhere(|| {
        let made = Cell::new(0);
        let make = || made.replace(made.get() + 1);
        let (sender, receiver) = mpmc::sync_channel(1);
        for _ in 0..2 {
            select! {
                send(sender, make()) -> sent => sent.unwrap(),
                default => {}
            }
        }
        assert_eq!(made.get(), 1);
        assert_eq!(receiver.try_recv(), Ok(0));
        // A panic gives the room back.
        let fail = || -> u32 { std::panic::resume_unwind(Box::new(())) };
        let panic = std::panic::AssertUnwindSafe(|| {
            select! {
                send(sender, fail()) -> _ => {}
            }
        });
        assert!(std::panic::catch_unwind(panic).is_err());
        assert!(!sender.is_full());
        drop(receiver);
        select! {
            send(sender, make()) -> sent => assert!(sent.unwrap_err().is_disconnected()),
        }
    });
}

#[test]
fn two_selects_meet_at_a_rendezvous() {
    let _guard = guard("rendezvous of selects");
    const COUNT: u32 = 500;
    run_on(2, || {
        for thread in [false, true] {
            let (sender, receiver) = mpmc::sync_channel(0);
            let (_never, silence) = mpmc::channel::<()>();
            let send = move || {
                for n in 0..COUNT {
                    select! {
                        send(sender, n) -> sent => sent.unwrap(),
                        recv(silence) -> _ => unreachable!(),
                    }
                }
            };
            let plain = thread.then(|| std::thread::spawn(send.clone()));
            let coroutine = (!thread).then(|| tarae::spawn(send));
            let (_never, silence) = mpmc::channel::<()>();
            for n in 0..COUNT {
                select! {
                    recv(receiver) -> got => assert_eq!(got, Ok(n)),
                    recv(silence) -> _ => unreachable!(),
                }
            }
            plain.into_iter().for_each(|one| one.join().unwrap());
            coroutine.into_iter().for_each(|one| one.join().unwrap());
        }
    });
}

#[test]
fn every_kind_of_branch_ends_a_wait() {
    let _guard = guard("kinds of branches");
    fn soon(f: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2));
            f();
        })
    }
    everywhere(|| {
        let (_keep, silence) = mpmc::channel::<()>();
        macro_rules! taken {
            ($($branch:tt)+) => {
                select! {
                    recv(silence) -> _ => unreachable!(),
                    sleep(Duration::from_secs(100)) => panic!("nothing came"),
                    $($branch)+
                }
            };
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = oneshot::channel();
        let client = soon(move || sender.send(TcpStream::connect(address).unwrap()).unwrap());
        let (mut stream, _) = taken!(accept(listener) -> accepted => accepted.unwrap());
        client.join().unwrap();
        let mut client = taken!(recv(receiver) -> client => client.unwrap());
        taken!(writable(stream) -> ready => ready.unwrap());
        let writer = soon(move || client.write_all(b"x").unwrap());
        taken!(readable(stream) -> ready => ready.unwrap());
        writer.join().unwrap();
        stream.write_all(b"y").unwrap_or(());

        let (level, watcher) = watch::channel(0);
        let setter = soon(move || level.send(1).unwrap());
        taken!(changed(watcher) -> changed => changed.unwrap());
        setter.join().unwrap();
        let (news, reader) = broadcast::channel(1);
        let teller = soon(move || assert_eq!(news.send(3).unwrap(), 1));
        assert_eq!(taken!(recv(reader) -> n => n.unwrap()), 3);
        teller.join().unwrap();
        taken!(deadline(Instant::now() + Duration::from_millis(1)) => {});
    });
    run_on(2, || {
        let mut handle = tarae::spawn(|| {
            tarae::time::sleep(Duration::from_millis(1));
            5
        });
        let (_keep, silence) = mpmc::channel::<()>();
        let value = select! {
            recv(silence) -> _ => unreachable!(),
            join(handle) -> value => value.unwrap(),
        };
        assert_eq!(value, 5);
    });
}

/// A branch for a token that the select does not stand inside of: cancelled before, meanwhile from
/// another thread, by way of the token above; in coroutines and on a plain thread, with and without
/// a socket beside it. Whoever waits for another token goes on.
#[test]
fn a_token_is_a_branch() {
    let _guard = guard("selects with tokens");
    let all = CancelToken::new();
    let (one, other) = (all.child(), CancelToken::new());
    let (_keep, silence) = mpmc::channel::<()>();
    let wait = |token: CancelToken, silence: mpmc::Receiver<()>| {
        select! {
            recv(silence) -> _ => false,
            cancelled(token) => true,
        }
    };
    let thread = {
        let (token, silence) = (one.clone(), silence.clone());
        std::thread::spawn(move || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            select! {
                recv(silence) -> _ => false,
                accept(listener) -> _ => false,
                cancelled(token) => true,
            }
        })
    };
    run_on(2, || {
        let spawn = |token: &CancelToken| {
            let (token, silence) = (token.clone(), silence.clone());
            tarae::spawn(move || wait(token, silence))
        };
        let (first, second, third) = (spawn(&one), spawn(&all), spawn(&other));
        until_waiting(WaitReason::Select, 3);
        let cancel = all.clone();
        std::thread::spawn(move || cancel.cancel()).join().unwrap();
        assert!(first.join().unwrap() && second.join().unwrap());
        assert!(
            wait(one.clone(), silence.clone()),
            "it was cancelled before"
        );
        until_waiting(WaitReason::Select, 1);
        // Its own cancellation takes the branch, too, though the token is not.
        third.cancel();
        assert!(third.join().unwrap() && !other.is_cancelled());
    });
    assert!(thread.join().unwrap());
}

#[test]
fn a_cancelled_select_says_so() {
    let _guard = guard("cancelled selects");
    run_on(1, || {
        let (_keep, silence) = mpmc::channel::<()>();
        let other = silence.clone();
        let with = tarae::spawn(move || {
            select! {
                recv(other) -> _ => 0,
                cancelled() => 1,
            }
        });
        let other = silence.clone();
        let without = tarae::spawn(move || {
            let first = select! {
                recv(other) -> got => got.unwrap_err().is_cancelled(),
                sleep(Duration::from_secs(1_000)) => true,
            };
            // What can be done at once still is.
            let (sender, receiver) = mpmc::channel();
            sender.send(1).unwrap();
            let second = select! {
                recv(receiver) -> got => got == Ok(1),
            };
            first && second
        });
        until_waiting(WaitReason::Select, 2);
        with.cancel();
        without.cancel();
        assert_eq!(with.join().unwrap(), 1);
        assert!(without.join().unwrap());
    });
}

/// Borrowed things are free again in the body; selects nest; bodies may leave the loop.
#[test]
fn bodies_own_what_branches_borrowed() {
    let _guard = guard("bodies");
    everywhere(|| {
        let (sender, receiver) = mpmc::channel();
        let (inner, nested) = mpmc::channel();
        sender.send(1).unwrap();
        inner.send(2).unwrap();
        let mut sum = 0;
        while sum == 0 {
            select! {
                recv(receiver) -> n => {
                    let m = select! { recv(nested) -> m => m.unwrap() };
                    sum = n.unwrap() + m;
                    if sum == 0 {
                        continue;
                    }
                }
                sleep(Duration::from_secs(100)) => return,
            }
        }
        select! {
            send(sender, 5) -> _ => drop(receiver),
            recv(receiver) -> _ => unreachable!(),
        }
        assert_eq!(sum, 3);
    });
}
