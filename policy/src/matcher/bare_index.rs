//! Globs of `?` and `[…]` with nothing to look for, all of them advanced by each byte.

use crate::matcher::value_ids::{Matched, ValueId};
use crate::matcher::wild_pattern::{Symbol, WildPattern};

/// Patterns as bits of words: bit n of a pattern says that its first n symbols match up to here (Baeza-Yates and Gonnet,
/// 1992).
pub(crate) struct BareIndex {
    groups: Vec<Group>,
}

/// Bytes that cost as much as a step.
const BYTES_PER_STEP: usize = 2;

/// The patterns that share a word.
struct Group {
    /// By byte, the symbols that it can be.
    symbols: Box<[u64; 256]>,
    /// The first bit of each pattern.
    starts: u64,
    /// Bits that a star stands at: they stay.
    stars: u64,
    /// The last bit of each pattern.
    ends: Vec<(u64, ValueId)>,
    /// Number of bits in use.
    used: usize,
}

impl BareIndex {
    /// None where there are no patterns.
    pub(crate) fn new(patterns: &[(WildPattern, ValueId)]) -> Option<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for (pattern, id) in patterns {
            let bits = 1 + pattern.symbols().iter().filter(|symbol| **symbol != Symbol::Star).count();
            match groups.last_mut() {
                Some(group) if group.used + bits <= 64 => group.add(pattern, *id),
                _ => {
                    let mut group =
                        Group { symbols: Box::new([0; 256]), starts: 0, stars: 0, ends: Vec::new(), used: 0 };
                    group.add(pattern, *id);
                    groups.push(group);
                }
            }
        }
        (!groups.is_empty()).then_some(Self { groups })
    }

    /// Adds the patterns that match `value`.
    pub(crate) fn lookup(&self, value: &[u8], matched: &mut Matched) {
        for group in &self.groups {
            if !matched.take(value.len() / BYTES_PER_STEP) {
                return;
            }
            group.add_ends(group.last(value.iter(), group.starts), matched);
        }
    }

    /// Adds the patterns that match an element of `list`, each once.
    pub(crate) fn lookup_elements(&self, list: &[u8], separator: u8, matched: &mut Matched) {
        for group in &self.groups {
            if !matched.take(list.len() / BYTES_PER_STEP) {
                return;
            }
            let elements = list.split(|byte| *byte == separator).filter(|element| !element.is_empty());
            let bits = elements.fold(0, |bits, element| bits | group.last(element.iter(), group.starts));
            group.add_ends(bits, matched);
        }
    }
}

impl Group {
    fn add(&mut self, pattern: &WildPattern, id: ValueId) {
        let mut bit = 1_u64 << self.used;
        self.starts |= bit;
        self.used += 1;
        for symbol in pattern.symbols() {
            if *symbol == Symbol::Star {
                self.stars |= bit;
                continue;
            }
            bit <<= 1;
            self.used += 1;
            for (byte, symbols) in (0..=u8::MAX).zip(self.symbols.iter_mut()) {
                *symbols |= if symbol.holds(byte) { bit } else { 0 };
            }
        }
        self.ends.push((bit, id));
    }

    /// The bits after some bytes.
    fn last<'b>(&self, bytes: impl Iterator<Item = &'b u8>, start: u64) -> u64 {
        bytes.fold(start, |bits, byte| {
            let symbols = self.symbols.get(usize::from(*byte)).copied().unwrap_or_default();
            bits << 1 & symbols | bits & self.stars
        })
    }

    fn add_ends(&self, bits: u64, matched: &mut Matched) {
        matched.extend(self.ends.iter().filter(|(end, _)| bits & end != 0).map(|(_, id)| *id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;
    use fastrand::Rng;

    #[test]
    fn agrees_with_each_pattern_by_itself() {
        let mut rng = Rng::with_seed(5);
        let mut text = |letters: &[&'static str], most| -> String {
            (0..rng.usize(1..most)).filter_map(|_| rng.choice(letters)).copied().collect()
        };
        for _ in 0..300 {
            let texts: Vec<_> = (0..30).map(|_| text(&["?", "*", "[ab]", "[!a]", "*", "b"], 8)).collect();
            let patterns: Vec<_> = texts.iter().filter_map(|text| WildPattern::parse(text).ok()).collect();
            let numbered: Vec<_> = patterns.iter().cloned().zip((0..).map(ValueId)).collect();
            let index = BareIndex::new(&numbered).expect("patterns");
            let value = text(&["a", "b", "ab", "c", ","], 12);
            let list = format!(",{value},");
            let elements: Vec<&str> = value.split(',').filter(|element| !element.is_empty()).collect();
            for (values, is_list) in [(vec![value.as_str()], false), (elements, true)] {
                let mut found = Matched::new();
                match is_list {
                    true => index.lookup_elements(list.as_bytes(), b',', &mut found),
                    false => index.lookup(value.as_bytes(), &mut found),
                }
                found.sort();
                let matches = |pattern: &WildPattern| values.iter().any(|value| pattern.matches(value.as_bytes()));
                let expected = numbered.iter().filter(|(pattern, _)| matches(pattern)).map(|(_, id)| *id);
                assert_eq!(found.to_vec(), expected.collect::<Vec<_>>(), "{texts:?} on {values:?}");
            }
        }
    }
}
