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
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literal: OrderedMap<Box<[u8]>, usize>,
    one: Option<usize>,
    /// The template that ends with this segment.
    end: Option<ValueId>,
    /// The templates that go on with `{**}`, by the literal text after it.
    rests: SuffixTable,
}

impl TemplateIndex {
    pub(crate) fn new(bytes: SegmentBytes, templates: impl Iterator<Item = (PathTemplate, ValueId)>) -> Self {
        let mut index = Self { bytes, nodes: vec![Node::default()] };
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
            Segment::Literal(literal) => node.literal.entry_or_insert_with(literal, || next, |known| *known),
            Segment::One => *node.one.get_or_insert(next),
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    /// Adds the templates that match `path`.
    pub(crate) fn lookup(&self, path: &[u8], matched: &mut Matched) {
        if let Some(rest) = path.strip_prefix(b"/") {
            self.descend(0, Some(rest), matched);
        }
    }

    /// `left` is the path after the slash that ends the segments so far; none when the path ended with them.
    fn descend(&self, at: usize, left: Option<&[u8]>, matched: &mut Matched) {
        let Some(node) = self.nodes.get(at) else { return };
        let Some(left) = left else {
            matched.extend(node.end);
            return;
        };
        if !node.rests.is_empty() {
            self.rests(node, left, matched);
        }
        let end = left.iter().position(|byte| *byte == b'/').unwrap_or(left.len());
        let (segment, after) = left.split_at(end);
        let after = after.strip_prefix(b"/");
        if let Some(child) = node.literal.get(segment) {
            self.descend(*child, after, matched);
        }
        if let Some(child) = node.one
            && !segment.is_empty()
            && segment.iter().all(|byte| self.bytes.holds(*byte))
        {
            self.descend(child, after, matched);
        }
    }

    /// Matches the literals after a `{**}`, whose text ends at the first byte outside the class; the literal must begin
    /// there or before.
    fn rests(&self, node: &Node, left: &[u8], matched: &mut Matched) {
        let reach = left.iter().position(|byte| *byte != b'/' && !self.bytes.holds(*byte)).unwrap_or(left.len());
        node.rests.lookup(left, left.len() - reach, matched);
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
}
