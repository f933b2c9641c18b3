//! The rules of one action as a tree of lookups: what a request cannot match is never visited.

use std::cell::Cell;
use std::cmp::Reverse;
use std::hash::Hash;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;
use crate::matcher::clause::{Clause, Condition, FieldKey, MatchedValues};
use crate::matcher::leaf::{self, LINEAR_SCAN_MAX, Leaf};
use crate::matcher::value_ids::ValueId;
use crate::matcher::value_set::ValueSets;

/// How many entries a tree may have for each value that its clauses list, beside a few in any case.
const BUDGET_PER_VALUE: usize = 4;
const LEAST_BUDGET: usize = 4096;

/// By how many fields, one next to the other, clauses are told apart; what is left stays together. Each of them is looked
/// up for a request in any case.
const MAX_FIELDS: usize = 256;

/// What branching on a field would do to some clauses.
struct Split<F> {
    field: F,
    /// How many entries all branches together have.
    entries: usize,
    /// How many clauses a request has to be checked against then.
    left: usize,
}

/// What some clauses want of a field.
#[derive(Default)]
struct Load {
    /// How many of them want something of it.
    clauses: usize,
    /// How many want each value.
    values: OrderedMap<ValueId, u32>,
    /// The sum of that.
    entries: usize,
    /// The sum of its squares: a value that many clauses list is asked for as often as it is listed, in want of anything
    /// better known.
    squares: u64,
}

impl Load {
    fn add(&mut self, values: &[ValueId]) {
        self.clauses += 1;
        for value in values {
            self.squares += 1 + 2 * u64::from(self.values.entry_or_insert_with(
                *value,
                || 0,
                |count| std::mem::replace(count, *count + 1),
            ));
            self.entries += 1;
        }
    }

    /// Undoes [`add`](Self::add).
    fn remove(&mut self, values: &[ValueId]) {
        self.clauses = self.clauses.saturating_sub(1);
        for value in values {
            let count = self.values.entry_or_insert_with(
                *value,
                || 0,
                |count| {
                    *count = count.saturating_sub(1);
                    *count
                },
            );
            self.squares = self.squares.saturating_sub(1 + 2 * u64::from(count));
            self.entries = self.entries.saturating_sub(1);
        }
    }
}

/// The field that leaves the fewest of some clauses to check, or none where checking them all is as good.
fn best_split<F: FieldKey>(loads: &OrderedMap<F, Load>, clauses: usize, budget: usize) -> Option<Split<F>> {
    if clauses <= LINEAR_SCAN_MAX {
        return None;
    }
    let split = |(field, load): &(F, Load)| {
        let checked = load.squares.div_ceil(u64::try_from(load.entries.max(1)).unwrap_or(u64::MAX));
        let left = clauses.saturating_sub(load.clauses).saturating_add(usize::try_from(checked).unwrap_or(usize::MAX));
        Split { field: *field, entries: load.entries, left }
    };
    let helps = |split: &Split<F>| {
        // Those that want the same few values would all be checked against whoever has none of them.
        split.left < clauses || (LINEAR_SCAN_MAX..=clauses * 2).contains(&split.entries)
    };
    let splits = loads.entries().iter().map(split);
    splits.filter(|split| split.entries <= budget && helps(split)).min_by_key(|split| (split.left, split.field))
}

impl<F: Copy + Ord + Hash> FieldKey for F {}

/// All clauses of one action.
pub(crate) struct ClauseIndex<F> {
    clauses: Vec<Clause<F>>,
    nodes: Vec<Node<F>>,
}

enum Node<F> {
    Leaf(Leaf<F>),
    /// Few beside the leaves, and larger.
    Branch(Box<Branch<F>>),
}

/// Clauses by the value that they want of one field.
struct Branch<F> {
    field: F,
    by_value: OrderedMap<ValueId, usize>,
    otherwise: Option<usize>,
}

impl<F: FieldKey> ClauseIndex<F> {
    pub(crate) fn new(clauses: Vec<Clause<F>>, sets: &ValueSets) -> Self {
        let listed = |clause: &Clause<F>| {
            clause.conditions.iter().map(|condition| sets.values(&condition.set).len()).sum::<usize>()
        };
        // For the most there is a leaf for each clause, and few branches.
        let nodes = Vec::with_capacity(clauses.len() + LINEAR_SCAN_MAX);
        let mut index = Self { clauses, nodes };
        let mut budget = LEAST_BUDGET + BUDGET_PER_VALUE * index.clauses.iter().map(listed).sum::<usize>();
        let mut all: Vec<u32> = (0..).take(index.clauses.len()).collect();
        sort_by(&mut all, |one, other| {
            index.clause(*one).map(|of| of.rule).cmp(&index.clause(*other).map(|of| of.rule))
        });
        index.grow(all, &mut Vec::new(), &mut budget, sets);
        index.nodes.shrink_to_fit();
        index
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// All clauses, in the order in which they were given.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = &Clause<F>> {
        self.clauses.iter()
    }

    /// Whether any clause matches. Stops at the first that does.
    pub(crate) fn any<M: MatchedValues<Field = F>>(&self, sets: &ValueSets, values: &mut M) -> Result<bool, M::Error> {
        let found = Cell::new(false);
        self.walk(sets, values, &mut |_, matches| {
            found.set(matches);
            if matches { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found.get())
    }

    /// A clause that matches, of the rule that comes first of those that do.
    pub(crate) fn first<M: MatchedValues<Field = F>>(
        &self,
        sets: &ValueSets,
        values: &mut M,
    ) -> Result<Option<&Clause<F>>, M::Error> {
        let first: Cell<Option<&Clause<F>>> = Cell::new(None);
        self.walk(sets, values, &mut |clause, matches| {
            if matches && first.get().is_none_or(|known| clause.rule < known.rule) {
                first.set(Some(clause));
            }
            ControlFlow::Continue(())
        })?;
        Ok(first.get())
    }

    /// Partial evaluation: the clauses that the `known` fields do not refute. None if more than `most` remain, or if
    /// reaching them needs another field.
    pub(crate) fn residual_clauses<M: MatchedValues<Field = F>>(
        &self,
        sets: &ValueSets,
        known: &mut M,
        most: usize,
    ) -> Option<Vec<&Clause<F>>> {
        let mut residual = Vec::new();
        let mut open = vec![0];
        while let Some(node) = open.pop().and_then(|place| self.nodes.get(place)) {
            match node {
                Node::Leaf(leaf) => {
                    for clause in leaf.clauses(&self.clauses, most)? {
                        if let Ok(Some(_)) = clause.first_failing(sets, known) {
                            continue;
                        }
                        if residual.len() == most {
                            return None;
                        }
                        residual.push(clause);
                    }
                }
                Node::Branch(branch) => {
                    let found = known.matched(branch.field).ok()?;
                    if found.uncompared {
                        return None;
                    }
                    for value in &found.any {
                        open.extend(branch.by_value.get(value));
                    }
                    open.extend(branch.otherwise);
                }
            }
        }
        Some(residual)
    }

    fn clause(&self, number: u32) -> Option<&Clause<F>> {
        leaf::clause(&self.clauses, number)
    }

    /// Makes the subtree of some clauses and says where it stands.
    ///
    /// A clause stands under each value that it lists, so lists under lists would multiply: `budget` is how many more
    /// entries there may be. Where it is spent the clauses stay together, which is right all the same.
    fn grow(&mut self, mut clauses: Vec<u32>, used: &mut Vec<F>, budget: &mut usize, sets: &ValueSets) -> usize {
        let start = self.nodes.len();
        let mut loads = self.loads(&clauses, used, sets);
        // What wants nothing of a field comes next to it, as often as there are fields.
        for _ in 0..MAX_FIELDS {
            let Some(Split { field, entries, .. }) = best_split(&loads, clauses.len(), *budget) else { break };
            let place = self.nodes.len();
            self.nodes.push(Node::Leaf(Leaf::new(Vec::new(), &[], sets)));
            *budget -= entries;
            let mut by_value: OrderedMap<ValueId, Vec<u32>> = OrderedMap::default();
            let mut rest = Vec::new();
            for number in clauses {
                match self.clause(number).and_then(|clause| clause.wanted(field)) {
                    Some(set) => {
                        for value in sets.values(&set) {
                            by_value.entry_or_insert_with(*value, Vec::new, |clauses| clauses.push(number));
                        }
                        self.clause(number).into_iter().flat_map(Clause::wants).for_each(|(field, set)| {
                            loads.entry_or_insert_with(field, Load::default, |load| load.remove(sets.values(&set)));
                        });
                    }
                    None => rest.push(number),
                }
            }
            // Nothing wants it any more, so this is its memory alone.
            loads.entry_or_insert_with(field, Load::default, std::mem::take);
            used.push(field);
            let mut by_value: Vec<_> = by_value.into_entries();
            // The fullest last: what is left of the budget goes to many small ones first.
            sort_by(&mut by_value, |(value, clauses), (other, others)| {
                (clauses.len(), value).cmp(&(others.len(), other))
            });
            let by_value =
                by_value.into_iter().map(|(value, clauses)| (value, self.grow(clauses, used, budget, sets))).collect();
            used.pop();
            let otherwise = (!rest.is_empty()).then_some(self.nodes.len());
            if let Some(slot) = self.nodes.get_mut(place) {
                *slot = Node::Branch(Box::new(Branch { field, by_value, otherwise }));
            }
            if rest.is_empty() {
                return start;
            }
            clauses = rest;
        }
        self.nodes.push(Node::Leaf(Leaf::new(clauses, &self.clauses, sets)));
        start
    }

    /// What some clauses want of each field, but for those that are used.
    fn loads(&self, clauses: &[u32], used: &[F], sets: &ValueSets) -> OrderedMap<F, Load> {
        let mut loads: OrderedMap<F, Load> = OrderedMap::default();
        if clauses.len() <= LINEAR_SCAN_MAX {
            return loads;
        }
        let wants = clauses.iter().filter_map(|number| self.clause(*number)).flat_map(Clause::wants);
        for (field, set) in wants.filter(|(field, _)| !used.contains(field)) {
            loads.entry_or_insert_with(field, Load::default, |load| load.add(sets.values(&set)));
        }
        loads
    }

    /// Checks the clauses that a request can match: in each leaf until one does, and no more once `checked`, which is told
    /// each of them and whether it matches, says so.
    fn walk<'c, M: MatchedValues<Field = F>>(
        &'c self,
        sets: &ValueSets,
        values: &mut M,
        checked: &mut dyn FnMut(&'c Clause<F>, bool) -> ControlFlow<()>,
    ) -> Result<(), M::Error> {
        let mut open: SmallVec<[usize; 16]> = SmallVec::new();
        let mut next = Some(0);
        while let Some(node) = next.and_then(|place| self.nodes.get(place)) {
            match node {
                Node::Leaf(leaf) => {
                    if leaf.walk(&self.clauses, sets, values, checked)? == ControlFlow::Break(()) {
                        return Ok(());
                    }
                    next = None;
                }
                Node::Branch(branch) => {
                    next = branch.otherwise;
                    let found = values.matched(branch.field)?;
                    if found.uncompared {
                        open.extend(branch.by_value.values().copied());
                    }
                    for value in &found.any {
                        if let Some(place) = branch.by_value.get(value)
                            && let Some(before) = next.replace(*place)
                        {
                            open.push(before);
                        }
                    }
                }
            }
            next = next.or_else(|| open.pop());
        }
        Ok(())
    }
}

/// How many of a clause's conditions hold, the most first, and how many do not: for an explanation, once something was
/// denied. `failing` is told which.
pub(crate) fn match_distance<'c, M: MatchedValues>(
    clause: &'c Clause<M::Field>,
    sets: &ValueSets,
    values: &mut M,
    failing: &mut dyn FnMut(&'c Condition<M::Field>),
) -> Result<(Reverse<usize>, usize), M::Error> {
    let (mut holding, mut not) = (0, 0);
    for condition in clause.conditions() {
        match condition.holds(sets, values.matched(condition.field)?) {
            true => holding += 1,
            false => {
                not += 1;
                failing(condition);
            }
        }
    }
    Ok((Reverse(holding), not))
}

#[cfg(test)]
mod tests;
