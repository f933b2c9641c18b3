//! PeerAuthentications of which only one counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::finding::Finding;
use crate::json::write_json;
use crate::lints::{Lint, Linter, warning};
use crate::resource::Resource;

pub(crate) const SAME_SCOPE: Lint = Lint {
    code: "same-scope",
    title: "Two PeerAuthentications are for the same scope, where only the older one counts",
    fix: "keep one of the two, with the mode that is meant",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let default_namespace = linter.contents.default_namespace.as_deref();
    let mut seen: HashMap<(&str, String), &Resource<'_>> = HashMap::new();
    let mut findings = Vec::new();
    let is_peer = |resource: &&Resource<'_>| resource.kind() == Some("PeerAuthentication") && !resource.is_list;
    for resource in linter.contents.resources.iter().filter(is_peer) {
        let namespace = resource.namespace().or(default_namespace).unwrap_or_default();
        match seen.entry((namespace, scope(resource))) {
            Entry::Vacant(slot) => {
                slot.insert(resource);
            }
            // Two of one name are a fault of their own.
            Entry::Occupied(earlier) if earlier.get().name() == resource.name() => {}
            Entry::Occupied(earlier) => {
                let (name, other) = (resource.name().unwrap_or_default(), earlier.get().name().unwrap_or_default());
                let place = linter.project.place(earlier.get().span());
                let message = format!(
                    "{namespace}/{name} and {namespace}/{other} at {place} are for the same scope: the older one counts"
                );
                findings.push(warning(SAME_SCOPE, resource.span(), message, SAME_SCOPE.fix));
            }
        }
    }
    findings
}

/// Returns what a resource selects, the labels in the order of their names.
fn scope(resource: &Resource<'_>) -> String {
    let labels = resource.node.at(&["spec", "selector", "matchLabels"]).map_or(&[][..], crate::Node::entries);
    let mut pairs: Vec<String> = labels
        .iter()
        .map(|entry| {
            let mut pair = format!("{}=", entry.key);
            write_json(&entry.value, &mut pair);
            pair
        })
        .collect();
    pairs.sort();
    pairs.join(",")
}
