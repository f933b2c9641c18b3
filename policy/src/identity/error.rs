//! Errors that stop a decision.

use std::fmt;

/// The proxy did not say what a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeError {
    /// Envoy's name of the attribute.
    pub attribute: &'static str,
    /// Status that the proxy returned.
    pub status: &'static str,
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy did not tell {}: {}", self.attribute, self.status)
    }
}

/// Error that prevents a decision; the request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// The proxy did not say what it needs.
    AttributeUnavailable(AttributeError),
    /// A rule refers to identity, and the presented certificate does not prove one.
    UnverifiedPeer(UnauthenticatedReason),
}

impl From<AttributeError> for EvalError {
    fn from(failure: AttributeError) -> Self {
        Self::AttributeUnavailable(failure)
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AttributeUnavailable(failure) => failure.fmt(f),
            Self::UnverifiedPeer(reason) => {
                write!(f, "caller identity unavailable: {reason}")?;
                reason.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
        }
    }
}

/// Reason why a certificate's URI is not a workload's SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiffeIdError {
    /// Violates the grammar of SPIFFE-ID section 2, or is not UTF-8.
    Malformed,
    /// Scheme or trust domain hold capitals, which an issuer may not write (SPIFFE-ID section 2.1).
    UpperCase,
    /// Names only a trust domain, as a signing certificate does (X.509-SVID section 2).
    NoPath,
    /// Exceeds 2,048 bytes (SPIFFE-ID section 2.3).
    TooLong,
}

impl fmt::Display for SpiffeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the URI of its certificate is not a SPIFFE ID",
            Self::UpperCase => "the SPIFFE ID of its certificate has capitals in the scheme or the trust domain",
            Self::NoPath => "the SPIFFE ID of its certificate has no path, so it names no workload",
            Self::TooLong => "the SPIFFE ID of its certificate is longer than 2,048 bytes",
        })
    }
}

/// Reason why `x-forwarded-client-cert` is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XfccError {
    /// Header longer than 16 KiB.
    TooLong,
    /// Header with more than 32 elements.
    TooManyElements,
    /// A quote is left open.
    OpenQuote,
    /// A quote stands within a value, or a backslash outside quotes.
    MisplacedQuote,
    /// Malformed element, counted from 1.
    Element(usize, XfccElementError),
}

/// Error in an element of `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XfccElementError {
    /// Empty element.
    Empty,
    /// Element with more than 32 pairs.
    TooManyPairs,
    /// A pair, counted from 1, has no `=`.
    NoEquals(usize),
    /// A pair, counted from 1, has a key that Envoy does not write.
    UnknownKey(usize),
    /// Key that occurs twice.
    Repeated(&'static str),
    /// The URI has a quote or a backslash inside.
    QuotedUri,
}

impl fmt::Display for XfccError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("it is longer than 16 KiB"),
            Self::TooManyElements => f.write_str("it has more than 32 elements"),
            Self::OpenQuote => f.write_str("a quote is left open"),
            Self::MisplacedQuote => f.write_str("a quote or a backslash stands where Envoy writes none"),
            Self::Element(number, error) => write!(f, "element {number} {error}"),
        }
    }
}

impl fmt::Display for XfccElementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooManyPairs => f.write_str("has more than 32 pairs"),
            Self::NoEquals(number) => write!(f, "has no `=` in pair {number}"),
            Self::UnknownKey(number) => {
                write!(f, "has a key in pair {number} that is none of By, Hash, Cert, Chain, Subject, URI and DNS")
            }
            Self::Repeated(key) => write!(f, "has {key} twice"),
            Self::QuotedUri => f.write_str("has a quote or a backslash within its URI"),
        }
    }
}

/// Reason why a connection has no authenticated identity.
///
/// Without a certificate, or with one that carries no URI SAN, a positive match on an identity fails and a
/// negative one holds. All other reasons deny any request whose decision refers to identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnauthenticatedReason {
    /// Plaintext, or TLS without a client certificate.
    NoCertificate,
    /// A certificate was presented, and `connection.peer_certificate_valid` is false: it was not validated, or the TLS
    /// session was resumed, for which Envoy does not know the validation.
    NotValidated,
    /// A certificate was presented, and there is no `connection.peer_certificate_valid`, as in Envoy before 1.39.
    ValidationUnknown,
    /// The certificate has expired, before the connection was first seen or since.
    CertificateExpired,
    /// TLS passes through this proxy unread, so no certificate is seen.
    TlsPassthrough,
    /// The previous proxy forwarded no identity.
    NoForwardedIdentity,
    /// Malformed identity forwarded by the previous proxy.
    MalformedForwarding(XfccError),
    /// The certificate is validated and carries no URI.
    NoUri,
    /// The certificate is validated and carries a URI that is not a workload's SPIFFE ID.
    InvalidSpiffeId(SpiffeIdError),
}

impl UnauthenticatedReason {
    /// Returns the setting that may be missing, if the proxy's configuration can be the cause.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::NoCertificate => Some(
                "a listener asks for one by a validation_context, and insists on it by require_client_certificate (docs/listener-settings.md)",
            ),
            Self::NotValidated => Some(
                "set identity.validation: listener if the session was resumed and this listener verifies certificates \
                 (require_client_certificate and a validation_context without ACCEPT_UNTRUSTED), or \
                 disable_stateless_session_resumption and disable_stateful_session_resumption (docs/listener-settings.md)",
            ),
            Self::ValidationUnknown => Some(
                "run Envoy 1.39 or later, or set identity.validation: listener if this listener verifies certificates \
                 (require_client_certificate and a validation_context without ACCEPT_UNTRUSTED) (docs/listener-settings.md)",
            ),
            Self::CertificateExpired
            | Self::TlsPassthrough
            | Self::NoForwardedIdentity
            | Self::MalformedForwarding(_)
            | Self::NoUri
            | Self::InvalidSpiffeId(_) => None,
        }
    }
}

impl fmt::Display for UnauthenticatedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("it presented no certificate"),
            Self::NotValidated => f.write_str("its certificate is not validated on this TLS session"),
            Self::ValidationUnknown => f.write_str("this proxy does not tell whether its certificate is validated"),
            Self::CertificateExpired => f.write_str("its certificate has expired"),
            Self::TlsPassthrough => f.write_str("its TLS passes through, so no certificate is seen"),
            Self::NoForwardedIdentity => f.write_str("no forwarded identity"),
            Self::MalformedForwarding(error) => write!(f, "the x-forwarded-client-cert about it is malformed: {error}"),
            Self::NoUri => f.write_str("its certificate has no URI, so no SPIFFE ID"),
            Self::InvalidSpiffeId(reason) => reason.fmt(f),
        }
    }
}
