//! The current HTTP request, or the connection whose first bytes have come, as a policy asks for it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sallyport_policy::{
    AttributeError, DynamicMetadata, EgressRequest, HeaderValues, IdentitySource, Peer, Request, forwarded_peer,
};

use crate::abi::Bytes;
use crate::cache::peers::CachedConnection;
use crate::header_map::{CutOff, HeaderMap};
use crate::host;
use crate::stream::context::{Caller, FORWARDED_CLIENT_CERT, StreamContext, ask_source_ip};

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
    stream_context: StreamContext<'c>,
    kind: Kind,
    /// Whether all headers are asked for at once, where several are needed.
    prefetch_headers: bool,
    caller: Option<Caller>,
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
    pub fn request(stream_context: StreamContext<'c>) -> Self {
        Self::new(stream_context, Kind::Request)
    }

    /// The connection whose first bytes the proxy has just handed over.
    pub fn first_bytes(stream_context: StreamContext<'c>, from: Side) -> Self {
        Self::new(stream_context, Kind::FirstBytes(from))
    }

    fn new(stream_context: StreamContext<'c>, kind: Kind) -> Self {
        Self {
            stream_context,
            kind,
            prefetch_headers: false,
            caller: None,
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
    pub fn with_prefetched_headers(mut self, prefetch_headers: bool) -> Self {
        self.prefetch_headers = prefetch_headers;
        self
    }

    /// The connection, once its client's certificate can be known; none where that is not the one who asks.
    ///
    /// It is counted when it is first seen, whether or not a policy asks who its peer is. What the proxy does not tell
    /// stops nothing that does not ask for it.
    pub fn connection(&mut self) -> Option<Rc<CachedConnection>> {
        if self.handshake_may_go_on() != Ok(false) {
            return None;
        }
        let connection = self.stream_context.connection()?;
        self.caller = Some(Caller::Connection(Rc::clone(&connection)));
        Some(connection)
    }

    /// Whether its client's certificate may still come.
    fn handshake_may_go_on(&self) -> Result<bool, AttributeError> {
        match self.kind {
            Kind::Request | Kind::FirstBytes(Side::Downstream) => Ok(false),
            Kind::FirstBytes(Side::Upstream) => self.stream_context.connections.handshake_may_go_on(),
        }
    }

    /// A pseudo-header, kept in the slot that `of` picks where it is asked for by itself.
    fn pseudo(
        &mut self,
        of: fn(&mut Self) -> &mut Option<Option<Bytes>>,
        name: &'static str,
    ) -> Result<Option<&[u8]>, AttributeError> {
        if !self.prefetch_headers {
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
    ) -> Result<Option<&[u8]>, AttributeError> {
        self.has_headers(name)?;
        cached(of(self), || host::single_header(name).map_err(|failed| failed.of(name))).map(Option::as_deref)
    }

    /// Fails where `attribute`, which only HTTP has, is asked of a connection; policies for connections do not.
    fn has_headers(&self, attribute: &'static str) -> Result<(), AttributeError> {
        match self.kind {
            Kind::Request => Ok(()),
            Kind::FirstBytes(_) => Err(AttributeError { attribute, status: "a connection has none" }),
        }
    }
}

/// The kept answer, or a new one.
pub(crate) fn cached<T>(
    slot: &mut Option<T>,
    ask: impl FnOnce() -> Result<T, AttributeError>,
) -> Result<&T, AttributeError> {
    Ok(match slot {
        Some(known) => known,
        None => slot.insert(ask()?),
    })
}

fn all_headers(slot: &mut Option<HeaderMap>) -> Result<&HeaderMap, AttributeError> {
    cached(slot, || host::request_headers().map_err(|failed| failed.of(HEADERS)))
}

/// The values of one header.
fn among_all<'s>(slot: &'s mut Option<HeaderMap>, name: &str) -> Result<HeaderValues<'s>, AttributeError> {
    all_headers(slot)?.values(name).map_err(no_map)
}

fn no_map(_: CutOff) -> AttributeError {
    AttributeError { attribute: HEADERS, status: "not a header map" }
}

const HEADERS: &str = "request.headers";
const USER_AGENT: &str = "user-agent";

impl Request for CurrentStream<'_> {
    fn is_connection(&self) -> bool {
        self.kind != Kind::Request
    }

    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        if self.caller.is_none() {
            self.caller = Some(match (self.kind, self.stream_context.identity) {
                (Kind::Request, IdentitySource::ForwardedClientCert) => {
                    Caller::Request(forwarded_peer(&among_all(&mut self.headers, FORWARDED_CLIENT_CERT)?))
                }
                _ if self.handshake_may_go_on()? => {
                    let status = "the service spoke before the client's TLS was known to be established; set upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE in tcp_proxy";
                    return Err(AttributeError { attribute: "the client's certificate", status });
                }
                _ => self.stream_context.connection_caller()?,
            });
        }
        let untold = AttributeError { attribute: "the client's certificate", status: "it was not kept" };
        self.caller.as_ref().map(Caller::peer).ok_or(untold)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.source, ask_source_ip(self.stream_context.direct_remote_address)).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.client, host::client_ip).copied()
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.destination, host::destination_ip).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        cached(&mut self.port, host::destination_port).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        cached(&mut self.server_name, host::server_name).map(Option::as_deref)
    }

    fn time(&mut self) -> Result<Duration, AttributeError> {
        cached(&mut self.time, host::time).copied()
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        cached(&mut self.metadata, host::metadata)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.pseudo(|stream| &mut stream.method, ":method")
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.pseudo(|stream| &mut stream.host, ":authority")
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.pseudo(|stream| &mut stream.path, ":path")
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        // Envoy joins several User-Agent headers into one; others can come several times.
        if name == USER_AGENT && !self.prefetch_headers {
            let value = self.only(|stream| &mut stream.user_agent, USER_AGENT)?;
            return Ok(value.into_iter().collect());
        }
        self.has_headers(HEADERS)?;
        among_all(&mut self.headers, name)
    }
}

impl EgressRequest for CurrentStream<'_> {
    fn is_tls_passthrough(&self) -> bool {
        false
    }
}
