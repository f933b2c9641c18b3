//! The current HTTP request, as a policy asks for it.

use std::net::IpAddr;
use std::rc::Rc;

use sallyport_policy::{EgressRequest, HeaderValues, HostFailure, Peer, Request};

use crate::connections::Connections;
use crate::header_map::HeaderMap;
use crate::host;

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
pub struct HttpRequest<'c> {
    connections: &'c Connections,
    peer: Option<Rc<Peer>>,
    source: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    method: Option<Option<Vec<u8>>>,
    host: Option<Option<Vec<u8>>>,
    path: Option<Option<Vec<u8>>>,
    user_agent: Option<Option<Vec<u8>>>,
    headers: Option<HeaderMap>,
    server_name: Option<Option<Vec<u8>>>,
}

impl<'c> HttpRequest<'c> {
    /// The request whose headers the proxy has just handed over.
    pub fn new(connections: &'c Connections) -> Self {
        Self {
            connections,
            peer: None,
            source: None,
            port: None,
            method: None,
            host: None,
            path: None,
            user_agent: None,
            headers: None,
            server_name: None,
        }
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
        kept(&mut self.source, host::source_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, HostFailure> {
        kept(&mut self.port, || host::port_property("destination\0port", "destination.port")).copied()
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

    fn server_name(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        kept(&mut self.server_name, host::server_name).map(Option::as_deref)
    }
}
