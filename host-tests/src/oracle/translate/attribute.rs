//! What a policy compares, under the names of `when`, whichever field of a rule it comes from.

use super::Protocol;

/// On which side of a policy Envoy's RBAC compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Permission,
    Principal,
}

/// The fields of `source`, their twins and what they are in `when`, in Istio's order.
pub(super) const SOURCE: [(&str, &str, &str); 7] = [
    ("principals", "notPrincipals", "source.principal"),
    ("requestPrincipals", "notRequestPrincipals", "request.auth.principal"),
    ("serviceAccounts", "notServiceAccounts", "source.serviceAccount"),
    ("trustDomains", "notTrustDomains", "source.trustDomain"),
    ("namespaces", "notNamespaces", "source.namespace"),
    ("remoteIpBlocks", "notRemoteIpBlocks", "remote.ip"),
    ("ipBlocks", "notIpBlocks", "source.ip"),
];

/// The fields of `operation`, likewise; three of them have no name in `when`.
pub(super) const OPERATION: [(&str, &str, &str); 4] = [
    ("hosts", "notHosts", HOST),
    ("methods", "notMethods", METHOD),
    ("paths", "notPaths", PATH),
    ("ports", "notPorts", "destination.port"),
];

pub(super) const HOST: &str = ":authority";
pub(super) const METHOD: &str = ":method";
pub(super) const PATH: &str = ":path";

/// One attribute with the values that it may have and those that it may not.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) values: Vec<String>,
    pub(super) not_values: Vec<String>,
}

impl Attribute {
    /// Where Envoy compares it; none for a key that Istio does not know.
    pub(super) fn side(&self) -> Option<Side> {
        let plain = |key: &str| {
            Some(match key {
                HOST | METHOD | PATH | "destination.ip" | "destination.port" | "connection.sni" => Side::Permission,
                "source.principal"
                | "source.namespace"
                | "source.serviceAccount"
                | "source.trustDomain"
                | "source.ip"
                | "remote.ip"
                | "request.auth.principal"
                | "request.auth.audiences"
                | "request.auth.presenter" => Side::Principal,
                _ => return None,
            })
        };
        match self.key.as_str() {
            key if key.starts_with("request.headers") || key.starts_with("request.auth.claims") => {
                Some(Side::Principal)
            }
            key if key.starts_with("experimental.envoy.filters.") => Some(Side::Permission),
            key => plain(key),
        }
    }

    /// Whether a connection has it.
    pub(super) fn is_of(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Http || !(self.key.starts_with("request.") || self.key.starts_with(':'))
    }
}
