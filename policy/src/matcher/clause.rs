//! Clauses: conjunctions of conditions on match fields.

use std::hash::Hash;

use crate::collections::sort::sort_by;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_set::{SetId, ValueSets};

/// Key of a match field: cheap to copy, and ordered by the cost of reading the field.
pub(crate) trait FieldKey: Copy + Ord + Hash {}

/// Condition on one field: the request's value is in `set`, or with `negated` is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Condition<F> {
    pub(crate) field: F,
    pub(crate) negated: bool,
    pub(crate) set: SetId,
    /// Values of a header, or readings of a value, that have to be in `set`.
    pub(crate) of: Quantifier,
}

/// Quantifier over a header's values and the readings of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quantifier {
    /// At least one, or their join: used to deny.
    Any,
    /// Every one: used to allow.
    All,
}

impl<F> Condition<F> {
    pub(crate) fn holds(&self, sets: &ValueSets, found: &FieldMatch) -> bool {
        let among = match self.of {
            of if found.uncompared => of == Quantifier::Any,
            Quantifier::Any => sets.meets_sorted(self.set, &found.any),
            Quantifier::All if found.each.is_empty() => sets.meets_sorted(self.set, &found.any),
            Quantifier::All => found.each.iter().all(|matched| sets.meets_sorted(self.set, matched)),
        };
        among != self.negated
    }
}

/// Conjunction that matches a rule: one source, one operation and all conditions.
#[derive(Clone, Debug)]
pub(crate) struct Clause<F> {
    /// Conditions in the order of evaluation.
    pub(crate) conditions: Box<[Condition<F>]>,
    /// Index of the clause's rule in the order in which rules are reported.
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

    /// Reports whether a condition is the first negated one of its field.
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

    /// Returns the set that the value of `field` has to be in, if the clause requires one.
    pub(crate) fn wanted(&self, field: F) -> Option<SetId> {
        self.wants().find(|(wanted, _)| *wanted == field).map(|(_, set)| set)
    }
}

/// Source of the matched values of a request.
pub(crate) trait MatchedValues {
    /// Key of a field.
    type Field: FieldKey;

    /// Error that prevents a decision.
    type Error;

    /// Returns the values of `field` that the request matches.
    fn matched(&mut self, field: Self::Field) -> Result<&FieldMatch, Self::Error>;
}
