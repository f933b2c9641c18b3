//! What a request's values are looked up in: no list is walked, whatever a policy lists.

mod clauses;
mod contains;
mod destinations;
mod leaf;
mod prefixes;
mod sets;
mod templates;
mod text;

pub(crate) use clauses::{Clause, ClauseIndex, Condition, MatchedValues, Of, nearness};
pub(crate) use contains::{GlobIndex, Pieced};
pub(crate) use destinations::DestinationIndex;
pub(crate) use sets::{SetId, ValueSets};
pub(crate) use templates::TemplateIndex;
pub(crate) use text::{Beginning, TextIndex};

use smallvec::SmallVec;

use crate::order::sort_by;

/// One value of one match field, numbered within that field in the order of its first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(pub(crate) u32);

/// The values of one field that match a request: few, since a value matches at most one exact entry and one prefix
/// or suffix for each of its lengths.
pub(crate) type Matched = SmallVec<[ValueId; 6]>;

/// Leaves one of each value.
pub(crate) fn once_each(matched: &mut Matched) {
    let mut values = std::mem::take(matched).into_vec();
    sort_by(&mut values, Ord::cmp);
    values.dedup();
    *matched = values.into();
}
