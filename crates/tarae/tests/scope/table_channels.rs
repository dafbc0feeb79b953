//! The table's rows of channels and `select!`: nobody sends, and nobody makes room.

use tarae::sync::{broadcast, mpmc, mpsc, oneshot, watch};
use tarae::time::Instant;

use crate::support::FAR;
use crate::table::{Case, Cut, io, iteration, predicates};

fn far() -> Instant {
    Instant::now() + FAR
}

/// What the error of the closure's result says; all these types have the same predicates.
macro_rules! short {
    ($cut:expr, $call:expr) => {
        match $cut.run(|| $call) {
            Err(error) => predicates(error.is_cancelled(), error.is_timeout()),
            Ok(_) => "goes on",
        }
    };
}

/// A case for each method of what `$make` makes.
macro_rules! cases {
    ($($name:literal: $make:expr, |$end:ident| $call:expr;)*) => {
        &[$(($name, |cut| {
            #[allow(unused_variables)]
            let (other, $end) = $make;
            short!(cut, $call)
        })),*]
    };
}

fn none<T>() -> (mpmc::Sender<T>, mpmc::Receiver<T>) {
    mpmc::channel()
}

fn full() -> (mpmc::Receiver<u8>, mpmc::Sender<u8>) {
    let (sender, receiver) = mpmc::sync_channel(1);
    sender.send(0).unwrap();
    (receiver, sender)
}

fn full_sync() -> (mpsc::Receiver<u8>, mpsc::SyncSender<u8>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    sender.send(0).unwrap();
    (receiver, sender)
}

fn iterate(cut: Cut) -> &'static str {
    let (_sender, receiver) = mpsc::channel::<()>();
    iteration(&mut receiver.iter(), cut)
}

fn iterate_shared(cut: Cut) -> &'static str {
    let (_sender, receiver) = none::<()>();
    iteration(&mut receiver.iter(), cut)
}

/// The branch that tells may be any but `cancelled`.
fn select(cut: Cut) -> &'static str {
    let ((_silent, receiver), (_receiver, sender)) = (none::<()>(), full());
    cut.run(|| {
        tarae::select! {
            recv(receiver) -> received => short!(Told, received),
            send(sender, 1) -> sent => short!(Told, sent),
        }
    })
}

/// With a socket: a plain thread then waits in the kernel.
fn select_sockets(cut: Cut) -> &'static str {
    let listener = tarae::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let accept = || tarae::select! { accept(listener) -> accepted => io(accepted) };
    match cut.run(accept) {
        "`io::Error` with `Cancelled`" => "`is_cancelled()`",
        "`ErrorKind::TimedOut`" => "`is_timeout()`",
        other => other,
    }
}

/// What was cut short is only looked at.
struct Told;

impl Told {
    fn run<T>(self, f: impl FnOnce() -> T) -> T {
        f()
    }
}

pub(crate) const CASES: &[(&str, Case)] = cases! {
    "mpsc::Receiver::recv": mpsc::channel::<()>(), |it| it.recv();
    "mpsc::Receiver::recv_timeout": mpsc::channel::<()>(), |it| it.recv_timeout(FAR);
    "mpsc::Receiver::recv_deadline": mpsc::channel::<()>(), |it| it.recv_deadline(far());
    "mpsc::SyncSender::send": full_sync(), |it| it.send(1);
    "mpsc::SyncSender::send_timeout": full_sync(), |it| it.send_timeout(1, FAR);
    "mpmc::Receiver::recv": none::<()>(), |it| it.recv();
    "mpmc::Receiver::recv_timeout": none::<()>(), |it| it.recv_timeout(FAR);
    "mpmc::Receiver::recv_deadline": none::<()>(), |it| it.recv_deadline(far());
    "mpmc::Sender::send": full(), |it| it.send(1);
    "mpmc::Sender::send_timeout": full(), |it| it.send_timeout(1, FAR);
    "mpmc::Sender::send_deadline": full(), |it| it.send_deadline(1, far());
    "oneshot::Receiver::recv": oneshot::channel::<()>(), |it| it.recv();
    "oneshot::Receiver::recv_timeout": oneshot::channel::<()>(), |it| it.recv_timeout(FAR);
    "oneshot::Receiver::recv_deadline": oneshot::channel::<()>(), |it| it.recv_deadline(far());
    "broadcast::Receiver::recv": broadcast::channel::<u8>(1), |it| it.recv();
    "broadcast::Receiver::recv_timeout": broadcast::channel::<u8>(1), |it| it.recv_timeout(FAR);
    "broadcast::Receiver::recv_deadline": broadcast::channel::<u8>(1), |it| it.recv_deadline(far());
    "watch::Receiver::changed": watch::channel(0), |it| it.changed();
    "watch::Receiver::changed_timeout": watch::channel(0), |it| it.changed_timeout(FAR);
    "watch::Receiver::changed_deadline": watch::channel(0), |it| it.changed_deadline(far());
    "watch::Receiver::wait_for": watch::channel(0), |it| it.wait_for(|value| *value > 0);
};

pub(crate) const MORE: &[(&str, Case)] = &[
    ("mpsc::Receiver::iter", iterate),
    ("mpmc::Receiver::iter", iterate_shared),
    ("select!", select),
    ("select! with a socket", select_sockets),
];
