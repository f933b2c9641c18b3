//! Match fields: which attribute of a request a policy compares, and with which patterns.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::rc::Rc;

use crate::attributes::request::{PseudoHeader, Request};
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::readings_index::ValueList;
use crate::matcher::string_index::LiteralPrefix;
use crate::matcher::value_ids::{Interner, ValueId};

/// A match field of the policy language: its patterns, its index and its words. Each has a file of its own, and a line in
/// the registry of the filters that use it.
pub(crate) trait MatchField: Clone + Eq + Debug + 'static {
    /// A value that a policy lists.
    type Pattern: Clone + Eq + Hash + Debug + Display + 'static;

    /// The place in the order in which fields are looked up: the cheapest first, those of the connection before those of
    /// the request. Unique within a registry.
    const RANK: u8;

    /// True if the handshake fixes the value for all requests of a connection.
    const CONNECTION_SCOPED: bool = false;

    /// True if the value is read from the request's headers, including pseudo-headers.
    const REQUEST_HEADER: bool = false;

    /// Phrase of the field in the description of a rule's requirements.
    const PHRASE: Phrase = Phrase::Named;

    /// Name that distinguishes fields of one rank, such as that of a header.
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    /// The noun for its values in explanations.
    fn subject(&self) -> Cow<'static, str>;

    /// Policy key of the field, if it is HTTP-only.
    fn http_key(&self) -> Option<String> {
        None
    }

    /// A pattern in words.
    fn describe(pattern: &Self::Pattern) -> String {
        pattern.to_string()
    }

    /// Reports whether a pattern is looked for inside a value, and has no literal of three bytes.
    fn is_short(_pattern: &Self::Pattern) -> bool {
        false
    }

    /// The index that its patterns are looked up in.
    fn index(self, patterns: Vec<(Self::Pattern, ValueId)>) -> Box<dyn FieldIndex>;
}

/// Phrase of a field in the description of a rule's requirements: `GET at /orders and port 8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phrase {
    /// The method, which stands first.
    Method,
    /// The path, whose values say where they are.
    Path,
    /// The subject, then the values.
    Named,
}

/// The patterns of one field, looked up by what a request has of it.
pub(crate) trait FieldIndex {
    /// Fills in the patterns that the request matches.
    ///
    /// Fails where the proxy cannot supply the attribute, and where it depends on an identity that is not verified.
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError>;

    /// The request's value of this field in words, where it may be shown: values of headers and tokens can be secrets.
    fn describe_actual(&self, _request: &mut dyn Request) -> Option<String> {
        None
    }

    /// Reports whether the request's value of this field has several readings.
    fn has_several_readings(&self, _request: &mut dyn Request) -> bool {
        false
    }

    /// Describes the reading of the request's value that decides whether a list matches; `None` if the original value
    /// decides. `has_template` is true if the list has a path template.
    fn describe_reading(
        &self,
        _request: &mut dyn Request,
        _list: &ValueList<'_>,
        _has_template: bool,
    ) -> Option<String> {
        None
    }

    /// Reports whether the field is about the identity of the peer.
    fn is_about_peer(&self) -> bool {
        false
    }

    /// The request's token in words, for a field that is about it.
    fn describe_token(&self, _request: &mut dyn Request) -> Option<String> {
        None
    }

    /// The pseudo-header that is compared, where [`literal_prefix`](Self::literal_prefix) can say with what.
    fn pseudo_header(&self) -> Option<PseudoHeader> {
        None
    }

    /// The text of a pattern that is exact or a prefix.
    fn literal_prefix(&self, _value: ValueId) -> Option<LiteralPrefix<'_>> {
        None
    }

    /// The header that is compared, and the text of one of its patterns.
    fn header_pattern(&self, _value: ValueId) -> Option<(&str, &str)> {
        None
    }
}

/// The values that a policy lists for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldValues<F: MatchField> {
    pub(crate) field: F,
    pub(crate) patterns: Vec<F::Pattern>,
}

impl<F: MatchField> FieldValues<F> {
    /// The values, as the rest of the engine takes them.
    pub(crate) fn shared(field: F, patterns: Vec<F::Pattern>) -> Rc<dyn AnyFieldValues> {
        Rc::new(Self { field, patterns })
    }
}

/// The values that a policy lists for a field of any kind.
pub(crate) trait AnyFieldValues: Any + Debug {
    /// [`MatchField::RANK`].
    fn rank(&self) -> u8;

    /// [`MatchField::name`].
    fn name(&self) -> Cow<'_, str>;

    /// [`MatchField::subject`].
    fn subject(&self) -> Cow<'static, str>;

    /// [`MatchField::http_key`].
    fn http_key(&self) -> Option<String>;

    /// Returns the number of values, and descriptions of the first `most`.
    fn sample(&self, most: usize) -> (usize, Vec<String>);

    /// Takes in the values of `more` if they are of the same field; whether they are.
    fn merge_values(&mut self, more: &dyn AnyFieldValues) -> bool;

    /// An empty interner for the values of this field.
    fn interner(&self) -> Box<dyn FieldInterner>;
}

impl<F: MatchField> AnyFieldValues for FieldValues<F> {
    fn rank(&self) -> u8 {
        F::RANK
    }

    fn name(&self) -> Cow<'_, str> {
        self.field.name()
    }

    fn subject(&self) -> Cow<'static, str> {
        self.field.subject()
    }

    fn http_key(&self) -> Option<String> {
        self.field.http_key()
    }

    fn sample(&self, most: usize) -> (usize, Vec<String>) {
        (self.patterns.len(), self.patterns.iter().take(most).map(F::describe).collect())
    }

    fn merge_values(&mut self, more: &dyn AnyFieldValues) -> bool {
        let more: &dyn Any = more;
        match more.downcast_ref::<Self>() {
            Some(more) if more.field == self.field => {
                self.patterns.extend_from_slice(&more.patterns);
                true
            }
            _ => false,
        }
    }

    fn interner(&self) -> Box<dyn FieldInterner> {
        Box::new(TypedInterner { field: self.field.clone(), patterns: Interner::default() })
    }
}

/// The interner of one field's patterns.
pub(crate) trait FieldInterner {
    /// The ids of some values. None where they are of another field.
    fn intern(&mut self, values: &dyn AnyFieldValues) -> Option<Vec<ValueId>>;

    /// The properties of the field.
    fn properties(&self) -> FieldProperties;

    /// [`MatchField::subject`].
    fn subject(&self) -> Cow<'static, str>;

    /// The number of patterns that are [short](MatchField::is_short).
    fn short_patterns(&self) -> usize;

    /// The index of all that was interned.
    fn into_index(self: Box<Self>) -> Box<dyn FieldIndex>;
}

/// Properties of a field that the engine uses: the constants of [`MatchField`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldProperties {
    pub(crate) connection_scoped: bool,
    pub(crate) request_header: bool,
    pub(crate) phrase: Phrase,
}

struct TypedInterner<F: MatchField> {
    field: F,
    patterns: Interner<F::Pattern>,
}

impl<F: MatchField> FieldInterner for TypedInterner<F> {
    fn intern(&mut self, values: &dyn AnyFieldValues) -> Option<Vec<ValueId>> {
        let values: &dyn Any = values;
        let values = values.downcast_ref::<FieldValues<F>>().filter(|values| values.field == self.field)?;
        Some(self.patterns.intern(&values.patterns))
    }

    fn properties(&self) -> FieldProperties {
        FieldProperties {
            connection_scoped: F::CONNECTION_SCOPED,
            request_header: F::REQUEST_HEADER,
            phrase: F::PHRASE,
        }
    }

    fn subject(&self) -> Cow<'static, str> {
        self.field.subject()
    }

    fn short_patterns(&self) -> usize {
        self.patterns.patterns().filter(|pattern| F::is_short(pattern)).count()
    }

    fn into_index(self: Box<Self>) -> Box<dyn FieldIndex> {
        let Self { field, patterns } = *self;
        field.index(patterns.into_entries().collect())
    }
}
