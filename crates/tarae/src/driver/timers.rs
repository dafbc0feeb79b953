//! Deadlines of one worker: a hierarchical timing wheel with ticks of one millisecond.
//!
//! Called by `driver::epoll`. Pure: it knows no clock, only ticks, so tests and virtual time drive
//! it alike. After Varghese and Lauck, "Hashed and hierarchical timing wheels" (SOSP 1987): six
//! levels of 64 slots; an entry stands at the level of the highest bit in which its deadline
//! differs from the present, and moves down as that comes near. Insert and remove are O(1).

/// Ticks since the worker began.
pub(crate) type Tick = u64;

const LEVELS: usize = 6;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NONE: u32 = u32::MAX;
/// The furthest the wheel reaches (about 795 days); later deadlines are looked at again then.
const REACH: Tick = (1 << (BITS * LEVELS as u32)) - 1;

/// Names an entry from its insertion until it expires or is removed.
pub(crate) type TimerKey = u32;

#[derive(Debug)]
struct Entry<T> {
    deadline: Tick,
    value: Option<T>,
    /// Neighbours in the slot's list; `next` links the free entries too.
    prev: u32,
    next: u32,
    place: u16,
}

#[derive(Debug)]
pub(crate) struct Timers<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
    now: Tick,
    len: usize,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers {
            entries: Vec::new(),
            free: NONE,
            heads: [NONE; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            now: 0,
            len: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a deadline; one in the past expires at the next `advance`.
    pub(crate) fn insert(&mut self, deadline: Tick, value: T) -> TimerKey {
        let entry = Entry {
            deadline,
            value: Some(value),
            prev: NONE,
            next: NONE,
            place: 0,
        };
        let key = if self.free == NONE {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 timers")
        } else {
            let key = self.free;
            self.free = self.entries[key as usize].next;
            self.entries[key as usize] = entry;
            key
        };
        self.len += 1;
        self.link(key);
        key
    }

    /// Takes an entry out before it has expired.
    pub(crate) fn remove(&mut self, key: TimerKey) -> T {
        self.unlink(key);
        self.release(key)
    }

    /// The tick until which nothing can expire, if there is anything at all.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.next_slot().map(|(_, _, tick)| tick)
    }

    /// Moves the present to `to` and gives every entry due by then to `expired`.
    pub(crate) fn advance(&mut self, to: Tick, mut expired: impl FnMut(T)) {
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > to {
                break;
            }
            self.now = self.now.max(tick);
            let place = level * SLOTS + slot;
            while self.heads[place] != NONE {
                let key = self.heads[place];
                self.unlink(key);
                if self.entries[key as usize].deadline <= self.now {
                    expired(self.release(key));
                } else {
                    self.link(key);
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// The first occupied slot: its level, number and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, Tick)> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = BITS * level as u32;
            let here = (self.now >> shift) as u32 % SLOTS as u32;
            let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
            let slot = (here + ahead) % SLOTS as u32;
            let lap = self.now & !((1 << (shift + BITS)) - 1);
            let mut tick = lap + (Tick::from(slot) << shift);
            // A slot behind the present belongs to the next lap, but for the one the present is
            // in: an entry of level 0 there is due now.
            if slot < here {
                tick += 1 << (shift + BITS);
            }
            return Some((level, slot as usize, tick.max(self.now)));
        }
        None
    }

    fn link(&mut self, key: u32) {
        let deadline = self.entries[key as usize]
            .deadline
            .clamp(self.now, self.now + REACH);
        let differs = (deadline ^ self.now) | (SLOTS as u64 - 1);
        let level = (((63 - differs.leading_zeros()) / BITS) as usize).min(LEVELS - 1);
        let slot = (deadline >> (BITS * level as u32)) as usize % SLOTS;
        let place = level * SLOTS + slot;
        let head = self.heads[place];
        let entry = &mut self.entries[key as usize];
        entry.place = place as u16;
        entry.prev = NONE;
        entry.next = head;
        if head != NONE {
            self.entries[head as usize].prev = key;
        }
        self.heads[place] = key;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, key: u32) {
        let (prev, next, place) = {
            let entry = &self.entries[key as usize];
            (entry.prev, entry.next, entry.place as usize)
        };
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
        } else {
            self.heads[place] = next;
            if next == NONE {
                self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
            }
        }
    }

    fn release(&mut self, key: u32) -> T {
        let entry = &mut self.entries[key as usize];
        let value = entry.value.take().expect("a timer key is used once");
        entry.next = self.free;
        self.free = key;
        self.len -= 1;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn deadlines_of_every_level_expire_on_their_tick() {
        for deadline in [
            0,
            1,
            63,
            64,
            65,
            4_095,
            4_096,
            300_000,
            20_000_000,
            70_000_000_000,
        ] {
            let mut timers = Timers::new();
            timers.insert(deadline, deadline);
            let mut expired = Vec::new();
            if deadline > 0 {
                timers.advance(deadline - 1, |value| expired.push(value));
                assert_eq!(expired, [], "{deadline} expired early");
            }
            timers.advance(deadline, |value| expired.push(value));
            assert_eq!(expired, [deadline]);
            assert!(timers.is_empty() && timers.next().is_none());
        }
    }

    #[test]
    fn next_never_lies_behind_a_deadline() {
        let mut timers = Timers::new();
        timers.advance(1_000, drop::<u64>);
        timers.insert(5, 5);
        assert_eq!(
            timers.next(),
            Some(1_000),
            "a deadline in the past is due now"
        );
        timers.insert(1_100, 1_100);
        timers.advance(1_000, |value| assert_eq!(value, 5));
        assert!(timers.next().unwrap() <= 1_100);
    }

    #[test]
    fn agrees_with_a_sorted_map_over_random_insertions_removals_and_steps() {
        let mut roll = crate::driver::dice(0x2545_f491_4f6c_dd1d);
        let mut timers = Timers::new();
        let mut model: BTreeMap<u64, (Tick, TimerKey)> = BTreeMap::new();
        let (mut now, mut serial) = (0, 0u64);
        for _ in 0..50_000 {
            match roll(10) {
                0..=4 => {
                    let reach = 1 << roll(24);
                    let deadline = now + roll(reach);
                    model.insert(serial, (deadline, timers.insert(deadline, serial)));
                    serial += 1;
                }
                5..=6 => {
                    let at = roll(serial.max(1));
                    if let Some((&id, &(_, key))) = model.range(at..).next() {
                        assert_eq!(timers.remove(key), id);
                        model.remove(&id);
                    }
                }
                _ => {
                    let step = 1 << roll(16);
                    now += roll(step);
                    if let Some(next) = timers.next() {
                        let first = model.values().map(|(deadline, _)| *deadline).min();
                        assert!(next <= first.unwrap().max(timers.now));
                    }
                    let mut expired = Vec::new();
                    timers.advance(now, |id| expired.push(id));
                    for id in &expired {
                        assert!(model.remove(id).unwrap().0 <= now);
                    }
                    assert!(model.values().all(|(deadline, _)| *deadline > now));
                }
            }
            assert_eq!(timers.len, model.len());
        }
    }
}
