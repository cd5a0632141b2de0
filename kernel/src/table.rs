//! Tables with a defined order: what pure code uses where others would take a hash map.
//!
//! Iteration follows insertion (`swap_remove` moves the last entry into the hole, in every run alike), and the hash is
//! fixed, so that two runs of one seed walk the same way (law L9). Look-ups cost one hash of the key.

use rustc_hash::FxBuildHasher;

/// A map in insertion order.
pub type Table<K, V> = indexmap::IndexMap<K, V, FxBuildHasher>;

/// A set in insertion order.
pub type Set<K> = indexmap::IndexSet<K, FxBuildHasher>;
