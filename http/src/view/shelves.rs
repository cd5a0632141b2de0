//! A map whose copies share what did not change.
//!
//! A snapshot is a clone of the whole map, and the next change copies one shelf of it: cost of a clone is [`SHELVES`]
//! pointers, cost of a change after it the entries of one shelf. So a table of 100,000 tasks is snapshotted after each
//! batch of changes without being copied.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// How many shelves. 100,000 entries are then 400 a shelf.
const SHELVES: usize = 256;

/// The map. Keys are spread over shelves by a fixed hash.
#[derive(Clone, Debug)]
pub struct Shelves<K, V> {
    shelves: Arc<Vec<Shelf<K, V>>>,
    len: usize,
}

type Shelf<K, V> = Arc<BTreeMap<K, Arc<V>>>;

impl<K: Ord + Hash + Clone, V: Clone> Default for Shelves<K, V> {
    fn default() -> Self {
        Self { shelves: Arc::default(), len: 0 }
    }
}

fn place<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    // Small enough for every usize.
    (hasher.finish() % SHELVES as u64) as usize
}

impl<K: Ord + Hash + Clone, V: Clone> Shelves<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of a key.
    pub fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.shelves.get(place(key))?.get(key)
    }

    /// All entries, in an order that stays the same as long as the keys do.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.shelves.iter().flat_map(|shelf| shelf.iter())
    }

    /// All values, in the order of [`Shelves::iter`].
    pub fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.iter().map(|(_, value)| value)
    }

    /// Puts an entry in, over an older one.
    pub fn insert(&mut self, key: K, value: V) {
        let shelf = self.shelf(place(&key));
        if shelf.insert(key, Arc::new(value)).is_none() {
            self.len += 1;
        }
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let removed = self.shelf(place(key)).remove(key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The entry of a key, to be changed. It is copied when a snapshot holds it too.
    pub fn get_mut<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        self.shelf(place(key)).get_mut(key).map(Arc::make_mut)
    }

    fn shelf(&mut self, at: usize) -> &mut BTreeMap<K, Arc<V>> {
        let shelves = Arc::make_mut(&mut self.shelves);
        if shelves.is_empty() {
            shelves.resize_with(SHELVES, Arc::default);
        }
        Arc::make_mut(&mut shelves[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_its_clones_do_not_change(steps in prop::collection::vec((0_u16..400, any::<Option<u8>>()), 0..300)) {
            let mut shelves = Shelves::default();
            let mut model = BTreeMap::new();
            let mut kept = Vec::new();
            for (position, (key, value)) in steps.into_iter().enumerate() {
                match value {
                    Some(value) => {
                        shelves.insert(key, value);
                        model.insert(key, value);
                    }
                    None => {
                        let removed = shelves.remove(&key).map(|value| *value);
                        prop_assert_eq!(removed, model.remove(&key));
                    }
                }
                if let Some(value) = shelves.get_mut(&(key / 2)) {
                    *value = value.wrapping_add(1);
                }
                model.entry(key / 2).and_modify(|value| *value = value.wrapping_add(1));
                if position % 50 == 0 {
                    kept.push((shelves.clone(), model.clone()));
                }
            }
            kept.push((shelves, model));
            for (shelves, model) in kept {
                let all: BTreeMap<u16, u8> = shelves.iter().map(|(key, value)| (*key, **value)).collect();
                prop_assert_eq!(shelves.len(), model.len());
                prop_assert_eq!(all, model);
            }
        }
    }
}
