//! What a simulated run leaves to chance, and what it writes down.
//!
//! Used by `net`, and through `World` by everybody who has something to write. Pure: no clock, no
//! system randomness, nothing that differs between two runs with one seed.

use std::collections::HashMap;
use std::fmt::{self, Write};

use crate::driver::timers::Tick;

/// SplitMix64: all that a run leaves to chance, in the order in which it is asked for.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is 2^-40 for every bound that occurs here.
        self.next() % bound
    }

    /// True once in a while: always for 1, and for 0 never.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The lines of a run and their hash. Coroutines are numbered in the order of their appearance:
/// their ids go on from run to run.
#[derive(Debug, Default)]
pub(super) struct Log {
    text: String,
    numbers: HashMap<u64, usize>,
}

impl Log {
    pub(super) fn line(&mut self, now: Tick, text: fmt::Arguments<'_>) {
        let (seconds, millis) = (now / 1_000, now % 1_000);
        writeln!(self.text, "{seconds}.{millis:03} {text}").expect("a String takes everything");
    }

    pub(super) fn number(&mut self, id: u64) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(id).or_insert(next)
    }

    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

/// FNV-1a: the same on every machine and in every version of Rust.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_what_they_say() {
        let mut random = Random::new(1);
        let mut count = |probability| (0..10_000).filter(|_| random.chance(probability)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_300..2_700).contains(&count(0.25)));
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(7).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
