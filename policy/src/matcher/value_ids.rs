//! Values of a match field, interned as numbers.

use std::hash::Hash;
use std::ops::{Deref, DerefMut};

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;

/// Number of a value within its match field, in the order of first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(pub(crate) u32);

/// Steps that the lookups of one request may take, beside a pass over each value. A step is an occurrence of a literal;
/// one that is looked at takes more.
pub(crate) const STEPS: usize = 28 << 10;

/// The values of one field that match a request: few, since a value matches at most one exact entry and one prefix
/// or suffix for each of its lengths.
///
/// It counts the steps of the request's lookups, which end where there are too many: no request costs more than its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    ids: SmallVec<[ValueId; 6]>,
    /// The steps that are left.
    steps: usize,
}

impl Default for Matched {
    fn default() -> Self {
        Self { ids: SmallVec::new(), steps: STEPS }
    }
}

impl PartialEq for Matched {
    fn eq(&self, other: &Self) -> bool {
        self.ids == other.ids && self.is_exhausted() == other.is_exhausted()
    }
}

impl Eq for Matched {}

impl Deref for Matched {
    type Target = SmallVec<[ValueId; 6]>;

    fn deref(&self) -> &Self::Target {
        &self.ids
    }
}

impl DerefMut for Matched {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.ids
    }
}

impl FromIterator<ValueId> for Matched {
    fn from_iter<I: IntoIterator<Item = ValueId>>(ids: I) -> Self {
        Self { ids: ids.into_iter().collect(), ..Self::default() }
    }
}

impl Matched {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Empty matches, whose lookup may take so many steps.
    pub(crate) fn with_steps(steps: usize) -> Self {
        Self { ids: SmallVec::new(), steps }
    }

    /// Empty matches of the same request.
    pub(crate) fn others(&self) -> Self {
        Self::with_steps(self.steps)
    }

    /// Adds matches of the same request, made after these.
    pub(crate) fn add(&mut self, others: &Self) {
        self.ids.extend_from_slice(&others.ids);
        self.steps = others.steps;
    }

    /// Counts the steps of matches of the same request, made after these.
    pub(crate) fn continue_after(&mut self, others: &Self) {
        self.steps = others.steps;
    }

    /// The steps that are left.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Reports whether the lookups took too many steps, and more may match than is known.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.steps == 0
    }

    /// Counts the steps of what is compared in any case, and leaves half of those that are left.
    pub(crate) fn spend(&mut self, steps: usize) {
        self.steps -= steps.min(self.steps / 2);
    }

    /// Counts steps; false if there are none left.
    #[inline(always)]
    pub(crate) fn take(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        self.steps != 0
    }
}

/// Most values that match a request and are not sorted.
pub(crate) const MAX_UNSORTED: usize = 8;

/// Leaves one of each value, in their order.
pub(crate) fn once_each(matched: &mut Matched) {
    if !sort_by_bits(&mut matched.ids) {
        let mut values = std::mem::take(&mut matched.ids).into_vec();
        sort_by(&mut values, Ord::cmp);
        values.dedup();
        matched.ids = values.into();
    }
}

/// Sorts values and leaves one of each, by a bit for each possible one. False, and nothing done, where that takes longer
/// than a comparison of those that are there.
fn sort_by_bits(ids: &mut SmallVec<[ValueId; 6]>) -> bool {
    /// Words of bits that take as long as sorting one value.
    const WORDS_PER_VALUE: usize = 8;
    let Some(words) = ids.iter().max().and_then(|most| usize::try_from(most.0 / u64::BITS + 1).ok()) else {
        return true;
    };
    if words > ids.len() * WORDS_PER_VALUE {
        return false;
    }
    let mut bits = vec![0_u64; words];
    for ValueId(id) in ids.drain(..) {
        if let Some(word) = usize::try_from(id / u64::BITS).ok().and_then(|word| bits.get_mut(word)) {
            *word |= 1 << (id % u64::BITS);
        }
    }
    for (mut word, first) in bits.into_iter().zip((0..).step_by(64)) {
        while word != 0 {
            ids.push(ValueId(first + word.trailing_zeros()));
            word &= word - 1;
        }
    }
    true
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

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &P> {
        self.0.entries().iter().map(|(pattern, _)| pattern)
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (P, ValueId)> {
        self.0.into_entries().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    #[test]
    fn each_value_is_left_once_in_order_however_far_apart_they_are() {
        let mut rng = Rng::with_seed(5);
        for most in [1, 8, 63, 64, 65, 1_000, u32::MAX] {
            for count in 0..200 {
                let values: Vec<_> = (0..count).map(|_| ValueId(rng.u32(..most))).collect();
                let mut expected = values.clone();
                expected.sort();
                expected.dedup();
                let mut matched: Matched = values.into_iter().collect();
                once_each(&mut matched);
                assert_eq!(matched.to_vec(), expected, "{count} below {most}");
            }
        }
    }
}
