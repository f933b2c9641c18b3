//! Addresses of connections in Istio and Envoy Gateway, which neither hands to filters by itself.

use crate::finding::Finding;
use crate::json::write_json;
use crate::lints::carrier::Carrier;
use crate::lints::listener_http::CLIENT_ADDRESS;
use crate::lints::{Linter, warning};

/// Key of the filter state that carries the address.
const KEY: &str = "sallyport.direct_remote_address";

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let carriers = Carrier::all(linter);
    let compared: Vec<_> = carriers
        .iter()
        .flat_map(Carrier::needs)
        .filter(|(_, needs)| needs.direct_address)
        .filter_map(|(_, needs)| needs.names_address)
        .collect();
    if compared.is_empty() || is_handed_over(linter) {
        return Vec::new();
    }
    let message = "nothing among the files hands over the address of the connection, and rules that compare it deny";
    let help = "add an EnvoyFilter or EnvoyPatchPolicy with the filter `sallyport.direct_remote_address` of \
                envoy-config/ingress.yaml";
    compared.into_iter().map(|span| warning(CLIENT_ADDRESS, span, message, help)).collect()
}

fn is_handed_over(linter: &Linter<'_>) -> bool {
    let patches = ["EnvoyFilter", "EnvoyPatchPolicy"];
    let mut of_kind =
        linter.contents.resources.iter().filter(|one| one.kind().is_some_and(|kind| patches.contains(&kind)));
    of_kind.any(|resource| {
        let mut text = String::new();
        write_json(resource.node, &mut text);
        text.contains(KEY)
    })
}
