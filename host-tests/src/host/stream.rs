//! A request and the connection that it came by, and what the filter did to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::encoding;

/// A downstream connection, as Envoy tells it in attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `connection.id`; over HTTP/3 a client can take one that another has had.
    pub id: u64,
    /// The URI SANs of the client's certificate, or none where it presented no certificate.
    pub certificate: Option<Vec<String>>,
    /// `connection.peer_certificate_valid`; none on an Envoy before 1.39.
    pub validated: Option<bool>,
    /// Whether the client speaks TLS.
    pub tls: bool,
    /// `source.address`.
    pub source: SocketAddr,
    /// `destination.address`.
    pub destination: SocketAddr,
    /// `connection.requested_server_name`, where the TLS inspector ran.
    pub server_name: Option<Vec<u8>>,
    /// The filter state that other filters have set.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// The attribute `metadata`, as [`metadata::encode`](super::metadata::encode) makes it.
    pub metadata: Vec<u8>,
}

/// What tells connections apart, whatever ids they have.
pub(super) type Handshake = (u64, Option<Vec<String>>, SocketAddr);

impl Connection {
    /// The address of clients that are not given another one.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    /// A connection in mTLS to port 443, under a valid certificate of this URI, on which Envoy tells nothing more.
    pub fn mtls(id: u64, uri: &str) -> Self {
        let certificate = Some(vec![uri.to_owned()]);
        Self { certificate, validated: Some(true), ..Self::without_certificate(id) }
    }

    /// As [`mtls`](Self::mtls), where the client presents no certificate.
    pub fn without_certificate(id: u64) -> Self {
        Self { tls: true, ..Self::plaintext(id) }
    }

    /// As [`mtls`](Self::mtls), where the client speaks no TLS.
    pub fn plaintext(id: u64) -> Self {
        Self {
            id,
            certificate: None,
            validated: Some(false),
            tls: false,
            source: SocketAddr::from((Self::CLIENT, 40_000)),
            destination: SocketAddr::from(([192, 0, 2, 1], 443)),
            server_name: None,
            filter_state: BTreeMap::new(),
            metadata: Vec::new(),
        }
    }

    pub(super) fn handshake(&self) -> Handshake {
        (self.id, self.certificate.clone(), self.source)
    }
}

/// A request's headers in their order, pseudo-headers among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Request {
    /// A request of HTTP/1.1 as Envoy shows it.
    pub fn new(method: &str, host: &str, path: &str) -> Self {
        let header = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Self(vec![
            header(":method", method),
            header(":authority", host),
            header(":path", path),
            header(":scheme", "https"),
        ])
    }

    /// Puts another host in place.
    pub fn with_host(self, host: &[u8]) -> Self {
        self.with_pseudo_header(b":authority", host)
    }

    /// Puts another path in place.
    pub fn with_path(self, path: &[u8]) -> Self {
        self.with_pseudo_header(b":path", path)
    }

    fn with_pseudo_header(mut self, name: &[u8], value: &[u8]) -> Self {
        for (_, known) in self.0.iter_mut().filter(|(key, _)| key == name) {
            *known = value.to_vec();
        }
        self
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: &[u8]) -> Self {
        self.0.push((name.to_ascii_lowercase().into_bytes(), value.to_vec()));
        self
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// What `proxy_send_local_response` was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u32,
    /// `%RESPONSE_CODE_DETAILS%`, where Envoy puts underscores for blanks.
    pub details: String,
    /// The body.
    pub body: Vec<u8>,
    /// The headers beside those that Envoy adds.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The gRPC status for gRPC requests, -1 for the one that the HTTP status stands for.
    pub grpc_status: i32,
}

/// One stream in the VM.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) connection: Connection,
    pub(super) request: Request,
    pub(super) filter_state: BTreeMap<String, Vec<u8>>,
    pub(super) response: Option<LocalResponse>,
    pub(super) kind: Kind,
    /// Whether the handshake of the client's TLS is over: before that its certificate is not known.
    pub(super) established: bool,
}

/// What a stream's filter sits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An HTTP filter chain.
    Http,
    /// A network filter chain, whose connection may be closed.
    Connection { closed: bool },
}

impl Stream {
    /// The first value of a header, as Envoy's `getHeaderMapValue` has it.
    pub(super) fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.request.first(&name.to_ascii_lowercase())
    }

    /// An attribute in Envoy's encoding, or none where this stream has none.
    pub(super) fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let connection = &self.connection;
        let header =
            |name: &str| self.request.first(name.as_bytes()).filter(|value| !value.is_empty()).map(<[u8]>::to_vec);
        match path {
            ["connection", "id"] => Some(encoding::integer(connection.id)),
            ["connection", "mtls"] => Some(encoding::boolean(self.established && connection.certificate.is_some())),
            ["connection", "tls_version"] => connection.tls.then(|| encoding::text("TLSv1.3")),
            ["connection", "peer_certificate_valid"] => {
                connection.validated.map(|valid| encoding::boolean(self.established && valid))
            }
            ["connection", "uri_san_peer_certificate"] if !self.established => None,
            ["connection", "uri_san_peer_certificate"] => {
                connection.certificate.as_ref()?.first().map(|uri| encoding::text(uri))
            }
            ["connection", "requested_server_name"] => connection.server_name.clone(),
            ["source", "address"] => Some(encoding::text(&connection.source.to_string())),
            ["source", "port"] => Some(encoding::integer(connection.source.port().into())),
            ["destination", "address"] => Some(encoding::text(&connection.destination.to_string())),
            ["destination", "port"] => Some(encoding::integer(connection.destination.port().into())),
            ["request", "method"] => header(":method"),
            ["request", "host"] => header(":authority"),
            ["request", "path"] => header(":path"),
            ["request", "scheme"] => header(":scheme"),
            ["filter_state", key] => self.filter_state.get(*key).or_else(|| connection.filter_state.get(*key)).cloned(),
            ["metadata"] => Some(connection.metadata.clone()),
            _ => None,
        }
    }
}
