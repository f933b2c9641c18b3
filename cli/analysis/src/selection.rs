//! Which resources apply to a workload, and what they select where none is named.

use crate::resource::Resource;
use crate::settings::Workload;
use crate::tree::Node;

/// Reports whether a policy of `namespace` selects a workload.
///
/// Follows `sallyport-policy`, which follows Istio (1.31, `pilot/pkg/model/policyattachment.go`): policies of the workload's
/// namespace and of the root namespace, narrowed by the selector; references reach objects of the own namespace only.
pub(crate) fn selects(resource: &Resource<'_>, namespace: &str, root_namespace: &str, workload: &Workload) -> bool {
    let is_same = namespace == workload.namespace;
    let targets = targets(resource);
    if !targets.is_empty() {
        return is_same
            && targets.iter().any(|(kind, name)| {
                let own = match *kind {
                    "Service" => workload.service.as_deref(),
                    "Gateway" => workload.gateway.as_deref(),
                    _ => None,
                };
                own == Some(*name)
            });
    }
    let labels = labels(resource);
    let carries = |(key, value): &(&str, &str)| {
        workload.labels.iter().flatten().any(|(known, of_known)| known == key && of_known == value)
    };
    (is_same || namespace == root_namespace) && labels.iter().all(carries)
}

/// Describes what a policy selects, as in `shop/app=orders`, `shop/Service orders` or `shop`.
pub(crate) fn describe(resource: &Resource<'_>, namespace: &str, root_namespace: &str) -> String {
    let targets: Vec<String> = targets(resource).iter().map(|(kind, name)| format!("{kind} {name}")).collect();
    let labels: Vec<String> = labels(resource).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let scope = if namespace == root_namespace { "*" } else { namespace };
    match (targets.is_empty(), labels.is_empty()) {
        (false, _) => format!("{namespace}/{}", targets.join(", ")),
        (true, false) => format!("{scope}/{}", labels.join(",")),
        (true, true) => scope.to_owned(),
    }
}

fn labels<'n>(resource: &'n Resource<'_>) -> Vec<(&'n str, &'n str)> {
    let labels = resource.node.at(&["spec", "selector", "matchLabels"]).map_or(&[][..], Node::entries);
    labels.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_str()?))).collect()
}

fn targets<'n>(resource: &'n Resource<'_>) -> Vec<(&'n str, &'n str)> {
    let Some(spec) = resource.node.get("spec") else { return Vec::new() };
    let several = spec.get("targetRefs").map_or(&[][..], Node::items).iter();
    let target = |node: &'n Node| Some((node.text_at(&["kind"])?, node.text_at(&["name"])?));
    several.chain(spec.get("targetRef")).filter_map(target).collect()
}
