//! Peer of a connection: an authenticated SPIFFE ID, or the reason why there is none.

use std::fmt;

use crate::identity::error::{EvalError, UnauthenticatedReason};
use crate::identity::spiffe_id::SpiffeId;

/// The other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A certificate that the proxy has validated names this workload.
    Authenticated(SpiffeId),
    /// Nobody is proven, because of this.
    Unauthenticated(UnauthenticatedReason),
}

impl Peer {
    /// Reports whether the proxy validated the peer's certificate, whatever it names.
    pub fn is_validated(&self) -> bool {
        match self {
            Self::Authenticated(_)
            | Self::Unauthenticated(UnauthenticatedReason::NoUri | UnauthenticatedReason::InvalidSpiffeId(_)) => true,
            Self::Unauthenticated(
                UnauthenticatedReason::NoCertificate
                | UnauthenticatedReason::NotValidated
                | UnauthenticatedReason::ValidationUnknown
                | UnauthenticatedReason::CertificateExpired
                | UnauthenticatedReason::TlsPassthrough
                | UnauthenticatedReason::NoForwardedIdentity
                | UnauthenticatedReason::MalformedForwarding(_),
            ) => false,
        }
    }

    /// Setting that may be missing, if there is no identity for want of one.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Authenticated(_) => None,
            Self::Unauthenticated(reason) => reason.remedy(),
        }
    }

    /// The proven identity, if there is one.
    pub fn id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Authenticated(id) => Some(id),
            Self::Unauthenticated(_) => None,
        }
    }
}

impl Peer {
    /// Returns the peer, or an error if it presented a certificate that proves nothing: one that was not validated,
    /// one whose URI is not a SPIFFE ID, or one that this proxy cannot see. Such a peer is not treated as anonymous.
    pub(crate) fn require_verified(&self) -> Result<&Self, EvalError> {
        match self {
            Self::Unauthenticated(
                reason @ (UnauthenticatedReason::NotValidated
                | UnauthenticatedReason::ValidationUnknown
                | UnauthenticatedReason::CertificateExpired
                | UnauthenticatedReason::InvalidSpiffeId(_)
                | UnauthenticatedReason::TlsPassthrough
                | UnauthenticatedReason::MalformedForwarding(_)),
            ) => Err(EvalError::UnverifiedPeer(*reason)),
            Self::Authenticated(_)
            | Self::Unauthenticated(
                UnauthenticatedReason::NoCertificate
                | UnauthenticatedReason::NoForwardedIdentity
                | UnauthenticatedReason::NoUri,
            ) => Ok(self),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticated(id) => id.fmt(f),
            Self::Unauthenticated(reason) => write!(f, "a client without identity ({reason})"),
        }
    }
}
