//! Attributes of a request that policies read, and the errors of reading them.

use std::any::Any;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::attributes::dynamic_metadata::DynamicMetadata;
use crate::attributes::request_memo::RequestMemo;
use crate::collections::bytes::memchr2;
use crate::identity::error::AttributeError;
use crate::identity::peer::Peer;

/// Request as the proxy sees it. A compiled policy reads only the attributes that its rules need. It can read method,
/// host or path twice, so implementations cache expensive attributes.
///
/// `Ok(None)` means that the request lacks the attribute: a positive match on it is false, a negative one true. An
/// error prevents a decision, and the request is denied. The default implementations return an error.
pub trait Request {
    /// Reports whether this is a TCP connection rather than an HTTP request.
    fn is_connection(&self) -> bool {
        false
    }

    /// Returns the authenticated or unauthenticated peer.
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        unsupported("the peer")
    }

    /// Returns the address of the connection's peer, independent of headers (`source.ip`).
    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        unsupported("source.ip")
    }

    /// The address of the client as the proxy finds it out: by `X-Forwarded-For` or the PROXY protocol where it trusts
    /// them (`remote.ip`).
    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        unsupported("remote.ip")
    }

    /// The address that the connection was addressed to, on the proxy's side (`destination.ip`).
    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        unsupported("destination.ip")
    }

    /// The port that the connection was addressed to, on the proxy's side.
    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError>;

    /// Returns the SNI of the client's TLS handshake (RFC 6066, section 3), if the proxy read it.
    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        unsupported("connection.sni")
    }

    /// Returns the time of the decision, since the Unix epoch.
    fn time(&mut self) -> Result<Duration, AttributeError> {
        unsupported("request.time")
    }

    /// Returns the dynamic metadata that earlier filters set.
    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        unsupported("metadata")
    }

    /// Returns the mark of an instance with `stage: custom`: the providers of the authorizers that the request needs.
    fn custom_mark(&mut self) -> Result<Option<Vec<u8>>, AttributeError> {
        unsupported("the mark of stage: custom")
    }

    /// Returns what was found out about the request, where that is kept with it.
    fn memo(&mut self) -> Option<&mut RequestMemo> {
        None
    }

    /// Attributes that one filter alone knows, by their type.
    fn extension(&self) -> Option<&dyn Any> {
        None
    }

    /// The request method (`:method`), as sent.
    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError>;

    /// The host that it is addressed to (`:authority`), with its port if it names one, as sent.
    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError>;

    /// The path with query and fragment (`:path`), as the proxy hands it over.
    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError>;

    /// The values of a header, whose name is given in lower case: none where it is absent, several where it is
    /// repeated, as bytes, since they need not be UTF-8.
    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError>;
}

fn unsupported<T>(attribute: &'static str) -> Result<T, AttributeError> {
    Err(AttributeError { attribute, status: "it is not known here" })
}

/// A pseudo-header of a request (RFC 9113, section 8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PseudoHeader {
    Method,
    Authority,
    Path,
}

impl PseudoHeader {
    /// Reads the value as sent; `None` if the request lacks it.
    pub(crate) fn read(self, request: &mut dyn Request) -> Result<Option<&[u8]>, AttributeError> {
        match self {
            Self::Method => request.method(),
            Self::Authority => request.host(),
            Self::Path => request.path(),
        }
    }
}

/// Values of one header, usually one.
pub type HeaderValues<'v> = SmallVec<[&'v [u8]; 2]>;

/// Returns a path without query and fragment, as in Envoy's path matcher (`PathUtil::removeQueryAndFragment`).
pub(crate) fn without_query(path: &[u8]) -> &[u8] {
    let end = memchr2(path, b'?', b'#');
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}
