//! The match fields that the policies of a filter name.

use std::borrow::Cow;

use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldInterner, FieldProperties};
use crate::collections::map::OrderedMap;
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::value_ids::ValueId;

/// A field of a [`FieldSet`]: two numbers, which are quick to compare, in the order of what the field costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FieldId {
    rank: u8,
    /// Position in the set, whose fields are in the order of first mention.
    position: u32,
}

impl FieldId {
    /// [`MatchField::RANK`](crate::authz::engine::field::MatchField::RANK).
    pub(crate) fn rank(self) -> u8 {
        self.rank
    }
}

/// A field without an index: asking for it stops a decision.
const UNINDEXED: FieldId = FieldId { rank: u8::MAX, position: u32::MAX };

/// Most names of one kind, as of headers, that policies compare: each costs a request a lookup.
const MAX_NAMES: usize = 1_000;

/// Most patterns of one field without a literal of three bytes.
pub(crate) const MAX_SHORT_PATTERNS: usize = 100;

/// The fields that some policies name, each with the index of its patterns.
pub(crate) struct FieldSet {
    fields: Vec<(FieldProperties, Box<dyn FieldIndex>)>,
    /// The number of names by kind, as in `header`.
    names: OrderedMap<Box<str>, usize>,
    /// The first field with too many short patterns, and how many these are.
    short: Option<(Cow<'static, str>, usize)>,
}

impl FieldSet {
    /// The index of a field. Fails where the field is not of this set.
    pub(crate) fn index(&self, field: FieldId) -> Result<&dyn FieldIndex, EvalError> {
        self.field(field)
            .map(|(_, index)| &**index)
            .ok_or_else(|| AttributeError { attribute: "a field of the policy", status: "it has no index" }.into())
    }

    /// The properties of a field of this set.
    pub(crate) fn properties(&self, field: FieldId) -> Option<FieldProperties> {
        self.field(field).map(|(properties, _)| *properties)
    }

    /// Reports whether a request value that policies use has several readings.
    pub(crate) fn has_several_readings(&self, request: &mut dyn Request) -> bool {
        self.fields.iter().any(|(_, index)| index.has_several_readings(request))
    }

    /// Describes what a request would cost too much by, if anything: too many names or too many short patterns.
    pub(crate) fn excess(&self) -> Option<String> {
        let too_many = self.names.entries().iter().find(|(_, count)| *count > MAX_NAMES);
        if let Some((kind, count)) = too_many {
            return Some(format!("policies compare {count} names of the kind {kind}, the limit is {MAX_NAMES}"));
        }
        let (field, count) = self.short.as_ref()?;
        Some(format!(
            "{count} patterns for {field} have no literal of three bytes, the limit is {MAX_SHORT_PATTERNS}; write more of what they look for"
        ))
    }

    fn field(&self, field: FieldId) -> Option<&(FieldProperties, Box<dyn FieldIndex>)> {
        usize::try_from(field.position).ok().and_then(|position| self.fields.get(position))
    }
}

/// Collects the values of fields; [`finish`](Self::finish) makes the indexes.
#[derive(Default)]
pub(crate) struct FieldSetBuilder {
    positions: OrderedMap<(u8, Box<str>), u32>,
    interners: Vec<Box<dyn FieldInterner>>,
    names: OrderedMap<Box<str>, usize>,
}

impl FieldSetBuilder {
    /// The field that some values are of, and their ids within it.
    pub(crate) fn add(&mut self, values: &dyn AnyFieldValues) -> (FieldId, Vec<ValueId>) {
        let rank = values.rank();
        let Self { positions, interners, names } = self;
        let key = (rank, Box::from(values.name()));
        let next = u32::try_from(interners.len()).unwrap_or(u32::MAX);
        let new = || {
            interners.push(values.interner());
            // The kind comes first, as in `header user-agent`.
            if let Some((kind, _)) = values.subject().split_once(' ') {
                names.entry_or_insert_with(kind.into(), || 0, |count| *count += 1);
            }
            next
        };
        let position = positions.entry_or_insert_with(key, new, |position| *position);
        let interner = usize::try_from(position).ok().and_then(|position| interners.get_mut(position));
        match interner.and_then(|interner| interner.intern(values)) {
            Some(ids) => (FieldId { rank, position }, ids),
            None => (UNINDEXED, Vec::new()),
        }
    }

    /// The properties of a field that was added.
    pub(crate) fn properties(&self, field: FieldId) -> Option<FieldProperties> {
        let position = usize::try_from(field.position).ok()?;
        self.interners.get(position).map(|interner| interner.properties())
    }

    /// Makes the indexes.
    pub(crate) fn finish(self) -> FieldSet {
        let mut counts = self.interners.iter().map(|interner| (interner.subject(), interner.short_patterns()));
        let short = counts.find(|(_, count)| *count > MAX_SHORT_PATTERNS);
        let field = |interner: Box<dyn FieldInterner>| (interner.properties(), interner.into_index());
        FieldSet { fields: self.interners.into_iter().map(field).collect(), names: self.names, short }
    }
}
