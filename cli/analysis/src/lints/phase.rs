//! Phase of Istio's filter chain in which a plugin stands.

use crate::finding::Finding;
use crate::lints::carrier::Carrier;
use crate::lints::{Lint, Linter, warning};

pub(super) const PLUGIN_PHASE: Lint = Lint {
    code: "plugin-phase",
    title: "A plugin stands in a phase of Istio's filter chain where it decides too late, or before tokens are validated",
    fix: "write `phase: AUTHZ`",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let carriers = Carrier::all(linter);
    carriers.iter().filter(|carrier| !carrier.is_of_envoy_gateway()).filter_map(phase).collect()
}

fn phase(carrier: &Carrier<'_>) -> Option<Finding> {
    let phase = carrier.spec.get("phase");
    let span = phase.map_or(carrier.resource.span(), |phase| phase.span);
    let message = match phase.map(|phase| phase.as_str().unwrap_or_default()) {
        None => "without a phase the filter comes last, behind Istio's own authorization and metrics".to_owned(),
        Some(word @ ("STATS" | "UNSPECIFIED_PHASE" | "UNSPECIFIED")) => {
            format!("in the phase {word} the filter comes behind Istio's own authorization")
        }
        Some("AUTHN") if carrier.needs().iter().any(|(_, needs)| needs.tokens) => {
            "in the phase AUTHN no token is validated yet, and rules that refer to tokens deny".to_owned()
        }
        Some(_) => return None,
    };
    Some(warning(PLUGIN_PHASE, span, message, PLUGIN_PHASE.fix))
}
