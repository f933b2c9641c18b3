//! A request to the outside together with its destination, as match fields see it.

use std::any::Any;
use std::net::IpAddr;
use std::time::Duration;

use crate::attributes::dynamic_metadata::DynamicMetadata;
use crate::attributes::request::{HeaderValues, Request};
use crate::attributes::request_memo::RequestMemo;
use crate::egress::authority::Host;
use crate::egress::request::{EgressProtocol, EgressRequest};
use crate::identity::error::AttributeError;
use crate::identity::peer::Peer;

/// The destination of a request, read once from its authority or its SNI.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) protocol: EgressProtocol,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The address that the request names, where that leads to the host.
    pub(crate) address: Option<IpAddr>,
}

/// Host and port that a request is to go to instead of those of its authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicDestination {
    /// Host: a name, or an address in its one spelling.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Destination of a request, as access logs show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationNames {
    /// Host: a name, or an address in its one spelling.
    pub host: String,
    /// Port.
    pub port: String,
    /// Protocol: `http`, `connect` or `tls`.
    pub way: &'static str,
}

impl Destination {
    pub(crate) fn names(&self) -> DestinationNames {
        let way = match self.protocol {
            EgressProtocol::Http => "http",
            EgressProtocol::Connect | EgressProtocol::ConnectWithoutTls => "connect",
            EgressProtocol::Tls => "tls",
        };
        DestinationNames { host: self.host.to_string(), port: self.port.to_string(), way }
    }

    /// Returns where the proxy has to go, if the authority does not say that.
    pub(crate) fn dynamic(&self) -> Option<DynamicDestination> {
        self.address.map(|_| DynamicDestination { host: self.host.to_string(), port: self.port })
    }

    /// Returns the destination of an outbound request; `None` for other requests.
    pub(crate) fn of(request: &dyn Request) -> Option<&Self> {
        request.extension().and_then(|extension| extension.downcast_ref())
    }
}

/// Request with its parsed destination; all other attributes are read from the request.
pub(crate) struct OutboundRequest<'r> {
    pub(crate) destination: &'r Destination,
    pub(crate) request: &'r mut dyn EgressRequest,
}

impl Request for OutboundRequest<'_> {
    fn memo(&mut self) -> Option<&mut RequestMemo> {
        self.request.memo()
    }

    fn extension(&self) -> Option<&dyn Any> {
        Some(self.destination)
    }

    fn is_connection(&self) -> bool {
        self.request.is_connection()
    }

    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        self.request.peer()
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.request.source_ip()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.request.remote_ip()
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        self.request.destination_ip()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        self.request.destination_port()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.request.server_name()
    }

    fn time(&mut self) -> Result<Duration, AttributeError> {
        self.request.time()
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        self.request.metadata()
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.request.method()
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.request.host()
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.request.path()
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        self.request.header(name)
    }
}
