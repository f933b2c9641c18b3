//! The current HTTP request, as a policy asks for it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sallyport_policy::{DirectRemoteAddress, DynamicMetadata, EgressRequest, HeaderValues, HostFailure, Peer, Request};

use crate::connections::Connections;
use crate::header_map::HeaderMap;
use crate::host;

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
pub struct HttpRequest<'c> {
    connections: &'c Connections,
    direct_remote_address: DirectRemoteAddress,
    peer: Option<Rc<Peer>>,
    source: Option<Option<IpAddr>>,
    client: Option<Option<IpAddr>>,
    destination: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    method: Option<Option<Vec<u8>>>,
    host: Option<Option<Vec<u8>>>,
    path: Option<Option<Vec<u8>>>,
    user_agent: Option<Option<Vec<u8>>>,
    headers: Option<HeaderMap>,
    server_name: Option<Option<Vec<u8>>>,
    time: Option<Duration>,
    metadata: Option<DynamicMetadata>,
}

impl<'c> HttpRequest<'c> {
    /// The request whose headers the proxy has just handed over.
    pub fn new(connections: &'c Connections, direct_remote_address: DirectRemoteAddress) -> Self {
        Self {
            connections,
            direct_remote_address,
            peer: None,
            source: None,
            client: None,
            destination: None,
            port: None,
            method: None,
            host: None,
            path: None,
            user_agent: None,
            headers: None,
            server_name: None,
            time: None,
            metadata: None,
        }
    }
}

impl HttpRequest<'_> {
    /// Has the connection counted, whether or not a policy asks who its peer is. What the proxy does not tell stops
    /// nothing that does not ask for it.
    pub fn count_connection(&mut self) {
        let _uncounted = self.peer();
    }
}

/// The kept answer, or a new one.
pub(crate) fn kept<T>(slot: &mut Option<T>, ask: impl FnOnce() -> Result<T, HostFailure>) -> Result<&T, HostFailure> {
    Ok(match slot {
        Some(known) => known,
        None => slot.insert(ask()?),
    })
}

fn only_header<'s>(slot: &'s mut Option<Option<Vec<u8>>>, name: &'static str) -> Result<Option<&'s [u8]>, HostFailure> {
    kept(slot, || host::only_header(name).map_err(|failed| failed.of(name))).map(Option::as_deref)
}

impl Request for HttpRequest<'_> {
    fn peer(&mut self) -> Result<&Peer, HostFailure> {
        kept(&mut self.peer, || self.connections.peer()).map(|peer| &**peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        let ask = match self.direct_remote_address {
            DirectRemoteAddress::FilterState => host::direct_remote_ip,
            DirectRemoteAddress::Connection => host::client_ip,
        };
        kept(&mut self.source, ask).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.client, host::client_ip).copied()
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.destination, host::destination_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, HostFailure> {
        kept(&mut self.port, || host::port_property("destination\0port", "destination.port")).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        kept(&mut self.server_name, host::server_name).map(Option::as_deref)
    }

    fn time(&mut self) -> Result<Duration, HostFailure> {
        kept(&mut self.time, host::time).copied()
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, HostFailure> {
        kept(&mut self.metadata, host::metadata)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        only_header(&mut self.method, ":method")
    }

    fn host(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        only_header(&mut self.host, ":authority")
    }

    fn path(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        only_header(&mut self.path, ":path")
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, HostFailure> {
        // Envoy joins several User-Agent headers into one; others can come several times.
        if name == USER_AGENT {
            return only_header(&mut self.user_agent, USER_AGENT).map(|value| value.into_iter().collect());
        }
        let headers =
            kept(&mut self.headers, || host::request_headers().map_err(|failed| failed.of("request.headers")))?;
        Ok(headers.values(name))
    }
}

const USER_AGENT: &str = "user-agent";

impl EgressRequest for HttpRequest<'_> {
    fn passes_through(&self) -> bool {
        false
    }
}
