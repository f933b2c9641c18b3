//! `when` on `request.auth.claims[…]` and its like, and on `experimental.envoy.filters.…[…]`: what filters before this
//! one have found out about a request.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::names::MetadataKey;
use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::{ConditionReader, FieldContext, NamedConditionReader, ReadNamedValues};
use crate::config::document::Value;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId, once_each};

/// A pattern for text, alone or in a list. Other kinds of values never match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MetadataPattern {
    text: StringPattern,
    shape: Shape,
}

/// Where the text that is compared stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// It is the value itself.
    Alone,
    /// It is an item of a list.
    Listed,
    /// Either.
    Any,
}

impl MetadataPattern {
    /// The value of a claim is a text, or a list of which one item has to match. The value of a filter's metadata is a
    /// list where the policy writes it in brackets, otherwise a text (Istio 1.31,
    /// `pilot/pkg/security/authz/model/generator.go`).
    pub(crate) fn parse(text: &str, key: &MetadataKey) -> Result<Self, String> {
        let listed = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let (text, shape) = match (key, listed) {
            (MetadataKey::Claim(_), _) => (text, Shape::Any),
            (MetadataKey::Filter { .. }, None) => (text, Shape::Alone),
            (MetadataKey::Filter { .. }, Some("")) => {
                return Err("bad value `[]`: write what the list has to hold, as in `[select]`".to_owned());
            }
            (MetadataKey::Filter { .. }, Some(inner)) => (inner, Shape::Listed),
        };
        Ok(Self { text: StringPattern::new(text), shape })
    }

    /// The definition of what it matches; the index must agree with it.
    #[cfg(test)]
    pub(crate) fn matches(&self, value: &Value) -> bool {
        let matches = |text: &str| !text.is_empty() && self.text.matches(text.as_bytes());
        match value {
            Value::Text(text) => self.shape != Shape::Listed && matches(text),
            Value::List(items) => self.shape != Shape::Alone && items.iter().filter_map(Value::text).any(matches),
            _ => false,
        }
    }
}

impl fmt::Display for MetadataPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Alone | Shape::Any => self.text.fmt(f),
            Shape::Listed => write!(f, "[{}]", self.text),
        }
    }
}

/// The patterns of one key. A star by itself stands for one character at least, as in Istio, so an empty text matches
/// none of them.
pub(crate) struct Index {
    alone: StringIndex,
    listed: StringIndex,
}

impl Index {
    pub(crate) fn new(patterns: impl Iterator<Item = (MetadataPattern, ValueId)>) -> Self {
        let patterns: Vec<_> = patterns.collect();
        let index = |other: Shape| {
            let here = patterns.iter().filter(|(pattern, _)| pattern.shape != other);
            StringIndex::new(here.map(|(pattern, id)| (pattern.text.clone(), *id)).collect())
        };
        Self { alone: index(Shape::Listed), listed: index(Shape::Alone) }
    }

    pub(crate) fn lookup(&self, value: Option<&Value>, matched: &mut Matched) {
        let mut look_up = |index: &StringIndex, text: &str| {
            if !text.is_empty() {
                index.lookup(text.as_bytes(), matched);
            }
        };
        match value {
            Some(Value::Text(text)) => look_up(&self.alone, text),
            Some(Value::List(items)) => {
                items.iter().filter_map(Value::text).for_each(|text| look_up(&self.listed, text));
                once_each(matched);
            }
            _ => {}
        }
    }
}

struct MetadataIndex {
    key: MetadataKey,
    patterns: Index,
    claims: Rc<ClaimSource>,
}

impl FieldIndex for MetadataIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        self.patterns.lookup(self.claims.value(&self.key, request)?.as_ref(), &mut found.any);
        Ok(())
    }
}

/// A claim of the request's token, or a value of dynamic metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    key: MetadataKey,
    claims: Rc<ClaimSource>,
}

impl Metadata {
    #[cfg(test)]
    pub(crate) fn key(&self) -> &MetadataKey {
        &self.key
    }
}

impl MatchField for Metadata {
    type Pattern = MetadataPattern;

    const RANK: u8 = 41;

    fn name(&self) -> Cow<'_, str> {
        self.key.to_string().into()
    }

    fn subject(&self) -> Cow<'static, str> {
        self.key.to_string().into()
    }

    fn http_key(&self) -> Option<String> {
        match &self.key {
            MetadataKey::Claim(_) => Some("request.auth".to_owned()),
            MetadataKey::Filter { .. } => None,
        }
    }

    fn index(self, patterns: Vec<(MetadataPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(MetadataIndex { key: self.key, patterns: Index::new(patterns.into_iter()), claims: self.claims })
    }
}

/// `when` on `request.auth.audiences`.
pub(crate) const AUDIENCES: ConditionReader = ConditionReader {
    key: "request.auth.audiences",
    read: |node, context| read(node, context, MetadataKey::claim("aud")),
};

/// `when` on `request.auth.presenter`.
pub(crate) const PRESENTER: ConditionReader = ConditionReader {
    key: "request.auth.presenter",
    read: |node, context| read(node, context, MetadataKey::claim("azp")),
};

/// `when` on `request.auth.claims[…]` and `experimental.envoy.filters.…[…]`.
pub(crate) const NAMED: NamedConditionReader = |text| {
    let key = MetadataKey::parse(text)?;
    Some(key.map(|key| -> Box<ReadNamedValues<'static>> {
        Box::new(move |node, context| read(node, context, key.clone()))
    }))
};

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>, key: MetadataKey) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_values(node, |text| MetadataPattern::parse(text, &key))?;
    Some(FieldValues::shared(Metadata { key, claims: Rc::clone(context.claims) }, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> MetadataKey {
        MetadataKey::parse(text).expect("such a key").expect(text)
    }

    #[test]
    fn the_index_agrees_with_each_pattern() {
        for name in ["request.auth.claims[group]", "experimental.envoy.filters.http.x[group]"] {
            let key = key(name);
            let patterns: Vec<_> = ["admin", "[admin]", "ad*", "[ad*]", "*", "[*]", "*m*n", "[*m*n]"]
                .iter()
                .flat_map(|text| MetadataPattern::parse(text, &key))
                .collect();
            let index = Index::new(patterns.iter().cloned().zip((0..).map(ValueId)));
            for value in [
                r#""admin""#,
                r#""""#,
                r#"["admin"]"#,
                r#"["user", "admin", "admin"]"#,
                r#"[]"#,
                r#"[""]"#,
                r#"[1, "ad"]"#,
                "1",
                "true",
                "null",
                r#"{"admin": 1}"#,
                r#"[["admin"]]"#,
                r#""[admin]""#,
            ] {
                let value = Value::of_json(value.as_bytes()).expect("JSON");
                let expected: Vec<_> = (0..)
                    .map(ValueId)
                    .zip(&patterns)
                    .filter(|(_, one)| one.matches(&value))
                    .map(|(id, _)| id)
                    .collect();
                let mut found = Matched::new();
                index.lookup(Some(&value), &mut found);
                found.sort();
                assert_eq!(found.to_vec(), expected, "{name} {value:?}");
            }
        }
    }

    #[test]
    fn a_claim_is_a_text_or_in_a_list_and_metadata_as_written() {
        let value = |json: &str| Value::of_json(json.as_bytes()).expect("JSON");
        let filter = key("experimental.envoy.filters.http.x[group]");
        let claim = key("request.auth.claims[group]");
        let rows = [
            (&claim, "admin", r#""admin""#, true),
            (&claim, "admin", r#"["user", "admin"]"#, true),
            (&claim, "admin", r#"["user"]"#, false),
            (&claim, "1", "1", false),
            (&claim, "*", r#""""#, false),
            (&filter, "admin", r#""admin""#, true),
            (&filter, "admin", r#"["admin"]"#, false),
            (&filter, "[admin]", r#"["admin"]"#, true),
            (&filter, "[admin]", r#""admin""#, false),
        ];
        for (key, text, json, expected) in rows {
            let matches = MetadataPattern::parse(text, key).is_ok_and(|pattern| pattern.matches(&value(json)));
            assert_eq!(matches, expected, "{key}: {text} on {json}");
        }
    }

    #[test]
    fn keys() {
        assert_eq!(key("request.auth.claims[realm][roles]").to_string(), "claim realm[roles]");
        assert_eq!(
            key("experimental.envoy.filters.network.mysql_proxy[db.table]").to_string(),
            "metadata envoy.filters.network.mysql_proxy[db.table]"
        );
        assert_eq!(MetadataKey::parse("request.auth.principal"), None);
        let claims = "expected request.auth.claims[group] or request.auth.claims[realm][roles]";
        for text in
            ["request.auth.claims", "request.auth.claims[]", "request.auth.claims[a][]", "request.auth.claims[a"]
        {
            assert_eq!(MetadataKey::parse(text), Some(Err(format!("bad key `{text}`: {claims}"))));
        }
        let filters = "expected experimental.envoy.filters.network.mysql_proxy[orders.items]";
        for text in ["experimental.envoy.filters.a", "experimental.envoy.filters.a[]", "experimental.envoy.filters.[b]"]
        {
            assert_eq!(MetadataKey::parse(text), Some(Err(format!("bad key `{text}`: {filters}"))));
        }
    }
}
