//! Policies of Envoy Gateway that take the place of another one for a part of its traffic.

use crate::finding::Finding;
use crate::lints::carrier::{Carrier, namespace_of, targets};
use crate::lints::listener::FILTER_DISABLED;
use crate::lints::{Linter, warning};
use crate::plugin::find_plugins;
use crate::resource::Resource;
use crate::settings::Filter;
use crate::tree::Node;

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let carriers = Carrier::all(linter);
    let whole: Vec<&Carrier<'_>> = carriers
        .iter()
        .filter(|one| one.is_of_envoy_gateway())
        .filter(|one| one.targets().iter().any(|target| target.kind == "Gateway" && target.section.is_none()))
        .collect();
    if whole.is_empty() {
        return Vec::new();
    }
    let is_policy = |one: &&Resource<'_>| one.kind() == Some("EnvoyExtensionPolicy") && !one.is_list;
    linter.contents.resources.iter().filter(is_policy).flat_map(|policy| narrower(linter, policy, &whole)).collect()
}

/// Finds the filters that a policy for a route or a listener leaves out.
fn narrower(linter: &Linter<'_>, policy: &Resource<'_>, whole: &[&Carrier<'_>]) -> Vec<Finding> {
    let (Some(spec), mut findings) = (policy.node.get("spec"), Vec::new()) else { return Vec::new() };
    let own = own_filters(linter, spec);
    // Merged policies keep the filters, unless a list takes the place of the list.
    let is_merged =
        spec.text_at(&["mergeType"]).is_some_and(|word| word == "StrategicMerge" || spec.get("wasm").is_none());
    if is_merged {
        return findings;
    }
    for target in targets(spec) {
        let gateways: Vec<&str> = match (target.kind, target.section) {
            ("Gateway", Some(_)) => target.name.as_str().into_iter().collect(),
            (kind, _) if kind.ends_with("Route") => {
                let Some(name) = target.name.as_str() else { continue };
                parents(linter, namespace_of(linter, policy), kind, name)
            }
            _ => continue,
        };
        let is_below = |one: &&&Carrier<'_>| match gateways.is_empty() {
            true => one.namespace == namespace_of(linter, policy),
            false => gateways.iter().any(|gateway| one.is_for_gateway(gateway)),
        };
        for carrier in whole.iter().filter(is_below) {
            let missing: Vec<&str> = Filter::ALL
                .into_iter()
                .filter(|filter| carrier.has(*filter) && !own.contains(filter))
                .map(Filter::name)
                .collect();
            if missing.is_empty() {
                continue;
            }
            let message = format!(
                "this policy takes the place of {} here, so {} decides nothing",
                carrier.name(),
                missing.join(" and ")
            );
            let help = "write the filters in this policy too, or remove it";
            findings.push(warning(FILTER_DISABLED, target.name.span, message, help));
        }
    }
    findings
}

fn own_filters(linter: &Linter<'_>, spec: &Node) -> Vec<Filter> {
    let source = linter.project.sources().get(spec.span.source);
    let plugins = source.map(|source| find_plugins(spec, spec.span.source, source)).unwrap_or_default();
    plugins.iter().map(|plugin| plugin.filter).collect()
}

/// Returns the Gateways of a route; none where the route is not among the files.
fn parents<'p>(linter: &Linter<'p>, namespace: &str, kind: &str, name: &str) -> Vec<&'p str> {
    let is_it = |one: &&Resource<'_>| {
        one.kind() == Some(kind) && one.name() == Some(name) && namespace_of(linter, one) == namespace
    };
    let route = linter.contents.resources.iter().find(is_it);
    let parents = route.and_then(|route| route.node.at(&["spec", "parentRefs"])).map_or(&[][..], Node::items);
    parents.iter().filter_map(|parent| parent.text_at(&["name"])).collect()
}
