//! `operation.methods`: the request method, in the letters that it was sent with.

use crate::attributes::readings::method;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::readings_index::{ReadPattern, ReadingsIndex};
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::ValueId;

/// A pattern for methods, with regard to case (RFC 9110, section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodPattern(StringPattern);

impl MethodPattern {
    /// Fails on what no method can be, a method in lower case included: Istio takes `get` and never matches it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
            return Err(format!("bad method `{text}`: methods are words such as GET, see RFC 9110"));
        }
        let upper = text.to_ascii_uppercase();
        let standard = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        let pattern = StringPattern::new(&upper);
        if text != upper && standard.iter().any(|method| pattern.matches(method.as_bytes())) {
            return Err(format!("bad method `{text}`: methods are compared with regard to case, write `{upper}`"));
        }
        Ok(Self(StringPattern::new(text)))
    }
}

string_pattern_newtype!(MethodPattern);

/// The index of this field's patterns.
pub(crate) fn index(patterns: Vec<(StringPattern, ValueId)>) -> ReadingsIndex<StringIndex> {
    let is_plain = |pattern: &StringPattern| method::is_plain(pattern.to_string().as_bytes());
    ReadingsIndex::new(patterns, [method::CAPITALS].into_iter(), is_plain, |_, pattern: &StringPattern| {
        ReadPattern::Other(StringPattern::new(&pattern.to_string().to_ascii_uppercase()))
    })
}

/// Adds the patterns that match.
pub(crate) fn look_up(index: &ReadingsIndex<StringIndex>, method: Option<&[u8]>, found: &mut FieldMatch) {
    match method {
        Some(method) if method::is_plain(method) => index.written().lookup(method, &mut found.any),
        Some(method) => index.lookup(method, &method::readings(method), found),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("get", "bad method `get`: methods are compared with regard to case, write `GET`"),
            ("post*", "bad method `post*`: methods are compared with regard to case, write `POST*`"),
            ("GET POST", "bad method `GET POST`: methods are words such as GET, see RFC 9110"),
        ];
        for (text, message) in rows {
            assert_eq!(MethodPattern::parse(text).err().as_deref(), Some(message));
        }
        assert!(MethodPattern::parse("PROP*").is_ok());
    }
}
