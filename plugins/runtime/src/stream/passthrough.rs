//! Connections whose bytes pass through, before the first of them.

use std::net::IpAddr;

use sallyport_policy::{
    AttributeError, DirectRemoteAddress, EgressRequest, HeaderValues, Peer, Request, UnauthenticatedReason,
};

use crate::abi::Bytes;
use crate::host::{Host, attributes};
use crate::stream::context::source_ip;
use crate::stream::request::cached;

/// Connection whose bytes pass through. An attribute is read when a policy first needs it, and kept.
///
/// Its peer is never authenticated. Envoy knows a certificate only once the handshake is over, and reading it earlier
/// makes some versions forget it; of TLS that passes through it never sees one.
pub struct PassthroughConnection<H> {
    host: H,
    peer: Peer,
    direct_remote_address: DirectRemoteAddress,
    source: Option<Option<IpAddr>>,
    client: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    server_name: Option<Option<Bytes>>,
}

impl<H: Host> PassthroughConnection<H> {
    /// Connection that the host has just announced, with the source of its other end's address.
    pub fn new(host: H, direct_remote_address: DirectRemoteAddress) -> Self {
        Self {
            host,
            peer: Peer::Unauthenticated(UnauthenticatedReason::TlsPassthrough),
            direct_remote_address,
            source: None,
            client: None,
            port: None,
            server_name: None,
        }
    }
}

impl<H: Host> Request for PassthroughConnection<H> {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.source, || source_ip(self.host, self.direct_remote_address)).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.client, || attributes::remote_ip(self.host)).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        cached(&mut self.port, || attributes::upstream_port(self.host)).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        cached(&mut self.server_name, || attributes::server_name(self.host)).map(Option::as_deref)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok(HeaderValues::new())
    }
}

impl<H: Host> EgressRequest for PassthroughConnection<H> {
    fn is_tls_passthrough(&self) -> bool {
        true
    }
}
