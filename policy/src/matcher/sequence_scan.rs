//! One pass of a [`SequenceTree`] over a value.

use crate::collections::bytes::memchr2;
use crate::matcher::automaton::{NONE, item, item_mut};
use crate::matcher::sequence::Around;
use crate::matcher::sequence_tree::{Edge, ROOT, SequenceTree};
use crate::matcher::value_ids::Matched;

/// Steps that looking at a literal costs as much as, where it is not done with.
const STEPS_PER_LOOK: usize = 4;

/// Edges of the tree that cost as much as a step.
const EDGES_PER_STEP: usize = 2;

/// State of the passes of one index, kept from one to the next: nothing is cleared between them, since each entry says
/// when it was made.
#[derive(Default)]
pub(crate) struct ScanState {
    clocks: Clocks,
    nodes: Vec<NodeState>,
    /// By literal: whether it is done with.
    done: Vec<Stamp>,
    /// By literal that is done with: the longest one that it ends with and that is not.
    next: Vec<(Stamp, u32)>,
    /// By label: the element, and the steps that wait for it.
    waiting: Vec<(u32, Vec<Edge>)>,
}

/// Time for which a literal is done with, the longest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// For the pass.
    #[default]
    Pass,
    /// For the element.
    Element,
    /// Until a node with steps from it is reached.
    Event,
}

/// Numbers of the pass, of the element, and of the event.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    pass: u32,
    element: u32,
    event: u32,
}

/// A time, up to the end of a scope.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    scope: Scope,
    clock: u32,
}

impl Clocks {
    #[inline(always)]
    fn of(&self, scope: Scope) -> u32 {
        match scope {
            Scope::Pass => self.pass,
            Scope::Element => self.element,
            Scope::Event => self.event,
        }
    }

    /// The scope of a stamp, if it lasts.
    #[inline(always)]
    fn lasting(&self, stamp: Stamp) -> Option<Scope> {
        (stamp.clock == self.of(stamp.scope)).then_some(stamp.scope)
    }

    fn stamp(&self, scope: Scope) -> Stamp {
        Stamp { scope, clock: self.of(scope) }
    }
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
        let Clocks { pass, element, event } = self.clocks;
        if pass.max(element).max(event) > u32::MAX / 2 {
            *self = Self::default();
        }
        self.clocks.pass += 1;
        self.enter_element();
    }

    fn enter_element(&mut self) {
        self.clocks.element += 1;
        self.clocks.event += 1;
    }

    /// Makes room where this is the first occurrence of all passes.
    #[inline(never)]
    fn grow(&mut self, of: &SequenceTree) {
        self.nodes.resize(of.nodes.len(), NodeState::default());
        self.done.resize(of.literals.len(), Stamp::default());
        self.next.resize(of.literals.len(), (Stamp::default(), NONE));
        self.waiting.resize_with(of.labels.len(), Default::default);
    }

    /// The longest literal that `literal` is or ends with and that is not done with.
    #[inline(always)]
    fn pending(&mut self, literal: u32, of: &SequenceTree) -> u32 {
        match self.is_done(literal) {
            None => literal,
            // Most literals end with no other.
            Some(_) if of.automaton.suffix(literal) == NONE => NONE,
            Some(scope) => match self.behind(literal, scope, of) {
                (NONE, _) => NONE,
                _ => self.skip(literal, of),
            },
        }
    }

    #[inline(always)]
    fn is_done(&self, literal: u32) -> Option<Scope> {
        item(&self.done, literal).and_then(|stamp| self.clocks.lasting(*stamp))
    }

    /// The longest literal that one which is done with ends with and that is not; the next time it is found in one step.
    #[inline(never)]
    fn skip(&mut self, literal: u32, of: &SequenceTree) -> u32 {
        let (mut found, mut shortest) = (literal, Scope::Pass);
        while let Some(scope) = self.is_done(found) {
            let (next, scope) = self.behind(found, scope, of);
            (found, shortest) = (next, shortest.max(scope));
        }
        let stamp = self.clocks.stamp(shortest);
        let mut at = literal;
        while let Some(scope) = self.is_done(at) {
            let (next, _) = self.behind(at, scope, of);
            if let Some(known) = item_mut(&mut self.next, at) {
                *known = (stamp, found);
            }
            at = next;
        }
        found
    }

    /// The literal to look at instead of one that is done with, and how long.
    fn behind(&self, literal: u32, scope: Scope, of: &SequenceTree) -> (u32, Scope) {
        let known = item(&self.next, literal);
        match known.and_then(|(stamp, next)| Some((*next, self.clocks.lasting(*stamp)?))) {
            Some(known) => known,
            None => (of.automaton.suffix(literal), scope),
        }
    }

    fn set_done(&mut self, literal: u32, scope: Scope) {
        let stamp = self.clocks.stamp(scope);
        if let Some(done) = item_mut(&mut self.done, literal) {
            *done = stamp;
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
    matched: &'s mut Matched,
}

impl<'s> Scan<'s> {
    pub(crate) fn new(
        of: &'s SequenceTree,
        state: &'s mut ScanState,
        text: &'s [u8],
        matched: &'s mut Matched,
    ) -> Self {
        Self { of, state, text, separator: of.automaton.separator(), start: 0, matched }
    }

    /// Takes an occurrence of a literal that ends at `end`, in the element that starts at `start`, and of those that it ends
    /// with. Occurrences come in the order of their ends. False if no step is left for more.
    pub(crate) fn found(&mut self, literal: u32, end: usize, start: usize) -> bool {
        if self.state.nodes.is_empty() {
            self.state.grow(self.of);
        }
        if start != self.start {
            self.start = start;
            self.state.enter_element();
        }
        self.matched.take(1);
        let mut at = self.state.pending(literal, self.of);
        while at != NONE && self.matched.take(STEPS_PER_LOOK) {
            self.advance(at, end);
            match self.of.automaton.suffix(at) {
                NONE => break,
                next => at = self.state.pending(next, self.of),
            }
        }
        !self.matched.is_exhausted()
    }

    /// Takes the steps by one literal, and notes for how long there are none left to take.
    fn advance(&mut self, at: u32, end: usize) {
        let of = self.of;
        let Some(literal) = item(&of.literals, at) else { return };
        let Some(start) = end.checked_sub(literal.length) else { return };
        if let Some(edge) = &literal.only_edge {
            if self.is_reached(edge.child) {
                return self.state.set_done(at, Scope::Element);
            }
            let around = literal.labels.first().and_then(|label| item(&of.labels, *label)?.around.as_ref());
            let bounds = match around {
                None => Some((start, end)),
                Some(around) => self.bounds(around, start, end),
            };
            if let Some((start, end)) = bounds
                && self.start + position(edge.gap) <= start
            {
                self.reach(edge.child, end);
            }
            return;
        }
        // Steps that are taken are not taken again in this element; others wait for the node before them.
        let mut done = Some(Scope::Element);
        let event = self.state.clocks.event;
        for label_at in &literal.labels {
            let Some(label) = item(&of.labels, *label_at) else { continue };
            if !self
                .matched
                .take((label.edges.len() / EDGES_PER_STEP) + STEPS_PER_LOOK * usize::from(label.around.is_some()))
            {
                return;
            }
            let bounds = match &label.around {
                None => Some((start, end)),
                Some(around) => self.bounds(around, start, end),
            };
            for edge in &label.edges {
                if self.is_reached(edge.child) {
                    continue;
                }
                let Some(ready) = self.ready(edge.parent) else {
                    done = done.map(|_| Scope::Event);
                    continue;
                };
                match bounds {
                    Some((start, end)) if ready + position(edge.gap) <= start => self.reach(edge.child, end),
                    _ => done = None,
                }
            }
            if label.is_awaited {
                if let Some((start, end)) = bounds {
                    self.advance_waiting(*label_at, start, end);
                }
                done = done.filter(|_| !self.is_waited_for(*label_at)).map(|_| Scope::Event);
            }
        }
        // A node that was reached here may be the one that a step waits for; a step may have been the last of its literal.
        let is_new = event != self.state.clocks.event;
        if let Some(scope) = done.filter(|scope| *scope == Scope::Element || !is_new)
            && self.state.is_done(at).is_none()
        {
            self.state.set_done(at, scope);
        }
    }

    #[inline(always)]
    fn is_reached(&self, node: u32) -> bool {
        let state = item(&self.state.nodes, node);
        state.is_some_and(|state| state.reached == self.state.clocks.element)
    }

    /// Reports whether steps wait for a label.
    fn is_waited_for(&self, label: u32) -> bool {
        let waiting = item(&self.state.waiting, label);
        waiting.is_some_and(|(element, edges)| *element == self.state.clocks.element && !edges.is_empty())
    }

    /// End of the last step to a node in this element.
    #[inline(always)]
    fn ready(&self, node: u32) -> Option<usize> {
        if node == ROOT {
            return Some(self.start);
        }
        let state = item(&self.state.nodes, node)?;
        (state.reached == self.state.clocks.element).then_some(position(state.end))
    }

    /// Takes the steps that wait for a label, but those that it comes too early for: they wait on.
    fn advance_waiting(&mut self, label: u32, start: usize, end: usize) {
        let element = self.state.clocks.element;
        let Some(waiting) = item_mut(&mut self.state.waiting, label) else { return };
        if waiting.0 != element {
            return;
        }
        let mut edges = std::mem::take(&mut waiting.1);
        self.matched.take(edges.len() / EDGES_PER_STEP);
        let mut taken = Vec::new();
        edges.retain(|edge| {
            let is_early = position(edge.gap) > start;
            if !is_early {
                taken.push(edge.child);
            }
            is_early
        });
        if let Some(waiting) = item_mut(&mut self.state.waiting, label) {
            waiting.1 = edges;
        }
        for child in taken {
            self.reach(child, end);
        }
    }

    /// Reaches a node: its patterns match if what has to follow has room, and its steps begin to wait.
    fn reach(&mut self, at: u32, end: usize) {
        let (of, Clocks { element, pass, .. }) = (self.of, self.state.clocks);
        let Some(node) = item(&of.nodes, at) else { return };
        let Some(state) = item_mut(&mut self.state.nodes, at) else { return };
        if state.reached == element {
            return;
        }
        state.reached = element;
        state.end = u32::try_from(end).unwrap_or(u32::MAX);
        if !node.ids.is_empty() && state.matched != pass && has_rest(self.text, self.separator, end, node.rest) {
            state.matched = pass;
            self.matched.extend_from_slice(&node.ids);
            if let Some(literal) = node.only_use_of {
                self.state.set_done(literal, Scope::Pass);
            }
        }
        if node.has_children {
            self.state.clocks.event += 1;
        }
        self.matched.take(node.awaits.len() / EDGES_PER_STEP);
        for (label, edge) in &node.awaits {
            let Some(waiting) = item_mut(&mut self.state.waiting, *label) else { continue };
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
