//! Clauses: conjunctions of conditions on match fields.

use std::hash::Hash;

use crate::collections::sort::sort_by;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_set::{SetId, ValueSets};

/// What names a match field: cheap to copy, and in the order of what it costs to know.
pub(crate) trait FieldKey: Copy + Ord + Hash {}

/// One field of a clause: the request's value is among `set`, or is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Condition<F> {
    pub(crate) field: F,
    pub(crate) negated: bool,
    pub(crate) set: SetId,
    /// Of a header with several values, or a value with several readings, which have to be among `set`.
    pub(crate) of: Quantifier,
}

/// How many of a header's values, and of the readings of a value, count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quantifier {
    /// One, or their join: for what keeps a request out.
    Any,
    /// Every one: for what lets a request in.
    All,
}

impl<F> Condition<F> {
    pub(crate) fn holds(&self, sets: &ValueSets, found: &FieldMatch) -> bool {
        let among = match self.of {
            of if found.uncompared => of == Quantifier::Any,
            Quantifier::Any => sets.meets(self.set, &found.any),
            Quantifier::All if found.each.is_empty() => sets.meets(self.set, &found.any),
            Quantifier::All => found.each.iter().all(|matched| sets.meets(self.set, matched)),
        };
        among != self.negated
    }
}

/// One way to match a rule: one of its sources, one of its operations and all of its conditions at once.
#[derive(Clone, Debug)]
pub(crate) struct Clause<F> {
    /// In the order in which they are checked.
    pub(crate) conditions: Box<[Condition<F>]>,
    /// The rule that it is of, as a place in the order in which rules are reported.
    pub(crate) rule: u32,
}

impl<F: FieldKey> Clause<F> {
    pub(crate) fn new(mut conditions: Vec<Condition<F>>, rule: u32) -> Self {
        sort_by(&mut conditions, |one, other| (one.field, one.negated).cmp(&(other.field, other.negated)));
        conditions.dedup();
        Self { conditions: conditions.into(), rule }
    }

    pub(crate) fn conditions(&self) -> &[Condition<F>] {
        &self.conditions
    }

    /// The first condition that does not hold.
    pub(crate) fn first_failing<M: MatchedValues<Field = F>>(
        &self,
        sets: &ValueSets,
        values: &mut M,
    ) -> Result<Option<&Condition<F>>, M::Error> {
        for condition in &self.conditions {
            if !condition.holds(sets, values.matched(condition.field)?) {
                return Ok(Some(condition));
            }
        }
        Ok(None)
    }

    /// Whether a condition is the first by which this clause excludes values of its field.
    pub(crate) fn excludes_first_by(&self, condition: &Condition<F>) -> bool {
        self.conditions.iter().find(|other| other.negated && other.field == condition.field) == Some(condition)
    }

    /// The fields whose value has to be in a set, each with the first such set: those of one field stand together.
    pub(crate) fn wants(&self) -> impl Iterator<Item = (F, SetId)> {
        let mut last = None;
        let wanted = self.conditions.iter().filter(|condition| !condition.negated);
        let first = wanted.filter(move |condition| last.replace(condition.field) != Some(condition.field));
        first.map(|condition| (condition.field, condition.set))
    }

    /// The set that the value of `field` has to be in, if this clause says so.
    pub(crate) fn wanted(&self, field: F) -> Option<SetId> {
        self.wants().find(|(wanted, _)| *wanted == field).map(|(_, set)| set)
    }
}

/// Answers which values of a field the request matches; asked at most once for each field that decides.
pub(crate) trait MatchedValues {
    /// What the fields are named by.
    type Field: FieldKey;

    /// What stops a decision.
    type Error;

    /// What the request has of `field`.
    fn matched(&mut self, field: Self::Field) -> Result<&FieldMatch, Self::Error>;
}
