//! `when` on `connection.sni`: the server name that the client's TLS asks for.

use crate::attributes::readings::host;
use crate::authz::fields::host::index_of;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::readings_index::ReadingsIndex;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::ValueId;

/// A pattern for server names, without regard to case: Envoy lower-cases the client's, so in Istio a value with
/// capitals never matches (design, section 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerNamePattern(StringPattern);

impl ServerNamePattern {
    /// Fails on what no server name contains.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(wrong) = text.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(format!(
                "bad server name `{}`: no SNI contains `{}`, write an international name as xn--…",
                text.escape_debug(),
                wrong.escape_debug()
            ));
        }
        Ok(Self(StringPattern::new(&text.to_ascii_lowercase())))
    }
}

string_pattern_newtype!(ServerNamePattern);

/// The index of this field's patterns.
pub(crate) fn index(patterns: Vec<(StringPattern, ValueId)>) -> ReadingsIndex<StringIndex> {
    index_of(patterns, &host::SERVER_NAME_READINGS)
}

/// Adds the patterns that match.
pub(crate) fn look_up(index: &ReadingsIndex<StringIndex>, name: Option<&[u8]>, found: &mut FieldMatch) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        let name = name.to_ascii_lowercase();
        index.lookup(&name, &host::server_name_readings(&name), found);
    }
}
