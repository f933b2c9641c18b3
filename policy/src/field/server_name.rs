//! `when` on `connection.sni`: the server name that the client's TLS asks for.

use std::fmt;

use crate::index::{Matched, TextIndex, ValueId};
use crate::pattern::TextPattern;

/// A pattern for server names, without regard to case: Envoy lower-cases the client's, so in Istio a value with
/// capitals never matches (design, section 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerNamePattern(TextPattern);

impl ServerNamePattern {
    pub(crate) fn parse(text: &str) -> Self {
        Self(TextPattern::new(&text.to_ascii_lowercase()))
    }

    #[cfg(test)]
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.0.matches(&name.to_ascii_lowercase())
    }
}

impl AsRef<TextPattern> for ServerNamePattern {
    fn as_ref(&self) -> &TextPattern {
        &self.0
    }
}

impl fmt::Display for ServerNamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(super) struct Index(TextIndex);

impl Index {
    pub(super) fn new(patterns: Vec<(TextPattern, ValueId)>) -> Self {
        Self(TextIndex::new(patterns))
    }

    pub(super) fn lookup(&self, name: Option<&[u8]>, matched: &mut Matched) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.0.lookup(&name.to_ascii_lowercase(), matched);
        }
    }
}
