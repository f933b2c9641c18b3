//! Connections, requests, and the streams that the host makes of them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::encoding;
use super::outcome::LocalResponse;

/// The values of `proxy_map_type_t` that the host supports.
const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;

/// A downstream connection, as Envoy's attributes describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `connection.id`. Over HTTP/3 a client can choose one that another connection has.
    pub id: u64,
    /// The URI SANs of the client's certificate; `None` if it presented none.
    pub certificate: Option<Vec<String>>,
    /// `connection.peer_certificate_valid`; `None` on an Envoy before 1.39.
    pub validated: Option<bool>,
    /// `connection.peer_certificate`, in PEM; `None` on Envoy before 1.38.
    pub peer_certificate: Option<String>,
    /// True if the connection uses TLS.
    pub tls: bool,
    /// `source.address`.
    pub source: SocketAddr,
    /// `destination.address`.
    pub destination: SocketAddr,
    /// `connection.requested_server_name`: the SNI, if the TLS inspector ran.
    pub server_name: Option<Vec<u8>>,
    /// The filter state that other filters set.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// The attribute `metadata`, [encoded](super::metadata::encode).
    pub metadata: Vec<u8>,
}

/// The identity of a connection, independent of an id that clients may choose: id, certificate and source address.
pub(super) type ConnectionKey = (u64, Option<Vec<String>>, SocketAddr);

impl Connection {
    /// The default address of clients.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    /// An mTLS connection to port 443 with a validated certificate that has this URI SAN.
    pub fn mtls(id: u64, uri: &str) -> Self {
        let certificate = Some(vec![uri.to_owned()]);
        Self { certificate, validated: Some(true), ..Self::without_certificate(id) }
    }

    /// A TLS connection to port 443 without a client certificate.
    pub fn without_certificate(id: u64) -> Self {
        Self { tls: true, ..Self::plaintext(id) }
    }

    /// A plaintext connection to port 443.
    pub fn plaintext(id: u64) -> Self {
        Self {
            id,
            certificate: None,
            validated: Some(false),
            peer_certificate: None,
            tls: false,
            source: SocketAddr::from((Self::CLIENT, 40_000)),
            destination: SocketAddr::from(([192, 0, 2, 1], 443)),
            server_name: None,
            filter_state: BTreeMap::new(),
            metadata: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> ConnectionKey {
        (self.id, self.certificate.clone(), self.source)
    }
}

/// A header map: names in lower case, in order.
pub(super) type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A request: its headers in order, pseudo-headers included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Request {
    /// An HTTPS request as Envoy shows it to filters.
    pub fn new(method: &str, host: &str, path: &str) -> Self {
        let header = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Self(vec![
            header(":method", method),
            header(":authority", host),
            header(":path", path),
            header(":scheme", "https"),
        ])
    }

    /// Replaces `:authority`.
    pub fn with_host(self, host: &[u8]) -> Self {
        self.with_pseudo_header(b":authority", host)
    }

    /// Replaces `:path`.
    pub fn with_path(self, path: &[u8]) -> Self {
        self.with_pseudo_header(b":path", path)
    }

    fn with_pseudo_header(mut self, name: &[u8], value: &[u8]) -> Self {
        for (_, current) in self.0.iter_mut().filter(|(key, _)| key == name) {
            *current = value.to_vec();
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

/// One stream context of the VM.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) connection: Connection,
    pub(super) request: Request,
    /// True once the filter has continued with the request's headers.
    pub(super) headers_released: bool,
    /// True once the filter has continued with the response headers.
    pub(super) response_headers_released: bool,
    /// The bytes of the request's body that are held; `None` outside the callback for them.
    pub(super) body: Option<Vec<u8>>,
    pub(super) filter_state: BTreeMap<String, Vec<u8>>,
    pub(super) response: Option<LocalResponse>,
    /// The response headers, once there is a response.
    pub(super) response_headers: Option<Headers>,
    pub(super) kind: StreamKind,
    /// True once the TLS handshake is complete: before that the client's certificate is not known.
    pub(super) established: bool,
}

/// The filter chain that a stream runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// An HTTP filter chain.
    Http,
    /// A network filter chain; `closed` tells whether a filter closed the connection.
    Tcp { closed: bool },
}

impl Stream {
    /// Returns a header map (`proxy_map_type_t`), or `None` if the stream has none of this type, or not yet.
    pub(super) fn headers(&self, map: u32) -> Option<&Headers> {
        match map {
            // Envoy releases the headers once the filter continues with them.
            REQUEST_HEADERS => (!self.headers_released).then_some(&self.request.0),
            RESPONSE_HEADERS => self.response_headers.as_ref().filter(|_| !self.response_headers_released),
            _ => None,
        }
    }

    /// Returns a header map as [`headers`](Self::headers) does, mutable.
    pub(super) fn headers_mut(&mut self, map: u32) -> Option<&mut Headers> {
        match map {
            REQUEST_HEADERS => (!self.headers_released).then_some(&mut self.request.0),
            RESPONSE_HEADERS => self.response_headers.as_mut().filter(|_| !self.response_headers_released),
            _ => None,
        }
    }

    /// Returns an attribute in Envoy's encoding, or `None` if this stream does not have it.
    pub(super) fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let connection = &self.connection;
        let header = |name: &str| {
            let value = self.request.first(name.as_bytes()).filter(|_| !self.headers_released);
            value.filter(|value| !value.is_empty()).map(<[u8]>::to_vec)
        };
        match path {
            ["connection", "id"] => Some(encoding::integer(connection.id)),
            ["connection", "mtls"] => Some(encoding::boolean(self.established && connection.certificate.is_some())),
            ["connection", "tls_version"] => connection.tls.then(|| encoding::string("TLSv1.3")),
            ["connection", "peer_certificate_valid"] => {
                connection.validated.map(|valid| encoding::boolean(self.established && valid))
            }
            ["connection", "peer_certificate"] if !self.established => None,
            ["connection", "peer_certificate"] => connection.peer_certificate.as_deref().map(encoding::string),
            ["connection", "uri_san_peer_certificate"] if !self.established => None,
            ["connection", "uri_san_peer_certificate"] => {
                connection.certificate.as_ref()?.first().map(|uri| encoding::string(uri))
            }
            ["connection", "requested_server_name"] => Some(connection.server_name.clone().unwrap_or_default()),
            ["source", "address"] => Some(encoding::string(&connection.source.to_string())),
            ["source", "port"] => Some(encoding::integer(connection.source.port().into())),
            ["destination", "address"] => Some(encoding::string(&connection.destination.to_string())),
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

    /// Returns an attribute as text, or `None` if the proxy of [`Profile::TextAttributes`](super::Profile) has none.
    pub(super) fn text_property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let connection = &self.connection;
        let text = match path {
            ["connection", "id"] => connection.id.to_string(),
            ["connection", "mtls"] => connection.certificate.is_some().to_string(),
            ["connection", "tls_version"] => "TLSv1.3".to_owned(),
            ["connection", "requested_server_name"] => return connection.server_name.clone(),
            ["source", "address"] => connection.source.ip().to_string(),
            ["source", "port"] => connection.source.port().to_string(),
            ["destination", "address"] => connection.destination.ip().to_string(),
            ["destination", "port"] => connection.destination.port().to_string(),
            _ => return None,
        };
        Some(text.into_bytes())
    }
}
