//! Reasons of denials, in words. Nothing here runs for a request that is allowed.

use crate::attributes::request::Request;
use crate::attributes::wording::{describe_operation, describe_request};
use crate::authz::denial::Denial;
use crate::authz::engine::field::Phrase;
use crate::authz::engine::field_set::FieldId;
use crate::authz::engine::identity_remedy::identity_remedy;
use crate::authz::engine::rule_set::{ClosestClause, RuleSet};
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::identity::error::EvalError;
use crate::identity::peer::Peer;
use crate::matcher::clause::Condition;

pub(crate) fn explain(rules: &RuleSet, names_repeat: bool, denial: &Denial<'_>, request: &mut dyn Request) -> String {
    match denial {
        Denial::NoAllowMatches => {
            let closest = closest_rule(rules, names_repeat, request).unwrap_or_else(|_| describe_request(request));
            format!("no ALLOW policy matches: {closest}{}", dry_run_allow(rules, request))
        }
        Denial::Matched(rule) => {
            let (name, label) = (rule.policy(), rule.label());
            let reading = rules.deny_reading(rule, request).map(|reading| format!(", {reading}")).unwrap_or_default();
            let text = format!("DENY policy {name} matches with rule {label}: {}{reading}", describe_request(request));
            format!("{text}{}", missing(rules, rule, request))
        }
        Denial::MtlsRequired(name) => {
            let remedy = request.peer().ok().and_then(Peer::remedy);
            let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
            let text = format!("{name} is STRICT, and the connection has no validated certificate{remedy}");
            format!("{text}: {}", describe_request(request))
        }
        Denial::DefaultAction => {
            let text = format!("no ALLOW policy applies here and defaultAction is DENY: {}", describe_request(request));
            format!("{text}{}", dry_run_allow(rules, request))
        }
        Denial::Custom(reason) => format!("{reason}: {}", describe_request(request)),
        Denial::Undecidable(error) => format!("{error}: {}", describe_request(request)),
    }
}

/// Describes the ALLOW policy in report mode that would allow the request if it were enforced; empty if there is none.
fn dry_run_allow(rules: &RuleSet, request: &mut dyn Request) -> String {
    match rules.first(&rules.allow.reported, &mut rules.lookups(None, request)) {
        Ok(Some(rule)) => {
            format!("; the ALLOW policy {} in dry run would let it in by rule {}", rule.policy(), rule.label())
        }
        Ok(None) | Err(_) => String::new(),
    }
}

/// Describes what a request lacks that a DENY rule matches by the absence of: its token in words, or the listener's setting
/// by which it may have no identity.
fn missing(rules: &RuleSet, rule: &RuleName, request: &mut dyn Request) -> String {
    let conditions = rules.matching_deny_conditions(rule, &mut rules.lookups(None, request)).unwrap_or_default();
    let negated = || conditions.iter().filter(|condition| condition.negated);
    let token = negated().find_map(|condition| rules.fields.index(condition.field).ok()?.describe_token(request));
    token.map_or_else(|| identity_remedy(rules, negated(), request), |token| format!(" {token}"))
}

/// The ALLOW rule that comes closest to letting a request in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestRule<'p> {
    /// The rule.
    pub rule: &'p RuleName,
    /// The requirements that the request does not meet, in words: `POST`, `a path under /orders/`, `port 8443`.
    pub missing: Vec<String>,
}

/// Reports whether a condition is about what a request asks for.
fn is_operation(rules: &RuleSet, condition: &Condition<FieldId>) -> bool {
    matches!(rules.descriptions.phrase(condition), Phrase::Method | Phrase::Path)
}

/// Returns the closest of the first ALLOW rules.
pub(crate) fn nearest_allow<'p>(
    rules: &'p RuleSet,
    request: &mut dyn Request,
) -> Result<Option<NearestRule<'p>>, EvalError> {
    let group = &rules.allow;
    let index = if group.has_enforced { &group.enforced } else { &group.reported };
    let is_operation = |condition: &Condition<FieldId>| is_operation(rules, condition);
    let closest = rules.closest(index, &mut rules.lookups(None, request), is_operation)?;
    Ok(closest.and_then(|ClosestClause { clause, failing }| {
        let describe = |condition| rules.descriptions.join_requirements(std::iter::once(condition));
        Some(NearestRule { rule: rules.rule(clause.rule)?, missing: failing.into_iter().map(describe).collect() })
    }))
}

/// Describes the closest of the first ALLOW rules: its unmet requirements, and the request's values.
fn closest_rule(rules: &RuleSet, names_repeat: bool, request: &mut dyn Request) -> Result<String, EvalError> {
    let group = &rules.allow;
    let index = if group.has_enforced { &group.enforced } else { &group.reported };
    let is_operation = |condition: &Condition<FieldId>| is_operation(rules, condition);
    let closest = rules.closest(index, &mut rules.lookups(None, request), is_operation)?;
    let Some(ClosestClause { clause, failing }) = closest else {
        return Ok(format!("they allow nothing, this was {}", describe_request(request)));
    };
    // A method and a path are only useful together.
    let operation_fails = failing.iter().any(|condition| is_operation(condition));
    let is_told =
        |condition: &&Condition<FieldId>| operation_fails && is_operation(condition) || failing.contains(condition);
    let name = rules.rule(clause.rule).map(|rule| short_name(rule.policy(), names_repeat)).unwrap_or_default();
    let requirements = rules.descriptions.join_requirements(clause.conditions().iter().filter(is_told));
    let reading = match rules.may_be_read_otherwise(request) {
        true => failing.iter().find_map(|condition| rules.describe_reading(condition, request)),
        false => None,
    };
    let reading = reading.map(|reading| format!(", {reading}")).unwrap_or_default();
    let mismatch = describe_mismatch(rules, &failing, request);
    let remedy = identity_remedy(rules, failing.iter().copied(), request);
    Ok(format!("{name} wants {requirements}, this was {mismatch}{reading}{remedy}"))
}

/// A policy's name, with its namespace where names repeat.
fn short_name(policy: &PolicyName, names_repeat: bool) -> String {
    match names_repeat {
        true => policy.to_string(),
        false => policy.name().to_owned(),
    }
}

/// The request, with its values of the fields that do not match. Values of headers and claims can be secrets, so they are
/// left out but for whose token it is.
fn describe_mismatch(rules: &RuleSet, failing: &[&Condition<FieldId>], request: &mut dyn Request) -> String {
    let mut parts = vec![describe_operation(request)];
    for condition in failing {
        let index = rules.fields.index(condition.field).ok();
        let part = index.and_then(|index| index.describe_actual(request));
        parts.extend(part.filter(|part| !parts.contains(part)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}
