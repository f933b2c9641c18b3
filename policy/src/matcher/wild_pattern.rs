//! Globs with `?` and `[…]`, over bytes: a header value need not be UTF-8.

use std::fmt;

/// Most wildcards `?` and `[…]` of a pattern.
const MAX_WILDCARDS: usize = 32;

/// Most characters of a pattern that has a part between stars without a plain character.
const MAX_BARE: usize = 24;

/// Symbol of a glob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Symbol {
    /// `*`: any run of bytes.
    Star,
    /// `?`: any byte.
    Any,
    Byte(u8),
    /// `[…]`: one byte of a set.
    Set(Box<ByteSet>),
}

impl Symbol {
    /// Reports whether it stands for `byte`; a star stands for none by itself.
    pub(crate) fn holds(&self, byte: u8) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::Byte(own) => *own == byte,
            Self::Set(set) => set.holds(byte),
        }
    }

    /// Returns the byte, where it stands for that alone.
    pub(crate) fn byte(&self) -> Option<u8> {
        match self {
            Self::Byte(byte) => Some(*byte),
            Self::Star | Self::Any | Self::Set(_) => None,
        }
    }
}

/// A set of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    /// The members of `[…]`: bytes and ranges such as `0-9`, in any letter case. None where a range ends before it
    /// begins.
    fn of_members(mut members: &[u8], is_negated: bool) -> Option<Self> {
        let mut set = Self([if is_negated { u64::MAX } else { 0 }; 4]);
        while let [first, rest @ ..] = members {
            let last = match rest {
                [b'-', last, after @ ..] => {
                    members = after;
                    last
                }
                _ => {
                    members = rest;
                    first
                }
            };
            if first > last {
                return None;
            }
            for byte in *first..=*last {
                let byte = byte.to_ascii_lowercase();
                if let Some(word) = set.0.get_mut(usize::from(byte / 64)) {
                    let bit = 1 << (byte % 64);
                    *word = if is_negated { *word & !bit } else { *word | bit };
                }
            }
        }
        Some(set)
    }

    fn holds(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte / 64)).is_some_and(|word| word >> (byte % 64) & 1 == 1)
    }
}

/// A glob over values in lower case: `*` is any run of bytes, `?` one byte, `[a-z]` one of a set and `[!a-z]` one that is
/// not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WildPattern {
    text: Box<str>,
    symbols: Box<[Symbol]>,
}

impl WildPattern {
    /// Fails, with the fix, on a bracket that is not closed and on what would cost too much.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut symbols = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [byte, after @ ..] = rest {
            rest = after;
            symbols.push(match byte {
                b'*' => Symbol::Star,
                b'?' => Symbol::Any,
                b'[' => {
                    let (set, after) = read_set(after).ok_or_else(|| {
                        format!(
                            "bad pattern `{text}`: invalid range pattern, write [[] or [?] for the character itself, and a range from its lower end, as in [a-z]"
                        )
                    })?;
                    rest = after;
                    Symbol::Set(Box::new(set))
                }
                byte => Symbol::Byte(byte.to_ascii_lowercase()),
            });
        }
        symbols.dedup_by(|one, other| *one == Symbol::Star && *other == Symbol::Star);
        let pattern = Self { text: text.to_ascii_lowercase().into(), symbols: symbols.into() };
        let wildcards = pattern.symbols.iter().filter(|symbol| matches!(symbol, Symbol::Any | Symbol::Set(_))).count();
        if wildcards > MAX_WILDCARDS {
            return Err(format!(
                "bad pattern `{text}`: it has {wildcards} of `?` and `[…]`, the limit is {MAX_WILDCARDS}"
            ));
        }
        if pattern.has_bare_part() && pattern.symbols.len() > MAX_BARE {
            return Err(format!(
                "bad pattern `{text}`: a part between stars is of `?` and `[…]` alone, and with one the limit is {MAX_BARE} characters"
            ));
        }
        Ok(pattern)
    }

    pub(crate) fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The parts between stars.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[Symbol]> {
        self.symbols.split(|symbol| *symbol == Symbol::Star)
    }

    /// Reports whether a part between stars has no plain character to look for.
    pub(crate) fn has_bare_part(&self) -> bool {
        let mut parts = self.parts().filter(|part| !part.is_empty());
        self.parts().all(|part| part.iter().all(|symbol| *symbol == Symbol::Any))
            || parts.any(|part| {
                part.iter().all(|symbol| symbol.byte().is_none()) && part.iter().any(|symbol| *symbol != Symbol::Any)
            })
    }

    /// The runs of plain characters.
    pub(crate) fn literals(&self) -> impl Iterator<Item = Vec<u8>> {
        self.symbols
            .split(|symbol| symbol.byte().is_none())
            .filter(|run| !run.is_empty())
            .map(|run| run.iter().filter_map(Symbol::byte).collect())
    }
}

impl fmt::Display for WildPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a set after its `[`; a `]` that comes first is a member. Returns the set and what follows it.
fn read_set(text: &[u8]) -> Option<(ByteSet, &[u8])> {
    let (members, is_negated) = match text {
        [b'!', members @ ..] => (members, true),
        members => (members, false),
    };
    let end = 1 + members.get(1..)?.iter().position(|byte| *byte == b']')?;
    Some((ByteSet::of_members(members.get(..end)?, is_negated)?, members.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn rows() {
        let rows: [(&str, &str, bool); 25] = [
            ("a?", "ab", true),
            ("a?", "a", false),
            ("?", "\u{e4}", false),
            ("??", "\u{e4}", true),
            ("*?", "", false),
            ("?*?", "ab", true),
            ("[ab]", "b", true),
            ("[ab]", "c", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[!]]", "a", true),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[X-_]1", "_1", true),
            ("[X-_]1", "z1", true),
            ("[X-_]1", "a1", false),
            ("a[A-C]", "ab", true),
            ("[[]a", "[a", true),
            ("[?]", "a", false),
            ("*[0-9]b*", "xx1b", true),
            ("*[0-9]b*", "xxb1", false),
            ("a**?", "abc", true),
        ];
        for (text, value, expected) in rows {
            let matches = WildPattern::parse(text).map(|pattern| pattern.matches(value.as_bytes()));
            assert_eq!(matches, Ok(expected), "{text} on {value}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        for text in ["[", "[]", "[!]", "[a", "a[!", "[c-a]", "[9-0]*"] {
            let message = format!(
                "bad pattern `{text}`: invalid range pattern, write [[] or [?] for the character itself, and a range from its lower end, as in [a-z]"
            );
            assert_eq!(WildPattern::parse(text), Err(message));
        }
        let many = format!("a{}", "?".repeat(33));
        let bare = format!("{}*[0-9]", "a".repeat(23));
        for (text, message) in [
            (&many, "it has 33 of `?` and `[…]`, the limit is 32"),
            (&bare, "a part between stars is of `?` and `[…]` alone, and with one the limit is 24 characters"),
        ] {
            assert_eq!(WildPattern::parse(text), Err(format!("bad pattern `{text}`: {message}")));
        }
    }

    #[test]
    fn a_part_without_a_plain_character_is_bare() {
        for (text, expected) in [
            ("*?", true),
            ("???", true),
            ("*[0-9]*", true),
            ("a*[0-9]", true),
            ("a?*", false),
            ("?a*??*b[0-9]", false),
            ("*??*a", false),
        ] {
            assert_eq!(WildPattern::parse(text).map(|pattern| pattern.has_bare_part()), Ok(expected), "{text}");
        }
    }
}
