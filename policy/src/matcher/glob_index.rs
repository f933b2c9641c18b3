//! Many patterns at once: one pass over the value, then only the patterns whose rarest piece is in it.

use aho_corasick::Input;
use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;

use crate::collections::map::OrderedMap;
use crate::matcher::string_pattern::Glob;
use crate::matcher::value_ids::{Matched, ValueId};

/// A pattern that is looked for by a literal which a matching value has to hold.
pub(crate) trait HasLiterals {
    /// Such literals, none of them empty, at least one.
    fn required_literals(&self) -> impl Iterator<Item = &[u8]>;

    /// Reports whether the whole pattern matches.
    fn matches(&self, value: &[u8]) -> bool;
}

impl HasLiterals for Glob {
    fn required_literals(&self) -> impl Iterator<Item = &[u8]> {
        Self::required_literals(self)
    }

    fn matches(&self, value: &[u8]) -> bool {
        Self::matches(self, value)
    }
}

/// Patterns, found by one of their literal required_literals in one Aho-Corasick automaton.
pub(crate) struct GlobIndex<P> {
    /// Automaton of the literals; `None` if it would need billions of states, and then all patterns are tried.
    required_literals: Option<NFA>,
    /// Patterns by the literal of the automaton that finds them.
    globs: Vec<Vec<(P, ValueId)>>,
}

impl<P: HasLiterals> GlobIndex<P> {
    pub(crate) fn new(globs: Vec<(P, ValueId)>) -> Self {
        let telling = rarest_literals(&globs);
        let mut numbers: OrderedMap<Box<[u8]>, usize> = OrderedMap::default();
        let mut required_literals: Vec<Box<[u8]>> = Vec::new();
        let mut grouped: Vec<Vec<(P, ValueId)>> = Vec::new();
        for (piece, entry) in telling.into_iter().zip(globs) {
            let next = grouped.len();
            let number = numbers.entry_or_insert_with(piece.clone(), || next, |number| *number);
            if number == next {
                required_literals.push(piece);
                grouped.push(Vec::new());
            }
            if let Some(group) = grouped.get_mut(number) {
                group.push(entry);
            }
        }
        Self { required_literals: NFA::new(&required_literals).ok(), globs: grouped }
    }

    /// Adds the patterns that match `value`, each once.
    pub(crate) fn lookup(&self, value: &[u8], matched: &mut Matched) {
        let Some(required_literals) = &self.required_literals else {
            let all = self.globs.iter().flatten();
            return matched.extend(all.filter(|(glob, _)| glob.matches(value)).map(|(_, id)| *id));
        };
        let mut seen = BitSet::default();
        let input = Input::new(value);
        let mut state = OverlappingState::start();
        while required_literals.try_find_overlapping(&input, &mut state).is_ok() {
            let Some(found) = state.get_match() else { break };
            let piece = found.pattern().as_usize();
            if !seen.first_time(piece) {
                continue;
            }
            for (glob, id) in self.globs.get(piece).into_iter().flatten() {
                if glob.matches(value) {
                    matched.push(*id);
                }
            }
        }
    }
}

/// Selects the literal that finds each pattern: the one shared by the fewest patterns, and of those the
/// longest.
fn rarest_literals<P: HasLiterals>(globs: &[(P, ValueId)]) -> Vec<Box<[u8]>> {
    let mut mentions: OrderedMap<&[u8], usize> = OrderedMap::default();
    for piece in globs.iter().flat_map(|(glob, _)| glob.required_literals()) {
        mentions.entry_or_insert_with(piece, || 0, |count| *count += 1);
    }
    let rank = |piece: &&[u8]| (mentions.get(piece).copied(), usize::MAX - piece.len());
    globs.iter().map(|(glob, _)| glob.required_literals().min_by_key(rank).unwrap_or_default().into()).collect()
}

/// Set of literals already found: a long value can contain one thousands of times.
#[derive(Default)]
pub(crate) struct BitSet(Vec<u64>);

impl BitSet {
    pub(crate) fn first_time(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1_u64 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        match self.0.get_mut(word) {
            Some(bits) if *bits & bit == 0 => {
                *bits |= bit;
                true
            }
            _ => false,
        }
    }
}
