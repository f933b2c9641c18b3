//! Policies and the workloads among the files.

use std::collections::BTreeMap;

use crate::json::write_json;
use crate::lints::authentication::ROOT_NAMESPACE;
use crate::lints::carrier::targets;
use crate::lints::{Lint, Linter};
use crate::resource::Resource;
use crate::source::Span;
use crate::tree::Node;

pub(super) const SELECTS_NOTHING: Lint = Lint {
    code: "selects-nothing",
    title: "A policy or a filter is for none of the workloads, Gateways and Services among the files",
    fix: "correct the labels or the target, or remove the resource",
};

/// Kinds whose pods have the labels of a template.
const TEMPLATED: [&str; 6] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Rollout"];

/// Protocols without HTTP, by the name of a port or its `appProtocol` (Istio, protocol selection).
const TCP_PROTOCOLS: [&str; 6] = ["tcp", "tls", "mongo", "mysql", "redis", "postgres"];

const HTTP_PROTOCOLS: [&str; 3] = ["http", "http2", "grpc"];

pub(super) type Labels<'n> = Vec<(&'n str, &'n str)>;

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut nothing: Vec<(Span, String)> = Vec::new();
    let mut pods: BTreeMap<&str, Vec<Labels<'_>>> = BTreeMap::new();
    let default_namespace = linter.contents.default_namespace.as_deref();
    for resource in &linter.contents.resources {
        let namespace = resource.namespace().or(default_namespace).unwrap_or("default");
        if let Some(labels) = pod_labels(resource) {
            pods.entry(namespace).or_default().push(labels);
        }
    }
    nothing.extend(unselected(linter, &pods));
    nothing.extend(absent_targets(linter));
    for policy in &linter.policies {
        let Some(wanted) = policy.labels() else { continue };
        let carries = |labels: &Labels<'_>| wanted.iter().all(|pair| labels.contains(pair));
        if pods.get(policy.namespace).is_some_and(|pods| !pods.iter().any(carries)) {
            let selector = policy.resource.node.at(&["spec", "selector"]);
            let span = selector.and_then(|selector| selector.entry("matchLabels"));
            let span = span.map_or(policy.resource.span(), |entry| entry.key_span);
            let message =
                format!("{} selects none of the workloads of {} among the files", policy.name(), policy.namespace);
            nothing.push((span, message));
        }
    }
    for (span, message) in nothing {
        linter.warn(SELECTS_NOTHING, span, message, SELECTS_NOTHING.fix);
    }
}

/// Kinds beside AuthorizationPolicy that select pods by labels, with the path to them.
const SELECTING: [(&str, &[&str]); 5] = [
    ("PeerAuthentication", &["spec", "selector"]),
    ("RequestAuthentication", &["spec", "selector"]),
    ("WasmPlugin", &["spec", "selector"]),
    ("TrafficExtension", &["spec", "selector"]),
    ("EnvoyFilter", &["spec", "workloadSelector"]),
];

/// Kinds beside AuthorizationPolicy that name what they are for.
const TARGETING: [&str; 7] = [
    "RequestAuthentication",
    "WasmPlugin",
    "TrafficExtension",
    "EnvoyFilter",
    "EnvoyExtensionPolicy",
    "ClientTrafficPolicy",
    "SecurityPolicy",
];

/// Returns the selectors of resources of Istio that no pod of their namespace carries.
fn unselected(linter: &Linter<'_>, pods: &BTreeMap<&str, Vec<Labels<'_>>>) -> Vec<(Span, String)> {
    let default_namespace = linter.contents.default_namespace.as_deref();
    let mut found = Vec::new();
    for resource in linter.contents.resources.iter().filter(|resource| !resource.is_list) {
        let selecting = SELECTING.iter().find(|(kind, _)| resource.kind() == Some(kind));
        let Some((_, path)) = selecting.filter(|_| !is_of_gateways(resource)) else { continue };
        let namespace = resource.namespace().or(default_namespace).unwrap_or("default");
        let key = if path.contains(&"workloadSelector") { "labels" } else { "matchLabels" };
        // In the root namespace the pods of every namespace are selected.
        if namespace == ROOT_NAMESPACE {
            continue;
        }
        let selector = resource.node.at(path).and_then(|node| node.entry(key));
        let Some((entry, pods)) = selector.zip(pods.get(namespace)) else { continue };
        let wanted = labels_of(Some(&entry.value));
        if !pods.iter().any(|labels| wanted.iter().all(|pair| labels.contains(pair))) {
            let name = resource.name().unwrap_or_default();
            let message = format!("{namespace}/{name} selects none of the workloads of {namespace} among the files");
            found.push((entry.key_span, message));
        }
    }
    found
}

/// Reports whether a resource selects gateways, whose pods nobody writes by hand.
fn is_of_gateways(resource: &Resource<'_>) -> bool {
    let mut text = String::new();
    for key in ["selector", "workloadSelector"] {
        if let Some(node) = resource.node.at(&["spec", key]) {
            write_json(node, &mut text);
        }
    }
    text.contains("gateway") || text.contains("waypoint")
}

/// Returns the targets that are not among the files, where others of their kind are in the same namespace, or one of their
/// name is in another, which no target reaches.
fn absent_targets(linter: &Linter<'_>) -> Vec<(Span, String)> {
    let default_namespace = linter.contents.default_namespace.as_deref();
    let namespace_of =
        |resource: &Resource<'_>| resource.namespace().or(default_namespace).unwrap_or("default").to_owned();
    let mut known: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for resource in linter.contents.resources.iter().filter(|resource| !resource.is_list) {
        let kind = match (resource.kind(), resource.group()) {
            (Some("Service"), Some("")) => "Service",
            (Some("Gateway"), Some("gateway.networking.k8s.io")) => "Gateway",
            _ => continue,
        };
        known.entry((namespace_of(resource), kind)).or_default().extend(resource.name());
    }
    let mut found = Vec::new();
    let of_policies = linter.policies.iter().map(|policy| policy.resource);
    let others =
        linter.contents.resources.iter().filter(|one| one.kind().is_some_and(|kind| TARGETING.contains(&kind)));
    for resource in of_policies.chain(others).filter(|resource| !resource.is_list) {
        let Some(spec) = resource.node.get("spec") else { continue };
        let namespace = namespace_of(resource);
        for target in targets(spec) {
            let Some(text) = target.name.as_str() else { continue };
            let of_kind = known.get(&(namespace.clone(), target.kind));
            if of_kind.is_some_and(|names| names.contains(&text)) {
                continue;
            }
            let mut elsewhere = known.iter().filter(|((_, kind), names)| *kind == target.kind && names.contains(&text));
            let name = format!("{namespace}/{}", resource.name().unwrap_or_default());
            match (of_kind, elsewhere.next()) {
                (_, Some(((other, kind), _))) => found.push((
                    target.name.span,
                    format!(
                        "{name}: the {kind} {text} is in the namespace {other}, which no target of {namespace} reaches"
                    ),
                )),
                (Some(_), None) => {
                    found.push((
                        target.name.span,
                        format!("{name}: there is no {} {text} among the files", target.kind),
                    ));
                }
                (None, None) => {}
            }
        }
    }
    found
}

/// Returns the labels of the pods of a workload; `None` if the resource is none.
fn pod_labels<'n>(resource: &'n Resource<'_>) -> Option<Labels<'n>> {
    match resource.kind()? {
        "Pod" => Some(labels_of(resource.node.at(&["metadata", "labels"]))),
        "CronJob" => {
            Some(labels_of(resource.node.at(&["spec", "jobTemplate", "spec", "template", "metadata", "labels"])))
        }
        kind if TEMPLATED.contains(&kind) => {
            Some(labels_of(resource.node.at(&["spec", "template", "metadata", "labels"])))
        }
        _ => None,
    }
}

pub(super) fn labels_of(node: Option<&Node>) -> Labels<'_> {
    let entries = node.map_or(&[][..], Node::entries);
    entries.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_str()?))).collect()
}

/// Reports whether all ports of a Service are for protocols without HTTP.
pub(super) fn is_tcp(service: &Node) -> bool {
    has_only(service, &TCP_PROTOCOLS)
}

/// Reports whether all ports of a Service are for HTTP.
pub(super) fn is_http(service: &Node) -> bool {
    has_only(service, &HTTP_PROTOCOLS)
}

fn has_only(service: &Node, protocols: &[&str]) -> bool {
    let ports = service.at(&["spec", "ports"]).map_or(&[][..], Node::items);
    let is_of = |port: &Node| {
        let protocol = port.text_at(&["appProtocol"]).or_else(|| port.text_at(&["name"])).unwrap_or_default();
        protocols.iter().any(|known| protocol.split('-').next() == Some(known))
    };
    !ports.is_empty() && ports.iter().all(is_of)
}
