//! Globs of headers, on one value.

use crate::baseline::header_field::{HeaderGlob, has_word};
use crate::linear_reading::matches::Matches;

impl Matches<[u8]> for HeaderGlob {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Text(text) => text.matches(value),
            Self::Wild(wild) => wild.matches(value),
            Self::Word(word) => has_word(value, word),
        }
    }
}
