//! Counts of work and size, for the tests of compiled policies.

use super::*;

impl<F: FieldKey> ClauseIndex<F> {
    /// The number of clauses that full evaluation checks for one request, at most.
    pub(crate) fn checked_clauses<M: MatchedValues<Field = F>>(
        &self,
        sets: &ValueSets,
        values: &mut M,
    ) -> Result<usize, M::Error> {
        let checked = Cell::new(0);
        self.visit_candidates(sets, values, &mut |_, _| {
            checked.set(checked.get() + 1);
            ControlFlow::Continue(())
        })?;
        Ok(checked.get())
    }

    /// The number of clauses in all leaves together.
    pub(crate) fn leaf_entries(&self) -> usize {
        let sizes = self.nodes.iter().map(|node| match node {
            Node::Leaf(leaf) => leaf.clauses(&self.clauses, usize::MAX).map_or(0, Iterator::count),
            Node::Branch(_) => 0,
        });
        sizes.sum()
    }
}
