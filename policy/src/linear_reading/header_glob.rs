//! Globs of headers, on one value.

use crate::baseline::header_field::HeaderGlob;
use crate::linear_reading::matches::Matches;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::wild_pattern::{Symbol, WildPattern};

impl Matches<[u8]> for StringPattern {
    fn matches(&self, value: &[u8]) -> bool {
        StringPattern::matches(self, value)
    }
}

impl Matches<[u8]> for HeaderGlob {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Text(text) => text.matches(value),
            Self::Wild(wild) => wild.matches(value),
            Self::Word(word) => has_word(value, word),
        }
    }
}

/// Follows the places up to which the value can be read, symbol by symbol.
impl Matches<[u8]> for WildPattern {
    fn matches(&self, value: &[u8]) -> bool {
        let mut places = vec![true];
        places.resize(value.len() + 1, false);
        for symbol in self.symbols() {
            let mut next = vec![false; value.len() + 1];
            let mut is_behind = false;
            for (at, is_reached) in places.iter().enumerate() {
                is_behind |= is_reached;
                let (reached, holds) = match symbol {
                    Symbol::Star => (at, is_behind),
                    symbol => (at + 1, *is_reached && value.get(at).is_some_and(|byte| symbol.holds(*byte))),
                };
                if let Some(place) = next.get_mut(reached).filter(|_| holds) {
                    *place = true;
                }
            }
            places = next;
        }
        places.last() == Some(&true)
    }
}

/// Reports whether `value` contains `word` with no letter before or after it.
fn has_word(value: &[u8], word: &[u8]) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    value.windows(word.len().max(1)).enumerate().any(|(at, window)| {
        window == word
            && !is_letter(at.checked_sub(1).and_then(|before| value.get(before)))
            && !is_letter(value.get(at + word.len()))
    })
}
