//! Who the other side is: a proven SPIFFE identity, or the reason why there is none.

use std::fmt;

use crate::identity::error::{NoIdentity, Obstacle};
use crate::identity::spiffe_id::PeerId;

/// The other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A certificate that the proxy has validated names this workload.
    Proven(PeerId),
    /// Nobody is proven, because of this.
    Unproven(NoIdentity),
}

impl Peer {
    /// Whether the proxy has validated a certificate that the other side presented, whatever it names.
    pub fn is_validated(&self) -> bool {
        match self {
            Self::Proven(_) | Self::Unproven(NoIdentity::NoUri | NoIdentity::NotSpiffe(_)) => true,
            Self::Unproven(
                NoIdentity::NoCertificate
                | NoIdentity::NotValidated
                | NoIdentity::PassedThrough
                | NoIdentity::NothingForwarded
                | NoIdentity::MalformedForwarding,
            ) => false,
        }
    }

    /// The proven identity, if there is one.
    pub fn id(&self) -> Option<&PeerId> {
        match self {
            Self::Proven(id) => Some(id),
            Self::Unproven(_) => None,
        }
    }
}

impl Peer {
    /// This peer, unless it presented a certificate from which nothing follows: one that the proxy has not validated,
    /// or one with a URI that is not a SPIFFE ID, or one that this proxy does not get to see. That it has no identity would be as much a guess as any identity.
    pub(crate) fn usable(&self) -> Result<&Self, Obstacle> {
        match self {
            Self::Unproven(
                reason @ (NoIdentity::NotValidated
                | NoIdentity::NotSpiffe(_)
                | NoIdentity::PassedThrough
                | NoIdentity::MalformedForwarding),
            ) => Err(Obstacle::Certificate(*reason)),
            Self::Proven(_)
            | Self::Unproven(NoIdentity::NoCertificate | NoIdentity::NothingForwarded | NoIdentity::NoUri) => Ok(self),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven(id) => id.fmt(f),
            Self::Unproven(reason) => write!(f, "a client without identity ({reason})"),
        }
    }
}
