//! Clauses that are checked one after the other, but for stretches of them that all fail by the same.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::matcher::clause::{Clause, Condition, FieldKey, MatchedValues, Quantifier};
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::{Matched, ValueId};
use crate::matcher::value_set::{SetId, ValueSets};

/// So many clauses are cheaper to check one by one than to look up.
pub(crate) const LINEAR_SCAN_MAX: usize = 4;

/// Some clauses that no field tells apart, in the order of their rules: the first that matches is the first of all.
pub(crate) struct Leaf<F> {
    /// One, for the most: a list of its own for each would be much of the memory, and in as many required_literals.
    clauses: SmallVec<[u32; 2]>,
    /// Where they are more than a few, for all that clauses fail by: the place of the first that does, the place after
    /// the last of those that stand next to it, and so on.
    stretches: Option<Box<Stretches<F>>>,
}

type Stretches<F> = OrderedMap<Failing<F>, Vec<u32>>;

/// What clauses fail by.
#[derive(PartialEq, Eq, Hash)]
struct Failing<F> {
    field: F,
    of: Quantifier,
    by: By,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum By {
    /// The request has no value of a set that they ask for.
    Unmet(SetId),
    /// It has a value that they exclude.
    Met(ValueId),
}

impl<F: FieldKey> Leaf<F> {
    /// A leaf of some of the clauses `all`, by their numbers, in the order of their rules.
    pub(crate) fn new(numbers: Vec<u32>, all: &[Clause<F>], sets: &ValueSets) -> Self {
        let clauses = SmallVec::from_slice(&numbers);
        if clauses.len() <= LINEAR_SCAN_MAX {
            return Self { clauses, stretches: None };
        }
        let mut stretches: Stretches<F> = OrderedMap::default();
        for (at, clause) in (0..).zip(clauses.iter().filter_map(|number| clause(all, *number))) {
            for condition in clause.conditions() {
                let mut add = |by| {
                    let failing = Failing { field: condition.field, of: condition.of, by };
                    stretches.entry_or_insert_with(failing, Vec::new, |bounds| match bounds.last_mut() {
                        Some(end) if *end == at => *end = at + 1,
                        _ => bounds.extend([at, at + 1]),
                    });
                };
                match condition.negated {
                    false => add(By::Unmet(condition.set)),
                    // With two of them for one field, as `when` can have, a value of one and a value of the other
                    // exclude nothing together: the second one's are left out, and only checked.
                    true if clause.excludes_first_by(condition) => {
                        sets.values(&condition.set).iter().for_each(|value| add(By::Met(*value)));
                    }
                    true => {}
                }
            }
        }
        Self { clauses, stretches: Some(Box::new(stretches)) }
    }

    /// Checks clauses until one matches; `checked` is told each of them and whether it does.
    pub(crate) fn walk<'c, M: MatchedValues<Field = F>>(
        &self,
        all: &'c [Clause<F>],
        sets: &ValueSets,
        values: &mut M,
        checked: &mut dyn FnMut(&'c Clause<F>, bool) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, M::Error> {
        let mut at = 0;
        while let Some(clause) = place(at).and_then(|at| self.clauses.get(at)).and_then(|number| clause(all, *number)) {
            let Some(failing) = clause.first_failing(sets, values)? else { return Ok(checked(clause, true)) };
            if checked(clause, false) == ControlFlow::Break(()) {
                return Ok(ControlFlow::Break(()));
            }
            at = self.after(at, failing, values.matched(failing.field)?);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Its clauses, if there are no more than `most`.
    pub(crate) fn clauses<'c>(&self, all: &'c [Clause<F>], most: usize) -> Option<impl Iterator<Item = &'c Clause<F>>> {
        let clauses = self.clauses.iter().filter_map(|number| clause(all, *number));
        (self.clauses.len() <= most).then_some(clauses)
    }

    /// The place after those that fail as the clause at `at` does, by `failing` and what was found of its field.
    fn after(&self, at: u32, failing: &Condition<F>, found: &FieldMatch) -> u32 {
        let end = |by| self.end(at, &Failing { field: failing.field, of: failing.of, by });
        let excluded = |matched: &Matched| matched.iter().filter_map(|value| end(By::Met(*value))).max();
        let end = match (failing.negated, failing.of) {
            (false, _) => end(By::Unmet(failing.set)),
            // All of a header's values have to be excluded.
            (true, Quantifier::All) if !found.each.is_empty() => found.each.iter().map(excluded).min().flatten(),
            (true, _) => excluded(&found.any),
        };
        end.unwrap_or(at + 1)
    }

    /// Where the stretch around `at` ends, if there is one.
    fn end(&self, at: u32, failing: &Failing<F>) -> Option<u32> {
        let bounds = self.stretches.as_ref()?.get(failing)?;
        let behind = bounds.partition_point(|bound| *bound <= at);
        bounds.get(behind).copied().filter(|_| behind % 2 == 1)
    }
}

pub(crate) fn clause<F>(all: &[Clause<F>], number: u32) -> Option<&Clause<F>> {
    place(number).and_then(|at| all.get(at))
}

fn place(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}
