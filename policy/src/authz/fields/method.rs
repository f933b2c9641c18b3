//! `operation.methods`: the request method, in the letters that it was sent with.

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::readings::method;
use crate::attributes::request::{PseudoHeader, Request};
use crate::attributes::wording::describe_reading;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField, Phrase};
use crate::authz::fields::reader::{FieldContext, FieldReader};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::readings_index::{ReadPattern, ReadingsIndex, ValueList};
use crate::matcher::string_index::{LiteralPrefix, StringIndex, unwrap_patterns};
use crate::matcher::string_pattern::{StringPattern, string_pattern_newtype};
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

/// The request method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method;

impl MatchField for Method {
    type Pattern = MethodPattern;

    const RANK: u8 = 30;
    const REQUEST_HEADER: bool = true;
    const PHRASE: Phrase = Phrase::Method;

    fn subject(&self) -> Cow<'static, str> {
        "method".into()
    }

    fn http_key(&self) -> Option<String> {
        Some("methods".to_owned())
    }

    fn is_short(pattern: &MethodPattern) -> bool {
        pattern.0.is_short()
    }

    fn index(self, patterns: Vec<(MethodPattern, ValueId)>) -> Box<dyn FieldIndex> {
        let is_plain = |pattern: &StringPattern| method::is_plain(pattern.to_string().as_bytes());
        let in_capitals = |_, pattern: &StringPattern| {
            ReadPattern::Others(vec![StringPattern::new(&pattern.to_string().to_ascii_uppercase())])
        };
        let readings = [method::CAPITALS].into_iter();
        Box::new(MethodIndex(ReadingsIndex::new(unwrap_patterns(patterns), readings, is_plain, in_capitals)))
    }
}

struct MethodIndex(ReadingsIndex<StringIndex>);

impl FieldIndex for MethodIndex {
    fn has_several_readings(&self, request: &mut dyn Request) -> bool {
        request.method().ok().flatten().is_some_and(|method| !method::is_plain(method))
    }

    fn describe_reading(&self, request: &mut dyn Request, list: &ValueList<'_>, _: bool) -> Option<String> {
        let value = request.method().ok()??.to_vec();
        let readings = method::readings(&value);
        let (_, reading) = self.0.deciding(&value, &readings, list)?;
        Some(describe_reading("method", reading, ""))
    }

    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        match request.method()? {
            Some(method) if method::is_plain(method) => self.0.written().lookup(method, &mut found.any),
            Some(method) => self.0.lookup(method, &method::readings(method), found),
            None => {}
        }
        Ok(())
    }

    fn pseudo_header(&self) -> Option<PseudoHeader> {
        Some(PseudoHeader::Method)
    }

    fn literal_prefix(&self, value: ValueId) -> Option<LiteralPrefix<'_>> {
        self.0.written().literal_prefix(value)
    }
}

/// `operation.methods` and `operation.notMethods`.
pub(crate) const OPERATION: FieldReader = FieldReader { keys: ["methods", "notMethods"], read };

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(Method, read_values(node, MethodPattern::parse)?))
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
