//! Layer of a plugin, and that of the service behind it.

use crate::finding::Finding;
use crate::lints::carrier::{Carrier, namespace_of};
use crate::lints::insertion::FILTER_NOT_INSERTED;
use crate::lints::placement::Placement;
use crate::lints::workloads::{is_http, is_tcp};
use crate::lints::{Linter, warning};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::tree::Node;

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let carriers = Carrier::all(linter);
    carriers.iter().filter(|carrier| !carrier.is_of_envoy_gateway()).filter_map(|one| layer(linter, one)).collect()
}

fn layer(linter: &Linter<'_>, carrier: &Carrier<'_>) -> Option<Finding> {
    let plugin_type = carrier.module().get("type");
    let span = plugin_type.map_or(carrier.resource.span(), |one| one.span);
    let services = services(linter, carrier);
    if plugin_type.and_then(Node::as_str) != Some("NETWORK") {
        let service = services.first().filter(|_| services.iter().all(|service| is_tcp(service.node)))?;
        let name = service.name().unwrap_or_default();
        let message = format!("the service {name} is TCP, where a plugin with type HTTP is not inserted");
        return Some(warning(FILTER_NOT_INSERTED, span, message, "write type: NETWORK"));
    }
    let help = "write type: HTTP";
    if carrier.has(Filter::BaselineDeny) {
        let message = "baseline-deny decides about requests, and with type NETWORK it gets none";
        return Some(warning(FILTER_NOT_INSERTED, span, message, help));
    }
    if let Some(service) = services.first().filter(|_| services.iter().all(|service| is_http(service.node))) {
        let name = service.name().unwrap_or_default();
        let message = format!("the service {name} is HTTP, where a plugin with type NETWORK is not inserted");
        return Some(warning(FILTER_NOT_INSERTED, span, message, help));
    }
    // Before a service that is TCP it is inserted, and `http-field-on-tcp` says what comes of it.
    if !services.is_empty() && services.iter().all(|service| is_tcp(service.node)) {
        return None;
    }
    let of_identity = carrier.needs().into_iter().filter(|(plugin, _)| plugin.filter == Filter::IdentityAuthz);
    let (_, key) = of_identity.filter_map(|(_, needs)| needs.of_requests).next()?;
    let message = format!("`{key}` is compared, which connections do not have, and before HTTP this is not inserted");
    Some(warning(FILTER_NOT_INSERTED, span, message, help))
}

/// Returns the Services whose pods the plugin selects.
fn services<'p>(linter: &Linter<'p>, carrier: &Carrier<'p>) -> Vec<&'p Resource<'p>> {
    if carrier.placement != Placement::Sidecar || carrier.labels().is_empty() {
        return Vec::new();
    }
    let is_before = |service: &&Resource<'_>| {
        let selector = service.node.at(&["spec", "selector"]).map_or(&[][..], Node::entries);
        let has = |key: &str, value: Option<&str>| {
            carrier.labels().iter().any(|own| own.key == key && own.value.as_str() == value)
        };
        service.kind() == Some("Service")
            && !selector.is_empty()
            && namespace_of(linter, service) == carrier.namespace
            && selector.iter().all(|label| has(&label.key, label.value.as_str()))
    };
    linter.contents.resources.iter().filter(is_before).collect()
}
