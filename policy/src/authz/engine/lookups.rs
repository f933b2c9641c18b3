//! The field lookups of one request.

use std::rc::Rc;

use crate::attributes::request::Request;
use crate::attributes::steps::{keep_steps, steps_left};
use crate::authz::engine::field_set::{FieldId, FieldSet};
use crate::collections::sort::sort_by;
use crate::identity::error::EvalError;
use crate::matcher::clause::MatchedValues;
use crate::matcher::field_match::{FieldMatch, FieldMatches};
use crate::matcher::value_ids::Matched;

/// Lookups of one request, each made once.
pub(crate) struct Lookups<'l> {
    fields: &'l FieldSet,
    pub(crate) request: &'l mut dyn Request,
    cached: Option<&'l ConnectionFields>,
    /// Those of the decision, for its reason.
    decided: Option<Rc<KnownFields>>,
    matched: FieldMatches<FieldId>,
    /// The steps that are left.
    steps: usize,
}

impl<'l> Lookups<'l> {
    pub(crate) fn new(
        fields: &'l FieldSet,
        cached: Option<&'l ConnectionFields>,
        request: &'l mut dyn Request,
    ) -> Self {
        let of = address(fields);
        let decided = request.memo().and_then(|memo| memo.lookups.clone()).filter(|(known, _)| *known == of);
        let decided = decided.and_then(|(_, known)| known.downcast().ok());
        let steps = steps_left(request);
        Self { fields, request, cached, decided, matched: FieldMatches::default(), steps }
    }

    /// Reports whether no step is left: what is looked up from here on counts as not compared.
    pub(crate) fn are_exhausted(&self) -> bool {
        self.steps == 0
    }

    /// Reports whether a value was not compared to the end in the decision.
    pub(crate) fn are_incomplete(&self) -> bool {
        self.decided.as_ref().is_some_and(|known| known.0.iter().any(|(_, found)| found.uncompared))
    }

    /// Keeps the lookups made so far with the request, for the reason of the decision that they led to.
    pub(crate) fn keep(self) {
        let mut known = self.matched.into_entries();
        sort_by(&mut known, |(one, _), (other, _)| one.cmp(other));
        let known = Rc::new(KnownFields(known));
        if let Some(memo) = self.request.memo() {
            memo.lookups = Some((address(self.fields), known));
        }
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
        let cached = self.cached.and_then(|cached| cached.get(field));
        match cached.or_else(|| self.decided.as_ref()?.get(field)) {
            Some(found) => Ok(found),
            None => {
                let (fields, request, steps) = (self.fields, &mut *self.request, &mut self.steps);
                self.matched.get_or_look_up(field, |found| look_up(fields, field, request, steps, found))
            }
        }
    }
}

/// Looks a field up, in the steps that are left of the request's.
#[inline(never)]
fn look_up(
    fields: &FieldSet,
    field: FieldId,
    request: &mut dyn Request,
    steps: &mut usize,
    found: &mut FieldMatch,
) -> Result<(), EvalError> {
    found.any = Matched::with_steps(*steps);
    fields.index(field)?.lookup(request, found)?;
    if found.any.steps() != *steps {
        *steps = found.any.steps();
        keep_steps(request, *steps);
    }
    Ok(())
}

/// The address of the fields of a policy, which tells them from those of another.
fn address(fields: &FieldSet) -> usize {
    std::ptr::from_ref(fields).addr()
}

/// The lookups of a decision, sorted by field.
struct KnownFields(Box<[(FieldId, FieldMatch)]>);

impl KnownFields {
    fn get(&self, field: FieldId) -> Option<&FieldMatch> {
        self.0
            .binary_search_by(|(known, _)| known.cmp(&field))
            .ok()
            .and_then(|at| self.0.get(at))
            .map(|(_, found)| found)
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
