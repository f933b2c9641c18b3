//! Settings of proxies that resources of Envoy Gateway and Istio change: ClientTrafficPolicy and EnvoyFilter.

use crate::finding::Finding;
use crate::lints::listener_http::PATH_NORMALIZATION;
use crate::lints::listener_tls::{CLIENT_CERTIFICATE, SESSION_RESUMPTION, unvalidated};
use crate::lints::needs::Needs;
use crate::lints::{Linter, warning};
use crate::settings::Filter;
use crate::tree::{Entry, Node, Value};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let plugins = linter.project.plugins().iter().filter(|plugin| plugin.filter != Filter::EgressAllowlist);
    let needs: Vec<Needs> = plugins.filter_map(|plugin| plugin.configuration.as_ref()).map(Needs::of).collect();
    if needs.is_empty() {
        return findings;
    }
    for resource in &linter.contents.resources {
        match (resource.kind(), resource.node.get("spec")) {
            (Some("ClientTrafficPolicy"), Some(spec)) => client_traffic(spec, &needs, &mut findings),
            (Some("EnvoyFilter"), Some(spec)) => envoy_filter(spec, &needs, &mut findings),
            _ => {}
        }
    }
    findings
}

fn client_traffic(spec: &Node, needs: &[Needs], findings: &mut Vec<Finding>) {
    if needs.iter().any(|needs| needs.paths) {
        let path = spec.get("path");
        let escaped = path.and_then(|path| path.get("escapedSlashesAction"));
        if let Some(action) = escaped.filter(|action| action.as_str() == Some("KeepUnchanged")) {
            let message = "the upstream gets paths with %2F, which it may read as a slash";
            findings.push(warning(PATH_NORMALIZATION, action.span, message, "write RejectRequest, or remove it"));
        }
        let unmerged = path.and_then(|path| path.entry("disableMergeSlashes")).filter(|entry| is(entry, true));
        if let Some(entry) = unmerged {
            let message = "the upstream gets paths with //, which it may read as one slash";
            findings.push(warning(PATH_NORMALIZATION, entry.value.span, message, "remove it, or write false"));
        }
    }
    let by_identity: Vec<&Needs> = needs.iter().filter(|needs| needs.identity).collect();
    let Some(tls) = spec.get("tls").filter(|_| !by_identity.is_empty()) else { return };
    let is_told = |needs: &&Needs| needs.validated_by_listener;
    let resumption = tls.at(&["session", "resumption"]);
    if let Some(entry) = resumption.and_then(|resumption| resumption.entries().first())
        && !by_identity.iter().all(is_told)
    {
        let message = "a client that resumes its TLS session has no proven identity, and rules that ask for it deny";
        let help = "remove session.resumption, or write identity: {validation: listener} in the filter's configuration";
        findings.push(warning(SESSION_RESUMPTION, entry.key_span, message, help));
    }
    let Some(validation) = tls.entry("clientValidation") else { return };
    if let Some(mode) =
        validation.value.get("mode").filter(|mode| matches!(mode.as_str(), Some("Request" | "RequireAny")))
    {
        findings.push(unvalidated(mode.span, by_identity.iter().any(is_told), "write RequireAndVerify"));
    }
    let is_pinned =
        ["subjectAltNames", "spkiHashes", "certificateHashes"].iter().any(|key| validation.value.get(key).is_some());
    if validation.value.get("caCertificateRefs").is_some() && !is_pinned {
        let message = "without subjectAltNames every trusted authority may issue identities of any trust domain";
        let help = "write subjectAltNames: {uris: [{type: Prefix, value: spiffe://TRUST-DOMAIN/}]}";
        findings.push(warning(CLIENT_CERTIFICATE, validation.key_span, message, help));
    }
}

/// Finds settings that an EnvoyFilter takes back: it changes what a proxy has, so that an absent one is none.
fn envoy_filter(spec: &Node, needs: &[Needs], findings: &mut Vec<Finding>) {
    let (by_path, by_identity) = (
        needs.iter().any(|needs| needs.paths),
        needs.iter().any(|needs| needs.identity && !needs.validated_by_listener),
    );
    let mut open = vec![spec];
    while let Some(node) = open.pop() {
        open.extend(node.items());
        // A connection manager or a listener of its own is held against all settings.
        let is_whole = ["http_filters", "filter_chains"].iter().any(|key| node.get(key).is_some());
        for entry in node.entries() {
            open.push(&entry.value);
            let keeps = entry.value.as_str() == Some("KEEP_UNCHANGED");
            match entry.key.as_str() {
                "normalize_path" | "merge_slashes" if by_path && !is_whole && is(entry, false) => {
                    let message = format!("without `{}` the upstream gets paths as clients write them", entry.key);
                    findings.push(warning(PATH_NORMALIZATION, entry.value.span, message, "remove it, or write true"));
                }
                "path_with_escaped_slashes_action" if by_path && !is_whole && keeps => {
                    let message = "the upstream gets paths with %2F, which it may read as a slash";
                    findings.push(warning(PATH_NORMALIZATION, entry.value.span, message, "write REJECT_REQUEST"));
                }
                "disable_stateless_session_resumption" | "disable_stateful_session_resumption"
                    if by_identity && is(entry, false) =>
                {
                    let message = "a client that resumes its TLS session has no proven identity";
                    findings.push(warning(SESSION_RESUMPTION, entry.value.span, message, "remove it, or write true"));
                }
                _ => {}
            }
        }
    }
}

fn is(entry: &Entry, wanted: bool) -> bool {
    matches!(entry.value.value, Value::Bool(value) if value == wanted)
}
