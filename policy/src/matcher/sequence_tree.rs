//! Sequences of literals as a tree of their steps.

use smallvec::SmallVec;

use crate::collections::map::OrderedMap;
use crate::matcher::automaton::{Automaton, Literal, NONE, index, item, item_mut, number};
use crate::matcher::sequence::{Around, Sequence};
use crate::matcher::value_ids::ValueId;

/// Most places at which a literal is looked for by the sequences that wait for it one by one, at each occurrence. Where
/// there are more, those whose step before is found register with it.
const MAX_CHECKED: usize = 8;

/// The node that every element starts at.
pub(crate) const ROOT: u32 = 0;

/// Sequences as a tree of their steps, so that those which begin alike are followed together.
pub(crate) struct SequenceTree {
    pub(crate) automaton: Automaton,
    pub(crate) literals: Vec<LiteralUse>,
    pub(crate) labels: Vec<Label>,
    pub(crate) nodes: Vec<Node>,
}

/// Use of a literal by sequences.
#[derive(Default)]
pub(crate) struct LiteralUse {
    pub(crate) length: usize,
    /// The step by it, if there is one alone and from the root, and few literals end with it.
    pub(crate) only_edge: Option<Edge>,
    pub(crate) labels: SmallVec<[u32; 1]>,
}

/// A literal with what stands around it.
pub(crate) struct Label {
    pub(crate) around: Option<Box<Around>>,
    /// The steps by it that are checked at each occurrence.
    pub(crate) edges: SmallVec<[Edge; 1]>,
    /// True if the others register.
    pub(crate) is_awaited: bool,
}

/// A step from one node to the next.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) parent: u32,
    pub(crate) child: u32,
    /// Least number of bytes between the two.
    pub(crate) gap: u32,
}

/// Common part of the steps from the root to here.
#[derive(Default)]
pub(crate) struct Node {
    /// The patterns that end here.
    pub(crate) ids: SmallVec<[ValueId; 1]>,
    /// Least number of bytes after the last step.
    pub(crate) rest: u32,
    /// The steps from here that register with their label, when this node is reached.
    pub(crate) awaits: Vec<(u32, Edge)>,
    /// True if steps go on from here.
    pub(crate) has_children: bool,
    /// The literal that is used for this node alone, and need not be found again once this is reached.
    pub(crate) only_use_of: Option<u32>,
}

impl SequenceTree {
    /// Takes sequences of at least one step, and the separator of the elements that they are for.
    pub(crate) fn new(sequences: Vec<(Sequence, ValueId)>, separator: Option<u8>) -> Self {
        let mut builder = Builder::default();
        for (sequence, id) in sequences {
            builder.add(sequence, id);
        }
        builder.finish(separator)
    }
}

#[derive(Default)]
struct Builder {
    literals: OrderedMap<Literal, u32>,
    labels: OrderedMap<(u32, Option<Box<Around>>), u32>,
    /// Nodes by parent, label, gap, and what has to follow where a pattern ends there.
    children: OrderedMap<(u32, u32, u32, u32), u32>,
    /// Patterns by node.
    ends: Vec<(u32, ValueId)>,
}

impl Builder {
    fn add(&mut self, sequence: Sequence, id: ValueId) {
        let Self { literals, labels, children, ends } = self;
        let mut node = ROOT;
        let last = sequence.steps.len().saturating_sub(1);
        for (at, step) in sequence.steps.into_iter().enumerate() {
            let next = number(literals.len());
            let literal = literals.entry_or_insert_with(step.literal, || next, |known| *known);
            let next = number(labels.len());
            let label = labels.entry_or_insert_with((literal, step.around), || next, |known| *known);
            let rest = if at == last { sequence.rest } else { 0 };
            let next = number(children.len() + 1);
            node = children.entry_or_insert_with((node, label, step.gap, rest), || next, |known| *known);
        }
        ends.push((node, id));
    }

    fn finish(self, separator: Option<u8>) -> SequenceTree {
        let literals: Vec<Literal> = self.literals.into_entries().into_iter().map(|(literal, _)| literal).collect();
        let mut uses: Vec<LiteralUse> = literals
            .iter()
            .map(|literal| LiteralUse { length: literal.bytes.len(), only_edge: None, labels: SmallVec::new() })
            .collect();
        let mut labels = Vec::with_capacity(self.labels.len());
        for ((literal, around), label) in self.labels.into_entries() {
            if let Some(of) = item_mut(&mut uses, literal) {
                of.labels.push(label);
            }
            labels.push(Label { around, edges: SmallVec::new(), is_awaited: false });
        }
        let mut nodes: Vec<Node> = Vec::new();
        nodes.resize_with(self.children.len() + 1, Node::default);
        for ((_, _, _, rest), child) in self.children.entries() {
            if let Some(node) = item_mut(&mut nodes, *child) {
                node.rest = *rest;
            }
        }
        for (at, id) in self.ends {
            if let Some(node) = item_mut(&mut nodes, at) {
                node.ids.push(id);
            }
        }
        add_edges(&self.children, &mut labels, &mut nodes);
        note_only_uses(&self.children, &uses, &labels, &mut nodes);
        let automaton = Automaton::new(&literals, separator);
        note_only_edges(&automaton, &mut uses, &labels);
        SequenceTree { automaton, literals: uses, labels, nodes }
    }
}

type Children = OrderedMap<(u32, u32, u32, u32), u32>;

/// Enters each step at its label, or at its node where the label has many.
fn add_edges(children: &Children, labels: &mut [Label], nodes: &mut [Node]) {
    let mut counts = vec![0_usize; labels.len()];
    for ((parent, label, _, _), _) in children.entries() {
        if let Some(count) = item_mut(&mut counts, *label) {
            *count += usize::from(*parent != ROOT);
        }
    }
    for ((parent, at, gap, _), child) in children.entries() {
        let edge = Edge { parent: *parent, child: *child, gap: *gap };
        let is_awaited = item(&counts, *at).is_some_and(|count| *count > MAX_CHECKED);
        let Some(label) = item_mut(labels, *at) else { continue };
        match item_mut(nodes, *parent) {
            Some(parent) if is_awaited && edge.parent != ROOT => {
                label.is_awaited = true;
                parent.awaits.push((*at, edge));
            }
            _ => label.edges.push(edge),
        }
    }
}

/// Notes the literals of one step. Those that are nested deeper are rather done with once the step is taken.
fn note_only_edges(automaton: &Automaton, uses: &mut [LiteralUse], labels: &[Label]) {
    /// Most literals that end with each other and are looked at again at each occurrence.
    const MAX_NESTED: usize = 3;
    let mut is_nested = vec![false; uses.len()];
    for literal in 0..uses.len() {
        let suffixes = || {
            let next = |at: &u32| Some(automaton.suffix(*at)).filter(|suffix| *suffix != NONE);
            std::iter::successors(Some(number(literal)), next)
        };
        // What is marked has marked the literals that it ends with.
        if suffixes().nth(MAX_NESTED).is_some() {
            let unmarked = suffixes().map_while(|at| index(at).filter(|at| is_nested.get(*at) == Some(&false)));
            for at in unmarked.collect::<Vec<_>>() {
                if let Some(is_nested) = is_nested.get_mut(at) {
                    *is_nested = true;
                }
            }
        }
    }
    for (of, is_nested) in uses.iter_mut().zip(is_nested) {
        let [label] = of.labels.as_slice() else { continue };
        let Some(Label { edges, is_awaited: false, .. }) = item(labels, *label) else {
            continue;
        };
        of.only_edge = match edges.as_slice() {
            [edge] if edge.parent == ROOT && !is_nested => Some(*edge),
            _ => None,
        };
    }
}

/// Notes the nodes that steps go on from, and the literals that one node alone is reached by, from the root.
fn note_only_uses(children: &Children, uses: &[LiteralUse], labels: &[Label], nodes: &mut [Node]) {
    for ((parent, _, _, _), _) in children.entries() {
        if let Some(parent) = item_mut(nodes, *parent) {
            parent.has_children = true;
        }
    }
    for (literal, of) in uses.iter().enumerate() {
        let [label] = of.labels.as_slice() else { continue };
        let Some(Label { edges, is_awaited: false, .. }) = item(labels, *label) else {
            continue;
        };
        let [Edge { parent: ROOT, child, .. }] = edges.as_slice() else { continue };
        if let Some(node) = item_mut(nodes, *child).filter(|node| !node.has_children) {
            node.only_use_of = Some(number(literal));
        }
    }
}
