//! `when` on `request.auth.claims[…]` and its like, and on `experimental.envoy.filters.…[…]`: what filters before this
//! one have found out about a request.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::attributes::claims::Claims;
use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::names::MetadataKey;
use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{ConditionReader, FieldContext, NamedConditionReader, ReadNamedValues};
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::config::value::Value;
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::field_match::FieldMatch;
use crate::matcher::string_index::StringIndex;
use crate::matcher::string_pattern::StringPattern;
use crate::matcher::value_ids::{Matched, ValueId, once_each, once_each_beyond};

/// A pattern for text, alone or in a list. Of claims it is for truth values and whole numbers too, in their decimal
/// digits; other kinds of values never match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MetadataPattern {
    text: StringPattern,
    shape: Shape,
}

/// Position of the compared string: the value itself or a list item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// The value itself.
    Alone,
    /// An item of a list.
    Listed,
    /// Either.
    Any,
}

impl MetadataPattern {
    /// Parses a pattern. A claim is a string, or a list with an item that has to match. Metadata of other filters is a
    /// list if the policy writes brackets, otherwise a string (Istio 1.31,
    /// `pilot/pkg/security/authz/model/generator.go`).
    ///
    /// Fails if the pattern can never match; `claims` says which claims are space-delimited lists.
    pub(crate) fn parse(text: &str, key: &MetadataKey, claims: &ClaimSource) -> Result<Self, String> {
        if let MetadataKey::Claim(names) = key {
            check_claim(text, claims.is_space_delimited(names))?;
        }
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
}

/// Fails on a value that no claim is compared with.
fn check_claim(text: &str, is_words: bool) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("bad value `{}`: no claim is compared with a NUL", text.escape_default()));
    }
    if is_words && text.contains(' ') {
        return Err(format!(
            "bad value `{text}`: this claim is the list of its words (identity.jwt.spaceDelimitedClaims), write each by itself"
        ));
    }
    let trimmed = text.trim_matches([' ', '\t']);
    match trimmed == text {
        true => Ok(()),
        false => Err(format!("bad value `{text}`: it has blanks at an end, write `{trimmed}`")),
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
    all: Box<[ValueId]>,
    /// True for a claim that is a space-delimited list.
    is_words: bool,
}

impl Index {
    pub(crate) fn new(
        key: &MetadataKey,
        claims: &ClaimSource,
        patterns: impl Iterator<Item = (MetadataPattern, ValueId)>,
    ) -> Self {
        let patterns: Vec<_> = patterns.collect();
        let index = |other: Shape| {
            let here = patterns.iter().filter(|(pattern, _)| pattern.shape != other);
            StringIndex::new(here.map(|(pattern, id)| (pattern.text.clone(), *id)).collect())
        };
        let (is_claim, is_words) = match key {
            MetadataKey::Claim(names) => (true, claims.is_space_delimited(names)),
            MetadataKey::Filter { .. } => (false, false),
        };
        let all = patterns.iter().filter(|_| is_claim).map(|(_, id)| *id).collect();
        // Every text of a claim is compared alike.
        let listed = if is_claim { StringIndex::default() } else { index(Shape::Alone) };
        Self { alone: index(Shape::Listed), listed, all, is_words }
    }

    /// Adds the patterns that match a claim. An ambiguous number matches every pattern to deny, and none to allow.
    pub(crate) fn look_up_claim(
        &self,
        claims: &Claims,
        names: &[Box<str>],
        found: &mut FieldMatch,
    ) -> Result<(), AttributeError> {
        let mut texts = TextLookup::new(&self.alone, &mut found.any);
        let is_ambiguous = claims.each_text(names, self.is_words, &mut |text| texts.add(text))?;
        texts.finish();
        if is_ambiguous {
            let mut all = found.any.others();
            all.extend(self.all.iter().copied());
            let known = std::mem::replace(&mut found.any, all);
            found.each = [known].into();
        }
        Ok(())
    }

    /// Adds the patterns that match a value of another filter's metadata.
    pub(crate) fn lookup(&self, value: Option<&Value>, found: &mut FieldMatch) {
        match value {
            Some(Value::Text(text)) => TextLookup::new(&self.alone, &mut found.any).add(text),
            Some(Value::List(items)) => {
                let mut texts = TextLookup::new(&self.listed, &mut found.any);
                items.iter().filter_map(Value::as_str).for_each(|text| texts.add(text));
                texts.finish();
            }
            _ => {}
        }
    }
}

/// The lookup of several texts, of which one has to match.
struct TextLookup<'l> {
    index: &'l StringIndex,
    matched: &'l mut Matched,
    count: usize,
    kept: usize,
}

impl<'l> TextLookup<'l> {
    fn new(index: &'l StringIndex, matched: &'l mut Matched) -> Self {
        let kept = matched.len();
        Self { index, matched, count: 0, kept }
    }

    fn add(&mut self, text: &str) {
        if !text.is_empty() {
            self.index.lookup(text.as_bytes(), self.matched);
            once_each_beyond(self.matched, &mut self.kept);
            self.count += 1;
        }
    }

    fn finish(self) {
        if self.count > 1 {
            once_each(self.matched);
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
        match &self.key {
            MetadataKey::Claim(names) => {
                self.patterns.look_up_claim(&*self.claims.claims(request)?, names, found)?;
            }
            MetadataKey::Filter { filter, key } => {
                self.patterns.lookup(request.metadata()?.value(filter, key)?.as_ref(), found);
            }
        }
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        self.describe_token(request)
    }

    fn describe_token(&self, request: &mut dyn Request) -> Option<String> {
        match self.key {
            MetadataKey::Claim(_) => self.claims.describe(request),
            MetadataKey::Filter { .. } => None,
        }
    }
}

/// A claim of the request's token, or a value of dynamic metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) key: MetadataKey,
    claims: Rc<ClaimSource>,
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

    fn is_short(pattern: &MetadataPattern) -> bool {
        pattern.text.is_short()
    }

    fn index(self, patterns: Vec<(MetadataPattern, ValueId)>) -> Box<dyn FieldIndex> {
        let patterns = Index::new(&self.key, &self.claims, patterns.into_iter());
        Box::new(MetadataIndex { key: self.key, patterns, claims: self.claims })
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
    let patterns = read_values(node, |text| MetadataPattern::parse(text, &key, context.claims))?;
    Some(FieldValues::shared(Metadata { key, claims: Rc::clone(context.claims) }, patterns))
}

#[cfg(test)]
mod tests;
