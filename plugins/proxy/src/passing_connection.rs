//! A connection whose bytes pass through, as a policy asks for it before the first of them.

use std::net::IpAddr;

use sallyport_policy::{EgressRequest, HeaderValues, HostFailure, NoIdentity, Peer, Request};

use crate::abi::Bytes;
use crate::current_stream::kept;
use crate::host;

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
///
/// Nobody is proven by it. Envoy knows a certificate only once the handshake is over, and reading it earlier makes
/// some versions forget it; of TLS that passes through it never sees one.
pub struct PassingConnection {
    peer: Peer,
    source: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    server_name: Option<Option<Bytes>>,
}

impl Default for PassingConnection {
    fn default() -> Self {
        Self { peer: Peer::Unproven(NoIdentity::PassedThrough), source: None, port: None, server_name: None }
    }
}

impl Request for PassingConnection {
    fn peer(&mut self) -> Result<&Peer, HostFailure> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.source, host::client_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, HostFailure> {
        kept(&mut self.port, port).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        kept(&mut self.server_name, host::server_name).map(Option::as_deref)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        Ok(None)
    }

    fn host(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        Ok(None)
    }

    fn path(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        Ok(None)
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, HostFailure> {
        Ok(HeaderValues::new())
    }
}

impl EgressRequest for PassingConnection {
    fn passes_through(&self) -> bool {
        true
    }
}

/// The port that Envoy will send to: the one that is set for dynamic forwarding, or the one that the client has
/// connected to.
fn port() -> Result<Option<u16>, HostFailure> {
    const ATTRIBUTE: &str = "filter_state.envoy.upstream.dynamic_port";
    let set = host::property("filter_state\0envoy.upstream.dynamic_port").map_err(|failed| failed.of(ATTRIBUTE))?;
    let Some(digits) = set else { return host::destination_port() };
    let port = str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    port.map(Some).ok_or(HostFailure { attribute: ATTRIBUTE, answer: "not a port" })
}
