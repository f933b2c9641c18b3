//! The reader of the fields of a rule, each with its `not` twin.

use crate::authz::engine::rule::{Action, Predicate};
use crate::authz::fields::reader::{FieldContext, FieldReader, ReadNamedValues, Registry};
use crate::config::reader::Object;
use crate::matcher::path_template::SegmentBytes;

/// Istio's limit on `rules`, on `from` and on `to` (the CRD's `maxItems`).
pub(crate) const MAX_RULES: usize = 512;

/// The reader of the fields in the rules of one policy.
pub(crate) struct RuleFieldReader<'r> {
    pub(crate) registry: &'r Registry,
    /// Action of the policy; `None` if it is invalid.
    pub(crate) action: Option<Action>,
    pub(crate) fields: FieldContext<'r>,
}

impl RuleFieldReader<'_> {
    pub(crate) fn read_fields(&self, object: &Object<'_>, fields: &[FieldReader]) -> Option<Vec<Predicate>> {
        let mut predicates = Vec::new();
        let mut complete = true;
        for field in fields {
            complete &= self.read_pair(object, field.keys, &mut predicates, &field.read);
        }
        complete.then_some(predicates)
    }

    /// Reads a field and its `not` twin into `predicates`; false where an error was reported.
    pub(crate) fn read_pair(
        &self,
        object: &Object<'_>,
        keys: [&'static str; 2],
        predicates: &mut Vec<Predicate>,
        read: &ReadNamedValues<'_>,
    ) -> bool {
        let mut complete = true;
        for (key, negated) in keys.into_iter().zip([false, true]) {
            let Some(node) = object.optional(key) else { continue };
            let operators = self.action.map_or(SegmentBytes::Any, |action| operator_bytes(action, negated));
            match read(&node, &FieldContext { operators, ..self.fields }) {
                Some(values) => predicates.push(Predicate { values, negated }),
                None => complete = false,
            }
        }
        complete
    }
}

/// Returns the bytes that a path template's operators stand for: Envoy's class if a match allows, any byte if it
/// denies.
fn operator_bytes(action: Action, negated: bool) -> SegmentBytes {
    match (action, negated) {
        (Action::Allow, false) | (Action::Deny | Action::Custom, true) | (Action::Audit, _) => SegmentBytes::Envoy,
        (Action::Allow, true) | (Action::Deny | Action::Custom, false) => SegmentBytes::Any,
    }
}
