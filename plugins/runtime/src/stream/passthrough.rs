//! A connection whose bytes pass through, as a policy asks for it before the first of them.

use std::net::IpAddr;

use sallyport_policy::{
    AttributeError, DirectRemoteAddress, EgressRequest, HeaderValues, Peer, Request, UnauthenticatedReason,
};

use crate::abi::Bytes;
use crate::host;
use crate::stream::context::ask_source_ip;
use crate::stream::request::cached;

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
///
/// Nobody is proven by it. Envoy knows a certificate only once the handshake is over, and reading it earlier makes
/// some versions forget it; of TLS that passes through it never sees one.
pub struct PassthroughConnection {
    peer: Peer,
    direct_remote_address: DirectRemoteAddress,
    source: Option<Option<IpAddr>>,
    client: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    server_name: Option<Option<Bytes>>,
}

impl PassthroughConnection {
    /// The current connection, whose other end's address `direct_remote_address` tells.
    pub fn new(direct_remote_address: DirectRemoteAddress) -> Self {
        Self {
            peer: Peer::Unauthenticated(UnauthenticatedReason::TlsPassthrough),
            direct_remote_address,
            source: None,
            client: None,
            port: None,
            server_name: None,
        }
    }
}

impl Request for PassthroughConnection {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.source, ask_source_ip(self.direct_remote_address)).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.client, host::client_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        cached(&mut self.port, port).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        cached(&mut self.server_name, host::server_name).map(Option::as_deref)
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

impl EgressRequest for PassthroughConnection {
    fn is_tls_passthrough(&self) -> bool {
        true
    }
}

/// The port that Envoy will send to: the one that is set for dynamic forwarding, or the one that the client has
/// connected to.
fn port() -> Result<Option<u16>, AttributeError> {
    const ATTRIBUTE: &str = "filter_state.envoy.upstream.dynamic_port";
    let set = host::property("filter_state\0envoy.upstream.dynamic_port").map_err(|failed| failed.of(ATTRIBUTE))?;
    let Some(digits) = set else { return host::destination_port() };
    let port = str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    port.map(Some).ok_or(AttributeError { attribute: ATTRIBUTE, status: "not a port" })
}
