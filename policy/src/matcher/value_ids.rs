//! Values of a match field, interned as numbers.

use std::hash::Hash;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;

/// Number of a value within its match field, in the order of first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(pub(crate) u32);

/// The values of one field that match a request: few, since a value matches at most one exact entry and one prefix
/// or suffix for each of its lengths.
pub(crate) type Matched = SmallVec<[ValueId; 6]>;

/// Most values that match a request and are not sorted.
pub(crate) const MAX_UNSORTED: usize = 8;

/// Leaves one of each value.
pub(crate) fn once_each(matched: &mut Matched) {
    let mut values = std::mem::take(matched).into_vec();
    sort_by(&mut values, Ord::cmp);
    values.dedup();
    *matched = values.into();
}

/// Leaves one of each value where there are many more than the `kept` ones: what is looked up piece by piece would
/// otherwise be as many as the pieces times the values.
pub(crate) fn once_each_beyond(matched: &mut Matched, kept: &mut usize) {
    const ROOM: usize = 64;
    if matched.len() > 2 * *kept + ROOM {
        once_each(matched);
        *kept = matched.len();
    }
}

/// Gives each distinct pattern of one field an id, in the order of first mention.
pub(crate) struct Interner<P>(OrderedMap<P, ValueId>);

impl<P> Default for Interner<P> {
    fn default() -> Self {
        Self(OrderedMap::default())
    }
}

impl<P: Clone + Eq + Hash> Interner<P> {
    pub(crate) fn intern(&mut self, patterns: &[P]) -> Vec<ValueId> {
        let mut ids = Vec::with_capacity(patterns.len());
        ids.extend(patterns.iter().map(|pattern| self.intern_one(pattern)));
        ids
    }

    fn intern_one(&mut self, pattern: &P) -> ValueId {
        let next = ValueId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.entry_or_insert_with(pattern.clone(), || next, |id| *id)
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (P, ValueId)> {
        self.0.into_entries().into_iter()
    }
}
