//! Proxies that a resource of Istio is for, as far as its selector and its targets tell.

use crate::project::Contents;
use crate::resource::Resource;
use crate::source::Span;
use crate::tree::Node;

/// Proxies that a resource is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Ingress or egress gateway.
    Gateway,
    /// Waypoint, by `targetRefs`.
    Waypoint,
    /// Waypoint, by a selector, at this part of the text.
    WaypointBySelector(Span),
    /// Workloads in ambient mode, by a selector, at this part of the text.
    Ambient(Span),
    /// Sidecars.
    Sidecar,
    /// Proxies of which the files do not tell what they are.
    Unknown,
}

/// Label of the pods of a Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Values of the labels `app` and `istio` of Istio's own gateways.
const GATEWAYS: [&str; 4] = ["ingressgateway", "egressgateway", "istio-ingressgateway", "istio-egressgateway"];

/// Parts of names by which people call gateways, and services that are none: nothing is concluded from them.
const GATEWAY_WORDS: [&str; 3] = ["gateway", "ingress", "egress"];

/// Finds the proxies that a WasmPlugin, a TrafficExtension or an EnvoyFilter is for.
pub(crate) fn placement(contents: &Contents<'_>, resource: &Resource<'_>) -> Placement {
    let Some(spec) = resource.node.get("spec") else { return Placement::Unknown };
    let namespace = resource.namespace().or(contents.default_namespace.as_deref()).unwrap_or_default();
    let targets = spec.get("targetRefs").map_or(&[][..], Node::items).iter();
    if let Some(target) = targets.chain(spec.get("targetRef")).next() {
        return match (target.text_at(&["kind"]), target.text_at(&["name"])) {
            (Some("Gateway"), Some(name)) if !is_waypoint(contents, namespace, name) => Placement::Gateway,
            _ => Placement::Waypoint,
        };
    }
    let selector = spec
        .entry("selector")
        .and_then(|selector| selector.value.entry("matchLabels"))
        .or_else(|| spec.entry("workloadSelector").and_then(|selector| selector.value.entry("labels")));
    let is_of_gateways = |text: &str| GATEWAY_WORDS.iter().any(|word| text.contains(word));
    let Some(labels) = selector.filter(|labels| !labels.value.entries().is_empty()) else {
        return match is_of_gateways(namespace) || is_ambient(contents, namespace) {
            true => Placement::Unknown,
            false => Placement::Sidecar,
        };
    };
    for label in labels.value.entries() {
        let value = label.value.as_str().unwrap_or_default();
        match label.key.as_str() {
            GATEWAY_NAME if is_waypoint(contents, namespace, value) => {
                return Placement::WaypointBySelector(labels.key_span);
            }
            "gateway.istio.io/managed" if value.contains("mesh") => {
                return Placement::WaypointBySelector(labels.key_span);
            }
            GATEWAY_NAME | "istio.io/gateway-name" => return Placement::Gateway,
            _ if GATEWAYS.contains(&value) => return Placement::Gateway,
            _ if is_of_gateways(value) => return Placement::Unknown,
            _ => {}
        }
    }
    match is_ambient(contents, namespace) {
        true => Placement::Ambient(labels.key_span),
        false => Placement::Sidecar,
    }
}

/// Reports whether a Gateway is a waypoint: by its class where it is among the files, else by its name.
fn is_waypoint(contents: &Contents<'_>, namespace: &str, name: &str) -> bool {
    let is_it = |resource: &&Resource<'_>| {
        resource.kind() == Some("Gateway")
            && resource.name() == Some(name)
            && resource.namespace().is_none_or(|own| own == namespace)
    };
    let class =
        contents.resources.iter().find(is_it).and_then(|gateway| {
            gateway.node.text_at(&["spec", "gatewayClassName"]).map(|class| class == "istio-waypoint")
        });
    class.unwrap_or_else(|| name.contains("waypoint"))
}

/// Reports whether the Namespace among the files puts its workloads in ambient mode, and injects no sidecars.
fn is_ambient(contents: &Contents<'_>, namespace: &str) -> bool {
    contents.resources.iter().any(|resource| {
        let label = |key| resource.node.at(&["metadata", "labels"]).and_then(|labels| labels.text_at(&[key]));
        resource.kind() == Some("Namespace")
            && resource.name() == Some(namespace)
            && label("istio.io/dataplane-mode") == Some("ambient")
            && label("istio-injection") != Some("enabled")
    })
}
