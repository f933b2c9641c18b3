//! Host patterns with a star for a part of a label, as in `api-*.x.com`.

use std::fmt;

use crate::matcher::glob_index::HasLiterals;
use crate::matcher::string_pattern::StringPattern;

/// Names with one label for each of these patterns, a star of which never reaches beyond its label. With `any_depth`,
/// names that have one or more labels before them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameGlob {
    any_depth: bool,
    text: Box<str>,
    labels: Box<[StringPattern]>,
}

impl NameGlob {
    /// Takes labels in lower case with dots between them.
    pub(crate) fn new(any_depth: bool, text: &str) -> Self {
        let labels = text.split('.').map(StringPattern::new).collect();
        Self { any_depth, text: text.into(), labels }
    }
}

impl HasLiterals for NameGlob {
    fn required_literals(&self) -> impl Iterator<Item = &[u8]> {
        self.text.as_bytes().split(|byte| *byte == b'*').filter(|literal| !literal.is_empty())
    }

    /// Compares a name in lower case without its final dot.
    fn matches(&self, name: &[u8]) -> bool {
        let mut given = name.rsplit(|byte| *byte == b'.');
        let fits = self.labels.iter().rev().all(|label| given.next().is_some_and(|given| label.matches(given)));
        fits && given.next().is_some() == self.any_depth
    }
}

impl fmt::Display for NameGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = if self.any_depth { "**." } else { "" };
        write!(f, "{depth}{}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_label() {
        let rows: [(bool, &str, &str, bool); 16] = [
            (false, "api-*.x.com", "api-eu.x.com", true),
            (false, "api-*.x.com", "api-.x.com", true),
            (false, "api-*.x.com", "api.x.com", false),
            (false, "api-*.x.com", "api-eu.a.x.com", false),
            (false, "api-*.x.com", "a.api-eu.x.com", false),
            (false, "*x.com", "x.com", true),
            (false, "*x.com", "notx.com", true),
            (false, "*x.com", "a.x.com", false),
            (false, "a*b*.x.com", "a1b2.x.com", true),
            (false, "a*b*.x.com", "a1.b2.x.com", false),
            (false, "*.s3*.x.com", "b.s3-eu.x.com", true),
            (false, "*.s3*.x.com", "s3-eu.x.com", false),
            (true, "s3*.x.com", "a.b.s3.x.com", true),
            (true, "s3*.x.com", "s3.x.com", false),
            (false, "x.c*", "x.com", true),
            (false, "x.c*", "x.com.evil.test", false),
        ];
        for (any_depth, text, name, expected) in rows {
            assert_eq!(NameGlob::new(any_depth, text).matches(name.as_bytes()), expected, "{text} on {name}");
        }
    }

    #[test]
    fn every_literal_is_in_what_matches() {
        let glob = NameGlob::new(true, "*.s3*.x.com");
        let literals: Vec<_> = glob.required_literals().map(String::from_utf8_lossy).collect();
        assert_eq!(literals, [".s3", ".x.com"]);
    }
}
