//! Host patterns with a star for a part of a label, as in `api-*.x.com`.

use std::fmt;

use crate::collections::map::OrderedMap;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId};

/// Steps that a pattern which may match costs as much as: there can be a rule for each.
pub(crate) const STEPS_PER_PATTERN: usize = 20;

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

    /// Returns the labels, with dots between them.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns a pattern that matches at least the same names: its stars reach beyond their labels.
    fn loose_pattern(&self) -> StringPattern {
        let depth = if self.any_depth { "*." } else { "" };
        StringPattern::new(&format!("{depth}{}", self.text))
    }

    /// Reports whether it has no literal of three bytes.
    pub(crate) fn is_short(&self) -> bool {
        self.loose_pattern().is_short()
    }

    /// Compares a name in lower case without its final dot.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
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

/// Globs, each under an id.
pub(crate) struct NameGlobIndex {
    /// Finds the globs that may match, by their literal texts.
    candidates: StringIndex,
    globs: OrderedMap<ValueId, NameGlob>,
}

impl NameGlobIndex {
    pub(crate) fn new(globs: Vec<(NameGlob, ValueId)>) -> Self {
        let candidates = globs.iter().map(|(glob, id)| (glob.loose_pattern(), *id)).collect();
        Self {
            candidates: StringIndex::new(candidates),
            globs: globs.into_iter().map(|(glob, id)| (id, glob)).collect(),
        }
    }

    /// Adds the globs that match a name in lower case without its final dot.
    pub(crate) fn lookup(&self, name: &[u8], matched: &mut Matched) {
        let mut candidates = matched.others();
        self.candidates.lookup(name, &mut candidates);
        candidates.take(STEPS_PER_PATTERN * candidates.len());
        matched.continue_after(&candidates);
        matched
            .extend(candidates.iter().copied().filter(|id| self.globs.get(id).is_some_and(|glob| glob.matches(name))));
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
    fn the_index_finds_what_each_glob_by_itself_matches() {
        let texts = [(false, "api-*.x.com"), (false, "*x.com"), (true, "s3*.x.com"), (false, "a*b*.x.com")];
        let globs = texts.map(|(any_depth, text)| NameGlob::new(any_depth, text));
        let index = NameGlobIndex::new(globs.iter().cloned().zip((0..).map(ValueId)).collect());
        for name in ["api-eu.x.com", "x.com", "a.s3.x.com", "a.b.s3-eu.x.com", "a1b2.x.com", "a1.b2.x.com", "notx.com"]
        {
            let mut found = Matched::new();
            index.lookup(name.as_bytes(), &mut found);
            found.sort();
            let matching = (0..).map(ValueId).zip(&globs).filter(|(_, glob)| glob.matches(name.as_bytes()));
            assert_eq!(found.to_vec(), matching.map(|(id, _)| id).collect::<Vec<_>>(), "{name}");
        }
    }
}
