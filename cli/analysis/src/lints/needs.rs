//! Attributes that a filter's configuration compares, and by which settings of the proxy they come to it.

use crate::tree::Node;

/// Attributes that a configuration compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) paths: bool,
    /// Identity by the certificate of the connection.
    pub(super) identity: bool,
    pub(super) tokens: bool,
    /// Address of the connection, by filter state.
    pub(super) direct_address: bool,
    /// `remoteAddress: trusted` is written.
    pub(super) trusts_remote_address: bool,
    /// `identity.validation` is `listener`.
    pub(super) validated_by_listener: bool,
    /// Names of `identity.jwt.metadataKeys`.
    pub(super) metadata_keys: Vec<String>,
    /// `customProviders` has names, and this instance decides.
    pub(super) needs_mark: bool,
    /// `stage` is `custom`.
    pub(super) is_mark: bool,
}

const IDENTITY_KEYS: [&str; 6] =
    ["principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts"];

const IDENTITY_CONDITIONS: [&str; 3] = ["source.principal", "source.namespace", "source.serviceAccount"];

impl Needs {
    pub(super) fn of(configuration: &Node) -> Self {
        let mut needs = Self::default();
        let text = |keys: &[&str]| configuration.text_at(keys);
        let mut compared = Vec::new();
        let mut open = vec![configuration];
        while let Some(node) = open.pop() {
            open.extend(node.items());
            for entry in node.entries() {
                match entry.key.as_str() {
                    "key" => compared.extend(entry.value.as_str()),
                    "mode" if entry.value.as_str() == Some("STRICT") => needs.identity = true,
                    // Whose an egress resource is, the identity says.
                    "endpointSelector" => needs.identity = true,
                    "kind" if entry.value.as_str() == Some("ServiceEntry") => {
                        needs.identity |= text(&["serviceEntryExport"]) != Some("all");
                    }
                    key => compared.push(key),
                }
                open.push(&entry.value);
            }
        }
        let has = |key: &str| compared.contains(&key);
        needs.paths = has("paths") || has("notPaths") || has("request.url_path") || has("request.headers[:path]");
        needs.identity |= IDENTITY_KEYS.into_iter().chain(IDENTITY_CONDITIONS).any(has);
        // Another source than the certificate needs nothing of TLS.
        needs.identity &= text(&["identity", "source"]).is_none_or(|source| source == "peerCertificate");
        needs.tokens = has("requestPrincipals")
            || has("notRequestPrincipals")
            || compared.iter().any(|key| key.starts_with("request.auth."));
        let has_addresses = has("ipBlocks") || has("notIpBlocks") || has("source.ip");
        needs.direct_address = has_addresses && text(&["directRemoteAddress"]) != Some("connection");
        needs.trusts_remote_address = text(&["remoteAddress"]) == Some("trusted");
        needs.validated_by_listener = text(&["identity", "validation"]) == Some("listener");
        let keys = configuration.at(&["identity", "jwt", "metadataKeys"]).map_or(&[][..], Node::items);
        needs.metadata_keys = keys.iter().filter_map(Node::as_str).map(str::to_owned).collect();
        if needs.metadata_keys.is_empty() {
            needs.metadata_keys.push("payload".to_owned());
        }
        needs.is_mark = text(&["stage"]) == Some("custom");
        needs.needs_mark =
            !needs.is_mark && configuration.get("customProviders").is_some_and(|names| !names.items().is_empty());
        needs
    }
}
