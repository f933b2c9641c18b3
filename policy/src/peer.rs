//! Who the other side is: a proven SPIFFE identity, or the reason why there is none.

use std::fmt;

use spiffe::SpiffeId;

use crate::request::Obstacle;

/// The most bytes of a SPIFFE ID that implementations must support, and so the most that this one takes
/// (SPIFFE-ID section 2.3).
const LONGEST_ID: usize = 2048;

const SCHEME: &str = "spiffe://";

/// A workload's SPIFFE ID, as its X.509-SVID carries it.
///
/// Invariants, checked by [`parse`](Self::parse): scheme and trust domain in lower case (SPIFFE-ID section 2.1), a
/// path that is not empty (X.509-SVID section 2), at most 2,048 bytes, and all that the `spiffe` crate checks: path
/// segments of `[a-zA-Z0-9.-_]`, none of them empty or dots, no port, user, query, fragment or escape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerId(String);

impl PeerId {
    /// Reads an identity from the bytes of a certificate's URI.
    ///
    /// Fails with the rule that the bytes break; bytes that are not UTF-8 are no SPIFFE ID.
    ///
    /// ```
    /// use sallyport_policy::{NotSpiffe, PeerId};
    /// let id = PeerId::parse(b"spiffe://cluster.local/ns/shop/sa/web")?;
    /// assert_eq!(id.principal(), "cluster.local/ns/shop/sa/web");
    /// assert_eq!(PeerId::parse(b"spiffe://Cluster.local/ns/shop/sa/web"), Err(NotSpiffe::UpperCase));
    /// # Ok::<(), NotSpiffe>(())
    /// ```
    pub fn parse(uri: &[u8]) -> Result<Self, NotSpiffe> {
        if uri.len() > LONGEST_ID {
            return Err(NotSpiffe::TooLong);
        }
        let text = str::from_utf8(uri).map_err(|_| NotSpiffe::Malformed)?;
        let id = SpiffeId::new(text).map_err(|_| NotSpiffe::Malformed)?;
        let authority = text.strip_prefix(SCHEME).and_then(|rest| rest.split('/').next());
        if authority != Some(id.trust_domain_name()) {
            return Err(NotSpiffe::UpperCase);
        }
        if id.path().is_empty() {
            return Err(NotSpiffe::NoPath);
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole ID, as in `spiffe://cluster.local/ns/shop/sa/web`.
    pub fn uri(&self) -> &str {
        &self.0
    }

    /// Its trust domain, as in `cluster.local`.
    pub(crate) fn trust_domain(&self) -> &str {
        self.principal().split('/').next().unwrap_or_default()
    }

    /// The ID without its scheme, as Istio writes principals: `cluster.local/ns/shop/sa/web`.
    pub fn principal(&self) -> &str {
        self.0.get(SCHEME.len()..).unwrap_or_default()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.principal())
    }
}

/// Why a certificate's URI is not a workload's SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSpiffe {
    /// It breaks the grammar of SPIFFE-ID section 2, or is not UTF-8.
    Malformed,
    /// Scheme or trust domain hold capitals, which an issuer may not write (SPIFFE-ID section 2.1).
    UpperCase,
    /// It names a trust domain only, as a signing certificate does (X.509-SVID section 2).
    NoPath,
    /// It has more than 2,048 bytes (SPIFFE-ID section 2.3).
    TooLong,
}

impl fmt::Display for NotSpiffe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the URI of its certificate is not a SPIFFE ID",
            Self::UpperCase => "the SPIFFE ID of its certificate has capitals in the scheme or the trust domain",
            Self::NoPath => "the SPIFFE ID of its certificate has no path, so it names no workload",
            Self::TooLong => "the SPIFFE ID of its certificate is longer than 2,048 bytes",
        })
    }
}

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

/// Why a connection proves no identity.
///
/// Without a certificate, or with one that carries no URI, a peer has none: a positive match on an identity fails, a
/// negative one holds. The other reasons stop every decision that asks for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoIdentity {
    /// Plaintext, or TLS without a client certificate.
    NoCertificate,
    /// A certificate was presented, and the proxy has not validated it; on a resumed TLS session Envoy no longer knows.
    NotValidated,
    /// TLS passes through this proxy unread, so no certificate is seen.
    PassedThrough,
    /// The proxy before this one forwards nothing about who asks.
    NothingForwarded,
    /// What the proxy before this one forwards cannot be read.
    MalformedForwarding,
    /// The certificate is validated and carries no URI.
    NoUri,
    /// The certificate is validated and carries a URI that is not a workload's SPIFFE ID.
    NotSpiffe(NotSpiffe),
}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("it presented no certificate"),
            Self::NotValidated => f.write_str("the proxy has not validated its certificate"),
            Self::PassedThrough => f.write_str("its TLS passes through, so no certificate is seen"),
            Self::NothingForwarded => f.write_str("nothing is forwarded about it"),
            Self::MalformedForwarding => f.write_str("what is forwarded about it is malformed"),
            Self::NoUri => f.write_str("its certificate has no URI, so no SPIFFE ID"),
            Self::NotSpiffe(reason) => reason.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_strict() {
        let long = format!("spiffe://a/{}", "x".repeat(LONGEST_ID - 11));
        let too_long = format!("{long}x");
        let rows: [(&[u8], Result<(), NotSpiffe>); 17] = [
            (b"spiffe://cluster.local/ns/a/sa/b", Ok(())),
            (b"spiffe://10.0.0.1/x", Ok(())),
            (long.as_bytes(), Ok(())),
            (too_long.as_bytes(), Err(NotSpiffe::TooLong)),
            (b"spiffe://Cluster.local/ns/a", Err(NotSpiffe::UpperCase)),
            (b"SPIFFE://cluster.local/ns/a", Err(NotSpiffe::UpperCase)),
            (b"spiffe://cluster.local", Err(NotSpiffe::NoPath)),
            (b"spiffe://cluster.local/", Err(NotSpiffe::Malformed)),
            (b"spiffe://cluster.local/a/", Err(NotSpiffe::Malformed)),
            (b"spiffe://cluster.local/a//b", Err(NotSpiffe::Malformed)),
            (b"spiffe://cluster.local/a/../b", Err(NotSpiffe::Malformed)),
            (b"spiffe://cluster.local:80/a", Err(NotSpiffe::Malformed)),
            (b"spiffe://u@cluster.local/a", Err(NotSpiffe::Malformed)),
            (b"spiffe://cluster.local/a?b", Err(NotSpiffe::Malformed)),
            (b"spiffe://td/x;URI=spiffe://td/admin", Err(NotSpiffe::Malformed)),
            (b"spiffe://cluster.local/\xff", Err(NotSpiffe::Malformed)),
            (b"https://cluster.local/a", Err(NotSpiffe::Malformed)),
        ];
        for (uri, expected) in rows {
            assert_eq!(PeerId::parse(uri).map(|_| ()), expected, "{}", String::from_utf8_lossy(uri));
        }
    }
}
