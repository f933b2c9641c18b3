//! Filters that a resource leaves out of the proxy, or puts where it does not belong.

use crate::finding::Finding;
use crate::lints::placement::{Placement, placement};
use crate::lints::{Lint, Linter, warning};
use crate::plugin::{find_plugins, named_filter};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::Node;

pub(super) const FILTER_NOT_INSERTED: Lint = Lint {
    code: "filter-not-inserted",
    title: "A filter does not get into the listeners that it is for, so it decides nothing",
    fix: "write the match, the target or the place in the chain that the message names",
};

pub(super) const FILTER_IN_BOTH_DIRECTIONS: Lint = Lint {
    code: "filter-in-both-directions",
    title: "A sidecar gets the filter for what its workload receives and for what it sends",
    fix: "say the direction: `match: [{mode: SERVER}]`, or in EnvoyFilter `context: SIDECAR_INBOUND`",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for resource in linter.contents.resources.iter().filter(|resource| !resource.is_list) {
        match resource.kind() {
            Some("WasmPlugin" | "TrafficExtension") => findings.extend(plugin(linter, resource)),
            Some("EnvoyFilter") => findings.extend(envoy_filter(linter, resource)),
            Some("EnvoyExtensionPolicy") => findings.extend(extension_policy(linter, resource)),
            _ => {}
        }
    }
    findings
}

/// Returns the filter of this project that a value carries.
fn carried(linter: &Linter<'_>, node: &Node) -> Option<Filter> {
    let source = linter.project.sources().get(node.span.source)?;
    find_plugins(node, node.span.source, source).first().map(|plugin| plugin.filter)
}

/// Direction in which a filter decides, as the `mode` of a match and as a context of EnvoyFilter.
fn direction(filter: Filter) -> (&'static str, &'static str) {
    match filter {
        Filter::EgressAllowlist => ("CLIENT", "SIDECAR_OUTBOUND"),
        Filter::IdentityAuthz | Filter::BaselineDeny => ("SERVER", "SIDECAR_INBOUND"),
    }
}

fn not_inserted(span: Span, message: impl Into<String>, help: impl Into<String>) -> Finding {
    warning(FILTER_NOT_INSERTED, span, message, help)
}

fn plugin(linter: &Linter<'_>, resource: &Resource<'_>) -> Option<Finding> {
    let spec = resource.node.entry("spec")?;
    let filter = carried(linter, &spec.value)?;
    let (wanted, _) = direction(filter);
    let traffic = spec.value.entry("match").filter(|entry| !entry.value.items().is_empty());
    let modes: Vec<&str> = traffic
        .map_or(&[][..], |entry| entry.value.items())
        .iter()
        .map(|item| item.text_at(&["mode"]).unwrap_or("CLIENT_AND_SERVER"))
        .collect();
    let all_are = |mode: &str| traffic.is_some() && modes.iter().all(|one| *one == mode);
    let match_span = traffic.map(|entry| entry.key_span).unwrap_or(resource.span());
    match placement(linter.contents, resource) {
        Placement::WaypointBySelector(span) => Some(not_inserted(
            span,
            "a waypoint takes no plugin by `selector`, so the filter is not inserted",
            "write targetRefs with the waypoint's Gateway, or with the Service",
        )),
        Placement::Ambient(span) => Some(not_inserted(
            span,
            "the workloads of this namespace are in ambient mode and have no sidecar, so the filter is not inserted",
            "write targetRefs with the Gateway of a waypoint, or with the Service",
        )),
        Placement::Gateway if all_are("SERVER") => Some(not_inserted(
            match_span,
            "the listeners of a gateway count as `CLIENT`, so with `mode: SERVER` the filter is not inserted",
            "remove match, or write mode: CLIENT; for a waypoint name one that is among the files",
        )),
        Placement::Sidecar => {
            let against = if wanted == "SERVER" { "CLIENT" } else { "SERVER" };
            let is_open = |item: &Node| {
                !matches!(item.text_at(&["mode"]), Some("CLIENT" | "SERVER")) && item.get("ports").is_none()
            };
            if all_are(against) {
                let message = format!("{} decides about the other direction than `mode: {against}`", filter.name());
                return Some(not_inserted(match_span, message, format!("write mode: {wanted}")));
            }
            let is_in_both = traffic.is_none_or(|entry| entry.value.items().iter().any(is_open));
            is_in_both.then(|| both(match_span, filter, format!("write match: [{{mode: {wanted}}}]")))
        }
        Placement::Gateway | Placement::Waypoint | Placement::Unknown => None,
    }
}

fn both(span: Span, filter: Filter, help: String) -> Finding {
    let wrong = match filter {
        Filter::EgressAllowlist => "receives, where every request is for a host that is not listed",
        Filter::IdentityAuthz | Filter::BaselineDeny => "sends, where the caller is the workload itself",
    };
    let message = format!("a sidecar gets {} for what its workload {wrong}, too", filter.name());
    warning(FILTER_IN_BOTH_DIRECTIONS, span, message, help)
}

fn extension_policy(linter: &Linter<'_>, resource: &Resource<'_>) -> Option<Finding> {
    let spec = resource.node.get("spec")?;
    carried(linter, spec)?;
    let is_targeted = ["targetRef", "targetRefs", "targetSelectors"].iter().any(|key| spec.get(key).is_some());
    (!is_targeted).then(|| {
        let help = "write targetRefs with the Gateway or the HTTPRoute";
        not_inserted(resource.span(), "the policy has no target, so the filter is not inserted", help)
    })
}

fn envoy_filter(linter: &Linter<'_>, resource: &Resource<'_>) -> Vec<Finding> {
    let place = placement(linter.contents, resource);
    let patches = resource.node.at(&["spec", "configPatches"]).map_or(&[][..], Node::items);
    patches.iter().filter_map(|patch| envoy_patch(linter, resource, place, patch)).collect()
}

fn envoy_patch(linter: &Linter<'_>, resource: &Resource<'_>, place: Placement, item: &Node) -> Option<Finding> {
    let is_filter = matches!(item.text_at(&["applyTo"]), Some("HTTP_FILTER" | "NETWORK_FILTER"));
    let patch = item.entry("patch").filter(|_| is_filter)?;
    let value = patch.value.get("value")?;
    // A filter whose configuration is discovered is known by its name alone.
    let filter = carried(linter, value).or_else(|| named_filter(&[value.get("name")?]))?;
    let operation = patch.value.entry("operation")?;
    let word = operation.value.as_str()?;
    if !["ADD", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST"].contains(&word) {
        return None;
    }
    let chain = item.at(&["match", "listener", "filterChain", "filter"]);
    let has_neighbour = match item.text_at(&["applyTo"]) {
        Some("HTTP_FILTER") => chain.is_some_and(|chain| chain.get("subFilter").is_some()),
        _ => chain.is_some(),
    } || item.at(&["match", "waypoint", "filter"]).is_some();
    if word == "ADD" || word == "INSERT_AFTER" && !has_neighbour {
        let message = format!("`{word}` puts the filter behind the last one, which passes nothing on to it");
        let help = "write INSERT_BEFORE, with the filter that it goes before in match";
        return Some(not_inserted(operation.value.span, message, help));
    }
    let (_, wanted) = direction(filter);
    let context = item.at(&["match", "context"]);
    let span = context.map_or(patch.key_span, |context| context.span);
    match (place, context.and_then(Node::as_str).unwrap_or("ANY")) {
        (Placement::Gateway, word @ ("SIDECAR_INBOUND" | "SIDECAR_OUTBOUND")) => {
            let message = format!("the filter is for a gateway, where nothing is `{word}`");
            Some(not_inserted(span, message, "write context: GATEWAY"))
        }
        (Placement::WaypointBySelector(span), _) => Some(not_inserted(
            span,
            "a waypoint takes no EnvoyFilter by `workloadSelector`, so the filter is not inserted",
            "write targetRefs with the waypoint's Gateway, and context: WAYPOINT",
        )),
        (_, word @ ("SIDECAR_INBOUND" | "SIDECAR_OUTBOUND")) if word != wanted => {
            let message = format!("{} decides about the other direction than `{word}`", filter.name());
            Some(not_inserted(span, message, format!("write context: {wanted}")))
        }
        (Placement::Sidecar, "ANY") => {
            let span = item.entry("match").map_or(resource.span(), |entry| entry.key_span);
            Some(both(span, filter, format!("write match: {{context: {wanted}}}")))
        }
        _ => None,
    }
}
