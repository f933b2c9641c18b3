//! The warning about values that look like regular expressions, where `baseline-deny` compares globs.

use crate::attributes::names::USER_AGENT;
use crate::authz::engine::field::AnyFieldValues;
use crate::authz::fields::header;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::config::printable::printable_text;
use crate::matcher::regular_expression::{ValueKind, globs_of_regex, looks_like_regex};

/// The most values that the warning names.
const MAX_NAMED: usize = 3;

/// Values that look like regular expressions: the first ones in words, and their number.
#[derive(Default)]
pub(super) struct RegularExpressions {
    named: Vec<String>,
    count: usize,
}

impl RegularExpressions {
    /// Looks at the header conditions of a policy.
    pub(super) fn of_policy(&mut self, policy: &AuthorizationPolicy) {
        // The sources and operations of a rule share its conditions.
        let rules = policy.rules.iter().filter_map(|clauses| clauses.first());
        for predicate in rules.flatten().filter(|predicate| predicate.values.rank() == header::RANK) {
            let values: &dyn AnyFieldValues = &*predicate.values;
            let kind = if values.name() == USER_AGENT { ValueKind::UserAgent } else { ValueKind::Word };
            let (_, texts) = values.sample(usize::MAX);
            texts.iter().for_each(|text| self.look_at(text, kind, || policy.name.to_string()));
        }
    }

    /// Looks at an exempt user agent.
    pub(super) fn of_exempt_agent(&mut self, text: &str) {
        self.look_at(text, ValueKind::UserAgent, || "exempt.userAgents".to_owned());
    }

    fn look_at(&mut self, text: &str, kind: ValueKind, place: impl Fn() -> String) {
        if !looks_like_regex(text, kind) {
            return;
        }
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            let globs: Vec<String> = globs_of_regex(text, kind).unwrap_or_default();
            let globs: Vec<String> = globs.iter().map(|glob| format!("`{}`", printable_text(glob))).collect();
            let write = if globs.is_empty() { String::new() } else { format!(" (write {})", globs.join(" and ")) };
            self.named.push(format!("`{}` of {}{write}", printable_text(text), place()));
        }
    }

    /// Returns the warning; `None` if there are none.
    pub(super) fn warning(&self) -> Option<String> {
        let more = match self.count - self.named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (self.count > 0).then(|| {
            format!(
                "values that look like regular expressions are compared as globs: {}{more}; `*` is any text, `?` one character, and a dot is a dot",
                self.named.join(", ")
            )
        })
    }
}
