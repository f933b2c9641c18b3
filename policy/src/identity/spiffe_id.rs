//! SPIFFE IDs of workloads.

use std::fmt;

use crate::identity::error::SpiffeIdError;

/// The most bytes of a SPIFFE ID that implementations must support, and so the most that this one takes
/// (SPIFFE-ID section 2.3).
const MAX_ID: usize = 2048;

const SCHEME: &str = "spiffe://";

/// The most bytes of a trust domain (SPIFFE-ID section 2.1).
pub(crate) const MAX_TRUST_DOMAIN: usize = 255;

/// The most bytes of an ID without its scheme.
pub(crate) const MAX_PRINCIPAL: usize = MAX_ID - SCHEME.len();

/// A workload's SPIFFE ID, as its X.509-SVID carries it.
///
/// Invariants, checked by [`parse`](Self::parse): scheme and trust domain in lower case (SPIFFE-ID section 2.1), a
/// path that is not empty (X.509-SVID section 2), at most 2,048 bytes, and all that the `spiffe` crate checks: path
/// segments of `[a-zA-Z0-9.-_]`, none of them empty or dots, no port, user, query, fragment or escape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Reads an identity from the bytes of a certificate's URI.
    ///
    /// Fails with the rule that the bytes break; bytes that are not UTF-8 are no SPIFFE ID.
    ///
    /// ```
    /// use sallyport_policy::{SpiffeIdError, SpiffeId};
    /// let id = SpiffeId::parse(b"spiffe://cluster.local/ns/shop/sa/web")?;
    /// assert_eq!(id.principal(), "cluster.local/ns/shop/sa/web");
    /// assert_eq!(SpiffeId::parse(b"spiffe://Cluster.local/ns/shop/sa/web"), Err(SpiffeIdError::UpperCase));
    /// # Ok::<(), SpiffeIdError>(())
    /// ```
    pub fn parse(uri: &[u8]) -> Result<Self, SpiffeIdError> {
        if uri.len() > MAX_ID {
            return Err(SpiffeIdError::TooLong);
        }
        let text = str::from_utf8(uri).map_err(|_| SpiffeIdError::Malformed)?;
        let id = spiffe::SpiffeId::new(text).map_err(|_| SpiffeIdError::Malformed)?;
        let authority = text.strip_prefix(SCHEME).and_then(|rest| rest.split('/').next());
        if authority != Some(id.trust_domain_name()) {
            return Err(SpiffeIdError::UpperCase);
        }
        if id.path().is_empty() {
            return Err(SpiffeIdError::NoPath);
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole ID, as in `spiffe://cluster.local/ns/shop/sa/web`.
    pub fn uri(&self) -> &str {
        &self.0
    }

    /// Returns the trust domain, such as `cluster.local`.
    pub(crate) fn trust_domain(&self) -> &str {
        self.principal().split('/').next().unwrap_or_default()
    }

    /// The ID without its scheme, as Istio writes principals: `cluster.local/ns/shop/sa/web`.
    pub fn principal(&self) -> &str {
        self.0.get(SCHEME.len()..).unwrap_or_default()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.principal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_strict() {
        let long = format!("spiffe://a/{}", "x".repeat(MAX_ID - 11));
        let too_long = format!("{long}x");
        let rows: [(&[u8], Result<(), SpiffeIdError>); 17] = [
            (b"spiffe://cluster.local/ns/a/sa/b", Ok(())),
            (b"spiffe://10.0.0.1/x", Ok(())),
            (long.as_bytes(), Ok(())),
            (too_long.as_bytes(), Err(SpiffeIdError::TooLong)),
            (b"spiffe://Cluster.local/ns/a", Err(SpiffeIdError::UpperCase)),
            (b"SPIFFE://cluster.local/ns/a", Err(SpiffeIdError::UpperCase)),
            (b"spiffe://cluster.local", Err(SpiffeIdError::NoPath)),
            (b"spiffe://cluster.local/", Err(SpiffeIdError::Malformed)),
            (b"spiffe://cluster.local/a/", Err(SpiffeIdError::Malformed)),
            (b"spiffe://cluster.local/a//b", Err(SpiffeIdError::Malformed)),
            (b"spiffe://cluster.local/a/../b", Err(SpiffeIdError::Malformed)),
            (b"spiffe://cluster.local:80/a", Err(SpiffeIdError::Malformed)),
            (b"spiffe://u@cluster.local/a", Err(SpiffeIdError::Malformed)),
            (b"spiffe://cluster.local/a?b", Err(SpiffeIdError::Malformed)),
            (b"spiffe://td/x;URI=spiffe://td/admin", Err(SpiffeIdError::Malformed)),
            (b"spiffe://cluster.local/\xff", Err(SpiffeIdError::Malformed)),
            (b"https://cluster.local/a", Err(SpiffeIdError::Malformed)),
        ];
        for (uri, expected) in rows {
            assert_eq!(SpiffeId::parse(uri).map(|_| ()), expected, "{}", String::from_utf8_lossy(uri));
        }
    }
}
