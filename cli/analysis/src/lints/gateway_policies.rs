//! Gateways of Envoy Gateway, and the policies beside the one with the filters that these depend on.

use crate::finding::Finding;
use crate::lints::carrier::{Carrier, namespace_of, targets};
use crate::lints::insertion::FILTER_NOT_INSERTED;
use crate::lints::listener_http::TOKEN_PAYLOAD;
use crate::lints::listener_tls::CLIENT_CERTIFICATE;
use crate::lints::needs::Needs;
use crate::lints::{Linter, warning};
use crate::resource::Resource;
use crate::tree::Node;

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for carrier in Carrier::all(linter) {
        if !carrier.is_of_envoy_gateway() {
            findings.extend(payload_of_istio(&carrier));
            continue;
        }
        for target in carrier.targets().iter().filter(|target| target.kind == "Gateway") {
            let Some(name) = target.name.as_str() else { continue };
            let gateway = of_kind(linter, &carrier, "Gateway").find(|one| one.name() == Some(name));
            findings.extend(gateway.map(|one| passed_through(one, target.section)).unwrap_or_default());
            findings.extend(certificates(linter, &carrier, name, gateway.is_some()));
            findings.extend(payloads(linter, &carrier, name));
        }
    }
    findings
}

/// Returns the resources of a kind in the namespace of a carrier.
fn of_kind<'p>(linter: &Linter<'p>, carrier: &Carrier<'p>, kind: &str) -> impl Iterator<Item = &'p Resource<'p>> {
    let namespace = carrier.namespace;
    let is_it = move |one: &&Resource<'_>| one.kind() == Some(kind) && namespace_of(linter, one) == namespace;
    linter.contents.resources.iter().filter(|one| !one.is_list).filter(is_it)
}

/// Returns the policies of a kind for a Gateway.
fn policies<'p>(linter: &Linter<'p>, carrier: &Carrier<'p>, kind: &str, gateway: &str) -> Vec<&'p Resource<'p>> {
    let is_for = |one: &&Resource<'_>| {
        one.node.get("spec").is_some_and(|spec| {
            spec.get("targetSelectors").is_some()
                || targets(spec).iter().any(|one| one.kind == "Gateway" && one.name.as_str() == Some(gateway))
        })
    };
    of_kind(linter, carrier, kind).filter(is_for).collect()
}

/// Finds listeners that pass TLS through, where there is no HTTP for a filter.
fn passed_through(gateway: &Resource<'_>, section: Option<&Node>) -> Vec<Finding> {
    let listeners = gateway.node.at(&["spec", "listeners"]).map_or(&[][..], Node::items);
    let is_meant = |listener: &&Node| section.is_none_or(|section| listener.text_at(&["name"]) == section.as_str());
    let modes = listeners.iter().filter(is_meant).filter_map(|listener| listener.at(&["tls", "mode"]));
    let message = "TLS is passed through here, so the filter is not inserted: everything passes";
    modes
        .filter(|mode| mode.as_str() == Some("Passthrough"))
        .map(|mode| warning(FILTER_NOT_INSERTED, mode.span, message, "write Terminate"))
        .collect()
}

/// Finds a Gateway that asks no caller for a certificate.
fn certificates(linter: &Linter<'_>, carrier: &Carrier<'_>, gateway: &str, is_among_files: bool) -> Option<Finding> {
    let by_identity = carrier.needs().into_iter().find(|(_, needs)| needs.identity && needs.names_identity.is_some());
    let (_, needs) = by_identity?;
    let settings = policies(linter, carrier, "ClientTrafficPolicy", gateway);
    if settings.iter().any(|one| one.node.at(&["spec", "tls", "clientValidation"]).is_some()) {
        return None;
    }
    let help = "write tls: {clientValidation: {mode: RequireAndVerify, caCertificateRefs, subjectAltNames}}";
    match settings.first() {
        Some(policy) => {
            let tls = policy.node.at(&["spec"]).and_then(|spec| spec.entry("tls"));
            let span = tls.map_or(policy.span(), |tls| tls.key_span);
            let message = "without clientValidation no caller is asked for a certificate, so nobody has an identity";
            Some(warning(CLIENT_CERTIFICATE, span, message, help))
        }
        None if is_among_files => {
            let message = format!(
                "no ClientTrafficPolicy among the files has callers of the Gateway {gateway} asked for a certificate"
            );
            let help = format!("add a ClientTrafficPolicy: {}", help.trim_start_matches("write "));
            Some(warning(CLIENT_CERTIFICATE, needs.names_identity?, message, help))
        }
        None => None,
    }
}

/// Finds providers of tokens whose payload is kept where no filter looks: Envoy Gateway keeps it under the provider's name.
fn payloads(linter: &Linter<'_>, carrier: &Carrier<'_>, gateway: &str) -> Vec<Finding> {
    let all = carrier.needs();
    let asking: Vec<&Needs> = all.iter().map(|(_, needs)| needs).filter(|needs| needs.tokens).collect();
    let mut findings = Vec::new();
    for policy in policies(linter, carrier, "SecurityPolicy", gateway) {
        let providers = policy.node.at(&["spec", "jwt", "providers"]).map_or(&[][..], Node::items);
        for name in providers.iter().filter_map(|provider| provider.get("name")) {
            let Some(text) = name.as_str() else { continue };
            if asking.iter().any(|needs| !needs.metadata_keys.iter().any(|key| key == text)) {
                let message = format!("the payload is kept as `{text}`, where the filter does not look");
                let help = format!("write identity: {{jwt: {{metadataKeys: [{text}]}}}} in the filter's configuration");
                findings.push(warning(TOKEN_PAYLOAD, name.span, message, help));
            }
        }
    }
    findings
}

/// Finds a configuration that does not look for tokens where Istio keeps them.
fn payload_of_istio(carrier: &Carrier<'_>) -> Vec<Finding> {
    let finding = |(plugin, needs): (&crate::plugin::Plugin, Needs)| {
        let keys = plugin.configuration.as_ref()?.at(&["identity", "jwt", "metadataKeys"])?;
        let is_elsewhere = needs.tokens && !needs.metadata_keys.iter().any(|key| key == "payload");
        let message = "Istio keeps the payload of a token as `payload`, where the filter does not look";
        is_elsewhere.then(|| warning(TOKEN_PAYLOAD, keys.span, message, "remove metadataKeys"))
    };
    carrier.needs().into_iter().filter_map(finding).collect()
}
