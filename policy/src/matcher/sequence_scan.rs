//! One pass of a [`SequenceTree`] over a value.

use crate::collections::bytes::memchr2;
use crate::matcher::automaton::{NONE, index};
use crate::matcher::sequence::Around;
use crate::matcher::sequence_tree::{Edge, ROOT, SequenceTree};
use crate::matcher::value_ids::Matched;

/// State of the passes of one index, kept from one to the next: nothing is cleared between them, since each entry says
/// which pass or which element it is of.
#[derive(Default)]
pub(crate) struct ScanState {
    /// Number of the pass.
    pass: u32,
    /// Number of the element.
    element: u32,
    nodes: Vec<NodeState>,
    /// By literal: the pass in which it was done with, and the literal to go on with instead.
    done: Vec<(u32, u32)>,
    /// By label: the element, and the steps that wait for it.
    waiting: Vec<(u32, Vec<Edge>)>,
}

#[derive(Clone, Copy, Default)]
struct NodeState {
    /// The element in which it is reached.
    reached: u32,
    /// Earliest end of its last step.
    end: u32,
    /// The pass in which its patterns were added.
    matched: u32,
}

impl ScanState {
    /// Begins a pass.
    pub(crate) fn begin(&mut self) {
        // A number that is used again would take an old entry for a new one.
        if self.pass == u32::MAX || self.element > u32::MAX / 2 {
            *self = Self::default();
        }
        self.pass += 1;
        self.element += 1;
    }

    /// Makes room where this is the first occurrence of all passes.
    #[inline(never)]
    fn grow(&mut self, of: &SequenceTree) {
        self.nodes.resize(of.nodes.len(), NodeState::default());
        self.done.resize(of.literals.len(), (0, NONE));
        self.waiting.resize_with(of.labels.len(), Default::default);
    }

    /// The longest literal that `literal` is or ends with and that is not done with.
    #[inline(always)]
    fn pending(&mut self, literal: u32) -> u32 {
        match self.skip(literal) {
            Some(next) if next != NONE => self.skip_all(literal),
            Some(next) => next,
            None => literal,
        }
    }

    /// The same for one that is done with; the next time it is found in one step.
    #[inline(never)]
    fn skip_all(&mut self, literal: u32) -> u32 {
        let mut found = literal;
        while let Some(next) = self.skip(found) {
            found = next;
        }
        let mut at = literal;
        while let Some(next) = self.skip(at) {
            self.set_done(at, found);
            at = next;
        }
        found
    }

    /// The literal to go on with instead of one that is done with.
    #[inline(always)]
    fn skip(&self, literal: u32) -> Option<u32> {
        let (pass, next) = index(literal).and_then(|literal| self.done.get(literal))?;
        (*pass == self.pass).then_some(*next)
    }

    fn set_done(&mut self, literal: u32, next: u32) {
        let pass = self.pass;
        if let Some(done) = index(literal).and_then(|literal| self.done.get_mut(literal)) {
            *done = (pass, next);
        }
    }
}

/// A pass over one value, or over the elements of a list.
pub(crate) struct Scan<'s> {
    of: &'s SequenceTree,
    state: &'s mut ScanState,
    text: &'s [u8],
    separator: Option<u8>,
    /// Start of the element.
    start: usize,
    /// End of the bytes that were searched for separators.
    looked: usize,
    matched: &'s mut Matched,
}

impl<'s> Scan<'s> {
    pub(crate) fn new(
        of: &'s SequenceTree,
        state: &'s mut ScanState,
        text: &'s [u8],
        matched: &'s mut Matched,
    ) -> Self {
        Self { of, state, text, separator: of.automaton.separator(), start: 0, looked: 0, matched }
    }

    /// Takes an occurrence of a literal that ends at `end`, and of those that it ends with. Occurrences come in the order
    /// of their ends.
    pub(crate) fn found(&mut self, literal: u32, end: usize) {
        if self.state.nodes.is_empty() {
            self.state.grow(self.of);
        }
        if let Some(separator) = self.separator {
            self.enter_element(separator, end);
        }
        let mut at = self.state.pending(literal);
        while at != NONE {
            self.advance(at, end);
            match self.of.automaton.suffix(at) {
                NONE => break,
                next => at = self.state.pending(next),
            }
        }
    }

    /// Enters the element that ends at `end` or goes on there.
    fn enter_element(&mut self, separator: u8, end: usize) {
        let passed = self.text.get(self.looked..end).unwrap_or_default();
        if let Some(at) = passed.iter().rposition(|byte| *byte == separator) {
            self.start = self.looked + at + 1;
            self.state.element += 1;
        }
        self.looked = end.max(self.looked);
    }

    /// Takes the steps by one literal.
    fn advance(&mut self, literal: u32, end: usize) {
        let of = self.of;
        let Some(literal) = index(literal).and_then(|literal| of.literals.get(literal)) else { return };
        let Some(start) = end.checked_sub(literal.length) else { return };
        for at in &literal.labels {
            let Some(label) = index(*at).and_then(|at| of.labels.get(at)) else { continue };
            let (start, end) = match &label.around {
                None => (start, end),
                Some(around) => match self.bounds(around, start, end) {
                    Some(bounds) => bounds,
                    None => continue,
                },
            };
            for edge in &label.edges {
                if self.ready(edge.parent).is_some_and(|ready| ready + position(edge.gap) <= start) {
                    self.reach(edge.child, end);
                }
            }
            if label.is_awaited {
                self.advance_waiting(*at, start, end);
            }
        }
    }

    /// End of the last step to a node in this element.
    #[inline(always)]
    fn ready(&self, node: u32) -> Option<usize> {
        if node == ROOT {
            return Some(self.start);
        }
        let state = index(node).and_then(|node| self.state.nodes.get(node))?;
        (state.reached == self.state.element).then_some(position(state.end))
    }

    /// Takes the steps that wait for a label, but those that it comes too early for: they wait on.
    fn advance_waiting(&mut self, label: u32, start: usize, end: usize) {
        let element = self.state.element;
        let Some(waiting) = index(label).and_then(|label| self.state.waiting.get_mut(label)) else { return };
        if waiting.0 != element {
            return;
        }
        let mut edges = std::mem::take(&mut waiting.1);
        let mut taken = Vec::new();
        edges.retain(|edge| {
            let is_early = position(edge.gap) > start;
            if !is_early {
                taken.push(edge.child);
            }
            is_early
        });
        if let Some(waiting) = index(label).and_then(|label| self.state.waiting.get_mut(label)) {
            waiting.1 = edges;
        }
        for child in taken {
            self.reach(child, end);
        }
    }

    /// Reaches a node: its patterns match if what has to follow has room, and its steps begin to wait.
    fn reach(&mut self, at: u32, end: usize) {
        let (of, element, pass) = (self.of, self.state.element, self.state.pass);
        let Some(node) = index(at).and_then(|at| of.nodes.get(at)) else { return };
        let Some(state) = index(at).and_then(|at| self.state.nodes.get_mut(at)) else { return };
        if state.reached == element {
            return;
        }
        state.reached = element;
        state.end = u32::try_from(end).unwrap_or(u32::MAX);
        if !node.ids.is_empty() && state.matched != pass && has_rest(self.text, self.separator, end, node.rest) {
            state.matched = pass;
            self.matched.extend_from_slice(&node.ids);
            if let Some(literal) = node.only_use_of {
                self.state.set_done(literal, of.automaton.suffix(literal));
            }
        }
        for (label, edge) in &node.awaits {
            let Some(waiting) = index(*label).and_then(|label| self.state.waiting.get_mut(label)) else { continue };
            if waiting.0 != element {
                *waiting = (element, std::mem::take(&mut waiting.1));
                waiting.1.clear();
            }
            // From here on the gap counts from the start of the text.
            let gap = u32::try_from(end).unwrap_or(u32::MAX).saturating_add(edge.gap);
            waiting.1.push(Edge { gap, ..*edge });
        }
    }

    /// The bounds of a literal with what stands around it, if it does.
    fn bounds(&self, around: &Around, start: usize, end: usize) -> Option<(usize, usize)> {
        let from = start.checked_sub(around.before.len()).filter(|from| *from >= self.start)?;
        let to = end + around.after.len();
        let before = self.text.get(from..start)?;
        let after = self.text.get(end..to)?;
        let is_separator = |byte: &u8| self.separator == Some(*byte);
        let holds = around.before.iter().zip(before).all(|(symbol, byte)| symbol.holds(*byte))
            && around.after.iter().zip(after).all(|(symbol, byte)| symbol.holds(*byte) && !is_separator(byte));
        let neighbour =
            |at: Option<usize>| at.and_then(|at| self.text.get(at)).filter(|byte| !is_separator(byte)).copied();
        (holds && around.start.allows(neighbour(from.checked_sub(1))) && around.end.allows(neighbour(Some(to))))
            .then_some((from, to))
    }
}

/// Reports whether so many bytes of an element follow a place.
fn has_rest(text: &[u8], separator: Option<u8>, end: usize, rest: u32) -> bool {
    let Some(after) = text.get(end..).and_then(|after| after.get(..position(rest))) else { return false };
    separator.is_none_or(|separator| memchr2(after, separator, separator).is_none())
}

fn position(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
