//! `when` on `connection.sni`: the server name that the client's TLS asks for.

use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::Matched;

/// A pattern for server names, without regard to case: Envoy lower-cases the client's, so in Istio a value with
/// capitals never matches (design, section 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerNamePattern(StringPattern);

impl ServerNamePattern {
    pub(crate) fn parse(text: &str) -> Self {
        Self(StringPattern::new(&text.to_ascii_lowercase()))
    }

    #[cfg(test)]
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.0.matches(&name.to_ascii_lowercase())
    }
}

string_pattern_newtype!(ServerNamePattern);

/// Adds the patterns that match.
pub(crate) fn look_up(index: &StringIndex, name: Option<&[u8]>, matched: &mut Matched) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        index.lookup(&name.to_ascii_lowercase(), matched);
    }
}
