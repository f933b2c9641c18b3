//! String patterns of policies; `*` stands for any run of bytes.

use std::fmt;

/// Bytes of a literal that is worth looking for.
pub(crate) const MIN_LITERAL: usize = 3;

/// Pattern of a string in a policy.
///
/// Exact, `prefix*`, `*suffix` and `*` mean what Istio's string matcher makes of them (Istio 1.31,
/// `pilot/pkg/security/authz/matcher/string.go`). More stars than these each stand for any run of bytes too, where
/// Istio takes them literally and the value never matches. No other character is special.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StringPattern {
    /// `*`: the value is there, empty or not.
    Any,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Glob(Glob),
}

impl StringPattern {
    pub(crate) fn new(text: &str) -> Self {
        let stars = text.bytes().filter(|byte| *byte == b'*').count();
        let bytes = text.as_bytes();
        match (stars, bytes) {
            (0, exact) => Self::Exact(exact.into()),
            (count, all) if count == all.len() => Self::Any,
            (1, [b'*', suffix @ ..]) => Self::Suffix(suffix.into()),
            (1, [prefix @ .., b'*']) => Self::Prefix(prefix.into()),
            _ => Self::Glob(Glob::new(bytes)),
        }
    }

    /// Reports whether a byte occurs in its literal texts.
    pub(crate) fn contains(&self, byte: u8) -> bool {
        match self {
            Self::Any => false,
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) => text.contains(&byte),
            Self::Glob(glob) => glob.required_literals().any(|literal| literal.contains(&byte)),
        }
    }

    /// Reports whether it is looked for inside a value, and has no literal of three bytes.
    pub(crate) fn is_short(&self) -> bool {
        matches!(self, Self::Glob(glob) if glob.required_literals().all(|literal| literal.len() < MIN_LITERAL))
    }

    /// Returns the number of bytes of its literal texts.
    pub(crate) fn literal_bytes(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) => text.len(),
            Self::Glob(glob) => glob.required_literals().map(<[u8]>::len).sum(),
        }
    }

    /// The definition of what this pattern matches; the index must agree with it.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => value == &**exact,
            Self::Prefix(prefix) => value.starts_with(prefix),
            Self::Suffix(suffix) => value.ends_with(suffix),
            Self::Glob(glob) => glob.matches(value),
        }
    }
}

impl fmt::Display for StringPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(exact) => f.write_str(&String::from_utf8_lossy(exact)),
            Self::Prefix(prefix) => write!(f, "{}*", String::from_utf8_lossy(prefix)),
            Self::Suffix(suffix) => write!(f, "*{}", String::from_utf8_lossy(suffix)),
            Self::Glob(glob) => glob.fmt(f),
        }
    }
}

/// Literal required_literals with any run of bytes between them, and before and after them unless anchored.
///
/// It is made for texts that are neither exact nor one prefix or suffix: it has at least one piece.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Glob {
    head: Box<[u8]>,
    middle: Box<[Box<[u8]>]>,
    tail: Box<[u8]>,
}

impl Glob {
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut required_literals = text.split(|byte| *byte == b'*');
        let head = required_literals.next().unwrap_or_default();
        let mut middle: Vec<Box<[u8]>> = required_literals.map(Box::from).collect();
        let tail = middle.pop().unwrap_or_default();
        middle.retain(|piece| !piece.is_empty());
        Self { head: head.into(), middle: middle.into(), tail }
    }

    /// The literal required_literals that a matching value holds, in their order.
    pub(crate) fn required_literals(&self) -> impl Iterator<Item = &[u8]> {
        [&self.head]
            .into_iter()
            .chain(&self.middle)
            .chain([&self.tail])
            .map(|piece| &**piece)
            .filter(|piece| !piece.is_empty())
    }

    /// Literal texts between the ends, in their order.
    pub(crate) fn middle(&self) -> impl Iterator<Item = &[u8]> {
        self.middle.iter().map(|piece| &**piece)
    }

    /// Literal texts that a matching value starts and ends with.
    pub(crate) fn ends(&self) -> (&[u8], &[u8]) {
        (&self.head, &self.tail)
    }

    /// Reports whether the pattern is anchored at the start or the end of a value.
    pub(crate) fn is_anchored(&self) -> bool {
        !self.head.is_empty() || !self.tail.is_empty()
    }

    /// Matches each literal at its first occurrence: if any placement matches, this one does.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        let Some(rest) = value.strip_prefix(&*self.head) else { return false };
        let Some(mut rest) = rest.strip_suffix(&*self.tail) else { return false };
        for piece in &self.middle {
            let found = rest.windows(piece.len()).position(|window| window == &**piece);
            match found.and_then(|at| rest.get(at + piece.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.head))?;
        for piece in &self.middle {
            write!(f, "*{}", String::from_utf8_lossy(piece))?;
        }
        write!(f, "*{}", String::from_utf8_lossy(&self.tail))
    }
}

/// Implements access to the pattern of a string-pattern newtype.
macro_rules! string_pattern_newtype {
    ($pattern:ty) => {
        impl From<$pattern> for crate::matcher::string_pattern::StringPattern {
            fn from(pattern: $pattern) -> Self {
                pattern.0
            }
        }

        impl std::fmt::Display for $pattern {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

pub(crate) use string_pattern_newtype;

#[cfg(test)]
mod tests {
    use super::*;

    /// WildcardScope by trying every split: slow, and too short to be wrong.
    fn naive(pattern: &[u8], value: &[u8]) -> bool {
        match pattern.split_first() {
            None => value.is_empty(),
            Some((b'*', rest)) => (0..=value.len()).any(|at| naive(rest, value.get(at..).unwrap_or_default())),
            Some((byte, rest)) => {
                value.split_first().is_some_and(|(first, others)| first == byte && naive(rest, others))
            }
        }
    }

    #[test]
    fn rows() {
        let rows: [(&str, &str, bool); 20] = [
            ("*", "", true),
            ("**", "x", true),
            ("a", "a", true),
            ("a", "A", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "a", true),
            ("*a", "ab", false),
            ("*sqlmap*", "sqlmap/1.7.2#stable", true),
            ("*sqlmap*", "Mozilla sqlmap", true),
            ("*sqlmap*", "sqlma", false),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("aa*aa", "aaa", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*x*x*", "x", false),
            ("a.b", "aXb", false),
            ("a?b*c*d", "a?b1c2d", true),
            ("spiffe*[x]*", "spiffe-[x]", true),
        ];
        for (pattern, value, expected) in rows {
            assert_eq!(StringPattern::new(pattern).matches(value.as_bytes()), expected, "{pattern} on {value}");
            assert_eq!(naive(pattern.as_bytes(), value.as_bytes()), expected, "naive {pattern} on {value}");
        }
    }

    #[test]
    fn agrees_with_trying_every_split_on_all_short_texts() {
        let texts = |letters: &'static [u8], longest: u32| {
            (0..=longest).flat_map(move |length| {
                (0..letters.len().pow(length)).map(move |mut number| {
                    let mut text = Vec::new();
                    for _ in 0..length {
                        text.extend(letters.get(number % letters.len()));
                        number /= letters.len();
                    }
                    text
                })
            })
        };
        for pattern in texts(b"ab*", 5) {
            let text = String::from_utf8_lossy(&pattern).into_owned();
            let parsed = StringPattern::new(&text);
            for value in texts(b"ab", 5) {
                assert_eq!(
                    parsed.matches(&value),
                    naive(&pattern, &value),
                    "{text} on {}",
                    String::from_utf8_lossy(&value)
                );
            }
        }
    }

    #[test]
    fn is_written_as_it_was_read() {
        for text in ["*", "a", "a*", "*a", "a*b", "*a*b*", "a*b*c"] {
            assert_eq!(StringPattern::new(text).to_string(), text);
        }
    }
}
