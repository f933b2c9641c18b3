//! Leaf of a decision tree: clauses evaluated in order, with runs that fail for the same cause skipped.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::matcher::clause::{Clause, Condition, FieldKey, MatchedValues, Quantifier};
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::{Matched, ValueId};
use crate::matcher::value_set::{SetId, ValueSets};

/// Largest number of clauses that a linear scan evaluates faster than a lookup.
pub(crate) const LINEAR_SCAN_MAX: usize = 4;

/// Clauses in the order of their rules, so that the first match belongs to the first rule.
pub(crate) struct Leaf<F> {
    /// Clause numbers. Usually one, which `SmallVec` keeps without an allocation of its own.
    clauses: SmallVec<[u32; 2]>,
    /// Runs of consecutive clauses that fail for the same cause, if there are more than [`LINEAR_SCAN_MAX`] clauses: start
    /// and end (exclusive) of each run, in order.
    skip_runs: Option<Box<SkipRuns<F>>>,
}

type SkipRuns<F> = OrderedMap<FailureKey<F>, Vec<u32>>;

/// Cause for which clauses fail, with its field.
#[derive(PartialEq, Eq, Hash)]
struct FailureKey<F> {
    field: F,
    of: Quantifier,
    cause: Cause,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Cause {
    /// The request has no value of a required set.
    MissingSet(SetId),
    /// The request has an excluded value.
    ExcludedValue(ValueId),
}

impl<F: FieldKey> Leaf<F> {
    /// Builds a leaf of the clauses `numbers` of `all`, in the order of their rules.
    pub(crate) fn new(numbers: Vec<u32>, all: &[Clause<F>], sets: &ValueSets) -> Self {
        let clauses = SmallVec::from_slice(&numbers);
        if clauses.len() <= LINEAR_SCAN_MAX {
            return Self { clauses, skip_runs: None };
        }
        let mut skip_runs: SkipRuns<F> = OrderedMap::default();
        for (at, clause) in (0..).zip(clauses.iter().filter_map(|number| clause(all, *number))) {
            for condition in clause.conditions() {
                let mut add = |cause| {
                    let key = FailureKey { field: condition.field, of: condition.of, cause };
                    skip_runs.entry_or_insert_with(key, Vec::new, |bounds| match bounds.last_mut() {
                        Some(end) if *end == at => *end = at + 1,
                        _ => bounds.extend([at, at + 1]),
                    });
                };
                match condition.negated {
                    false => add(Cause::MissingSet(condition.set)),
                    // With two of them for one field, as `when` can have, a value of one and a value of the other
                    // exclude nothing together: the second one's are left out, and only on_clause.
                    true if clause.excludes_first_by(condition) => {
                        sets.values(&condition.set).iter().for_each(|value| add(Cause::ExcludedValue(*value)));
                    }
                    true => {}
                }
            }
        }
        Self { clauses, skip_runs: Some(Box::new(skip_runs)) }
    }

    /// Evaluates clauses until one matches; `on_clause` gets each clause and whether it matches, and can end the search.
    pub(crate) fn visit_candidates<'c, M: MatchedValues<Field = F>>(
        &self,
        all: &'c [Clause<F>],
        sets: &ValueSets,
        values: &mut M,
        on_clause: &mut dyn FnMut(&'c Clause<F>, bool) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, M::Error> {
        let mut at = 0;
        while let Some(clause) =
            to_index(at).and_then(|at| self.clauses.get(at)).and_then(|number| clause(all, *number))
        {
            let Some(failing) = clause.first_failing(sets, values)? else { return Ok(on_clause(clause, true)) };
            if on_clause(clause, false) == ControlFlow::Break(()) {
                return Ok(ControlFlow::Break(()));
            }
            at = self.next_candidate(at, failing, values.matched(failing.field)?);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the clauses, if there are no more than `limit`.
    pub(crate) fn clauses<'c>(
        &self,
        all: &'c [Clause<F>],
        limit: usize,
    ) -> Option<impl Iterator<Item = &'c Clause<F>>> {
        let clauses = self.clauses.iter().filter_map(|number| clause(all, *number));
        (self.clauses.len() <= limit).then_some(clauses)
    }

    /// Returns the position after the run of clauses that fail as the one at `at` does, given its failing condition and the
    /// matches of that field.
    fn next_candidate(&self, at: u32, failing: &Condition<F>, found: &FieldMatch) -> u32 {
        let end = |cause| self.run_end(at, &FailureKey { field: failing.field, of: failing.of, cause });
        let excluded = |matched: &Matched| matched.iter().filter_map(|value| end(Cause::ExcludedValue(*value))).max();
        let end = match (failing.negated, failing.of) {
            (false, _) => end(Cause::MissingSet(failing.set)),
            // Every value of the header has to be excluded.
            (true, Quantifier::All) if !found.each.is_empty() => found.each.iter().map(excluded).min().flatten(),
            (true, _) => excluded(&found.any),
        };
        end.unwrap_or(at + 1)
    }

    /// Returns the end of the run that contains `at`, if there is one.
    fn run_end(&self, at: u32, key: &FailureKey<F>) -> Option<u32> {
        let bounds = self.skip_runs.as_ref()?.get(key)?;
        let behind = bounds.partition_point(|bound| *bound <= at);
        bounds.get(behind).copied().filter(|_| behind % 2 == 1)
    }
}

pub(crate) fn clause<F>(all: &[Clause<F>], number: u32) -> Option<&Clause<F>> {
    to_index(number).and_then(|at| all.get(at))
}

fn to_index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}
