//! Many sequences of literals looked for at once, in one pass over a value or over the elements of a list.

use std::cell::RefCell;

use crate::matcher::sequence::Sequence;
use crate::matcher::sequence_scan::{Scan, ScanState};
use crate::matcher::sequence_tree::SequenceTree;
use crate::matcher::value_ids::{Matched, ValueId};

/// Sequences, each under an id.
///
/// An occurrence of a literal costs a few steps, however many sequences have it: a value costs by its bytes.
pub(crate) struct SequenceIndex {
    tree: SequenceTree,
    /// Least number of bytes of a value that has a sequence.
    shortest: usize,
    state: RefCell<ScanState>,
}

impl SequenceIndex {
    /// Takes sequences of at least one step, for whole values. None where there are no sequences.
    pub(crate) fn new(sequences: Vec<(Sequence, ValueId)>) -> Option<Self> {
        Self::of(sequences, None)
    }

    /// The same for the elements of lists, in which a separator stands before and after each; no sequence holds it.
    pub(crate) fn of_elements(sequences: Vec<(Sequence, ValueId)>, separator: u8) -> Option<Self> {
        Self::of(sequences, Some(separator))
    }

    fn of(sequences: Vec<(Sequence, ValueId)>, separator: Option<u8>) -> Option<Self> {
        if sequences.is_empty() {
            return None;
        }
        let shortest = sequences.iter().map(|(sequence, _)| sequence.least_bytes()).min().unwrap_or_default();
        Some(Self { tree: SequenceTree::new(sequences, separator), shortest, state: RefCell::default() })
    }

    /// Adds the patterns that match `text`, or an element of it, each once; some of them where it takes too many steps.
    pub(crate) fn lookup(&self, text: &[u8], matched: &mut Matched) {
        if text.len() < self.shortest {
            return;
        }
        // Nothing that a pass calls looks up again.
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        state.begin();
        let mut scan = Scan::new(&self.tree, &mut state, text, matched);
        self.tree.automaton.find(text, &mut |literal, end, start| scan.found(literal, end, start));
    }
}

#[cfg(test)]
mod tests;
