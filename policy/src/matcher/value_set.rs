//! Sets of values, by number.

use std::ops::BitOr;
use std::slice;

use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;
use crate::matcher::value_ids::{MAX_UNSORTED, ValueId};

/// A set of values of one field, kept once however many rules share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetId {
    One(ValueId),
    /// Index among the sets of several values or none.
    Several(u32),
}

/// Several values.
struct Set {
    /// Sorted values.
    values: Box<[ValueId]>,
    /// A bit for each of the first values of the field: most policies list no more.
    first: u64,
}

impl Set {
    fn new(values: Box<[ValueId]>) -> Self {
        let first = values.iter().map(|value| bit(*value)).fold(0, BitOr::bitor);
        Self { values, first }
    }

    fn has(&self, value: ValueId) -> bool {
        match bit(value) {
            0 => self.values.binary_search(&value).is_ok(),
            bit => self.first & bit != 0,
        }
    }
}

/// The bit of a value, 0 for one that has none.
fn bit(value: ValueId) -> u64 {
    1_u64.checked_shl(value.0).unwrap_or_default()
}

/// The value sets of a policy.
#[derive(Default)]
pub(crate) struct ValueSets {
    sets: Vec<Set>,
    numbers: OrderedMap<Box<[ValueId]>, SetId>,
}

impl ValueSets {
    pub(crate) fn add(&mut self, mut values: Vec<ValueId>) -> SetId {
        sort_by(&mut values, Ord::cmp);
        values.dedup();
        if let [only] = values.as_slice() {
            return SetId::One(*only);
        }
        let values: Box<[ValueId]> = values.into();
        if let Some(known) = self.numbers.get(&values) {
            return *known;
        }
        let id = SetId::Several(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        self.sets.push(Set::new(values.clone()));
        self.numbers.insert(values, id);
        id
    }

    /// Ends the adding, and frees what only that needed.
    pub(crate) fn close(&mut self) {
        self.numbers = OrderedMap::default();
    }

    pub(crate) fn values<'s>(&'s self, id: &'s SetId) -> &'s [ValueId] {
        match id {
            SetId::One(only) => slice::from_ref(only),
            SetId::Several(index) => self.several(*index).map_or(&[], |set| &set.values),
        }
    }

    fn several(&self, index: u32) -> Option<&Set> {
        usize::try_from(index).ok().and_then(|index| self.sets.get(index))
    }

    /// Reports whether a set contains one of the values that a request matches, which are sorted where they are many.
    pub(crate) fn meets_sorted(&self, id: SetId, matched: &[ValueId]) -> bool {
        let values = self.values(&id);
        match matched.len() > MAX_UNSORTED && values.len() <= MAX_UNSORTED {
            true => values.iter().any(|value| matched.binary_search(value).is_ok()),
            false => self.meets(id, matched),
        }
    }

    /// Reports whether a set contains one of `matched`.
    pub(crate) fn meets(&self, id: SetId, matched: &[ValueId]) -> bool {
        match id {
            SetId::One(only) => matched.contains(&only),
            SetId::Several(index) => {
                let Some(set) = self.several(index) else { return false };
                matched.iter().any(|value| set.has(*value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_meets_what_it_lists_and_nothing_else() {
        let lists: [&[u32]; 6] =
            [&[], &[7], &[0, 63], &[64, 65, 200], &[1, 63, 64, 127, 128, u32::MAX], &[3, 3, 70, 3, 6]];
        let mut sets = ValueSets::default();
        for list in lists {
            let id = sets.add(list.iter().map(|value| ValueId(*value)).collect());
            for value in (0..260).chain([u32::MAX - 1, u32::MAX]) {
                assert_eq!(sets.meets(id, &[ValueId(value)]), list.contains(&value), "{value} in {list:?}");
            }
            assert!(!sets.meets(id, &[]));
            assert_eq!(sets.meets(id, &[ValueId(5), ValueId(63)]), list.contains(&63), "{list:?}");
        }
    }
}
