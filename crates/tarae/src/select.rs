//! Waiting for the first of several things: what [`select!`](crate::select!) is made of.
//!
//! Public only for the macro, which is all that users call. The branches that are not a channel's
//! are here; `sched::select` waits. Never does a branch that loses take anything.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use crate::cancel::CancelToken;
use crate::driver::operation::{PollRead, PollWrite};
use crate::driver::{Direction, Operation, Source, Wake};
use crate::net::{AsSocket, BorrowedSocket};
use crate::sched::cancel::{CancelNode, Member, Membership};
use crate::sched::handle::JoinBranch;
use crate::sched::io::{Cancelled, Patience, perform};
pub use crate::sched::select::Arm;
use crate::sched::select::{Alarm, Branch, Ticket, arm};
use crate::thread::JoinHandle;
use crate::time::Instant;

/// Waits for the first of `arms` and gives its index; their number if `waits` is false and none can
/// be taken at once.
#[doc(hidden)]
pub fn choose(arms: &mut [Arm<'_>], fair: bool, waits: bool) -> usize {
    let mut branches: Vec<&mut dyn Branch> = Vec::with_capacity(arms.len());
    branches.extend(arms.iter_mut().map(|arm| &mut *arm.0 as &mut dyn Branch));
    crate::sched::select::choose(&mut branches, fair, waits)
}

fn told(wake: Wake) -> io::Error {
    match wake {
        Wake::TimedOut => io::ErrorKind::TimedOut.into(),
        _ => io::Error::other(Cancelled),
    }
}

/// The branch `join`.
#[doc(hidden)]
pub fn join<T>(handle: &mut JoinHandle<T>) -> JoinBranch<'_, T> {
    JoinBranch::new(handle)
}

/// The branches `sleep` and `deadline`.
#[doc(hidden)]
#[derive(Debug)]
pub struct SleepBranch {
    /// `None`: further off than can be told.
    deadline: Option<Instant>,
    refused: bool,
}

#[doc(hidden)]
pub fn sleep(duration: Duration) -> SleepBranch {
    SleepBranch {
        deadline: Instant::now().checked_add(duration),
        refused: false,
    }
}

#[doc(hidden)]
pub fn deadline(deadline: Instant) -> SleepBranch {
    SleepBranch {
        deadline: Some(deadline),
        refused: false,
    }
}

impl SleepBranch {
    #[doc(hidden)]
    pub fn take(&mut self) {}

    arm!();
}

impl Branch for SleepBranch {
    fn poll(&mut self, _waits: bool) -> bool {
        self.refused
            || self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn deadline(&self) -> Option<StdInstant> {
        self.deadline.map(Into::into)
    }

    fn refuse(&mut self, _wake: Wake) {
        self.refused = true;
    }
}

/// The branch `cancelled` without a token.
#[doc(hidden)]
#[derive(Debug)]
pub struct CancelledBranch(());

#[doc(hidden)]
pub fn cancelled() -> CancelledBranch {
    CancelledBranch(())
}

impl CancelledBranch {
    #[doc(hidden)]
    pub fn take(&mut self) {}

    arm!();
}

impl Branch for CancelledBranch {
    fn poll(&mut self, _waits: bool) -> bool {
        crate::thread::is_cancelled()
    }

    fn refuse(&mut self, _wake: Wake) {}

    fn is_for_cancellation(&self) -> bool {
        true
    }
}

/// The branch `cancelled` with a token.
#[doc(hidden)]
pub struct TokenBranch<'a> {
    node: &'a Arc<CancelNode>,
    ticket: Option<Membership>,
}

#[doc(hidden)]
pub fn cancelled_token(token: &CancelToken) -> TokenBranch<'_> {
    TokenBranch {
        node: token.node(),
        ticket: None,
    }
}

impl TokenBranch<'_> {
    #[doc(hidden)]
    pub fn take(&mut self) {}

    arm!();
}

impl Branch for TokenBranch<'_> {
    fn poll(&mut self, _waits: bool) -> bool {
        self.node.is_cancelled()
    }

    fn register(&mut self, ticket: &Ticket) -> bool {
        let alarm = Alarm::Branch(ticket.clone());
        self.ticket = Some(self.node.join(Member::Select(alarm)));
        self.node.is_cancelled()
    }

    fn unregister(&mut self) {
        self.ticket = None;
    }

    fn refuse(&mut self, _wake: Wake) {}

    fn is_for_cancellation(&self) -> bool {
        true
    }
}

/// The branches `readable` and `writable`.
#[doc(hidden)]
#[derive(Debug)]
pub struct ReadyBranch<'a> {
    socket: BorrowedSocket<'a>,
    direction: Direction,
    result: Option<io::Result<()>>,
}

#[doc(hidden)]
pub fn readable<S: AsSocket + ?Sized>(socket: &S) -> ReadyBranch<'_> {
    ReadyBranch::new(socket.as_socket(), Direction::Read)
}

#[doc(hidden)]
pub fn writable<S: AsSocket + ?Sized>(socket: &S) -> ReadyBranch<'_> {
    ReadyBranch::new(socket.as_socket(), Direction::Write)
}

/// Does an operation if that takes no wait.
fn attempt<O: Operation>(source: &Source, operation: O) -> Option<io::Result<O::Output>> {
    match perform(source, Patience::None, operation) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

impl<'a> ReadyBranch<'a> {
    fn new(socket: BorrowedSocket<'a>, direction: Direction) -> ReadyBranch<'a> {
        ReadyBranch {
            socket,
            direction,
            result: None,
        }
    }

    #[doc(hidden)]
    pub fn take(&mut self) -> io::Result<()> {
        self.result.take().expect("the branch was taken")
    }

    arm!();
}

impl Branch for ReadyBranch<'_> {
    fn poll(&mut self, _waits: bool) -> bool {
        self.result = match self.direction {
            Direction::Read => attempt(self.socket.source(), PollRead),
            Direction::Write => attempt(self.socket.source(), PollWrite),
        };
        self.result.is_some()
    }

    fn source(&self) -> Option<(&Source, Direction)> {
        Some((self.socket.source(), self.direction))
    }

    fn refuse(&mut self, wake: Wake) {
        self.result = Some(Err(told(wake)));
    }

    fn fail(&mut self, error: io::Error) {
        self.result = Some(Err(error));
    }
}

/// A listener of this crate.
#[doc(hidden)]
pub trait Accepts {
    /// A connection with its peer's address.
    type Connection;

    /// The listening socket.
    fn listening(&self) -> BorrowedSocket<'_>;

    /// `WouldBlock` when none is waiting.
    fn try_accept(&self) -> io::Result<Self::Connection>;
}

impl<L: Accepts + ?Sized> Accepts for &L {
    type Connection = L::Connection;

    fn listening(&self) -> BorrowedSocket<'_> {
        (**self).listening()
    }

    fn try_accept(&self) -> io::Result<Self::Connection> {
        (**self).try_accept()
    }
}

impl<L: Accepts + ?Sized> Accepts for std::sync::Arc<L> {
    type Connection = L::Connection;

    fn listening(&self) -> BorrowedSocket<'_> {
        (**self).listening()
    }

    fn try_accept(&self) -> io::Result<Self::Connection> {
        (**self).try_accept()
    }
}

/// The branch `accept`.
#[doc(hidden)]
pub struct AcceptBranch<'a, L: Accepts> {
    listener: &'a L,
    socket: BorrowedSocket<'a>,
    result: Option<io::Result<L::Connection>>,
}

#[doc(hidden)]
pub fn accept<L: Accepts>(listener: &L) -> AcceptBranch<'_, L> {
    AcceptBranch {
        listener,
        socket: listener.listening(),
        result: None,
    }
}

impl<L: Accepts> AcceptBranch<'_, L> {
    #[doc(hidden)]
    pub fn take(&mut self) -> io::Result<L::Connection> {
        self.result.take().expect("the branch was taken")
    }

    arm!();
}

impl<L: Accepts> Branch for AcceptBranch<'_, L> {
    fn poll(&mut self, _waits: bool) -> bool {
        self.result = match self.listener.try_accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        };
        self.result.is_some()
    }

    fn source(&self) -> Option<(&Source, Direction)> {
        Some((self.socket.source(), Direction::Read))
    }

    fn refuse(&mut self, wake: Wake) {
        self.result = Some(Err(told(wake)));
    }

    fn fail(&mut self, error: io::Error) {
        self.result = Some(Err(error));
    }
}

/// Waits for the first of several things, and does the one that came first. The others lose
/// nothing: no message is taken, no connection accepted, no value made that is not used.
///
/// ```
/// use std::time::Duration;
/// use tarae::sync::mpmc;
///
/// tarae::run(|| {
///     let (jobs, inbox) = mpmc::channel();
///     let (stop, stopped) = mpmc::channel::<()>();
///     tarae::spawn(move || {
///         (1..=3).for_each(|n| jobs.send(n).unwrap());
///         tarae::time::sleep(Duration::from_millis(5));
///         drop(stop);
///     });
///     let mut sum = 0;
///     loop {
///         tarae::select! {
///             recv(inbox) -> job => if let Ok(n) = job { sum += n } else { break },
///             recv(stopped) -> _ => break,
///             sleep(Duration::from_secs(60)) => panic!("nothing has come for a minute"),
///         }
///     }
///     assert_eq!(sum, 6);
/// })
/// .unwrap();
/// ```
///
/// # Branches
///
/// Up to sixteen, each `kind(arguments) -> pattern => expression,`. The pattern may be left out,
/// and so may the comma after a block. The value of the chosen expression is that of the whole.
///
/// | branch | is taken when |
/// | --- | --- |
/// | `recv(receiver)` | there is a message, or none can come any more |
/// | `send(sender, message)` | there is room, at a rendezvous a receiver, or nobody to receive |
/// | `changed(receiver)` | a [`watch`](crate::sync::watch) has a value that was not seen |
/// | `join(handle)` | the coroutine has ended |
/// | `sleep(duration)` | it has passed since the `select!` began |
/// | `deadline(instant)` | it has passed |
/// | `accept(listener)` | there is a connection |
/// | `readable(socket)`, `writable(socket)` | reading or writing is worth trying |
/// | `cancelled()` | the coroutine has been cancelled |
/// | `cancelled(token)` | the [token](crate::cancel::CancelToken) has been, or the coroutine |
/// | `default` | no other can be taken at once: the `select!` then never waits |
///
/// The pattern gets what the method of that name gives; `readable` and `writable` give an
/// `io::Result<()>`; `sleep`, `deadline` and `cancelled` nothing. `recv` is for the receivers of
/// [`mpmc`](crate::sync::mpmc), [`mpsc`](crate::sync::mpsc), [`oneshot`](crate::sync::oneshot) and
/// [`broadcast`](crate::sync::broadcast).
///
/// Receivers, senders, listeners and sockets are borrowed for the wait only. `message` is evaluated
/// only when the branch has been chosen, when there is room that is kept for it: it should not
/// wait, for a receiver may be waiting for it. If it panics the room is given up. `handle` must be
/// a variable that is `mut`; it is used up only when its branch is chosen.
///
/// # Order
///
/// Of several branches that can be taken, one is chosen by beginning to look at a random one. With
/// `biased;` in front they are looked at from top to bottom, and one that is always ready starves
/// those below it. A waiting `select!` stands in line like any other who waits.
///
/// # Waiting
///
/// Parks the coroutine, or blocks the plain thread. A plain thread waits for sockets in `ppoll(2)`,
/// and then keeps an eventfd for as long as it lives.
///
/// A socket may be found not ready by the time that its branch looks: another one has been faster.
/// The wait then goes on. `readable` promises only that a try is worth it; use non-blocking mode if
/// others read from the same socket.
///
/// # Cancellation
///
/// In a cancelled coroutine a branch that can be taken at once still is. Otherwise `cancelled` is
/// taken if it is there, with or without a token; if not, one of the other branches is taken and
/// tells, as its call would: `recv`, `send` and `join` by an error that says `is_cancelled()`,
/// `accept`, `readable` and `writable` by one that [`Cancelled::is`](crate::Cancelled::is)
/// recognises, `sleep` and `deadline` by ending early. The same holds for a time limit that is not
/// one of the branches.
///
/// # Panics
///
/// On a plain thread, when there is no descriptor for its eventfd.
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)+) => {
        $crate::__select!(@read false [] [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] $($branches)+)
    };
    ($($branches:tt)+) => {
        $crate::__select!(@read true [] [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] $($branches)+)
    };
}

/// The work of [`select!`](crate::select!): reads branches into `{index kind (arguments) (pattern)
/// (body)}`, then writes them out.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // `default` must be the last.
    (@read $fair:tt [$($done:tt)*] [$($free:tt)*] default => $body:block $(,)?) => {
        $crate::__select!(@write $fair false [$($done)*] {$body})
    };
    (@read $fair:tt [$($done:tt)*] [$($free:tt)*] default => $body:expr $(,)?) => {
        $crate::__select!(@write $fair false [$($done)*] {$body})
    };
    (@read $fair:tt [$($done:tt)*] [$($free:tt)*] default => $($rest:tt)*) => {
        ::core::compile_error!("`default` must be the last branch of `select!`")
    };
    (@read $fair:tt [$($done:tt)*] [$($free:tt)*]) => {
        $crate::__select!(@write $fair true [$($done)*] {::core::unreachable!()})
    };
    (@read $fair:tt [$($done:tt)*] [] $($rest:tt)+) => {
        ::core::compile_error!("`select!` has at most 16 branches")
    };
    // Without a pattern.
    (@read $fair:tt $done:tt $free:tt $kind:ident $arguments:tt => $($rest:tt)*) => {
        $crate::__select!(@read $fair $done $free $kind $arguments -> _ => $($rest)*)
    };
    (@read $fair:tt [$($done:tt)*] [$index:tt $($free:tt)*]
        $kind:ident $arguments:tt -> $pattern:pat => $body:block, $($rest:tt)*) => {
        $crate::__select!(@read $fair
            [$($done)* {$index $kind $arguments ($pattern) ($body)}] [$($free)*] $($rest)*)
    };
    (@read $fair:tt [$($done:tt)*] [$index:tt $($free:tt)*]
        $kind:ident $arguments:tt -> $pattern:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@read $fair
            [$($done)* {$index $kind $arguments ($pattern) ($body)}] [$($free)*] $($rest)*)
    };
    (@read $fair:tt [$($done:tt)*] [$index:tt $($free:tt)*]
        $kind:ident $arguments:tt -> $pattern:pat => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@read $fair
            [$($done)* {$index $kind $arguments ($pattern) ($body)}] [$($free)*] $($rest)*)
    };
    (@read $fair:tt [$($done:tt)*] [$index:tt $($free:tt)*]
        $kind:ident $arguments:tt -> $pattern:pat => $body:expr) => {
        $crate::__select!(@read $fair
            [$($done)* {$index $kind $arguments ($pattern) ($body)}] [$($free)*])
    };

    (@write $fair:tt $waits:tt
        [$({$index:tt $kind:ident $arguments:tt ($pattern:pat) ($body:expr)})*]
        {$($default:tt)*}) => {{
        let mut branches = ($($crate::__select!(@new $kind $arguments),)*);
        let chosen = $crate::select::choose(&mut [$(branches.$index.arm()),*], $fair, $waits);
        match chosen {
            $($index => {
                let outcome = $crate::__select!(@take $kind (branches.$index) $arguments);
                // The body may use, move or drop what the branches have borrowed.
                ::core::mem::drop(branches);
                let $pattern = $crate::__select!(@finish $kind outcome $arguments);
                $body
            })*
            _ => {
                ::core::mem::drop(branches);
                $($default)*
            }
        }
    }};

    (@new recv ($receiver:expr)) => { ($receiver).recv_branch() };
    (@new send ($sender:expr, $message:expr)) => { ($sender).send_branch() };
    (@new changed ($receiver:expr)) => { ($receiver).changed_branch() };
    (@new join ($handle:expr)) => { $crate::select::join(&mut $handle) };
    (@new sleep ($duration:expr)) => { $crate::select::sleep($duration) };
    (@new deadline ($instant:expr)) => { $crate::select::deadline($instant) };
    (@new accept ($listener:expr)) => { $crate::select::accept(&$listener) };
    (@new readable ($socket:expr)) => { $crate::select::readable(&$socket) };
    (@new writable ($socket:expr)) => { $crate::select::writable(&$socket) };
    (@new cancelled ()) => { $crate::select::cancelled() };
    (@new cancelled ($token:expr)) => { $crate::select::cancelled_token(&$token) };
    (@new $kind:ident $arguments:tt) => {
        ::core::compile_error!(::core::concat!(
            "`select!` has no branch `", ::core::stringify!($kind $arguments), "`"
        ))
    };

    (@take $kind:ident ($branch:expr) $arguments:tt) => { $branch.take() };

    (@finish send $outgoing:ident ($sender:expr, $message:expr)) => { $outgoing.send($message) };
    (@finish join $refusal:ident ($handle:expr)) => {
        match $refusal {
            ::core::option::Option::None => $handle.join(),
            ::core::option::Option::Some(error) => ::core::result::Result::Err(error),
        }
    };
    (@finish $kind:ident $outcome:ident $arguments:tt) => { $outcome };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::net::TcpListener;
    use crate::sched::worker::Worker;
    use crate::sync::mpmc;

    fn driver_waits() -> usize {
        let worker = Worker::current().expect("in a coroutine");
        worker.with_driver(|driver| driver.waits().count())
    }

    /// Entries that selects leave in channels and in the driver, while they wait and afterwards.
    #[test]
    fn nothing_is_left_behind() {
        let soak = std::env::var_os("TARAE_SOAK").is_some();
        let rounds = if soak { 2_000_000 } else { 20_000 };
        let runtime = crate::Builder::new().workers(1);
        let test = || {
            let (sender, receiver) = mpmc::sync_channel(1);
            let (full, kept) = mpmc::sync_channel(0);
            let (_keep, silence) = mpmc::channel::<()>();
            let token = crate::cancel::CancelToken::new();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut forever = crate::spawn(|| {
                crate::time::sleep(Duration::from_secs(1_000_000));
            });
            crate::yield_now();
            let before = driver_waits();
            let theirs = (silence.clone(), kept.clone(), token.clone());
            crate::spawn(move || {
                for round in 0..rounds {
                    if round == 7 {
                        // The other one waits now: the counts count.
                        assert_eq!((theirs.0.entries(), theirs.1.entries()), (1, 1));
                        assert!(driver_waits() > before);
                        assert_eq!(theirs.2.node().member_count(), 1);
                    }
                    sender.send(round).unwrap();
                    crate::yield_now();
                }
            });
            for round in 0..rounds {
                crate::select! {
                    recv(receiver) -> got => assert_eq!(got, Ok(round)),
                    recv(silence) -> _ => unreachable!(),
                    send(full, 1) -> _ => unreachable!(),
                    accept(listener) -> _ => unreachable!(),
                    cancelled(token) => unreachable!(),
                    join(forever) -> _ => unreachable!(),
                    sleep(Duration::from_secs(1_000)) => unreachable!(),
                }
            }
            let entries = receiver.entries() + silence.entries() + kept.entries();
            assert_eq!(entries, 0, "left in channels");
            assert_eq!(driver_waits(), before, "left in the driver");
            assert_eq!(token.node().member_count(), 0, "left with the token");
            forever.cancel();
        };
        runtime.run(test).unwrap();
    }
}
