//! Settings for the mesh's trust domains and the source of identities.

use crate::config::reader::{ConfigNode, Object};
use crate::identity::spiffe_id::MAX_TRUST_DOMAIN;
use crate::identity::trust_domains::TrustDomains;

/// `identity.source`: source of the caller's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IdentitySource {
    /// The certificate of the connection.
    #[default]
    PeerCertificate,
    /// The filter state of this key, which a trusted part of the proxy sets: a SPIFFE ID, or nothing.
    FilterState(String),
    /// The header `x-forwarded-client-cert` of a proxy before this one, which ends TLS.
    ForwardedClientCert,
}

/// `identity.validation`: proof that the certificate of a connection was validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateValidation {
    /// Envoy's attribute `connection.peer_certificate_valid`. Without it (Envoy before 1.39) and on resumed TLS sessions
    /// no certificate counts as validated.
    #[default]
    Attribute,
    /// The listener, which requires a validated certificate: every certificate that is presented counts as validated.
    Listener,
}

impl CertificateValidation {
    /// Reads `identity.validation`.
    pub(crate) fn read(identity: &Object<'_>) -> Option<Self> {
        match identity.optional("validation") {
            Some(node) => node.enum_value(&[("attribute", Self::Attribute), ("listener", Self::Listener)]),
            None => Some(Self::default()),
        }
    }

    /// Addition to the load line.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Attribute => "",
            Self::Listener => {
                ", identity.validation: listener, so each certificate counts that the listener takes, until it ends \
                 (which Envoy before 1.38 does not tell)"
            }
        }
    }
}

/// `directRemoteAddress`: what tells the address of the connection's other end, which `source.ip` and `ipBlocks` are
/// about. Envoy's own attribute follows `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectRemoteAddress {
    /// The filter state `sallyport.direct_remote_address`, which the example configurations set. Where it is absent,
    /// what asks for the address is denied.
    #[default]
    FilterState,
    /// The connection: right only where `X-Forwarded-For` is not trusted.
    Connection,
}

impl DirectRemoteAddress {
    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        match object.optional("directRemoteAddress") {
            Some(node) => node.enum_value(&[("filterState", Self::FilterState), ("connection", Self::Connection)]),
            None => Some(Self::default()),
        }
    }
}

/// Reads `remoteAddress: trusted`: the proxy's own settings keep clients from choosing the address that
/// `remoteIpBlocks` and `remote.ip` compare.
pub(crate) fn read_remote_address(object: &Object<'_>) -> Option<bool> {
    match object.optional("remoteAddress") {
        Some(node) => node.enum_value(&[("trusted", true)]),
        None => Some(false),
    }
}

/// Explanation for the error if `remoteAddress: trusted` is missing.
pub(crate) const REMOTE_ADDRESS: &str = "X-Forwarded-For lets clients choose that address unless the proxy's settings (use_remote_address, xff_num_trusted_hops, the PROXY protocol) keep them from it; see to that, then write remoteAddress: trusted";

/// The filter state that Istio's waypoints set (istio/istio `pilot/pkg/xds/filters/filters.go`).
pub(crate) const PEER_PRINCIPAL: &str = "io.istio.peer_principal";

pub(crate) fn read_trust_domains(object: &Object<'_>) -> Option<TrustDomains> {
    let own = match object.optional("trustDomain") {
        Some(node) => read_trust_domain(&node),
        None => Some("cluster.local".to_owned()),
    };
    let aliases = match object.optional("trustDomainAliases") {
        Some(node) => node.items()?.map(|item| read_trust_domain(&item)).collect::<Vec<_>>().into_iter().collect(),
        None => Some(Vec::new()),
    };
    Some(TrustDomains::new(own?, aliases?))
}

/// SPIFFE-ID section 2.1.
fn read_trust_domain(node: &ConfigNode<'_>) -> Option<String> {
    let text = node.non_empty_str()?;
    let good = text.len() <= MAX_TRUST_DOMAIN
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte));
    if !good {
        node.error(format!("bad trust domain `{text}`: expected a-z, 0-9, `.`, `-` and `_`, at most 255 characters, as in cluster.local"));
    }
    good.then(|| text.to_owned())
}

/// The key of a filter state. What this filter sets is under `wasm.`, so nothing there can tell who asks.
pub(crate) fn read_filter_state_key(node: &ConfigNode<'_>) -> Option<String> {
    let key = node.non_empty_str()?;
    if key.contains('\0') || key.starts_with("wasm.") {
        node.error(format!(
            "bad key `{}`: expected the key of a filter state, as in {PEER_PRINCIPAL}",
            key.escape_default()
        ));
        return None;
    }
    Some(key.to_owned())
}

/// Reads `identity` for a filter that takes identities from certificates alone.
pub(crate) fn read_certificate_identity(node: &ConfigNode<'_>) -> Option<CertificateValidation> {
    let object = node.object()?;
    if let Some(source) = object.optional("source") {
        match source.text() {
            Some(text @ ("filterState" | "forwardedClientCert")) => {
                source
                    .error(format!("`{text}` is not supported here, write peerCertificate and end TLS at this proxy"));
            }
            Some(_) => {
                source.enum_value(&[("peerCertificate", ())]);
            }
            None => {}
        }
    }
    let validation = CertificateValidation::read(&object);
    object.finish();
    validation
}
