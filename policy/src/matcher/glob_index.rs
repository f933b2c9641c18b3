//! Many patterns at once: one pass over the value, then only the patterns whose rarest piece is in it.

use aho_corasick::Input;
use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;

use crate::collections::map::Table;
use crate::matcher::string_pattern::Glob;
use crate::matcher::value_ids::{Matched, ValueId};

/// A pattern that is looked for by a literal which a matching value has to hold.
pub(crate) trait Pieced {
    /// Such literals, none of them empty, at least one.
    fn pieces(&self) -> impl Iterator<Item = &[u8]>;

    /// Whether the whole pattern matches.
    fn matches(&self, value: &[u8]) -> bool;
}

impl Pieced for Glob {
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        Self::pieces(self)
    }

    fn matches(&self, value: &[u8]) -> bool {
        Self::matches(self, value)
    }
}

/// Patterns, found by one of their literal pieces in one Aho-Corasick automaton.
pub(crate) struct GlobIndex<P> {
    /// None where there are too many for one automaton (billions of states): then all patterns are tried.
    pieces: Option<NFA>,
    /// For each piece of the automaton, the patterns that are looked for by it.
    globs: Vec<Vec<(P, ValueId)>>,
}

impl<P: Pieced> GlobIndex<P> {
    pub(crate) fn new(globs: Vec<(P, ValueId)>) -> Self {
        let telling = telling_pieces(&globs);
        let mut numbers: Table<Box<[u8]>, usize> = Table::default();
        let mut pieces: Vec<Box<[u8]>> = Vec::new();
        let mut grouped: Vec<Vec<(P, ValueId)>> = Vec::new();
        for (piece, entry) in telling.into_iter().zip(globs) {
            let next = grouped.len();
            let number = numbers.change(piece.clone(), || next, |number| *number);
            if number == next {
                pieces.push(piece);
                grouped.push(Vec::new());
            }
            if let Some(group) = grouped.get_mut(number) {
                group.push(entry);
            }
        }
        Self { pieces: NFA::new(&pieces).ok(), globs: grouped }
    }

    /// Adds the patterns that match `value`, each once.
    pub(crate) fn lookup(&self, value: &[u8], matched: &mut Matched) {
        let Some(pieces) = &self.pieces else {
            let all = self.globs.iter().flatten();
            return matched.extend(all.filter(|(glob, _)| glob.matches(value)).map(|(_, id)| *id));
        };
        let mut seen = Seen::default();
        let input = Input::new(value);
        let mut state = OverlappingState::start();
        while pieces.try_find_overlapping(&input, &mut state).is_ok() {
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

/// For each pattern the piece to look for: the one that fewest patterns share picks out the fewest candidates; of those, the
/// longest.
fn telling_pieces<P: Pieced>(globs: &[(P, ValueId)]) -> Vec<Box<[u8]>> {
    let mut mentions: Table<&[u8], usize> = Table::default();
    for piece in globs.iter().flat_map(|(glob, _)| glob.pieces()) {
        mentions.change(piece, || 0, |count| *count += 1);
    }
    let rank = |piece: &&[u8]| (mentions.get(piece).copied(), usize::MAX - piece.len());
    globs.iter().map(|(glob, _)| glob.pieces().min_by_key(rank).unwrap_or_default().into()).collect()
}

/// Which pieces were met before: a long value can hold one piece thousands of times.
#[derive(Default)]
struct Seen(Vec<u64>);

impl Seen {
    fn first_time(&mut self, number: usize) -> bool {
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
