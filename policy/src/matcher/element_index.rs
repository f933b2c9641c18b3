//! All the string patterns that match some element of a list, found in one pass over the list.

use crate::matcher::sequence::Sequence;
use crate::matcher::sequence_index::SequenceIndex;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId, once_each_beyond};

/// Byte before and after each element.
pub(crate) const SEPARATOR: u8 = b',';

/// Patterns that are tied to the start or the end of an element. Others match the whole list where they match an
/// element.
pub(crate) struct ElementIndex {
    tied: Option<Box<SequenceIndex>>,
    /// The texts, looked up element by element, if one pass for all would take too much memory.
    large: Option<Box<StringIndex>>,
}

/// Most bytes of the texts that one pass looks for: it takes some twenty times as many.
const MAX_BYTES: usize = 256 << 10;

impl ElementIndex {
    /// Takes texts, and tied patterns of other kinds. None where no pattern is tied.
    pub(crate) fn new<'p>(
        patterns: impl Iterator<Item = (&'p StringPattern, ValueId)>,
        others: Vec<(Sequence, ValueId)>,
    ) -> Option<Self> {
        let is_tied = |pattern: &StringPattern| match pattern {
            StringPattern::Any => false,
            StringPattern::Glob(glob) if !glob.is_anchored() => false,
            pattern => !pattern.contains(SEPARATOR),
        };
        let texts: Vec<_> = patterns.filter(|(pattern, _)| is_tied(pattern)).collect();
        let is_small = texts.iter().map(|(pattern, _)| pattern.literal_bytes()).sum::<usize>() <= MAX_BYTES;
        let mut tied = others;
        let mut large = Vec::new();
        for (pattern, id) in texts {
            match Sequence::of_tied(pattern) {
                Some(sequence) if is_small => tied.push((sequence, id)),
                _ => large.push((pattern.clone(), id)),
            }
        }
        let large = (!large.is_empty()).then(|| Box::new(StringIndex::new(large)));
        let tied = SequenceIndex::of_elements(tied, SEPARATOR).map(Box::new);
        (tied.is_some() || large.is_some()).then_some(Self { tied, large })
    }

    /// Adds the patterns that match an element of `list`, in which a separator stands before and after each.
    pub(crate) fn lookup(&self, list: &[u8], matched: &mut Matched) {
        if let Some(tied) = &self.tied {
            tied.lookup(list, matched);
        }
        if let Some(large) = &self.large {
            let mut kept = matched.len();
            for element in list.split(|byte| *byte == SEPARATOR).filter(|element| !element.is_empty()) {
                large.lookup(element, matched);
                once_each_beyond(matched, &mut kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::value_ids::once_each;
    use fastrand::Rng;

    #[test]
    fn finds_what_each_pattern_matches_in_some_element() {
        let texts = [
            "a", "ab", "a*", "ab*", "*b", "*ab", "a*b", "a*a*b", "b*", "*ba", "b*a*", "*a*b", "a,b", "a,*", "*,b",
            "a*,b", "ba", "aa*bb",
        ];
        let patterns: Vec<_> = texts.iter().map(|text| StringPattern::new(text)).collect();
        let index = ElementIndex::new(patterns.iter().zip((0..).map(ValueId)), Vec::new()).expect("tied patterns");
        let large = StringIndex::new(patterns.iter().cloned().zip((0..).map(ValueId)).collect());
        let large = ElementIndex { tied: None, large: Some(Box::new(large)) };
        let mut rng = Rng::with_seed(3);
        for _ in 0..20_000 {
            let list: String = (0..rng.usize(..12)).filter_map(|_| rng.choice(["a", "b", ",", "ab"])).collect();
            let elements = || list.split(',').filter(|element| !element.is_empty()).map(str::as_bytes);
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&patterns)
                .filter(|(_, pattern)| elements().any(|element| pattern.matches(element)))
                .map(|(id, _)| id)
                .collect();
            for index in [&index, &large] {
                let mut found = Matched::new();
                let separated: Vec<u8> =
                    elements().flat_map(|element| [b",".as_slice(), element].concat()).chain(*b",").collect();
                index.lookup(&separated, &mut found);
                once_each(&mut found);
                assert_eq!(found.to_vec(), expected, "{list} {}", index.large.is_some());
            }
        }
    }

    #[test]
    fn what_is_tied_to_no_end_is_left_to_the_whole_list() {
        let patterns = ["*", "*a*", "*a*b*"].map(StringPattern::new);
        assert!(ElementIndex::new(patterns.iter().zip((0..).map(ValueId)), Vec::new()).is_none());
    }
}
