//! The attributes of an ingress scenario, as input to the policy engine.

use std::net::IpAddr;

use sallyport_policy::{AttributeError, HeaderValues, Peer, Request};

use crate::scenarios::Scenario;

/// A request whose attributes are those of a scenario.
pub(crate) struct IngressRequest<'s> {
    /// The caller.
    pub(crate) peer: Peer,
    /// The method and path.
    pub(crate) scenario: &'s Scenario,
}

impl Request for IngressRequest<'_> {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        Ok(None)
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        Ok(None)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.scenario.method.as_bytes()))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.scenario.path.as_bytes()))
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok(HeaderValues::new())
    }
}
