//! Why a request was turned away, in a person's words. Nothing here runs for a request that is let in.

use crate::attributes::request::Request;
use crate::attributes::wording::{
    MAX_RULES_EXPLAINED, MAX_VALUES_SHOWN, describe_operation, join_values, printable, wanted,
};
use crate::authz::compiled::{CompiledPolicy, Lookups};
use crate::authz::decision::Denial;
use crate::authz::fields::{Field, FieldKind, Values};
use crate::authz::policy_name::RuleName;
use crate::collections::map::OrderedMap;
use crate::identity::error::EvalError;
use crate::matcher::clause::Condition;
use crate::matcher::rule_tree::match_distance;
use crate::matcher::value_ids::ValueId;
use crate::matcher::value_set::SetId;

/// What every set is compared with, and its first values, as they were written.
#[derive(Default)]
pub(crate) struct Descriptions(OrderedMap<(Field, SetId), (String, Box<str>)>);

impl Descriptions {
    pub(crate) fn add(&mut self, field: Field, set: SetId, values: &Values) {
        self.0.entry_or_insert_with(
            (field, set),
            || (values.subject(), join_values(values.sample(MAX_VALUES_SHOWN))),
            |_| (),
        );
    }

    /// What a condition asks for, as in `GET or POST`, `under /api/` or `port 8080`.
    fn of(&self, condition: &Condition<Field>) -> String {
        let Some((subject, values)) = self.0.get(&(condition.field, condition.set)) else { return String::new() };
        match (condition.field.kind, condition.negated) {
            (FieldKind::Method, false) | (FieldKind::Path, false) => values.to_string(),
            (FieldKind::Method, true) => format!("a method other than {values}"),
            (FieldKind::Path, true) => format!("not {values}"),
            (_, negated) => wanted(subject, negated, values),
        }
    }
}

pub(crate) fn explain<R: Request + ?Sized>(policy: &CompiledPolicy, denial: &Denial<'_>, request: &mut R) -> String {
    match denial {
        Denial::NoAllowMatches => match nearest(policy, request) {
            Ok(text) => format!("no ALLOW policy matches: {text}"),
            Err(_) => format!("no ALLOW policy matches: {}", asked(request)),
        },
        Denial::Matched(rule) => {
            let text = format!("DENY policy {} matches with rule {}: {}", rule.policy(), rule.label(), asked(request));
            with_reading(text, policy.deny_reading(rule, request))
        }
        Denial::MtlsRequired(name) => {
            format!("{name} is STRICT, and the connection has no validated certificate: {}", asked(request))
        }
        Denial::DefaultAction => {
            format!("no ALLOW policy applies here and defaultAction is DENY: {}", asked(request))
        }
        Denial::Undecidable(obstacle) => format!("{obstacle}: {}", asked(request)),
    }
}

impl CompiledPolicy {
    /// Says by which reading of the request a DENY rule matches, where that is not as it came.
    pub(crate) fn deny_reading<R: Request + ?Sized>(&self, rule: &RuleName, request: &mut R) -> Option<String> {
        if !self.fields.may_have_several_readings(request) {
            return None;
        }
        let conditions = self.matching_deny_clause(rule, request).ok()??.conditions();
        conditions.iter().find_map(|condition| self.describe_reading(condition, request))
    }

    fn describe_reading<R: Request + ?Sized>(&self, condition: &Condition<Field>, request: &mut R) -> Option<String> {
        let meets = |matched: &[ValueId]| self.sets.meets(condition.set, matched);
        let template = self.descriptions.of(condition).contains("{*}");
        self.fields.describe_reading(condition, request, template, &meets)
    }
}

/// The ALLOW rule of which most conditions hold, among the first ones, what it asks for beyond them, and what this was
/// instead.
fn nearest<R: Request + ?Sized>(policy: &CompiledPolicy, request: &mut R) -> Result<String, EvalError> {
    let mut lookups: Lookups<'_, R> = policy.lookups(None, request);
    let group = &policy.allow;
    let index = if group.any_enforced { &group.enforced } else { &group.reported };
    let mut best = None;
    for clause in index.sample(MAX_RULES_EXPLAINED) {
        let rank = match_distance(clause, &policy.sets, &mut lookups, &mut |_| ())?;
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, clause));
        }
    }
    let Some((_, clause)) = best else {
        return Ok(format!("they allow nothing, this was {}", asked(request)));
    };
    let mut failing = Vec::new();
    match_distance(clause, &policy.sets, &mut lookups, &mut |condition| failing.push(condition))?;
    let fails = |kinds: &[FieldKind]| failing.iter().any(|condition| kinds.contains(&condition.field.kind));
    // A method makes sense with its path, and the other way round.
    let operation = fails(&[FieldKind::Method, FieldKind::Path]);
    let part_of_it = |condition: &&Condition<Field>| {
        operation && [FieldKind::Method, FieldKind::Path].contains(&condition.field.kind) || failing.contains(condition)
    };
    let name = policy.rule(clause.rule).map(|rule| policy.short_name(rule.policy())).unwrap_or_default();
    let wanted = sentence(clause.conditions().iter().filter(part_of_it), &policy.descriptions);
    let reading = match policy.fields.may_have_several_readings(request) {
        true => failing.iter().find_map(|condition| policy.describe_reading(condition, request)),
        false => None,
    };
    Ok(with_reading(format!("{name} wants {wanted}, this was {}", instead(&failing, request)), reading))
}

/// A reason with what a value of the request can also be read as, where that decided.
fn with_reading(mut reason: String, reading: Option<String>) -> String {
    if let Some(reading) = reading {
        reason.push_str(", ");
        reason.push_str(&reading);
    }
    reason
}

/// `GET or POST under /api/ and port 8080`.
fn sentence<'c>(conditions: impl Iterator<Item = &'c Condition<Field>>, descriptions: &Descriptions) -> String {
    let (mut methods, mut paths, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for condition in conditions {
        let words = match condition.field.kind {
            FieldKind::Method => &mut methods,
            FieldKind::Path => &mut paths,
            _ => &mut others,
        };
        words.push(descriptions.of(condition));
    }
    let operation = match (methods.is_empty(), paths.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("a path {}", paths.join(" and "))),
        (false, true) => Some(methods.join(" and ")),
        (false, false) => Some(format!("{} {}", methods.join(" and "), paths.join(" and "))),
    };
    operation.into_iter().chain(others).collect::<Vec<_>>().join(" and ")
}

/// What was asked, with what the failing conditions are about. Values of headers and tokens are secrets at times, so
/// they are left out.
fn instead<R: Request + ?Sized>(failing: &[&Condition<Field>], request: &mut R) -> String {
    let mut parts = vec![describe_operation(request)];
    for condition in failing {
        let part = match condition.field.kind {
            FieldKind::Principal | FieldKind::Namespace | FieldKind::ServiceAccount | FieldKind::TrustDomain => {
                Some(by(request))
            }
            FieldKind::Host => request.host().ok().flatten().map(|host| format!("to host {}", printable(host))),
            FieldKind::Port if !request.is_connection() => {
                request.destination_port().ok().flatten().map(|port| format!("at port {port}"))
            }
            FieldKind::SourceIp => request.source_ip().ok().flatten().map(|address| format!("from {address}")),
            FieldKind::RemoteIp => request.remote_ip().ok().flatten().map(|address| format!("from {address}")),
            FieldKind::DestinationIp => request.destination_ip().ok().flatten().map(|address| format!("to {address}")),
            FieldKind::ServerName => match request.server_name().ok().flatten() {
                Some(name) => Some(format!("for SNI {}", printable(name))),
                None => Some("without SNI".to_owned()),
            },
            FieldKind::Port | FieldKind::Time | FieldKind::Method | FieldKind::Path | FieldKind::Header => None,
            FieldKind::RequestPrincipal | FieldKind::Metadata => None,
        };
        parts.extend(part.filter(|part| !parts.contains(part)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// Who asked for what. What the proxy does not tell is left out: the denial stands either way.
fn asked<R: Request + ?Sized>(request: &mut R) -> String {
    let (what, by) = (describe_operation(request), by(request));
    match what.is_empty() {
        true => by,
        false => format!("{what} {by}"),
    }
}

fn by<R: Request + ?Sized>(request: &mut R) -> String {
    match request.peer() {
        Ok(peer) => format!("by {peer}"),
        Err(failure) => format!("by someone ({failure})"),
    }
}
