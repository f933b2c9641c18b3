//! Attributes that a filter's configuration compares, and by which settings of the proxy they come to it.

use crate::lints::policy::is_http_field;
use crate::source::Span;
use crate::tree::Node;

/// Attributes that a configuration compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) paths: bool,
    /// Identity by the certificate of the connection.
    pub(super) identity: bool,
    /// Key that compares an identity first, whatever the source is.
    pub(super) names_identity: Option<Span>,
    /// True if a DENY or a negative match goes by identity, so that a caller without one is not kept out.
    pub(super) keeps_out_by_identity: bool,
    /// Key that compares what only requests have, with its name.
    pub(super) of_requests: Option<(Span, String)>,
    /// Key that compares the address of the connection first.
    pub(super) names_address: Option<Span>,
    pub(super) tokens: bool,
    /// Address of the connection, by filter state.
    pub(super) direct_address: bool,
    /// `remoteAddress: trusted` is written.
    pub(super) trusts_remote_address: bool,
    /// `identity.validation` is `listener`.
    pub(super) validated_by_listener: bool,
    /// Names of `identity.jwt.metadataKeys`.
    pub(super) metadata_keys: Vec<String>,
    /// Value of `identity.source`; empty where it is absent.
    pub(super) identity_source: String,
    /// `customProviders` has names, and this instance decides.
    pub(super) needs_mark: bool,
    /// `stage` is `custom`.
    pub(super) is_mark: bool,
}

const IDENTITY_KEYS: [&str; 6] =
    ["principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts"];

const NEGATIVE_IDENTITY_KEYS: [&str; 3] = ["notPrincipals", "notNamespaces", "notServiceAccounts"];

const ADDRESS_KEYS: [&str; 3] = ["ipBlocks", "notIpBlocks", "source.ip"];

const IDENTITY_CONDITIONS: [&str; 3] = ["source.principal", "source.namespace", "source.serviceAccount"];

impl Needs {
    pub(super) fn of(configuration: &Node) -> Self {
        let mut needs = Self::default();
        let text = |keys: &[&str]| configuration.text_at(keys);
        let mut compared: Vec<(&str, Span)> = Vec::new();
        let mut open = vec![configuration];
        while let Some(node) = open.pop() {
            open.extend(node.items());
            for entry in node.entries() {
                match entry.key.as_str() {
                    "key" => compared.extend(entry.value.as_str().map(|key| (key, entry.value.span))),
                    "mode" if entry.value.as_str() == Some("STRICT") => needs.identity = true,
                    // Whose an egress resource is, the identity says.
                    "endpointSelector" => needs.identity = true,
                    "kind" if entry.value.as_str() == Some("ServiceEntry") => {
                        needs.identity |= text(&["serviceEntryExport"]) != Some("all");
                    }
                    key => compared.push((key, entry.key_span)),
                }
                open.push(&entry.value);
            }
        }
        let has = |key: &str| compared.iter().any(|(one, _)| *one == key);
        let first = |is_it: &dyn Fn(&str) -> bool| {
            compared.iter().filter(|(key, _)| is_it(key)).min_by_key(|(_, span)| span.start).copied()
        };
        let is_identity = |key: &str| IDENTITY_KEYS.contains(&key) || IDENTITY_CONDITIONS.contains(&key);
        needs.names_identity = first(&is_identity).map(|(_, span)| span);
        needs.names_address = first(&|key| ADDRESS_KEYS.contains(&key)).map(|(_, span)| span);
        needs.of_requests = first(&is_http_field).map(|(key, span)| (span, key.to_owned()));
        needs.keeps_out_by_identity = keeps_out_by_identity(configuration);
        needs.paths = has("paths") || has("notPaths") || has("request.url_path") || has("request.headers[:path]");
        needs.identity |= IDENTITY_KEYS.into_iter().chain(IDENTITY_CONDITIONS).any(has);
        // Another source than the certificate needs nothing of TLS.
        needs.identity &= text(&["identity", "source"]).is_none_or(|source| source == "peerCertificate");
        needs.tokens = has("requestPrincipals")
            || has("notRequestPrincipals")
            || compared.iter().any(|(key, _)| key.starts_with("request.auth."));
        let has_addresses = ADDRESS_KEYS.into_iter().any(has);
        needs.direct_address = has_addresses && text(&["directRemoteAddress"]) != Some("connection");
        needs.trusts_remote_address = text(&["remoteAddress"]) == Some("trusted");
        needs.validated_by_listener = text(&["identity", "validation"]) == Some("listener");
        let keys = configuration.at(&["identity", "jwt", "metadataKeys"]).map_or(&[][..], Node::items);
        needs.metadata_keys = keys.iter().filter_map(Node::as_str).map(str::to_owned).collect();
        if needs.metadata_keys.is_empty() {
            needs.metadata_keys.push("payload".to_owned());
        }
        text(&["identity", "source"]).unwrap_or_default().clone_into(&mut needs.identity_source);
        needs.is_mark = text(&["stage"]) == Some("custom");
        needs.needs_mark =
            !needs.is_mark && configuration.get("customProviders").is_some_and(|names| !names.items().is_empty());
        needs
    }
}

/// Reports whether a policy of a configuration keeps out by identity: who has none is not kept out then.
fn keeps_out_by_identity(configuration: &Node) -> bool {
    let has_key = |policy: &Node, keys: &[&str]| {
        let mut open = vec![policy];
        while let Some(node) = open.pop() {
            open.extend(node.items());
            for entry in node.entries() {
                let is_condition = entry.key == "key" && entry.value.as_str().is_some_and(|key| keys.contains(&key));
                if keys.contains(&entry.key.as_str()) || is_condition {
                    return true;
                }
                open.push(&entry.value);
            }
        }
        false
    };
    let policies = configuration.get("resources").map_or(&[][..], Node::items);
    policies.iter().any(|policy| {
        let is_deny = policy.text_at(&["spec", "action"]) == Some("DENY");
        has_key(policy, &NEGATIVE_IDENTITY_KEYS)
            || is_deny && (has_key(policy, &IDENTITY_KEYS) || has_key(policy, &IDENTITY_CONDITIONS))
    })
}
