//! A vector with holes: entries keep their index until removed, free indices are reused last in,
//! first out. Used by `driver` and `sched` for what one worker owns, and by `sync` for who waits.
//! Pure.

#[derive(Debug)]
enum Entry<T> {
    Used(T),
    Free { next: u32 },
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Slab<T> {
        Slab {
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.free == NONE {
            self.entries.push(Entry::Used(value));
            return u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 entries");
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        if let Entry::Free { next } = *entry {
            self.free = next;
        }
        *entry = Entry::Used(value);
        index
    }

    /// Takes an entry out; there must be one.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        let entry = &mut self.entries[index as usize];
        match std::mem::replace(entry, Entry::Free { next: self.free }) {
            Entry::Used(value) => {
                self.free = index;
                self.len -= 1;
                value
            }
            Entry::Free { .. } => unreachable!("an index is removed once"),
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        match self.entries.get(index as usize) {
            Some(Entry::Used(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.entries.get_mut(index as usize) {
            Some(Entry::Used(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match entry {
                Entry::Used(value) => Some((index as u32, value)),
                Entry::Free { .. } => None,
            })
    }
}
