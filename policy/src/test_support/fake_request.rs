//! A request with attributes that a test sets, which records what is read of it.

use std::net::IpAddr;
use std::time::Duration;

use crate::attributes::dynamic_metadata::DynamicMetadata;
use crate::attributes::request::{HeaderValues, Request};
use crate::attributes::request_memo::RequestMemo;
use crate::egress::request::{EgressProtocol, EgressRequest};
use crate::identity::error::{AttributeError, UnauthenticatedReason};
use crate::identity::peer::Peer;
use crate::identity::spiffe_id::SpiffeId;

/// A request, or with [`EgressProtocol::Tls`] a TLS connection that passes through.
#[derive(Clone, Debug)]
pub(crate) struct FakeRequest {
    pub(crate) protocol: EgressProtocol,
    pub(crate) peer: Peer,
    pub(crate) source: Option<IpAddr>,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) server_name: Option<Vec<u8>>,
    pub(crate) time: Duration,
    pub(crate) metadata: DynamicMetadata,
    pub(crate) method: Option<Vec<u8>>,
    pub(crate) host: Option<Vec<u8>>,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) mark: Option<Vec<u8>>,
    /// Facts that are kept from the decision to its reason, for one policy.
    pub(crate) memo: Option<RequestMemo>,
    /// The attributes that cannot be read.
    pub(crate) failing: Vec<&'static str>,
    /// The attributes that were read, in order.
    pub(crate) read: Vec<&'static str>,
}

impl FakeRequest {
    /// `GET orders/` by a peer with this SPIFFE ID, or without a certificate where `uri` is empty.
    pub(crate) fn new(uri: &str) -> Self {
        let peer = match uri {
            "" => Peer::Unauthenticated(UnauthenticatedReason::NoCertificate),
            uri => Peer::Authenticated(SpiffeId::parse(uri.as_bytes()).expect("a SPIFFE ID")),
        };
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        Self {
            protocol: EgressProtocol::Http,
            peer,
            source: "198.51.100.1".parse().ok(),
            remote: "203.0.113.7".parse().ok(),
            port: Some(8443),
            server_name: None,
            time: Duration::from_secs(0),
            metadata: DynamicMetadata::default(),
            method: bytes("GET"),
            host: bytes("orders"),
            path: bytes("/"),
            headers: Vec::new(),
            mark: None,
            memo: None,
            failing: Vec::new(),
            read: Vec::new(),
        }
    }

    /// A request on its way out, for an authority, or for the server name of a TLS connection.
    pub(crate) fn egress(protocol: EgressProtocol, host: &str) -> Self {
        let host = Some(host.as_bytes().to_vec());
        let (host, server_name) = if protocol == EgressProtocol::Tls { (None, host) } else { (host, None) };
        let method: &[u8] = if protocol == EgressProtocol::Connect { b"CONNECT" } else { b"GET" };
        Self {
            protocol,
            port: Some(443),
            server_name,
            method: Some(method.to_vec()),
            host,
            path: None,
            ..Self::new("")
        }
    }

    /// The same request by the peer of an Istio principal, a SPIFFE ID without its scheme.
    pub(crate) fn by_principal(self, principal: &str) -> Self {
        Self { peer: Self::new(&format!("spiffe://{principal}")).peer, ..self }
    }

    pub(crate) fn with_path(self, path: &str) -> Self {
        Self { path: Some(path.as_bytes().to_vec()), ..self }
    }

    pub(crate) fn with_method(self, method: &str) -> Self {
        Self { method: Some(method.as_bytes().to_vec()), ..self }
    }

    pub(crate) fn with_header_values(self, name: &'static str, values: &[&[u8]]) -> Self {
        Self { headers: values.iter().map(|value| (name, value.to_vec())).collect(), ..self }
    }

    fn record(&mut self, attribute: &'static str) -> Result<(), AttributeError> {
        self.read.push(attribute);
        match self.failing.contains(&attribute) {
            true => Err(AttributeError { attribute, status: "it failed" }),
            false => Ok(()),
        }
    }
}

impl Request for FakeRequest {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        self.record("peer")?;
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.record("source")?;
        Ok(self.source)
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.record("remote")?;
        Ok(self.remote)
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.record("destination")?;
        Ok("10.0.0.1".parse().ok())
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.record("server name")?;
        Ok(self.server_name.as_deref())
    }

    fn time(&mut self) -> Result<Duration, AttributeError> {
        self.record("time")?;
        Ok(self.time)
    }

    fn memo(&mut self) -> Option<&mut RequestMemo> {
        self.memo.as_mut()
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        self.record("metadata")?;
        Ok(&self.metadata)
    }

    fn custom_mark(&mut self) -> Result<Option<Vec<u8>>, AttributeError> {
        self.record("mark")?;
        Ok(self.mark.clone())
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        self.record("port")?;
        Ok(self.port)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.record("method")?;
        Ok(self.method.as_deref())
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.record("host")?;
        Ok(self.host.as_deref())
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.record("path")?;
        Ok(self.path.as_deref())
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        self.record("header")?;
        Ok(self.headers.iter().filter(|(key, _)| *key == name).map(|(_, value)| value.as_slice()).collect())
    }
}

impl EgressRequest for FakeRequest {
    fn is_tls_passthrough(&self) -> bool {
        self.protocol == EgressProtocol::Tls
    }
}
