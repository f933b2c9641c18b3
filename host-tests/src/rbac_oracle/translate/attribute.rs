//! The attributes that policies compare, under the keys of `when`, whichever section of a rule they come from.

use super::Protocol;

/// The part of Envoy's RBAC policy that compares an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Permission,
    Principal,
}

/// The fields of `source`, their negations and their keys in `when`, in Istio's order.
pub(super) const SOURCE: [(&str, &str, &str); 7] = [
    ("principals", "notPrincipals", "source.principal"),
    ("requestPrincipals", "notRequestPrincipals", "request.auth.principal"),
    ("serviceAccounts", "notServiceAccounts", "source.serviceAccount"),
    ("trustDomains", "notTrustDomains", "source.trustDomain"),
    ("namespaces", "notNamespaces", "source.namespace"),
    ("remoteIpBlocks", "notRemoteIpBlocks", "remote.ip"),
    ("ipBlocks", "notIpBlocks", "source.ip"),
];

/// The fields of `operation`, likewise. Three of them have no key in `when`; theirs are the names of pseudo-headers.
pub(super) const OPERATION: [(&str, &str, &str); 4] = [
    ("hosts", "notHosts", HOST),
    ("methods", "notMethods", METHOD),
    ("paths", "notPaths", PATH),
    ("ports", "notPorts", "destination.port"),
];

pub(super) const HOST: &str = ":authority";
pub(super) const METHOD: &str = ":method";
pub(super) const PATH: &str = ":path";

/// An attribute with its `values` and `notValues`.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) values: Vec<String>,
    pub(super) not_values: Vec<String>,
}

impl Attribute {
    /// Returns the part of Envoy's policy that compares it, or `None` for a key that Istio does not know.
    pub(super) fn side(&self) -> Option<Side> {
        let known_key = |key: &str| {
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
            key => known_key(key),
        }
    }

    /// Returns true if the protocol has the attribute.
    pub(super) fn exists_in(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Http || !(self.key.starts_with("request.") || self.key.starts_with(':'))
    }
}
