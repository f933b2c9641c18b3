//! Errors that stop a decision.

use std::fmt;

/// The proxy did not say what a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeError {
    /// What was asked for, in Envoy's name for it.
    pub attribute: &'static str,
    /// How the proxy answered.
    pub status: &'static str,
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy did not tell {}: {}", self.attribute, self.status)
    }
}

/// What stops a decision, and so denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// The proxy did not say what it needs.
    AttributeUnavailable(AttributeError),
    /// It depends on who asks, and the certificate that they presented proves nothing.
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
                write!(f, "who this is cannot be told, because {reason}")?;
                reason.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
        }
    }
}

/// Why a certificate's URI is not a workload's SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiffeIdError {
    /// It breaks the grammar of SPIFFE-ID section 2, or is not UTF-8.
    Malformed,
    /// Scheme or trust domain hold capitals, which an issuer may not write (SPIFFE-ID section 2.1).
    UpperCase,
    /// It names a trust domain only, as a signing certificate does (X.509-SVID section 2).
    NoPath,
    /// It has more than 2,048 bytes (SPIFFE-ID section 2.3).
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

/// Why `x-forwarded-client-cert` tells nothing of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XfccError {
    /// It has more than 16 KiB.
    TooLong,
    /// It has more than 32 elements.
    TooManyElements,
    /// A quote is left open.
    OpenQuote,
    /// One of its elements, counted from 1, is malformed.
    Element(usize, XfccElementError),
}

/// What is wrong with an element of `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XfccElementError {
    /// It is empty.
    Empty,
    /// It has more than 32 pairs.
    TooManyPairs,
    /// A pair, counted from 1, has no `=`.
    NoEquals(usize),
    /// A pair, counted from 1, has a key that Envoy does not write.
    UnknownKey(usize),
    /// This key comes twice.
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

/// Why a connection proves no identity.
///
/// Without a certificate, or with one that carries no URI, a peer has none: a positive match on an identity fails, a
/// negative one holds. The other reasons stop every decision that asks for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnauthenticatedReason {
    /// Plaintext, or TLS without a client certificate.
    NoCertificate,
    /// A certificate was presented, and `connection.peer_certificate_valid` is false: it was not validated, or the TLS
    /// session is resumed, of which Envoy no longer knows.
    NotValidated,
    /// A certificate was presented, and there is no `connection.peer_certificate_valid`, as in Envoy before 1.39.
    ValidationUnknown,
    /// The certificate has ended, before the connection was first seen or since.
    CertificateExpired,
    /// TLS passes through this proxy unread, so no certificate is seen.
    TlsPassthrough,
    /// The proxy before this one forwards nothing about who asks.
    NoForwardedIdentity,
    /// What the proxy before this one forwards cannot be read.
    MalformedForwarding(XfccError),
    /// The certificate is validated and carries no URI.
    NoUri,
    /// The certificate is validated and carries a URI that is not a workload's SPIFFE ID.
    InvalidSpiffeId(SpiffeIdError),
}

impl UnauthenticatedReason {
    /// Setting that may be missing, where the fault can lie with the proxy's configuration.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::NoCertificate => {
                Some("a listener asks for one by a validation_context, and insists on it by require_client_certificate")
            }
            Self::NotValidated => Some(
                "set identity.validation: listener if the session was resumed and this listener verifies certificates \
                 (require_client_certificate and a validation_context without ACCEPT_UNTRUSTED), or \
                 disable_stateless_session_resumption and disable_stateful_session_resumption",
            ),
            Self::ValidationUnknown => Some(
                "run Envoy 1.39 or later, or set identity.validation: listener if this listener verifies certificates \
                 (require_client_certificate and a validation_context without ACCEPT_UNTRUSTED)",
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
            Self::NoForwardedIdentity => f.write_str("nothing is forwarded about it"),
            Self::MalformedForwarding(error) => write!(f, "the x-forwarded-client-cert about it is malformed: {error}"),
            Self::NoUri => f.write_str("its certificate has no URI, so no SPIFFE ID"),
            Self::InvalidSpiffeId(reason) => reason.fmt(f),
        }
    }
}
