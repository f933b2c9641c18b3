//! The current HTTP request, or the connection whose first bytes have come, as a policy asks for it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sallyport_policy::{
    DynamicMetadata, EgressRequest, HeaderValues, HostFailure, IdentitySource, Peer, Request, forwarded_peer,
};

use crate::abi::Bytes;
use crate::connections::SeenConnection;
use crate::header_map::{CutOff, HeaderMap};
use crate::host;
use crate::surroundings::{Asker, FORWARDED_CLIENT_CERT, Surroundings};

/// Which side of a connection has spoken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client. Its TLS handshake is over then, so its certificate is known.
    Downstream,
    /// The service, which may do so before the handshake of the client's TLS is over.
    Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    FirstBytes(Side),
}

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
///
/// One type serves requests and connections, which keeps the modules small.
pub struct CurrentStream<'c> {
    surroundings: Surroundings<'c>,
    kind: Kind,
    /// Whether all headers are asked for at once, where several are needed.
    at_once: bool,
    asker: Option<Asker>,
    source: Option<Option<IpAddr>>,
    client: Option<Option<IpAddr>>,
    destination: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    server_name: Option<Option<Bytes>>,
    time: Option<Duration>,
    metadata: Option<DynamicMetadata>,
    method: Option<Option<Bytes>>,
    host: Option<Option<Bytes>>,
    path: Option<Option<Bytes>>,
    user_agent: Option<Option<Bytes>>,
    headers: Option<HeaderMap>,
}

impl<'c> CurrentStream<'c> {
    /// The request whose headers the proxy has just handed over.
    pub fn request(surroundings: Surroundings<'c>) -> Self {
        Self::new(surroundings, Kind::Request)
    }

    /// The connection whose first bytes the proxy has just handed over.
    pub fn first_bytes(surroundings: Surroundings<'c>, from: Side) -> Self {
        Self::new(surroundings, Kind::FirstBytes(from))
    }

    fn new(surroundings: Surroundings<'c>, kind: Kind) -> Self {
        Self {
            surroundings,
            kind,
            at_once: false,
            asker: None,
            source: None,
            client: None,
            destination: None,
            port: None,
            server_name: None,
            time: None,
            metadata: None,
            method: None,
            host: None,
            path: None,
            user_agent: None,
            headers: None,
        }
    }

    /// The same, of which all headers are asked for at once or each by itself: one crossing that brings all of them costs
    /// less than two.
    pub fn all_headers_at_once(mut self, at_once: bool) -> Self {
        self.at_once = at_once;
        self
    }

    /// The connection, once its client's certificate can be known; none where that is not the one who asks.
    ///
    /// It is counted when it is first seen, whether or not a policy asks who its peer is. What the proxy does not tell
    /// stops nothing that does not ask for it.
    pub fn connection(&mut self) -> Option<Rc<SeenConnection>> {
        if self.handshake_may_go_on() != Ok(false) {
            return None;
        }
        let connection = self.surroundings.connection()?;
        self.asker = Some(Asker::Connection(Rc::clone(&connection)));
        Some(connection)
    }

    /// Whether its client's certificate may still come.
    fn handshake_may_go_on(&self) -> Result<bool, HostFailure> {
        match self.kind {
            Kind::Request | Kind::FirstBytes(Side::Downstream) => Ok(false),
            Kind::FirstBytes(Side::Upstream) => self.surroundings.connections.handshake_may_go_on(),
        }
    }

    /// A pseudo-header, kept in the slot that `of` picks where it is asked for by itself.
    fn pseudo(
        &mut self,
        of: fn(&mut Self) -> &mut Option<Option<Bytes>>,
        name: &'static str,
    ) -> Result<Option<&[u8]>, HostFailure> {
        if !self.at_once {
            return self.only(of, name);
        }
        self.has_headers(name)?;
        all_headers(&mut self.headers)?.first(name).map_err(no_map)
    }

    /// A header that is there once, kept in the slot that `of` picks.
    fn only(
        &mut self,
        of: fn(&mut Self) -> &mut Option<Option<Bytes>>,
        name: &'static str,
    ) -> Result<Option<&[u8]>, HostFailure> {
        self.has_headers(name)?;
        kept(of(self), || host::only_header(name).map_err(|failed| failed.of(name))).map(Option::as_deref)
    }

    /// Fails where `attribute`, which only HTTP has, is asked of a connection; policies for connections do not.
    fn has_headers(&self, attribute: &'static str) -> Result<(), HostFailure> {
        match self.kind {
            Kind::Request => Ok(()),
            Kind::FirstBytes(_) => Err(HostFailure { attribute, answer: "a connection has none" }),
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

fn all_headers(slot: &mut Option<HeaderMap>) -> Result<&HeaderMap, HostFailure> {
    kept(slot, || host::request_headers().map_err(|failed| failed.of(HEADERS)))
}

/// The values of one header.
fn among_all<'s>(slot: &'s mut Option<HeaderMap>, name: &str) -> Result<HeaderValues<'s>, HostFailure> {
    all_headers(slot)?.values(name).map_err(no_map)
}

fn no_map(_: CutOff) -> HostFailure {
    HostFailure { attribute: HEADERS, answer: "not a header map" }
}

const HEADERS: &str = "request.headers";
const USER_AGENT: &str = "user-agent";

impl Request for CurrentStream<'_> {
    fn is_connection(&self) -> bool {
        self.kind != Kind::Request
    }

    fn peer(&mut self) -> Result<&Peer, HostFailure> {
        if self.asker.is_none() {
            self.asker = Some(match (self.kind, self.surroundings.identity) {
                (Kind::Request, IdentitySource::ForwardedClientCert) => {
                    Asker::Request(forwarded_peer(&among_all(&mut self.headers, FORWARDED_CLIENT_CERT)?))
                }
                _ if self.handshake_may_go_on()? => {
                    let answer = "the service spoke before the client's TLS was known to be established; set upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE in tcp_proxy";
                    return Err(HostFailure { attribute: "the client's certificate", answer });
                }
                _ => self.surroundings.asker_of_connection()?,
            });
        }
        let untold = HostFailure { attribute: "the client's certificate", answer: "it was not kept" };
        self.asker.as_ref().map(Asker::peer).ok_or(untold)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.source, self.surroundings.ask_source_ip()).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.client, host::client_ip).copied()
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, HostFailure> {
        kept(&mut self.destination, host::destination_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, HostFailure> {
        kept(&mut self.port, host::destination_port).copied()
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
        self.pseudo(|stream| &mut stream.method, ":method")
    }

    fn host(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        self.pseudo(|stream| &mut stream.host, ":authority")
    }

    fn path(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        self.pseudo(|stream| &mut stream.path, ":path")
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, HostFailure> {
        // Envoy joins several User-Agent headers into one; others can come several times.
        if name == USER_AGENT && !self.at_once {
            let value = self.only(|stream| &mut stream.user_agent, USER_AGENT)?;
            return Ok(value.into_iter().collect());
        }
        self.has_headers(HEADERS)?;
        among_all(&mut self.headers, name)
    }
}

impl EgressRequest for CurrentStream<'_> {
    fn passes_through(&self) -> bool {
        false
    }
}
