//! Decision tree over the clauses of one action: branches look up field values, and clauses that cannot match are never
//! visited.

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

/// Number of entries that a tree may have for each value that its clauses list, beyond [`MIN_BUDGET`].
const BUDGET_PER_VALUE: usize = 4;

/// Number of entries that every tree may have.
const MIN_BUDGET: usize = 4096;

/// Maximum number of fields that are branched on side by side, each of which is looked up for every request. Clauses
/// beyond that share a leaf.
const MAX_FIELDS: usize = 256;

/// Maximum number of fields that are branched on one under the other. Beyond that clauses that no field tells apart, since
/// they share its values, would be branched on by each of their fields in turn.
const MAX_DEPTH: usize = 16;

/// Effect of branching on a field.
struct SplitChoice<F> {
    field: F,
    /// Number of entries in all branches together.
    entries: usize,
    /// Expected number of clauses that a request is still evaluated against.
    remaining: usize,
}

/// Statistics of the values that clauses require of a field.
#[derive(Default)]
struct FieldStats {
    /// Number of clauses that require a value.
    clauses: usize,
    /// Number of clauses for each required value.
    values: OrderedMap<ValueId, u32>,
    /// Sum of `values`.
    entries: usize,
    /// Sum of the squares of `values`. The estimate assumes that a request has a value as often as clauses list it.
    squares: u64,
}

impl FieldStats {
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

/// Returns the field that leaves the fewest clauses to evaluate, or `None` if a linear scan is as good.
fn best_split<F: FieldKey>(stats: &OrderedMap<F, FieldStats>, clauses: usize, budget: usize) -> Option<SplitChoice<F>> {
    if clauses <= LINEAR_SCAN_MAX {
        return None;
    }
    let split = |(field, of_field): &(F, FieldStats)| {
        let evaluated = of_field.squares.div_ceil(u64::try_from(of_field.entries.max(1)).unwrap_or(u64::MAX));
        let remaining =
            clauses.saturating_sub(of_field.clauses).saturating_add(usize::try_from(evaluated).unwrap_or(usize::MAX));
        SplitChoice { field: *field, entries: of_field.entries, remaining }
    };
    let helps = |split: &SplitChoice<F>| {
        // Without a branch, clauses with the same few values would all be evaluated for requests that have none of them.
        split.remaining < clauses || (LINEAR_SCAN_MAX..=clauses * 2).contains(&split.entries)
    };
    let splits = stats.entries().iter().map(split);
    splits.filter(|split| split.entries <= budget && helps(split)).min_by_key(|split| (split.remaining, split.field))
}

impl<F: Copy + Ord + Hash> FieldKey for F {}

/// Index of the clauses of one action.
pub(crate) struct ClauseIndex<F> {
    clauses: Vec<Clause<F>>,
    nodes: Vec<Node<F>>,
}

enum Node<F> {
    Leaf(Leaf<F>),
    /// Boxed, because branches are fewer than leaves and larger.
    Branch(Box<Branch<F>>),
}

/// Clauses by the value that they require of one field.
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
        // Usually there is a leaf for each clause, and few branches.
        let nodes = Vec::with_capacity(clauses.len() + LINEAR_SCAN_MAX);
        let mut index = Self { clauses, nodes };
        let mut budget = MIN_BUDGET + BUDGET_PER_VALUE * index.clauses.iter().map(listed).sum::<usize>();
        let mut all: Vec<u32> = (0..).take(index.clauses.len()).collect();
        sort_by(&mut all, |one, other| {
            index.clause(*one).map(|of| of.rule).cmp(&index.clause(*other).map(|of| of.rule))
        });
        index.build_subtree(all, &mut Vec::new(), &mut budget, sets);
        index.nodes.shrink_to_fit();
        index
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Returns all clauses in the order in which they were given.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = &Clause<F>> {
        self.clauses.iter()
    }

    /// Reports whether any clause matches. Stops at the first match.
    pub(crate) fn any<M: MatchedValues<Field = F>>(&self, sets: &ValueSets, values: &mut M) -> Result<bool, M::Error> {
        let found = Cell::new(false);
        self.visit_candidates(sets, values, &mut |_, matches| {
            found.set(matches);
            if matches { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found.get())
    }

    /// Returns a matching clause of the first rule that matches.
    pub(crate) fn first<M: MatchedValues<Field = F>>(
        &self,
        sets: &ValueSets,
        values: &mut M,
    ) -> Result<Option<&Clause<F>>, M::Error> {
        let first: Cell<Option<&Clause<F>>> = Cell::new(None);
        self.visit_candidates(sets, values, &mut |clause, matches| {
            if matches && first.get().is_none_or(|known| clause.rule < known.rule) {
                first.set(Some(clause));
            }
            ControlFlow::Continue(())
        })?;
        Ok(first.get())
    }

    /// Returns the clauses that the `known` fields do not refute (partial evaluation). `None` if more than `limit` remain, or
    /// if reaching them needs another field.
    pub(crate) fn residual_clauses<M: MatchedValues<Field = F>>(
        &self,
        sets: &ValueSets,
        known: &mut M,
        limit: usize,
    ) -> Option<Vec<&Clause<F>>> {
        let mut residual = Vec::new();
        let mut pending = vec![0];
        while let Some(node) = pending.pop().and_then(|index| self.nodes.get(index)) {
            match node {
                Node::Leaf(leaf) => {
                    for clause in leaf.clauses(&self.clauses, limit)? {
                        if let Ok(Some(_)) = clause.first_failing(sets, known) {
                            continue;
                        }
                        if residual.len() == limit {
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
                    for value in found.any.iter() {
                        pending.extend(branch.by_value.get(value));
                    }
                    pending.extend(branch.otherwise);
                }
            }
        }
        Some(residual)
    }

    fn clause(&self, number: u32) -> Option<&Clause<F>> {
        leaf::clause(&self.clauses, number)
    }

    /// Builds the subtree of some clauses and returns the index of its root in `nodes`.
    ///
    /// A clause is entered under each value that it lists, so nested lists multiply. `budget` is the number of entries left;
    /// once it is spent, the clauses share a leaf, which only costs time.
    fn build_subtree(
        &mut self,
        mut clauses: Vec<u32>,
        used: &mut Vec<F>,
        budget: &mut usize,
        sets: &ValueSets,
    ) -> usize {
        let start = self.nodes.len();
        let mut stats = self.field_stats(&clauses, used, sets);
        // Clauses that do not constrain the field go to `otherwise`, where the next field is branched on.
        for _ in 0..MAX_FIELDS {
            let Some(SplitChoice { field, entries, .. }) = best_split(&stats, clauses.len(), *budget) else { break };
            let branch = self.nodes.len();
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
                            stats.entry_or_insert_with(field, FieldStats::default, |field| {
                                field.remove(sets.values(&set))
                            });
                        });
                    }
                    None => rest.push(number),
                }
            }
            // No remaining clause requires the field: this frees its memory.
            stats.entry_or_insert_with(field, FieldStats::default, std::mem::take);
            used.push(field);
            let mut by_value: Vec<_> = by_value.into_entries();
            // Small branches first, so that one large branch does not use up the budget.
            sort_by(&mut by_value, |(value, clauses), (other, others)| {
                (clauses.len(), value).cmp(&(others.len(), other))
            });
            let by_value = by_value
                .into_iter()
                .map(|(value, clauses)| (value, self.build_subtree(clauses, used, budget, sets)))
                .collect();
            used.pop();
            let otherwise = (!rest.is_empty()).then_some(self.nodes.len());
            if let Some(slot) = self.nodes.get_mut(branch) {
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

    /// Collects the statistics of each field that is not in `used`.
    fn field_stats(&self, clauses: &[u32], used: &[F], sets: &ValueSets) -> OrderedMap<F, FieldStats> {
        let mut stats: OrderedMap<F, FieldStats> = OrderedMap::default();
        if clauses.len() <= LINEAR_SCAN_MAX || used.len() >= MAX_DEPTH {
            return stats;
        }
        let wants = clauses.iter().filter_map(|number| self.clause(*number)).flat_map(Clause::wants);
        for (field, set) in wants.filter(|(field, _)| !used.contains(field)) {
            stats.entry_or_insert_with(field, FieldStats::default, |field| field.add(sets.values(&set)));
        }
        stats
    }

    /// Evaluates the clauses that a request can match, in each leaf up to the first match. `on_clause` gets each clause and
    /// whether it matches, and can end the search.
    fn visit_candidates<'c, M: MatchedValues<Field = F>>(
        &'c self,
        sets: &ValueSets,
        values: &mut M,
        on_clause: &mut dyn FnMut(&'c Clause<F>, bool) -> ControlFlow<()>,
    ) -> Result<(), M::Error> {
        let mut pending: SmallVec<[usize; 16]> = SmallVec::new();
        let mut next = Some(0);
        while let Some(node) = next.and_then(|index| self.nodes.get(index)) {
            match node {
                Node::Leaf(leaf) => {
                    if leaf.visit_candidates(&self.clauses, sets, values, on_clause)? == ControlFlow::Break(()) {
                        return Ok(());
                    }
                    next = None;
                }
                Node::Branch(branch) => {
                    next = branch.otherwise;
                    let found = values.matched(branch.field)?;
                    if found.uncompared {
                        pending.extend(branch.by_value.values().copied());
                    }
                    for value in found.any.iter() {
                        if let Some(child) = branch.by_value.get(value)
                            && let Some(before) = next.replace(*child)
                        {
                            pending.push(before);
                        }
                    }
                }
            }
            next = next.or_else(|| pending.pop());
        }
        Ok(())
    }
}

/// Returns how many of a clause's conditions hold and how many fail, as a key that sorts the closest clause first. Used to
/// explain a denial; `failing` gets each failing condition.
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
