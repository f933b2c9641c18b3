//! `identity`: where the caller's identity and the claims of its token come from.

use crate::attributes::jwt_claims::ClaimSource;
use crate::config::reader::ConfigNode;
use crate::identity::settings::{CertificateValidation, IdentitySource, PEER_PRINCIPAL, read_filter_state_key};

/// Reads `identity`.
pub(super) fn read_identity(
    node: &ConfigNode<'_>,
) -> (Option<ClaimSource>, Option<IdentitySource>, Option<CertificateValidation>) {
    let Some(object) = node.object() else { return (None, None, None) };
    let claims = ClaimSource::read(&object);
    let source = match object.optional("source") {
        None => Some("peerCertificate"),
        Some(source) => {
            source.enum_value(&["peerCertificate", "filterState", "forwardedClientCert"].map(|source| (source, source)))
        }
    };
    let source = match source {
        Some("filterState") => match object.optional("key") {
            None => Some(IdentitySource::FilterState(PEER_PRINCIPAL.to_owned())),
            Some(key) => read_filter_state_key(&key).map(IdentitySource::FilterState),
        },
        other => {
            object.unsupported("key", "is for the source filterState, remove it");
            match other {
                Some("forwardedClientCert") => Some(IdentitySource::ForwardedClientCert),
                other => other.map(|_| IdentitySource::PeerCertificate),
            }
        }
    };
    let validation = match source {
        Some(IdentitySource::FilterState(_) | IdentitySource::ForwardedClientCert) => {
            object.unsupported("validation", "is for the source peerCertificate, remove it");
            Some(CertificateValidation::default())
        }
        Some(IdentitySource::PeerCertificate) | None => CertificateValidation::read(&object),
    };
    object.finish();
    (claims, source, validation)
}
