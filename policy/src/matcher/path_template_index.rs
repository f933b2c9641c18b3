//! Index of path templates, searched segment by segment.

use crate::collections::map::OrderedMap;
use crate::matcher::path_template::{PathTemplate, Segment, SegmentBytes};
use crate::matcher::prefix_index::SuffixTable;
use crate::matcher::value_ids::{Matched, ValueId};

/// Templates with one class of segment bytes, as a tree of segments.
///
/// Each segment of a path has at most two children to follow: the literal and `{*}`.
pub(crate) struct TemplateIndex {
    bytes: SegmentBytes,
    /// The numbers of the literal segments.
    literals: OrderedMap<Box<[u8]>, usize>,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// Children by the number of the literal.
    literal: OrderedMap<usize, usize>,
    one: Option<usize>,
    /// The template that ends with this segment.
    end: Option<ValueId>,
    /// The templates that go on with `{**}`, by the literal text after it.
    rests: SuffixTable,
}

impl TemplateIndex {
    pub(crate) fn new(bytes: SegmentBytes, templates: impl Iterator<Item = (PathTemplate, ValueId)>) -> Self {
        let mut index = Self { bytes, literals: OrderedMap::default(), nodes: vec![Node::default()] };
        let mut rests: OrderedMap<usize, Vec<_>> = OrderedMap::default();
        for (template, id) in templates {
            let mut at = 0;
            for segment in template.segments {
                at = index.child(at, segment);
            }
            match template.rest {
                Some(rest) => rests.entry_or_insert_with(at, Vec::new, |rests| rests.push((rest, id))),
                None => {
                    if let Some(node) = index.nodes.get_mut(at) {
                        node.end = Some(id);
                    }
                }
            }
        }
        for (at, rests) in rests.into_entries() {
            if let Some(node) = index.nodes.get_mut(at) {
                node.rests = SuffixTable::new(rests);
            }
        }
        index
    }

    fn child(&mut self, at: usize, segment: Segment) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = match segment {
            Segment::Literal(literal) => {
                let number = self.literals.len();
                let number = self.literals.entry_or_insert_with(literal, || number, |known| *known);
                node.literal.entry_or_insert_with(number, || next, |known| *known)
            }
            Segment::One => *node.one.get_or_insert(next),
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    /// Adds the templates that match `path`. Each byte is looked at a fixed number of times, however many templates go
    /// the same way.
    pub(crate) fn lookup(&self, path: &[u8], matched: &mut Matched) {
        // The path after the slash that ends the segments so far; none when the path ended with them.
        let mut left = path.strip_prefix(b"/");
        // The nodes that the segments so far lead to.
        let mut reached = if left.is_some() { vec![0] } else { Vec::new() };
        // How much is left after the first byte outside the class, which ends what a `{**}` stands for.
        let mut outside = usize::MAX;
        while !reached.is_empty() {
            let nodes = reached.iter().filter_map(|at| self.nodes.get(*at));
            let Some(rest) = left else {
                return matched.extend(nodes.filter_map(|node| node.end));
            };
            if outside > rest.len() && nodes.clone().any(|node| !node.rests.is_empty()) {
                outside = rest
                    .iter()
                    .position(|byte| *byte != b'/' && !self.bytes.holds(*byte))
                    .map_or(0, |at| rest.len() - at);
            }
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (segment, after) = rest.split_at(end);
            let is_one = !segment.is_empty() && segment.iter().all(|byte| self.bytes.holds(*byte));
            let number = self.literals.get_bytes(segment);
            let mut next = Vec::new();
            for node in nodes {
                // The literal after a `{**}` must begin at that byte or before.
                node.rests.lookup(rest, outside, matched);
                next.extend(number.and_then(|number| node.literal.get(number)));
                next.extend(node.one.filter(|_| is_one));
            }
            reached = next;
            left = after.strip_prefix(b"/");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn finds_what_each_template_by_itself_matches() {
        let texts = [
            "/{*}",
            "/a/{*}",
            "/a/{*}/",
            "/{*}/b",
            "/a/{**}",
            "/{**}",
            "/{**}/c",
            "/{**}/b/c",
            "/a/{*}/{**}/c",
            "/{*}/{*}",
            "/a/{**}/|",
            "/{*}/{**}",
        ];
        let paths = [
            "/", "/a", "/a/", "/a/b", "/a/b/", "/a//c", "/a/b/c", "/x/b/c", "/a/|", "/a/x/|", "/|/c", "/a/b|/c", "/c",
            "//c", "", "a", "/a/b/b/c",
        ];
        for bytes in [SegmentBytes::Envoy, SegmentBytes::Any] {
            let templates: Vec<_> = texts.iter().filter_map(|text| PathTemplate::parse(text, bytes).ok()).collect();
            assert_eq!(templates.len(), texts.len());
            let index = TemplateIndex::new(bytes, templates.iter().cloned().zip((0..).map(ValueId)));
            for path in paths {
                let expected: Vec<_> = (0..)
                    .map(ValueId)
                    .zip(&templates)
                    .filter(|(_, template)| template.matches(path.as_bytes()))
                    .map(|(id, _)| id)
                    .collect();
                let mut found = Matched::new();
                index.lookup(path.as_bytes(), &mut found);
                found.sort();
                assert_eq!(found.to_vec(), expected, "{path} with {bytes:?}");
            }
        }
    }

    #[test]
    fn neither_a_long_template_nor_a_long_path_takes_the_stack() {
        let text = format!("/{{*}}{}", "/a".repeat(200_000));
        let template = PathTemplate::parse(&text, SegmentBytes::Any).expect("a template");
        let index = TemplateIndex::new(SegmentBytes::Any, [(template, ValueId(0))].into_iter());
        let mut found = Matched::new();
        index.lookup("/a".repeat(200_001).as_bytes(), &mut found);
        assert_eq!(found.to_vec(), [ValueId(0)]);
    }
}
