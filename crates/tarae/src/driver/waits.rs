//! The waits of one worker: who waits, in which list, until when.
//!
//! Used by `driver::epoll`. Pure, as `timers` is: it knows lists and ticks, but no sources and no
//! clock.
//!
//! A wait that ends leaves its timer in the wheel, and the next one in the same place takes it
//! over: most waits of a server end long before their deadline and are followed by one with a later
//! deadline, so that the wheel is left alone and with it the memory of its neighbours, which is
//! cold. A timer that expires too early for its wait is put back; one that nobody needs is dropped.
//!
//! Invariants: a place with a waiter stands in one list, or in none if it waits for time alone. A
//! waiter with a deadline has a timer that expires no later.

use super::Direction;
use super::slab::NONE;
use super::timers::{Tick, TimerKey, Timers};
use super::{Place, WaitKey};
use crate::sys;

const NEVER: Tick = Tick::MAX;

pub(crate) struct Waits<W> {
    waits: Vec<Wait<W>>,
    /// The first place without a waiter; `next` links them.
    free: u32,
    /// How many are in progress.
    len: usize,
    timers: Timers<WaitKey>,
}

/// One line of the cache: a server's idle connections are touched once for each request.
#[repr(align(64))]
struct Wait<W> {
    waiter: Option<W>,
    /// `NEVER` without one, and without a waiter.
    deadline: Tick,
    /// When `timer` expires, if there is one.
    expires: Tick,
    timer: TimerKey,
    /// Twice the slot, and 1 more for its list of writers; `NONE` if it is in none.
    list: u32,
    prev: u32,
    next: u32,
}

impl<W> Waits<W> {
    pub(crate) fn new() -> Waits<W> {
        Waits {
            waits: Vec::new(),
            free: NONE,
            len: 0,
            timers: Timers::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Those in progress.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WaitKey, u32, &W)> {
        let waits = self.waits.iter().enumerate();
        waits.filter_map(|(key, wait)| Some((key as u32, wait.list / 2, wait.waiter.as_ref()?)))
    }

    /// Those of the list that begins at `head`.
    pub(crate) fn list(&self, head: u32) -> impl Iterator<Item = &W> {
        let first = self.waits.get(head as usize);
        std::iter::successors(first, |wait| self.waits.get(wait.next as usize))
            .filter_map(|wait| wait.waiter.as_ref())
    }

    /// The list that a wait stands in.
    pub(crate) fn list_of(&self, key: WaitKey) -> Option<(u32, Direction)> {
        let list = self.waits[key as usize].list;
        let direction = [Direction::Read, Direction::Write][list as usize % 2];
        (list != NONE).then_some((list / 2, direction))
    }

    /// A wait for time alone.
    pub(crate) fn insert(&mut self, waiter: W, deadline: Tick) -> WaitKey {
        let key = self.occupy(waiter, NONE);
        self.set_deadline(key, Some(deadline));
        key
    }

    /// A wait at the front of the list at `place`, which begins at `head`.
    pub(crate) fn push(
        &mut self,
        head: &mut u32,
        place: Place,
        waiter: W,
        deadline: Option<Tick>,
    ) -> WaitKey {
        let key = self.occupy(waiter, place.slot * 2 + place.direction as u32);
        if let Some(next) = self.waits.get_mut(*head as usize) {
            next.prev = key;
        }
        self.waits[key as usize].next = *head;
        *head = key;
        self.set_deadline(key, deadline);
        key
    }

    /// Ends the first wait of a list.
    pub(crate) fn pop(&mut self, head: &mut u32) -> Option<W> {
        let key = *head;
        let wait = self.waits.get_mut(key as usize)?;
        let waiter = wait.waiter.take();
        self.len -= 1;
        wait.deadline = NEVER;
        *head = std::mem::replace(&mut wait.next, self.free);
        self.free = key;
        if let Some(next) = self.waits.get_mut(*head as usize) {
            next.prev = NONE;
        }
        waiter
    }

    /// Ends a wait; `head` is where its list begins, if it stands in one.
    pub(crate) fn remove(&mut self, key: WaitKey, head: Option<&mut u32>) -> W {
        let wait = &mut self.waits[key as usize];
        let waiter = wait.waiter.take().expect("a wait ends once");
        self.len -= 1;
        let (prev, next) = (wait.prev, wait.next);
        wait.deadline = NEVER;
        wait.next = self.free;
        self.free = key;
        if let Some(next) = self.waits.get_mut(next as usize) {
            next.prev = prev;
        }
        if let Some(prev) = self.waits.get_mut(prev as usize) {
            prev.next = next;
        } else if let Some(head) = head {
            *head = next;
        }
        waiter
    }

    /// Has the processor fetch a wait that will be looked at soon.
    pub(crate) fn prefetch(&self, key: WaitKey) {
        if let Some(wait) = self.waits.get(key as usize) {
            sys::prefetch(wait);
        }
    }

    /// The same, of the place that the next wait will take.
    pub(crate) fn prefetch_free(&self) {
        self.prefetch(self.free);
    }

    /// The tick until which no deadline passes, if there are any.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// Gives those whose deadline has passed; they are still to be removed.
    pub(crate) fn due(&mut self, now: Tick) -> Vec<WaitKey> {
        let mut due = Vec::new();
        if self.timers.is_empty() {
            return due;
        }
        let waits = &mut self.waits;
        self.timers.advance(now, |key| {
            waits[key as usize].timer = NONE;
            due.push(key);
        });
        due.retain(|&key| {
            let deadline = self.waits[key as usize].deadline;
            if deadline > now && deadline != NEVER {
                self.set_timer(key, deadline);
            }
            deadline <= now
        });
        due
    }

    fn occupy(&mut self, waiter: W, list: u32) -> WaitKey {
        self.len += 1;
        let key = self.free;
        if let Some(wait) = self.waits.get_mut(key as usize) {
            self.free = wait.next;
            // Nobody was there, so that nothing is to be dropped.
            std::mem::forget(wait.waiter.replace(waiter));
            (wait.list, wait.prev, wait.next) = (list, NONE, NONE);
            return key;
        }
        self.waits.push(Wait {
            waiter: Some(waiter),
            deadline: NEVER,
            expires: NEVER,
            timer: NONE,
            list,
            prev: NONE,
            next: NONE,
        });
        u32::try_from(self.waits.len() - 1).expect("fewer than 2^32 waits")
    }

    fn set_deadline(&mut self, key: WaitKey, deadline: Option<Tick>) {
        let Some(deadline) = deadline else { return };
        let wait = &mut self.waits[key as usize];
        // A tick that never comes is none.
        wait.deadline = deadline.min(NEVER - 1);
        if wait.timer == NONE {
            self.set_timer(key, deadline);
        } else if wait.expires > deadline {
            self.timers.remove(wait.timer);
            self.set_timer(key, deadline);
        }
    }

    fn set_timer(&mut self, key: WaitKey, expires: Tick) {
        let timer = self.timers.insert(expires, key);
        let wait = &mut self.waits[key as usize];
        (wait.timer, wait.expires) = (timer, expires);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_outlives_its_wait_and_serves_the_next_one() {
        let mut waits = Waits::new();
        let first = waits.insert("first", 100);
        assert_eq!(waits.remove(first, None), "first");
        let second = waits.insert("second", 250);
        assert_eq!(second, first);
        assert_eq!(waits.next_deadline().map(|tick| tick <= 100), Some(true));
        assert_eq!(
            waits.due(100),
            [],
            "the timer of the first is not the second's deadline"
        );
        assert_eq!(waits.due(249), []);
        assert_eq!(waits.due(250), [second]);
        assert_eq!(waits.remove(second, None), "second");
        assert_eq!(waits.next_deadline(), None);
    }

    #[test]
    fn an_earlier_deadline_moves_the_timer_and_none_needs_none() {
        let mut waits = Waits::new();
        let key = waits.insert(1, 1_000);
        waits.remove(key, None);
        assert_eq!(waits.insert(2, 10), key);
        assert_eq!(waits.due(10), [key]);
        waits.remove(key, None);
        assert_eq!(waits.insert(3, 500), key);
        waits.remove(key, None);
        let (mut head, place) = (NONE, place(0));
        assert_eq!(waits.push(&mut head, place, 4, None), key);
        assert_eq!(waits.due(10_000), [], "it has no deadline");
        assert_eq!(waits.next_deadline(), None, "the timer left behind is gone");
        assert_eq!(waits.pop(&mut head), Some(4));
        assert_eq!(head, NONE);
    }

    #[test]
    fn agrees_with_a_plain_list_over_random_waits() {
        let mut roll = crate::driver::dice(0x9e37_79b9_7f4a_7c15);
        let mut waits = Waits::new();
        let mut heads = [NONE; 4];
        let mut model: Vec<(WaitKey, u64, Option<u32>, Option<Tick>)> = Vec::new();
        let (mut now, mut serial) = (0, 0);
        for _ in 0..50_000 {
            let (slot, deadline) = (roll(4) as u32, Some(now + 1 + roll(300)));
            match roll(8) {
                0..=2 => {
                    let deadline = deadline.filter(|_| roll(3) > 0);
                    let head = &mut heads[slot as usize];
                    let key = waits.push(head, place(slot), serial, deadline);
                    model.push((key, serial, Some(slot), deadline));
                }
                3 => {
                    let key = waits.insert(serial, deadline.unwrap());
                    model.push((key, serial, None, deadline));
                }
                4 if !model.is_empty() => {
                    let (key, value, slot, _) = model.remove(roll(model.len() as u64) as usize);
                    assert_eq!(waits.list_of(key).map(|(slot, _)| slot), slot);
                    let head = slot.map(|slot| &mut heads[slot as usize]);
                    assert_eq!(waits.remove(key, head), value);
                }
                5 => {
                    let mut list: Vec<_> = waits.list(heads[slot as usize]).copied().collect();
                    list.sort_unstable();
                    let in_slot = |one: &&(_, u64, Option<u32>, _)| one.2 == Some(slot);
                    let known: Vec<_> = model.iter().filter(in_slot).map(|one| one.1).collect();
                    let mut sorted = known.clone();
                    sorted.sort_unstable();
                    assert_eq!(list, sorted);
                    if let Some(value) = waits.pop(&mut heads[slot as usize]) {
                        assert_eq!(Some(&value), known.last(), "the latest comes first");
                        model.retain(|one| one.1 != value);
                    }
                }
                _ => {
                    now += roll(40);
                    let next = waits.next_deadline();
                    let first = model.iter().filter_map(|one| one.3).min();
                    assert!(first.is_none_or(|first| next.is_some_and(|next| next <= first)));
                    let mut due = waits.due(now);
                    due.sort_unstable();
                    let late = |one: &(_, _, _, Option<Tick>)| one.3.is_some_and(|at| at <= now);
                    let mut known: Vec<_> = model
                        .iter()
                        .filter(|one| late(one))
                        .map(|one| one.0)
                        .collect();
                    known.sort_unstable();
                    assert_eq!(due, known);
                    for key in due {
                        let at = model.iter().position(|one| one.0 == key).unwrap();
                        let (_, value, slot, _) = model.remove(at);
                        let head = slot.map(|slot| &mut heads[slot as usize]);
                        assert_eq!(waits.remove(key, head), value);
                    }
                }
            }
            serial += 1;
        }
        assert!(waits.waits.len() < 50_000 / 4, "places are used again");
    }

    fn place(slot: u32) -> Place {
        Place {
            slot,
            generation: 0,
            direction: Direction::Read,
        }
    }
}
