//! Reasons of denials, in words. Nothing here runs for a request that is allowed.

use crate::attributes::request::Request;
use crate::attributes::wording::{describe_operation, describe_request};
use crate::authz::compiled::CompiledPolicy;
use crate::authz::decision::Denial;
use crate::authz::engine::field::Phrase;
use crate::authz::engine::field_set::FieldId;
use crate::authz::engine::rule_set::ClosestClause;
use crate::identity::error::EvalError;
use crate::matcher::clause::Condition;

pub(crate) fn explain(policy: &CompiledPolicy, denial: &Denial<'_>, request: &mut dyn Request) -> String {
    match denial {
        Denial::NoAllowMatches => match closest_rule(policy, request) {
            Ok(text) => format!("no ALLOW policy matches: {text}"),
            Err(_) => format!("no ALLOW policy matches: {}", describe_request(request)),
        },
        Denial::Matched(rule) => {
            let (name, label) = (rule.policy(), rule.label());
            format!("DENY policy {name} matches with rule {label}: {}", describe_request(request))
        }
        Denial::MtlsRequired(name) => {
            format!("{name} is STRICT, and the connection has no validated certificate: {}", describe_request(request))
        }
        Denial::DefaultAction => {
            format!("no ALLOW policy applies here and defaultAction is DENY: {}", describe_request(request))
        }
        Denial::Undecidable(error) => format!("{error}: {}", describe_request(request)),
    }
}

/// The ALLOW rule of which most conditions hold, among the first ones: what it wants beyond them, and what this request
/// has instead.
fn closest_rule(policy: &CompiledPolicy, request: &mut dyn Request) -> Result<String, EvalError> {
    let rules = &policy.rules;
    let group = &rules.allow;
    let index = if group.has_enforced { &group.enforced } else { &group.reported };
    let closest = rules.closest(index, &mut rules.lookups(None, request), |_| false)?;
    let Some(ClosestClause { clause, failing }) = closest else {
        return Ok(format!("they allow nothing, this was {}", describe_request(request)));
    };
    let is_operation =
        |condition: &Condition<FieldId>| matches!(rules.descriptions.phrase(condition), Phrase::Method | Phrase::Path);
    // A method makes sense with its path, and the other way round.
    let operation_fails = failing.iter().any(|condition| is_operation(condition));
    let is_told =
        |condition: &&Condition<FieldId>| operation_fails && is_operation(condition) || failing.contains(condition);
    let name = rules.rule(clause.rule).map(|rule| policy.short_name(rule.policy())).unwrap_or_default();
    let requirements = rules.descriptions.join_requirements(clause.conditions().iter().filter(is_told));
    Ok(format!("{name} wants {requirements}, this was {}", describe_mismatch(policy, &failing, request)))
}

/// The request, with its values of the fields that do not match. Values of headers and tokens can be secrets, so they are
/// left out.
fn describe_mismatch(policy: &CompiledPolicy, failing: &[&Condition<FieldId>], request: &mut dyn Request) -> String {
    let mut parts = vec![describe_operation(request)];
    for condition in failing {
        let index = policy.rules.fields.index(condition.field).ok();
        let part = index.and_then(|index| index.describe_actual(request));
        parts.extend(part.filter(|part| !parts.contains(part)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}
