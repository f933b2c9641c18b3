//! Policies for connections that compare what only requests have.

use std::collections::HashSet;

use crate::filters::FilterInput;
use crate::lints::policy::{Policy, blocks, fields, is_http_field};
use crate::lints::workloads::{is_tcp, labels_of};
use crate::lints::{Lint, Linter};
use crate::settings::{Filter, Layer};
use crate::source::Span;
use crate::tree::{Entry, Node};

pub(super) const HTTP_FIELD_ON_TCP: Lint = Lint {
    code: "http-field-on-tcp",
    title: "A policy for connections compares what only requests have",
    fix: "use from, ports, ipBlocks and connection.sni for connections; or decide requests, by the HTTP filter before a port that \
          the service names http",
};

/// Names of the policies that apply, as `NAMESPACE/NAME`; all where it cannot be told.
type Applicable = Option<HashSet<(String, String)>>;

/// Finds them among the resources of the files: all where connections are asked about, else those for a Service whose ports
/// are TCP.
pub(super) fn lint(linter: &mut Linter<'_>) {
    let (project, contents) = (linter.project, linter.contents);
    // Of connections `baseline-deny` decides nothing.
    let has = |filter: Filter| contents.config.is_some_and(|config| config.get(filter.key()).is_some());
    let is_for_requests = has(Filter::BaselineDeny) && !has(Filter::IdentityAuthz);
    if project.layer(contents) == Layer::Tcp && !is_for_requests {
        let input = FilterInput::always(project, contents, Filter::IdentityAuthz);
        let has_workload = input.has("workload");
        let applicable = has_workload.then(|| input.applicable().ok()).flatten();
        return lint_of_filter(linter, &applicable);
    }
    let found: Vec<_> = linter.policies.iter().flat_map(|policy| of_service(linter, policy)).collect();
    warn(linter, found);
}

/// Finds them in a configuration that a network filter has.
pub(super) fn lint_of_filter(linter: &mut Linter<'_>, applicable: &Applicable) {
    let applies = |policy: &&Policy<'_>| {
        let name = || ("AuthorizationPolicy".to_owned(), policy.name());
        applicable.as_ref().is_none_or(|applicable| applicable.contains(&name()))
    };
    let found: Vec<_> = linter.policies.iter().filter(applies).flat_map(of_filter).collect();
    warn(linter, found);
}

fn warn(linter: &mut Linter<'_>, found: Vec<(Span, String)>) {
    for (span, message) in found {
        linter.warn(HTTP_FIELD_ON_TCP, span, message, HTTP_FIELD_ON_TCP.fix);
    }
}

fn of_service(linter: &Linter<'_>, policy: &Policy<'_>) -> Vec<(Span, String)> {
    let Some(wanted) = policy.labels() else { return Vec::new() };
    let default_namespace = linter.contents.default_namespace.as_deref();
    let mut services = linter.contents.resources.iter().filter(|resource| {
        let namespace = resource.namespace().or(default_namespace).unwrap_or("default");
        let selector = labels_of(resource.node.at(&["spec", "selector"]));
        resource.kind() == Some("Service")
            && namespace == policy.namespace
            && !selector.is_empty()
            && selector.iter().all(|pair| wanted.contains(pair))
    });
    let Some(service) = services.find(|service| is_tcp(service.node)) else { return Vec::new() };
    of_rules(policy, &format!("the service {} is TCP", service.name().unwrap_or_default()))
}

fn of_filter(policy: &Policy<'_>) -> Vec<(Span, String)> {
    if policy.action == "CUSTOM" {
        let action = policy.resource.node.at(&["spec", "action"]);
        let span = action.map_or(policy.resource.span(), |action| action.span);
        let message =
            "the filter decides connections, about which no authorizer is asked: this CUSTOM policy closes all of them";
        return vec![(span, message.to_owned())];
    }
    of_rules(policy, "the filter decides connections")
}

/// Returns the first field of each rule that only requests have.
fn of_rules(policy: &Policy<'_>, why: &str) -> Vec<(Span, String)> {
    let of_rule = |rule: &Node| {
        let (name, entry) = http_field(rule)?;
        let span = if entry.key == "key" { entry.value.span } else { entry.key_span };
        let what = match (policy.action, is_all(rule)) {
            ("ALLOW", _) => "the rule lets nobody in",
            ("DENY", true) => "it is left out, and the rule denies every connection",
            ("DENY", false) => "it is left out, and the rule denies more connections",
            (_, true) => "it is left out, and the rule is for every connection",
            (_, false) => "it is left out, and the rule is for more connections",
        };
        Some((span, format!("{why}, where `{name}` is unknown: {what}")))
    };
    policy.rules.iter().filter_map(of_rule).collect()
}

/// Returns the first field of a rule that only requests have.
pub(crate) fn http_field(rule: &Node) -> Option<(&str, &Entry)> {
    fields(rule).into_iter().find(|(name, _)| is_http_field(name))
}

/// Reports whether nothing is left of a rule without the fields that only requests have.
fn is_all(rule: &Node) -> bool {
    let is_open = |list: &str, key: &'static str| {
        let mut parts = blocks(rule, list, key).peekable();
        parts.peek().is_none() || parts.any(|part| part.entries().iter().all(|entry| is_http_field(&entry.key)))
    };
    let conditions = rule.get("when").map_or(&[][..], Node::items);
    let is_open_condition = |condition: &Node| condition.text_at(&["key"]).is_some_and(is_http_field);
    is_open("from", "source") && is_open("to", "operation") && conditions.iter().all(is_open_condition)
}
