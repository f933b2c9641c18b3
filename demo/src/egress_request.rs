//! The attributes of an egress scenario, as input to the policy engine.

use std::net::IpAddr;

use sallyport_policy::{AttributeError, EgressRequest, HeaderValues, Peer, Request};

/// A request whose attributes are those of a scenario.
pub(crate) struct OutboundRequest<'s> {
    /// The caller.
    pub(crate) peer: Peer,
    /// True for TLS passthrough.
    pub(crate) passthrough: bool,
    /// The destination host, which is also the SNI.
    pub(crate) host: &'s str,
    /// The `:authority` of the request: host and port.
    pub(crate) authority: &'s str,
    /// The destination port.
    pub(crate) port: u16,
}

impl Request for OutboundRequest<'_> {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        Ok(None)
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.host.as_bytes()))
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        Ok(Some(self.port))
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(b"CONNECT"))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.authority.as_bytes()))
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok(HeaderValues::new())
    }
}

impl EgressRequest for OutboundRequest<'_> {
    fn is_tls_passthrough(&self) -> bool {
        self.passthrough
    }
}
