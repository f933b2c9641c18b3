//! Hash tables for what a configuration holds.
//!
//! The hash is fast and not collision-resistant: only configurations insert keys, requests look them up.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::collections::bytes::bytes_eq;

/// General-purpose hash map, for callers that need its full interface.
pub(crate) type HashMap<K, V> = hashbrown::HashMap<K, V, FxBuildHasher>;

/// Entries in the order in which they were first put in, found by key.
///
/// The table itself holds indexes and hashes alone, the same type for all keys and values: each instance of a usual map
/// adds some kilobytes to a module.
#[derive(Clone, Debug)]
pub(crate) struct OrderedMap<K, V> {
    entries: Vec<(K, V)>,
    /// Entry indexes with half of the hash, which keeps the many small tables small.
    slots: HashTable<(u32, u32)>,
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), slots: HashTable::new() }
    }
}

/// Returns the hash of a slot, with the stored half in both halves because the table reads both ends.
fn hash_of(slot: &(u32, u32)) -> u64 {
    u64::from(slot.0) << 32 | u64::from(slot.0)
}

/// Returns the hash of a key.
pub(crate) fn hashed<Q: Hash + ?Sized>(key: &Q) -> u32 {
    folded(FxBuildHasher.hash_one(key))
}

#[inline(never)]
fn folded(hash: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h])
}

/// The only function that grows a table, so that it is compiled once.
fn put(slots: &mut HashTable<(u32, u32)>, hash: u32, index: usize) {
    let entry = (hash, u32::try_from(index).unwrap_or(u32::MAX));
    slots.insert_unique(hash_of(&entry), entry, hash_of);
}

/// Number of entries up to which a linear scan is cheaper than hashing the key.
const LINEAR_SCAN_MAX: usize = 4;

/// Finds the entry with this hash for which `is` holds; not generic, so that there is one instance.
fn find(slots: &HashTable<(u32, u32)>, hash: u32, is: &dyn Fn(u32) -> bool) -> Option<u32> {
    slots.find(hash_of(&(hash, 0)), |(known, index)| *known == hash && is(*index)).map(|(_, index)| *index)
}

fn entry<K, V>(entries: &[(K, V)], index: u32) -> Option<&(K, V)> {
    usize::try_from(index).ok().and_then(|index| entries.get(index))
}

impl<K: Eq + Hash, V> OrderedMap<K, V> {
    fn index_of<Q: Eq + Hash + ?Sized>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        find(&self.slots, hash, &|index| entry(&self.entries, index).is_some_and(|(known, _)| known.borrow() == key))
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if self.entries.len() <= LINEAR_SCAN_MAX {
            for (known, value) in &self.entries {
                if known.borrow() == key {
                    return Some(value);
                }
            }
            return None;
        }
        let index = self.index_of(hashed(key), key)?;
        entry(&self.entries, index).map(|(_, value)| value)
    }

    /// Changes the value under `key`, which is `new` where there is none.
    pub(crate) fn entry_or_insert_with<T>(
        &mut self,
        key: K,
        new: impl FnOnce() -> V,
        change: impl FnOnce(&mut V) -> T,
    ) -> T {
        let hash = hashed(&key);
        let known = self.index_of(hash, &key).and_then(|index| usize::try_from(index).ok());
        if let Some((_, value)) = known.and_then(|index| self.entries.get_mut(index)) {
            return change(value);
        }
        let mut value = new();
        let changed = change(&mut value);
        put(&mut self.slots, hash, self.entries.len());
        self.entries.push((key, value));
        changed
    }

    /// Puts a value under `key`; gives back the one that was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hashed(&key);
        let known = self.index_of(hash, &key).and_then(|index| usize::try_from(index).ok());
        if let Some((_, slot)) = known.and_then(|index| self.entries.get_mut(index)) {
            return Some(std::mem::replace(slot, value));
        }
        put(&mut self.slots, hash, self.entries.len());
        self.entries.push((key, value));
        None
    }
}

impl<V> OrderedMap<Box<[u8]>, V> {
    /// Looks up a key by its bytes; faster than [`get`](Self::get).
    pub(crate) fn get_bytes(&self, key: &[u8]) -> Option<&V> {
        if self.entries.len() <= LINEAR_SCAN_MAX {
            for (known, value) in &self.entries {
                if bytes_eq(known, key) {
                    return Some(value);
                }
            }
            return None;
        }
        let is = |index| entry(&self.entries, index).is_some_and(|(known, _)| bytes_eq(known, key));
        let index = find(&self.slots, hashed(key), &is)?;
        entry(&self.entries, index).map(|(_, value)| value)
    }
}

impl<K, V> OrderedMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn entries(&self) -> &[(K, V)] {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<(K, V)> {
        self.entries
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        for (key, value) in entries {
            table.insert(key, value);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_usual_map() {
        let mut table: OrderedMap<String, usize> = OrderedMap::default();
        let mut usual = std::collections::HashMap::new();
        for number in 0..5000_usize {
            let key = format!("k{}", number * 7919 % 1700);
            assert_eq!(table.get(key.as_str()), usual.get(&key));
            match number % 3 {
                0 => assert_eq!(table.insert(key.clone(), number), usual.insert(key, number)),
                _ => {
                    table.entry_or_insert_with(key.clone(), || 0, |value| *value += number);
                    *usual.entry(key).or_default() += number;
                }
            }
        }
        assert_eq!(table.len(), usual.len());
        assert_eq!(table.get("k1700"), None);
        let entries: std::collections::HashMap<_, _> = table.into_entries().into_iter().collect();
        assert_eq!(entries, usual);
    }
}
