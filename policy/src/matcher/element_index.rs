//! All the string patterns that match some element of a list, found in one pass over the list.

use aho_corasick::Input;
use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;

use crate::collections::bytes::memchr2;
use crate::collections::map::OrderedMap;
use crate::matcher::glob_index::BitSet;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::{Glob, StringPattern};
use crate::matcher::value_ids::{Matched, ValueId, once_each};

/// Byte before and after each element.
const SEPARATOR: u8 = b',';

/// Patterns that are tied to the start or the end of an element. Others match the whole list where they match an
/// element.
pub(crate) struct ElementIndex {
    literals: Literals,
    /// By the number of the literal.
    patterns: Vec<Vec<Tied>>,
}

enum Literals {
    /// Of what such an element has at its ends, each with the separator.
    Automaton(Box<NFA>),
    /// Lookup of each element, if an automaton would take too much memory.
    Large(Box<StringIndex>),
}

/// Most bytes of the literals of an automaton, which takes some twenty times as many.
const MAX_BYTES: usize = 256 << 10;

struct Tied {
    id: ValueId,
    /// Each pattern has a number of its own.
    number: usize,
    /// Glob that the element has to match as well, if the literal is not all of the pattern.
    glob: Option<Glob>,
}

impl ElementIndex {
    /// None where no pattern is tied.
    pub(crate) fn new<'p>(patterns: impl Iterator<Item = (&'p StringPattern, ValueId)>) -> Option<Self> {
        let mut grouped: OrderedMap<Vec<u8>, Vec<Tied>> = OrderedMap::default();
        let mut kept = Vec::new();
        for (pattern, id) in patterns {
            let (literal, glob) = match pattern {
                StringPattern::Any => continue,
                pattern if pattern.contains(SEPARATOR) => continue,
                StringPattern::Exact(text) => ([b",", &**text, b","].concat(), None),
                StringPattern::Prefix(text) => ([b",", &**text].concat(), None),
                StringPattern::Suffix(text) => ([&**text, b","].concat(), None),
                StringPattern::Glob(glob) if !glob.is_anchored() => continue,
                StringPattern::Glob(glob) => {
                    let (head, tail) = glob.ends();
                    let literal = if head.len() > tail.len() { [b",", head].concat() } else { [tail, b","].concat() };
                    (literal, Some(glob.clone()))
                }
            };
            let number = kept.len();
            grouped.entry_or_insert_with(literal, Vec::new, |tied| tied.push(Tied { id, number, glob }));
            kept.push((pattern.clone(), id));
        }
        if kept.is_empty() {
            return None;
        }
        let (literals, patterns): (Vec<_>, Vec<_>) = grouped.into_entries().into_iter().unzip();
        let is_small = literals.iter().map(Vec::len).sum::<usize>() <= MAX_BYTES;
        let literals = match is_small.then(|| NFA::new(&literals)) {
            Some(Ok(literals)) => Literals::Automaton(Box::new(literals)),
            _ => Literals::Large(Box::new(StringIndex::new(kept))),
        };
        Some(Self { literals, patterns })
    }

    /// Adds the patterns that match an element of `list`, in which a separator stands before and after each.
    pub(crate) fn lookup(&self, list: &[u8], matched: &mut Matched) {
        let literals = match &self.literals {
            Literals::Automaton(literals) => literals,
            Literals::Large(index) => {
                for element in list.split(|byte| *byte == SEPARATOR).filter(|element| !element.is_empty()) {
                    index.lookup(element, matched);
                    once_each(matched);
                }
                return;
            }
        };
        let mut seen = BitSet::default();
        let input = Input::new(list);
        let mut state = OverlappingState::start();
        let literals: &NFA = literals;
        while literals.try_find_overlapping(&input, &mut state).is_ok() {
            let Some(found) = state.get_match() else { break };
            for tied in self.patterns.get(found.pattern().as_usize()).into_iter().flatten() {
                let matches = match &tied.glob {
                    None => true,
                    Some(glob) => element_of(list, found.start(), found.end()).is_some_and(|one| glob.matches(one)),
                };
                if matches && seen.first_time(tied.number) {
                    matched.push(tied.id);
                }
            }
        }
    }
}

/// The element that begins or ends with what stands between two places of a list.
fn element_of(list: &[u8], start: usize, end: usize) -> Option<&[u8]> {
    match list.get(start)? {
        &SEPARATOR => {
            let rest = list.get(start + 1..)?;
            rest.get(..memchr2(rest, SEPARATOR, SEPARATOR)?)
        }
        _ => {
            let before = list.get(..end - 1)?;
            let start = before.iter().rposition(|byte| *byte == SEPARATOR)?;
            before.get(start + 1..)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    #[test]
    fn finds_what_each_pattern_matches_in_some_element() {
        let texts = [
            "a", "ab", "a*", "ab*", "*b", "*ab", "a*b", "a*a*b", "b*", "*ba", "b*a*", "*a*b", "a,b", "a,*", "*,b",
            "a*,b", "ba", "aa*bb",
        ];
        let patterns: Vec<_> = texts.iter().map(|text| StringPattern::new(text)).collect();
        let index = ElementIndex::new(patterns.iter().zip((0..).map(ValueId))).expect("tied patterns");
        let large = StringIndex::new(patterns.iter().cloned().zip((0..).map(ValueId)).collect());
        let large = ElementIndex { literals: Literals::Large(Box::new(large)), patterns: Vec::new() };
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
                found.sort();
                assert_eq!(found.to_vec(), expected, "{list} {}", matches!(index.literals, Literals::Large(_)));
            }
        }
    }

    #[test]
    fn what_is_tied_to_no_end_is_left_to_the_whole_list() {
        let patterns = ["*", "*a*", "*a*b*"].map(StringPattern::new);
        assert!(ElementIndex::new(patterns.iter().zip((0..).map(ValueId))).is_none());
    }
}
