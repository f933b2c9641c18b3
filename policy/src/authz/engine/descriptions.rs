//! The conditions of rules in words, for the reasons of denials.

use crate::attributes::wording::{MAX_VALUES_SHOWN, join_values, requirement};
use crate::authz::engine::field::{AnyFieldValues, Phrase};
use crate::authz::engine::field_set::FieldId;
use crate::collections::map::OrderedMap;
use crate::matcher::clause::Condition;
use crate::matcher::value_set::SetId;

/// The subject and the first values of each set of values that an explanation can name.
#[derive(Default)]
pub(crate) struct Descriptions(OrderedMap<(FieldId, SetId), Description>);

struct Description {
    phrase: Phrase,
    subject: Box<str>,
    values: Box<str>,
}

impl Descriptions {
    pub(crate) fn add(&mut self, field: FieldId, set: SetId, phrase: Phrase, values: &dyn AnyFieldValues) {
        let describe = || Description {
            phrase,
            subject: values.subject().into(),
            values: join_values(values.sample(MAX_VALUES_SHOWN)),
        };
        self.0.entry_or_insert_with((field, set), describe, |_| ());
    }

    /// The part of a condition's field in a sentence.
    pub(crate) fn phrase(&self, condition: &Condition<FieldId>) -> Phrase {
        self.0.get(&(condition.field, condition.set)).map_or(Phrase::Named, |description| description.phrase)
    }

    /// A condition in words, as in `GET or POST`, `under /api/` or `port 8080`.
    pub(crate) fn describe(&self, condition: &Condition<FieldId>) -> String {
        let Some(Description { phrase, subject, values }) = self.0.get(&(condition.field, condition.set)) else {
            return String::new();
        };
        match (phrase, condition.negated) {
            (Phrase::Method | Phrase::Path, false) => values.to_string(),
            (Phrase::Method, true) => format!("a method other than {values}"),
            (Phrase::Path, true) => format!("not {values}"),
            (Phrase::Named, negated) => requirement(subject, negated, values),
        }
    }

    /// Conditions in words: `GET or POST under /api/ and port 8080`.
    pub(crate) fn join_requirements<'c>(&self, conditions: impl Iterator<Item = &'c Condition<FieldId>>) -> String {
        let (mut methods, mut paths, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for condition in conditions {
            let words = match self.phrase(condition) {
                Phrase::Method => &mut methods,
                Phrase::Path => &mut paths,
                Phrase::Named => &mut others,
            };
            words.push(self.describe(condition));
        }
        let operation = match (methods.is_empty(), paths.is_empty()) {
            (true, true) => None,
            (true, false) => Some(format!("a path {}", paths.join(" and "))),
            (false, true) => Some(methods.join(" and ")),
            (false, false) => Some(format!("{} {}", methods.join(" and "), paths.join(" and "))),
        };
        operation.into_iter().chain(others).collect::<Vec<_>>().join(" and ")
    }
}
