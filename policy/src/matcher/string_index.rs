//! Index of the string patterns of one field.

use crate::collections::map::OrderedMap;
use crate::matcher::prefix_index::{PrefixTable, SuffixTable};
use crate::matcher::sequence::Sequence;
use crate::matcher::sequence_index::SequenceIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// Text patterns, each under an id, looked up by value: a hash map for the exact ones, sorted tables for prefixes and
/// suffixes, one automaton for the rest.
#[derive(Default)]
pub(crate) struct StringIndex {
    present: Option<ValueId>,
    exact: OrderedMap<Box<[u8]>, ValueId>,
    prefixes: PrefixTable,
    suffixes: SuffixTable,
    globs: Option<Box<SequenceIndex>>,
}

/// A text that a value begins with.
pub(crate) struct LiteralPrefix<'t> {
    pub(crate) text: &'t [u8],
    /// True if the literal is the whole value rather than a prefix.
    pub(crate) whole: bool,
}

impl StringIndex {
    #[inline(never)]
    pub(crate) fn new(patterns: Vec<(StringPattern, ValueId)>) -> Self {
        let mut index = Self::default();
        let (mut prefixes, mut suffixes, mut globs) = (Vec::new(), Vec::new(), Vec::new());
        for (pattern, id) in patterns {
            match pattern {
                StringPattern::Any => index.present = Some(id),
                StringPattern::Exact(text) => {
                    index.exact.insert(text, id);
                }
                StringPattern::Prefix(text) => prefixes.push((text, id)),
                StringPattern::Suffix(text) => suffixes.push((text, id)),
                StringPattern::Glob(glob) => globs.push((Sequence::of_glob(&glob), id)),
            }
        }
        index.prefixes = PrefixTable::new(prefixes);
        index.suffixes = SuffixTable::new(suffixes);
        index.globs = SequenceIndex::new(globs).map(Box::new);
        index
    }

    /// Returns the literal or prefix that a value of the field stands for, if it is one and cheap to find.
    pub(crate) fn literal_prefix(&self, value: ValueId) -> Option<LiteralPrefix<'_>> {
        // They were numbered in their order.
        let exact = self.exact.entries().binary_search_by_key(&value, |(_, value)| *value);
        match exact.ok().and_then(|index| self.exact.entries().get(index)) {
            Some((text, _)) => Some(LiteralPrefix { text, whole: true }),
            None => self.prefixes.text(value).map(|text| LiteralPrefix { text, whole: false }),
        }
    }

    /// Adds the patterns that match `value`.
    pub(crate) fn lookup(&self, value: &[u8], matched: &mut Matched) {
        if let Some(present) = self.present {
            matched.push(present);
        }
        if let Some(exact) = self.exact.get_bytes(value) {
            matched.push(*exact);
        }
        self.prefixes.lookup(value, matched);
        self.suffixes.lookup(value, 0, matched);
        if let Some(globs) = &self.globs {
            globs.lookup(value, matched);
        }
    }
}

/// String patterns out of their newtypes, for an index.
pub(crate) fn unwrap_patterns<P: Into<StringPattern>>(patterns: Vec<(P, ValueId)>) -> Vec<(StringPattern, ValueId)> {
    patterns.into_iter().map(|(pattern, id)| (pattern.into(), id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_each_pattern_by_itself_matches() {
        let patterns = [
            "*", "a", "ab", "a*", "ab*", "*b", "*ab", "*a*", "*ab*", "a*b", "*b*a*", "a*b*c", "b*", "*aa*", "aa*aa",
            "*c*b", "ba",
        ];
        let parsed: Vec<_> = patterns.iter().map(|text| StringPattern::new(text)).collect();
        let index = StringIndex::new(parsed.iter().cloned().zip((0..).map(ValueId)).collect());
        for value in ["", "a", "b", "ab", "ba", "aa", "aaa", "aaaa", "abc", "abab", "bab", "cab", "acbc", "aabbcc", "x"]
        {
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&parsed)
                .filter(|(_, pattern)| pattern.matches(value.as_bytes()))
                .map(|(id, _)| id)
                .collect();
            let mut found = Matched::new();
            index.lookup(value.as_bytes(), &mut found);
            found.sort();
            assert_eq!(found.to_vec(), expected, "{value}");
        }
    }
}
