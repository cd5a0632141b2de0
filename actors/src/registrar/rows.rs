//! A table of the registry: rows in the order of their coming, with what they take in the archive.

use core::borrow::Borrow;
use core::hash::Hash;
use kaon_kernel::table::Table;
use std::collections::BTreeMap;

/// Rows in order of their coming, found by their key.
#[derive(Clone, Debug)]
pub(super) struct Rows<K, V> {
    places: Table<K, u64>,
    rows: BTreeMap<u64, (K, usize, V)>,
    next: u64,
    /// What all rows take in the archive.
    pub(super) bytes: usize,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { places: Table::default(), rows: BTreeMap::new(), next: 0, bytes: 0 }
    }
}

impl<K: Clone + Eq + Hash + Borrow<str>, V> Rows<K, V> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn find(&self, key: &str) -> Option<&V> {
        let place = self.places.get(key)?;
        self.rows.get(place).map(|(_, _, value)| value)
    }

    pub(super) fn bytes_of(&self, key: &str) -> usize {
        let row = self.places.get(key).and_then(|place| self.rows.get(place));
        row.map_or(0, |(_, bytes, _)| *bytes)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.values().map(|(key, _, value)| (key, value))
    }

    /// Writes a row in its old place, or as the newest.
    pub(super) fn put(&mut self, key: K, bytes: usize, value: V) {
        let place = *self.places.entry(key.clone()).or_insert(self.next);
        self.next = self.next.max(place + 1);
        self.bytes += bytes;
        if let Some((_, before, _)) = self.rows.insert(place, (key, bytes, value)) {
            self.bytes -= before;
        }
    }

    /// Adds the newest row; `None` when the key has one already.
    pub(super) fn push(&mut self, key: K, bytes: usize, value: V) -> Option<()> {
        (!self.has(key.borrow())).then(|| self.put(key, bytes, value))
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<(usize, V)> {
        let place = self.places.swap_remove(key)?;
        let (_, bytes, value) = self.rows.remove(&place)?;
        self.bytes -= bytes;
        Some((bytes, value))
    }

    /// Forgets the oldest row; its key, if there was one.
    pub(super) fn pop_oldest(&mut self) -> Option<K> {
        let (_, (key, bytes, _)) = self.rows.pop_first()?;
        self.bytes -= bytes;
        self.places.swap_remove(key.borrow());
        Some(key)
    }

    pub(super) fn invariants(&self) {
        assert_eq!(self.places.len(), self.rows.len(), "index and rows");
        assert!(self.rows.last_key_value().is_none_or(|(place, _)| *place < self.next));
    }
}
