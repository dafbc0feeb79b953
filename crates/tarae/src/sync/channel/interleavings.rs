//! A channel in every interleaving of its users' steps: each step is one turn under the lock, so
//! trying all orders of turns tries everything that can happen to a `Core` and its waiters.
//!
//! A run is replayed from its list of decisions; the last decision that has an alternative is then
//! changed, until none is left. A run that comes to a state seen before ends there. Giving up (a
//! time-out, a cancellation) and dropping a permit (a panic) are decisions too.

use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::core::{Core, Permit, Received, Refusal, Sent};
use super::waiters::{Claim, Key, Woken};
use crate::sched::select::Choice;

#[derive(Debug)]
struct Waiter {
    woken: Rc<Cell<bool>>,
    choice: Option<Rc<Choice>>,
}

impl Claim for Waiter {
    fn claim(&self) -> bool {
        self.choice.as_ref().is_none_or(|choice| choice.claim(0))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send,
    Receive,
    SelectSend,
    SelectReceive,
}

#[derive(Debug, PartialEq, Eq)]
enum At {
    /// Looks, without a ticket.
    Poll,
    Register,
    Arm(Key),
    Wait(Key),
    /// Cannot leave before it is given something.
    Promised(Key),
    Holding(Permit),
    Done,
}

#[derive(Debug)]
struct Actor {
    kind: Kind,
    at: At,
    /// What it sends and has not sent, or what it has received.
    item: Option<usize>,
    woken: Rc<Cell<bool>>,
    choice: Rc<Choice>,
}

/// What an actor may do next: go on, or give up, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    GoOn,
    GiveUp,
}

type Channel = Core<usize, Waiter>;

impl Actor {
    fn new(kind: Kind, number: usize) -> Actor {
        let sends = matches!(kind, Kind::Send | Kind::SelectSend);
        Actor {
            kind,
            at: At::Poll,
            item: sends.then_some(number),
            woken: Rc::default(),
            choice: Rc::new(Choice::new()),
        }
    }

    fn moves(&self) -> &'static [Move] {
        match (&self.at, self.woken.get()) {
            (At::Done, _) | (At::Promised(_), false) => &[],
            (At::Wait(_), false) => &[Move::GiveUp],
            (At::Wait(_) | At::Holding(_), _) => &[Move::GoOn, Move::GiveUp],
            _ => &[Move::GoOn],
        }
    }

    fn waiter(&self) -> Waiter {
        let selects = matches!(self.kind, Kind::SelectSend | Kind::SelectReceive);
        Waiter {
            woken: Rc::clone(&self.woken),
            choice: selects.then(|| Rc::clone(&self.choice)),
        }
    }

    fn step(&mut self, choice: Move, core: &mut Channel) {
        let mut woken = Woken::new();
        self.woken.set(false);
        let give_up = choice == Move::GiveUp;
        match self.kind {
            Kind::Send => self.send(give_up, core, &mut woken),
            Kind::Receive => self.receive(give_up, core, &mut woken),
            Kind::SelectSend => self.select_send(give_up, core, &mut woken),
            Kind::SelectReceive => self.select_receive(give_up, core, &mut woken),
        }
        woken.each(|waiter: Waiter| waiter.woken.set(true));
    }

    fn send(&mut self, give_up: bool, core: &mut Channel, woken: &mut Woken<Waiter>) {
        let sent = match self.at {
            At::Wait(key) => core.sent(key, give_up),
            _ => match core.send(self.item.take().unwrap()) {
                Ok(receiver) => {
                    woken.add(receiver);
                    Ok(Sent::Done)
                }
                Err((item, Refusal::Disconnected)) => Ok(Sent::Disconnected(item)),
                Err((item, Refusal::Wait)) => {
                    self.at = At::Wait(core.wait_to_send(item, self.waiter()));
                    return;
                }
            },
        };
        match sent {
            Ok(Sent::Waiting) => return,
            Ok(Sent::Done) => {}
            Ok(Sent::Disconnected(item)) | Err(item) => self.item = Some(item),
        }
        self.at = At::Done;
    }

    fn receive(&mut self, give_up: bool, core: &mut Channel, woken: &mut Woken<Waiter>) {
        match self.at {
            At::Wait(key) | At::Promised(key) => match core.received(key, give_up) {
                Received::Item(item) => self.got(item),
                Received::Promised => self.at = At::Promised(key),
                Received::Waiting => self.at = At::Wait(key),
                Received::Again if give_up => self.at = At::Done,
                Received::Again => self.at = At::Poll,
            },
            _ => match core.receive(woken) {
                Ok(item) => self.got(item),
                Err(Refusal::Disconnected) => self.at = At::Done,
                Err(Refusal::Wait) => {
                    let promised = core.be_promised(|| self.waiter(), woken);
                    let wait = || core.wait_to_receive(self.waiter()).0;
                    self.at = At::Wait(promised.unwrap_or_else(wait));
                }
            },
        }
    }

    fn got(&mut self, item: usize) {
        self.item = Some(item);
        self.at = At::Done;
    }

    fn select_send(&mut self, give_up: bool, core: &mut Channel, woken: &mut Woken<Waiter>) {
        match std::mem::replace(&mut self.at, At::Done) {
            At::Poll => match core.reserve() {
                Ok(permit) => self.at = At::Holding(permit),
                Err(Refusal::Wait) => self.at = At::Register,
                Err(Refusal::Disconnected) => {}
            },
            At::Register => match core.wait_for_permit(self.waiter()) {
                (key, false) => self.at = At::Arm(key),
                (key, true) => {
                    assert_eq!(core.end_permit_wait(key), None);
                    self.at = At::Poll;
                }
            },
            At::Arm(key) if self.choice.arm() => self.at = At::Wait(key),
            At::Arm(key) => {
                assert_eq!(core.end_permit_wait(key), None);
                self.at = At::Poll;
            }
            At::Wait(key) => match (self.choice.end(), core.end_permit_wait(key)) {
                (Some(_), Some(permit)) => self.at = At::Holding(permit),
                (_, Some(_)) => panic!("a permit without a claim"),
                (_, None) if give_up => {}
                (_, None) => self.at = At::Poll,
            },
            At::Holding(permit) if give_up => core.release(permit, woken),
            At::Holding(permit) => {
                self.item = core.fill(permit, self.item.unwrap(), woken).err();
            }
            At::Promised(_) | At::Done => unreachable!(),
        }
    }

    fn select_receive(&mut self, give_up: bool, core: &mut Channel, woken: &mut Woken<Waiter>) {
        match std::mem::replace(&mut self.at, At::Done) {
            At::Poll => match core.receive(woken) {
                Ok(item) => self.got(item),
                Err(Refusal::Disconnected) => {}
                Err(Refusal::Wait) => {
                    let plain = Waiter {
                        woken: Rc::clone(&self.woken),
                        choice: None,
                    };
                    let promised = core.be_promised(|| plain, woken);
                    self.at = promised.map_or(At::Register, At::Promised);
                }
            },
            At::Register => match core.wait_to_receive(self.waiter()) {
                (key, false) => self.at = At::Arm(key),
                (key, true) => {
                    assert_eq!(core.received(key, true), Received::Again);
                    self.at = At::Poll;
                }
            },
            At::Arm(key) if self.choice.arm() => self.at = At::Wait(key),
            At::Arm(key) => {
                assert_eq!(core.received(key, true), Received::Again);
                self.at = At::Poll;
            }
            At::Wait(key) => {
                let claimed = self.choice.end().is_some();
                let found = core.received(key, true);
                assert!(
                    claimed || found == Received::Again,
                    "served without a claim"
                );
                self.found(key, found, give_up && !claimed);
            }
            At::Promised(key) => {
                let found = core.received(key, true);
                self.found(key, found, give_up);
            }
            At::Holding(_) | At::Done => unreachable!(),
        }
    }

    fn found(&mut self, key: Key, found: Received<usize>, give_up: bool) {
        match found {
            Received::Item(item) => self.got(item),
            Received::Promised | Received::Waiting => self.at = At::Promised(key),
            Received::Again if give_up => self.at = At::Done,
            Received::Again => self.at = At::Poll,
        }
    }
}

/// Decisions taken so far, each with the number of its alternatives.
#[derive(Default)]
struct Path {
    taken: Vec<(usize, usize)>,
    at: usize,
    /// Hashes of the states that were come to.
    seen: HashSet<u64>,
    ends: usize,
}

impl Path {
    fn decide(&mut self, alternatives: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, alternatives));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    /// Whether a run may go on from this state: the decisions that follow have not been tried.
    fn enters(&mut self, state: &(&Channel, &[Actor])) -> bool {
        if self.at < self.taken.len() {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        format!("{state:?}").hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }

    /// Moves on to the next run; false after the last.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, alternatives)) = self.taken.pop() {
            if choice + 1 < alternatives {
                self.taken.push((choice + 1, alternatives));
                return true;
            }
        }
        false
    }
}

fn run(capacity: usize, kinds: &[Kind], path: &mut Path) {
    let mut core = Channel::new(capacity);
    let mut actors: Vec<Actor> = (0..)
        .zip(kinds)
        .map(|(n, kind)| Actor::new(*kind, n))
        .collect();
    while path.enters(&(&core, &actors)) {
        let options: Vec<(usize, Move)> = (0..)
            .zip(&actors)
            .flat_map(|(n, actor)| actor.moves().iter().map(move |choice| (n, *choice)))
            .collect();
        let idle = options
            .iter()
            .all(|(n, choice)| *choice == Move::GiveUp && matches!(actors[*n].at, At::Wait(_)));
        if idle {
            check_nobody_is_stuck(&core, &actors);
        }
        if options.is_empty() {
            check_the_end(&core, &mut actors);
            path.ends += 1;
            return;
        }
        let (actor, choice) = options[path.decide(options.len())];
        actors[actor].step(choice, &mut core);
        assert!(core.len() <= capacity, "more than its capacity");
    }
}

fn check_nobody_is_stuck(core: &Channel, actors: &[Actor]) {
    let waits = |actor: &&Actor| matches!(actor.at, At::Wait(_));
    let receives = |kind| matches!(kind, Kind::Receive | Kind::SelectReceive);
    let receivers = actors
        .iter()
        .filter(waits)
        .filter(|actor| receives(actor.kind))
        .count();
    let senders = actors.iter().filter(waits).count() - receivers;
    assert!(
        receivers == 0 || senders == 0,
        "a sender and a receiver wait for each other"
    );
    assert!(
        receivers == 0 || core.len() == 0,
        "a receiver waits beside a message"
    );
    assert!(senders == 0 || core.is_full(), "a sender waits beside room");
    assert!(
        actors
            .iter()
            .all(|actor| !matches!(actor.at, At::Promised(_))),
        "never filled"
    );
    for actor in actors {
        if let At::Wait(key) = actor.at {
            let queued = core.is_queued(key, receives(actor.kind));
            assert!(queued, "served, and not woken");
        }
    }
}

/// Every message is in exactly one place, and no entry, room or promise is left.
fn check_the_end(core: &Channel, actors: &mut [Actor]) {
    let mut found: Vec<usize> = actors
        .iter_mut()
        .filter_map(|actor| actor.item.take())
        .collect();
    found.extend(core.queued());
    found.sort_unstable();
    let sends = |actor: &&(usize, Kind)| matches!(actor.1, Kind::Send | Kind::SelectSend);
    let kinds: Vec<(usize, Kind)> = (0..).zip(actors.iter().map(|actor| actor.kind)).collect();
    let sent: Vec<usize> = kinds.iter().filter(sends).map(|(n, _)| *n).collect();
    assert_eq!(found, sent, "lost or doubled");
    assert_eq!(core.entries(), 0, "left behind");
    assert_eq!(
        core.is_full(),
        core.len() == core.capacity(),
        "room is kept for nobody"
    );
}

fn check(capacity: usize, kinds: &[Kind]) {
    let mut path = Path::default();
    loop {
        run(capacity, kinds, &mut path);
        if !path.advance() {
            break;
        }
    }
    assert!(path.ends > 0, "no run has come to its end: {kinds:?}");
}

/// All mixtures of two and three users.
#[test]
fn every_order_of_every_mixture() {
    let all = [
        Kind::Send,
        Kind::Receive,
        Kind::SelectSend,
        Kind::SelectReceive,
    ];
    for capacity in [0, 1, 2] {
        for a in 0..4 {
            for b in a..4 {
                check(capacity, &[all[a], all[b]]);
                for c in b..4 {
                    check(capacity, &[all[a], all[b], all[c]]);
                }
            }
        }
    }
}

#[test]
fn every_order_of_four_plain_ones() {
    for capacity in [0, 1] {
        let (send, receive) = (Kind::Send, Kind::Receive);
        check(capacity, &[send, send, receive, receive]);
    }
}
