//! A request written as lines of text, so that a fuzzer changes one attribute by changing a line.

use std::net::IpAddr;
use std::time::Duration;

use sallyport_policy::{
    AttributeError, DynamicMetadata, EgressRequest, HeaderValues, Peer, Request, SpiffeId, UnauthenticatedReason,
};

use crate::json::{Json, map_entry};

/// Metadata namespace in which Envoy's JWT filter keeps the payload of a token, and its key there.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
const PAYLOAD: &str = "payload";

/// A request, or a TCP connection.
#[derive(Clone, Debug)]
pub struct TextRequest {
    peer: Peer,
    source: Option<IpAddr>,
    remote: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<u16>,
    server_name: Option<Vec<u8>>,
    time: Duration,
    metadata: DynamicMetadata,
    metadata_bytes: Vec<u8>,
    method: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    mark: Option<Vec<u8>>,
    failing: Vec<String>,
    is_connection: bool,
    is_passthrough: bool,
}

impl Default for TextRequest {
    /// `GET /` for `orders.shop` by a client without a certificate.
    fn default() -> Self {
        Self {
            peer: Peer::Unauthenticated(UnauthenticatedReason::NoCertificate),
            source: "198.51.100.1".parse().ok(),
            remote: "203.0.113.7".parse().ok(),
            destination: "10.0.0.1".parse().ok(),
            port: Some(443),
            server_name: None,
            time: Duration::ZERO,
            metadata: DynamicMetadata::default(),
            metadata_bytes: Vec::new(),
            method: Some(b"GET".to_vec()),
            host: Some(b"orders.shop".to_vec()),
            path: Some(b"/".to_vec()),
            headers: Vec::new(),
            mark: None,
            failing: Vec::new(),
            is_connection: false,
            is_passthrough: false,
        }
    }
}

impl TextRequest {
    /// Reads lines of `key value`. Lines that mean nothing are skipped: a fuzzer writes many.
    pub fn parse(lines: &[&[u8]]) -> Self {
        let mut request = Self::default();
        for line in lines {
            let mut words = line.splitn(2, |byte| *byte == b' ');
            let (key, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            request.set(key, value);
        }
        request
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        let text = str::from_utf8(value).unwrap_or_default();
        match key {
            b"peer" => self.peer = peer(value),
            b"source" => self.source = text.parse().ok(),
            b"remote" => self.remote = text.parse().ok(),
            b"destination" => self.destination = text.parse().ok(),
            b"port" => self.port = text.parse().ok(),
            b"sni" => self.server_name = Some(value.to_vec()),
            b"time" => self.time = Duration::from_secs(text.parse::<u32>().unwrap_or_default().into()),
            b"token" => self.add_metadata(JWT_FILTER, PAYLOAD, value),
            b"metadata" => {
                let mut words = text.splitn(3, ' ');
                if let (Some(filter), Some(key), Some(json)) = (words.next(), words.next(), words.next()) {
                    self.add_metadata(filter, key, json.as_bytes());
                }
            }
            b"method" => self.method = Some(value.to_vec()),
            b"host" => self.host = Some(value.to_vec()),
            b"path" => self.path = Some(value.to_vec()),
            b"header" => {
                let mut sides = value.splitn(2, |byte| *byte == b':');
                let name = sides.next().and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
                self.headers.push((name.to_ascii_lowercase(), sides.next().unwrap_or_default().to_vec()));
            }
            b"mark" => self.mark = Some(value.to_vec()),
            b"without" => self.remove(text),
            b"failing" => self.failing.push(text.to_owned()),
            b"passthrough" => self.is_passthrough = true,
            _ => {}
        }
    }

    fn add_metadata(&mut self, filter: &str, key: &str, json: &[u8]) {
        if let Some(value) = Json::parse(json) {
            self.metadata_bytes.extend(map_entry(filter, &map_entry(key, &value.to_proto_value())));
            self.metadata = DynamicMetadata::new(self.metadata_bytes.clone());
        }
    }

    fn remove(&mut self, attribute: &str) {
        match attribute {
            "method" => self.method = None,
            "host" => self.host = None,
            "path" => self.path = None,
            "port" => self.port = None,
            "source" => self.source = None,
            _ => {}
        }
    }

    /// Returns the TCP connection that the request could have come on.
    pub fn to_connection(&self) -> Self {
        Self { is_connection: true, ..self.clone() }
    }

    /// Returns another request on the same connection.
    pub fn other_of_connection(&self) -> Self {
        Self {
            method: Some(b"OTHER".to_vec()),
            host: None,
            path: Some(b"/other".to_vec()),
            headers: Vec::new(),
            metadata: DynamicMetadata::default(),
            ..self.clone()
        }
    }

    /// Reports whether an attribute cannot be read.
    pub fn fails(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Returns the same request, with every attribute readable.
    pub fn without_failures(&self) -> Self {
        Self { failing: Vec::new(), ..self.clone() }
    }

    fn read(&self, attribute: &'static str) -> Result<(), AttributeError> {
        match self.failing.iter().any(|failing| failing == attribute) {
            true => Err(AttributeError { attribute, status: "it failed" }),
            false => Ok(()),
        }
    }

    fn read_of_http(&self, attribute: &'static str) -> Result<(), AttributeError> {
        match self.is_connection {
            true => Err(AttributeError { attribute, status: "a connection has none" }),
            false => self.read(attribute),
        }
    }
}

/// A peer by its SPIFFE ID, or one without identity by the reason.
fn peer(value: &[u8]) -> Peer {
    match value {
        b"" | b"none" => Peer::Unauthenticated(UnauthenticatedReason::NoCertificate),
        b"no-uri" => Peer::Unauthenticated(UnauthenticatedReason::NoUri),
        b"not-validated" => Peer::Unauthenticated(UnauthenticatedReason::NotValidated),
        b"expired" => Peer::Unauthenticated(UnauthenticatedReason::CertificateExpired),
        uri => match SpiffeId::parse(uri) {
            Ok(id) => Peer::Authenticated(id),
            Err(error) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(error)),
        },
    }
}

impl Request for TextRequest {
    fn is_connection(&self) -> bool {
        self.is_connection
    }

    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        self.read("peer")?;
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.read("source")?;
        Ok(self.source)
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.read("remote")?;
        Ok(self.remote)
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.read("destination")?;
        Ok(self.destination)
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.read("sni")?;
        Ok(self.server_name.as_deref())
    }

    fn time(&mut self) -> Result<Duration, AttributeError> {
        self.read("time")?;
        Ok(self.time)
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        self.read("metadata")?;
        Ok(&self.metadata)
    }

    fn custom_mark(&mut self) -> Result<Option<Vec<u8>>, AttributeError> {
        self.read("mark")?;
        Ok(self.mark.clone())
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        self.read("port")?;
        Ok(self.port)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.read_of_http("method")?;
        Ok(self.method.as_deref())
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.read_of_http("host")?;
        Ok(self.host.as_deref())
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.read_of_http("path")?;
        Ok(self.path.as_deref())
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        self.read_of_http("header")?;
        Ok(self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_slice()).collect())
    }
}

impl EgressRequest for TextRequest {
    fn is_tls_passthrough(&self) -> bool {
        self.is_passthrough
    }
}
