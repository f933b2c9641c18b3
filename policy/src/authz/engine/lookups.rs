//! The field lookups of one request.

use crate::attributes::request::Request;
use crate::authz::engine::field_set::{FieldId, FieldSet};
use crate::identity::error::EvalError;
use crate::matcher::clause::MatchedValues;
use crate::matcher::field_match::{FieldMatch, FieldMatches};

/// Lookups of one request, each made once.
pub(crate) struct Lookups<'l> {
    fields: &'l FieldSet,
    pub(crate) request: &'l mut dyn Request,
    cached: Option<&'l ConnectionFields>,
    matched: FieldMatches<FieldId>,
}

impl<'l> Lookups<'l> {
    pub(crate) fn new(
        fields: &'l FieldSet,
        cached: Option<&'l ConnectionFields>,
        request: &'l mut dyn Request,
    ) -> Self {
        Self { fields, request, cached, matched: FieldMatches::default() }
    }

    /// Returns the lookups made so far, to reuse for later requests on the connection.
    pub(crate) fn into_connection_fields(self) -> ConnectionFields {
        ConnectionFields(self.matched.into_entries())
    }
}

impl MatchedValues for Lookups<'_> {
    type Field = FieldId;
    type Error = EvalError;

    fn matched(&mut self, field: FieldId) -> Result<&FieldMatch, EvalError> {
        match self.cached.and_then(|cached| cached.get(field)) {
            Some(found) => Ok(found),
            None => self.matched.get_or_look_up(field, |found| self.fields.index(field)?.lookup(self.request, found)),
        }
    }
}

/// The lookups of the fields that a connection's handshake fixes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConnectionFields(Box<[(FieldId, FieldMatch)]>);

/// A field that is not known before a request.
#[derive(Debug)]
pub(crate) struct NotCached;

impl ConnectionFields {
    pub(crate) fn get(&self, field: FieldId) -> Option<&FieldMatch> {
        self.0.iter().find(|(cached, _)| *cached == field).map(|(_, found)| found)
    }
}

impl MatchedValues for &ConnectionFields {
    type Field = FieldId;
    type Error = NotCached;

    fn matched(&mut self, field: FieldId) -> Result<&FieldMatch, NotCached> {
        self.get(field).ok_or(NotCached)
    }
}
