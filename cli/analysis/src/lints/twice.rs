//! Filters that two resources put before the same workloads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::finding::Finding;
use crate::json::write_json;
use crate::lints::carrier::Carrier;
use crate::lints::needs::Needs;
use crate::lints::{Lint, Linter, warning};
use crate::source::Span;

pub(super) const FILTER_TWICE: Lint = Lint {
    code: "filter-twice",
    title: "Two resources put the same filter before the same workloads, and each decides by its own configuration",
    fix: "keep one of the two, with the policies of both",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut seen: HashMap<String, (String, Span)> = HashMap::new();
    let mut findings = Vec::new();
    for carrier in Carrier::all(linter) {
        let mut place = carrier.namespace.to_owned();
        for key in ["selector", "targetRefs", "targetRef", "match"] {
            place.push('\n');
            if let Some(node) = carrier.spec.get(key) {
                write_json(node, &mut place);
            }
        }
        place.push_str(carrier.module().text_at(&["type"]).unwrap_or("HTTP"));
        let own = format!("{} {}", carrier.resource.kind().unwrap_or_default(), carrier.name());
        for plugin in &carrier.plugins {
            // The instance that only marks stands before the one that decides.
            let is_mark = plugin.configuration.as_ref().is_some_and(|one| Needs::of(one).is_mark);
            match seen.entry(format!("{place}\n{}\n{is_mark}", plugin.filter.name())) {
                Entry::Vacant(slot) => {
                    slot.insert((own.clone(), carrier.resource.span()));
                }
                // Two of one name are a fault of their own.
                Entry::Occupied(earlier) if earlier.get().0 == own => {}
                Entry::Occupied(earlier) => {
                    let (other, span) = earlier.get();
                    let message = format!(
                        "{} is before these workloads already, by {other} at {}",
                        plugin.filter.name(),
                        linter.project.place(*span)
                    );
                    findings.push(warning(FILTER_TWICE, carrier.resource.span(), message, FILTER_TWICE.fix));
                }
            }
        }
    }
    findings
}
