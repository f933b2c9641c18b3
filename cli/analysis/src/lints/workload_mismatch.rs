//! Workload of a configuration, and what the resource around it selects.

use crate::finding::Finding;
use crate::lints::authentication::ROOT_NAMESPACE;
use crate::lints::carrier::Carrier;
use crate::lints::{Lint, Linter, warning};
use crate::source::Span;
use crate::tree::Node;

pub(super) const WORKLOAD_MISMATCH: Lint = Lint {
    code: "workload-mismatch",
    title: "A resource puts a filter before other workloads than the one that the filter's configuration is for",
    fix: "write the same namespace, labels and target in the resource and in `workload` of the configuration",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for carrier in Carrier::all(linter) {
        for plugin in &carrier.plugins {
            let Some(workload) = plugin.configuration.as_ref().and_then(|configuration| configuration.get("workload"))
            else {
                continue;
            };
            let found = namespace(&carrier, workload)
                .or_else(|| labels(&carrier, workload))
                .or_else(|| target(&carrier, workload, "Gateway", "gateway"))
                .or_else(|| target(&carrier, workload, "Service", "service"));
            findings
                .extend(found.map(|(span, message)| warning(WORKLOAD_MISMATCH, span, message, WORKLOAD_MISMATCH.fix)));
        }
    }
    findings
}

fn namespace(carrier: &Carrier<'_>, workload: &Node) -> Option<(Span, String)> {
    let said = workload.get("namespace")?;
    let name = said.as_str()?;
    let is_other = !carrier.namespace.is_empty() && carrier.namespace != name && carrier.namespace != ROOT_NAMESPACE;
    is_other.then(|| {
        (said.span, format!("the resource is in the namespace {}, and the workload in {name}", carrier.namespace))
    })
}

fn labels(carrier: &Carrier<'_>, workload: &Node) -> Option<(Span, String)> {
    let said = workload.entry("labels").filter(|labels| !labels.value.entries().is_empty())?;
    if !carrier.targets().is_empty() || carrier.is_of_envoy_gateway() {
        return None;
    }
    if carrier.labels().is_empty() {
        let message = "without a selector the filter is before every workload, and its configuration is for one";
        return Some((carrier.resource.span(), message.to_owned()));
    }
    carrier.labels().iter().find_map(|selected| {
        let own = said.value.get(&selected.key)?;
        let (wanted, own) = selected.value.as_str().zip(own.as_str()).filter(|(wanted, own)| wanted != own)?;
        let key = &selected.key;
        Some((selected.value.span, format!("the selector has {key}: {wanted}, and the workload {key}: {own}")))
    })
}

/// Compares a Gateway or a Service. Who is a waypoint is named by its Gateway, whatever Service is behind it.
fn target(carrier: &Carrier<'_>, workload: &Node, kind: &str, key: &str) -> Option<(Span, String)> {
    let said = workload.text_at(&[key])?;
    let targets = carrier.targets();
    let of_kind: Vec<&Node> = targets.iter().filter(|target| target.kind == kind).map(|target| target.name).collect();
    let name = of_kind.first().filter(|_| of_kind.iter().all(|name| name.as_str() != Some(said)))?;
    let other = name.as_str()?;
    Some((name.span, format!("the target is the {kind} {other}, and the workload says {key}: {said}")))
}
