//! Identities in Istio's proxies: where they come from, and what proves them.

use crate::finding::{Finding, Severity};
use crate::lints::authentication::ROOT_NAMESPACE;
use crate::lints::carrier::Carrier;
use crate::lints::insertion::FILTER_NOT_INSERTED;
use crate::lints::listener_tls::{CLIENT_CERTIFICATE, SESSION_RESUMPTION};
use crate::lints::needs::Needs;
use crate::lints::placement::Placement;
use crate::lints::{Lint, Linter, warning};
use crate::plugin::Plugin;
use crate::resource::Resource;
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::{Node, Value};

pub(super) const PLAINTEXT: Lint = Lint {
    code: "plaintext",
    title: "A sidecar takes plaintext too, whose callers have no identity, before a filter that decides by identity",
    fix: "write a PeerAuthentication with `mtls: {mode: STRICT}` for the workload",
};

/// Modes of a server of a Gateway in which clients are asked for a certificate.
const MUTUAL: [&str; 3] = ["MUTUAL", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"];

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for carrier in Carrier::all(linter).iter().filter(|carrier| !carrier.is_of_envoy_gateway()) {
        let is_gateway = carrier.placement == Placement::Gateway;
        let servers = if is_gateway { servers(linter, carrier) } else { Vec::new() };
        findings.extend(passed_through(carrier, &servers));
        for (plugin, needs) in carrier.needs() {
            let Some(span) = needs.names_identity else { continue };
            // What a workload sends comes to its sidecar without TLS.
            if plugin.filter == Filter::EgressAllowlist && carrier.placement == Placement::Sidecar {
                continue;
            }
            match carrier.placement {
                Placement::Waypoint if needs.identity => {
                    let message = "a waypoint ends TLS in another listener, so by certificate nobody has an identity";
                    let span = source_span(plugin).unwrap_or(span);
                    let help = "write identity: {source: filterState} in the filter's configuration";
                    findings.push(warning(CLIENT_CERTIFICATE, span, message, help));
                }
                Placement::Sidecar if needs.identity_source == "filterState" && !has_key(plugin) => {
                    let message = "only a waypoint keeps callers in filter state, so nobody has an identity";
                    let help = "remove identity.source, or name the key of a filter that sets it";
                    findings.push(warning(CLIENT_CERTIFICATE, source_span(plugin).unwrap_or(span), message, help));
                }
                Placement::Sidecar if needs.identity => {
                    findings.extend(resumption(linter, carrier, &needs, span));
                    findings.extend(plaintext(linter, carrier, plugin, &needs, span));
                }
                Placement::Gateway if needs.identity => {
                    findings.extend(certificates(&servers));
                    findings.extend(resumption(linter, carrier, &needs, span));
                }
                _ => {}
            }
        }
    }
    findings
}

fn source_span(plugin: &Plugin) -> Option<Span> {
    plugin.configuration.as_ref()?.at(&["identity", "source"]).map(|source| source.span)
}

fn has_key(plugin: &Plugin) -> bool {
    plugin.configuration.as_ref().is_some_and(|configuration| configuration.at(&["identity", "key"]).is_some())
}

fn resumption(linter: &Linter<'_>, carrier: &Carrier<'_>, needs: &Needs, span: Span) -> Option<Finding> {
    if needs.validated_by_listener {
        return None;
    }
    let filters = linter.contents.resources.iter().filter(|one| one.kind() == Some("EnvoyFilter") && !one.is_list);
    let mut fault = None;
    for filter in filters.filter(|filter| is_for(linter, filter, carrier, &["spec", "workloadSelector", "labels"])) {
        for patch in filter.node.at(&["spec", "configPatches"]).map_or(&[][..], Node::items) {
            match turns_off(patch, carrier.placement) {
                Some(Ok(())) => return None,
                Some(Err(found)) => fault = fault.or(Some(found)),
                None => {}
            }
        }
    }
    let (span, message, help) = match fault {
        Some((span, message)) => (span, message, "write what the message names"),
        None => (
            span,
            "Istio resumes TLS sessions: a caller is let in at first, and denied on a resumed session",
            "write identity: {validation: listener}, or add an EnvoyFilter that turns resumption off",
        ),
    };
    Some(warning(SESSION_RESUMPTION, span, message, help))
}

/// Reports whether a patch turns resumption off; the fault of one that tries to and does not; `None` if it is about
/// something else.
fn turns_off(patch: &Node, placement: Placement) -> Option<Result<(), (Span, &'static str)>> {
    let value = patch.at(&["patch", "value"])?;
    let context = value.at(&["transport_socket", "typed_config"])?;
    let keys = ["disable_stateless_session_resumption", "disable_stateful_session_resumption"];
    let is_on = |key: &&str| matches!(context.get(key).map(|node| &node.value), Some(Value::Bool(true)));
    if !keys.iter().any(|key| context.get(key).is_some()) {
        return None;
    }
    let span_of = |path: &[&str]| patch.at(path).map(|node| node.span);
    let is_text = |path: &[&str], words: &[&str]| patch.text_at(path).is_none_or(|text| words.contains(&text));
    let checks: [(&[&str], &[&str], &'static str); 5] = [
        (&["applyTo"], &["FILTER_CHAIN"], "this patch changes no TLS: resumption is a setting of a FILTER_CHAIN"),
        (&["patch", "operation"], &["MERGE"], "this patch changes no TLS: its operation has to be MERGE"),
        (
            &["match", "context"],
            if placement == Placement::Gateway { &["GATEWAY", "ANY"] } else { &["SIDECAR_INBOUND", "ANY"] },
            "this patch is for other listeners than the filter, where resumption stays on",
        ),
        (
            &["match", "listener", "filterChain", "transportProtocol"],
            &["tls"],
            "no filter chain with TLS has this transport protocol, so resumption stays on",
        ),
        (
            &["patch", "value", "transport_socket", "name"],
            &["envoy.transport_sockets.tls"],
            "Istio has no socket of this name, so nothing is merged and resumption stays on",
        ),
    ];
    for (path, words, message) in checks {
        if !is_text(path, words) {
            return Some(Err((span_of(path).unwrap_or(context.span), message)));
        }
    }
    if !keys.iter().all(is_on) {
        let message = "resumption is off only with both disable_stateless_session_resumption and \
                       disable_stateful_session_resumption";
        return Some(Err((context.first_span(), message)));
    }
    Some(Ok(()))
}

/// Reports whether a resource of Istio can be for the workloads of a carrier: its namespace or the root, and no other label.
fn is_for(linter: &Linter<'_>, resource: &Resource<'_>, carrier: &Carrier<'_>, labels: &[&str]) -> bool {
    let namespace = resource.namespace().or(linter.contents.default_namespace.as_deref()).unwrap_or_default();
    (namespace == carrier.namespace || namespace == ROOT_NAMESPACE) && carrier.can_have(resource.node.at(labels))
}

/// Finds a workload whose PeerAuthentication takes plaintext. One among the filter's own resources counts too.
fn plaintext(
    linter: &Linter<'_>,
    carrier: &Carrier<'_>,
    plugin: &Plugin,
    needs: &Needs,
    span: Span,
) -> Option<Finding> {
    let own = plugin.configuration.as_ref().and_then(|one| one.get("resources")).map_or(&[][..], Node::items);
    let is_strict = |node: &Node| node.text_at(&["spec", "mtls", "mode"]) == Some("STRICT");
    let is_peer = |node: &&Node| node.text_at(&["kind"]) == Some("PeerAuthentication");
    if own.iter().filter(is_peer).any(is_strict) {
        return None;
    }
    let selector = ["spec", "selector", "matchLabels"];
    let of_kind = linter.contents.resources.iter().filter(|one| one.kind() == Some("PeerAuthentication"));
    let applying = of_kind.filter(|one| !one.is_list && is_for(linter, one, carrier, &selector));
    let (certain, possible): (Vec<_>, Vec<_>) = applying
        .filter(|one| one.node.at(&["spec", "mtls", "mode"]).is_some())
        .partition(|one| carrier.has_labels(one.node.at(&selector)));
    // The one for the workload goes before that of the namespace, and that before the mesh's.
    let nearest = certain.into_iter().max_by_key(|one| {
        let is_own = one.namespace().or(linter.contents.default_namespace.as_deref()) == Some(carrier.namespace);
        (one.node.at(&selector).is_some(), is_own)
    });
    match nearest {
        // By other labels it may be for these pods, too.
        None if possible.iter().any(|one| is_strict(one.node)) => None,
        Some(peer) if is_strict(peer.node) => None,
        Some(peer) => {
            let mode = peer.node.at(&["spec", "mtls", "mode"]);
            let span = mode.map_or(peer.span(), |mode| mode.span);
            let message = "callers in plaintext reach the filter and have no identity: no rule by principal holds them";
            Some(warning(PLAINTEXT, span, message, "write mode: STRICT"))
        }
        // Others may keep the one of the mesh elsewhere. Who is let in by identity alone is let in by none without.
        None => {
            let message = "no PeerAuthentication among the files keeps plaintext out, whose callers have no identity";
            let severity = if needs.keeps_out_by_identity { Severity::Warning } else { Severity::Note };
            Some(Finding { severity, ..warning(PLAINTEXT, span, message, PLAINTEXT.fix) })
        }
    }
}

/// Returns the servers with TLS of Istio's Gateways among the files that are for the pods of a carrier, of any namespace.
fn servers<'p>(linter: &Linter<'p>, carrier: &Carrier<'p>) -> Vec<&'p Node> {
    let is_gateway = |resource: &&Resource<'_>| {
        resource.kind() == Some("Gateway")
            && resource.group() == Some("networking.istio.io")
            && resource.node.at(&["spec", "selector"]).is_some_and(|selector| !selector.entries().is_empty())
            && carrier.can_have(resource.node.at(&["spec", "selector"]))
            && carrier.shares_a_label(resource.node.at(&["spec", "selector"]))
    };
    let gateways = linter.contents.resources.iter().filter(is_gateway);
    let servers = gateways.flat_map(|one| one.node.at(&["spec", "servers"]).map_or(&[][..], Node::items));
    servers.filter(|server| server.get("tls").is_some()).collect()
}

fn mode<'p>(server: &&'p Node) -> Option<&'p Node> {
    server.at(&["tls", "mode"])
}

/// Finds servers that pass TLS through: there is no HTTP for a filter.
fn passed_through(carrier: &Carrier<'_>, servers: &[&Node]) -> Vec<Finding> {
    if carrier.module().text_at(&["type"]) == Some("NETWORK") {
        return Vec::new();
    }
    let passing =
        servers.iter().filter_map(mode).filter(|mode| mode.as_str().is_some_and(|m| m.ends_with("PASSTHROUGH")));
    let message = "TLS is passed through, where a plugin with type HTTP is not inserted: everything passes";
    let help = "write ISTIO_MUTUAL or MUTUAL, or type: NETWORK in the plugin";
    passing.map(|mode| warning(FILTER_NOT_INSERTED, mode.span, message, help)).collect()
}

/// Finds Gateways where no server asks clients for a certificate.
fn certificates(servers: &[&Node]) -> Vec<Finding> {
    let is_mutual = |mode: &Node| mode.as_str().is_some_and(|mode| MUTUAL.contains(&mode));
    if servers.iter().filter_map(mode).any(is_mutual) {
        return Vec::new();
    }
    let simple = servers.iter().filter_map(mode).filter(|mode| mode.as_str() == Some("SIMPLE"));
    let message = "no client is asked for a certificate, so nobody has an identity and rules that ask for it deny";
    simple.map(|mode| warning(CLIENT_CERTIFICATE, mode.span, message, "write ISTIO_MUTUAL or MUTUAL")).collect()
}
