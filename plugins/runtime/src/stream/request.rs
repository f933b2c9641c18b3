//! HTTP requests, and connections at their first bytes.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sallyport_policy::{
    AttributeError, DynamicMetadata, EgressRequest, HeaderValues, IdentitySource, Peer, Request, RequestMemo,
    forwarded_peer,
};

use crate::abi::Bytes;
use crate::cache::peers::CachedConnection;
use crate::header_map::{HeaderMap, Truncated};
use crate::host::{Host, attributes};
use crate::stream::context::{Caller, FORWARDED_CLIENT_CERT, StreamContext};

/// Side of a connection that spoke first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client. Its TLS handshake is over, so its certificate is known.
    Downstream,
    /// The service, which may speak before the client's TLS handshake is over.
    Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    FirstBytes(Side),
}

/// The current HTTP request, or the connection whose first bytes have come. An attribute is read when a policy first
/// needs it, and kept.
///
/// One type serves both, which keeps the modules small.
pub struct CurrentStream<'c, H> {
    context: StreamContext<'c, H>,
    kind: Kind,
    caller: Option<Caller>,
    source: Option<Option<IpAddr>>,
    remote: Option<Option<IpAddr>>,
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
    memo: RequestMemo,
}

/// Picks where a header is kept that is read by itself.
type Slot<'c, H> = for<'s> fn(&'s mut CurrentStream<'c, H>) -> &'s mut Option<Option<Bytes>>;

impl<'c, H: Host> CurrentStream<'c, H> {
    /// Request whose headers the host has just handed over.
    pub fn request(context: StreamContext<'c, H>) -> Self {
        Self::new(context, Kind::Request)
    }

    /// Connection whose first bytes the host has just handed over.
    pub fn first_bytes(context: StreamContext<'c, H>, from: Side) -> Self {
        Self::new(context, Kind::FirstBytes(from))
    }

    fn new(context: StreamContext<'c, H>, kind: Kind) -> Self {
        Self {
            context,
            kind,
            caller: None,
            source: None,
            remote: None,
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
            memo: RequestMemo::default(),
        }
    }

    /// Connection of the stream, `None` if its peer does not tell the caller or is not known yet.
    ///
    /// The connection is counted when it is first seen, whether or not a policy depends on its peer.
    pub(crate) fn connection(&mut self) -> Option<Rc<CachedConnection>> {
        if self.is_handshake_pending() != Ok(false) {
            return None;
        }
        let connection = self.context.connection()?;
        self.caller = Some(Caller::Connection(Rc::clone(&connection)));
        Some(connection)
    }

    /// Reports whether the client's certificate may still come.
    fn is_handshake_pending(&self) -> Result<bool, AttributeError> {
        match self.kind {
            Kind::Request | Kind::FirstBytes(Side::Downstream) => Ok(false),
            Kind::FirstBytes(Side::Upstream) => self.context.peers.is_handshake_pending(),
        }
    }

    fn read_caller(&mut self) -> Result<Caller, AttributeError> {
        if self.kind == Kind::Request && *self.context.identity == IdentitySource::ForwardedClientCert {
            let values = header_values(self.context.host(), &mut self.headers, FORWARDED_CLIENT_CERT)?;
            return Ok(Caller::Request(forwarded_peer(&values)));
        }
        if self.is_handshake_pending()? {
            let status = "the service spoke before the client's TLS was known to be established; set \
                upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE in tcp_proxy (Envoy 1.37 and later)";
            return Err(AttributeError { attribute: "the client's certificate", status });
        }
        self.context.caller()
    }

    /// Pseudo-header. Every request has it, but for the path of a CONNECT (RFC 9113, section 8.5).
    fn pseudo_header(&mut self, slot: Slot<'c, H>, name: &'static str) -> Result<Option<&[u8]>, AttributeError> {
        if self.context.prefetch_headers {
            self.require_request(name)?;
            let headers = all_headers(self.context.host(), &mut self.headers)?;
            return match headers.first(name).map_err(malformed)? {
                None => may_lack(name, headers).map(|()| None),
                value => Ok(value),
            };
        }
        if self.single_header(slot, name)?.is_none() {
            let may_lack = name == PATH && self.single_header(|stream| &mut stream.method, METHOD)? == Some(CONNECT);
            if !may_lack {
                return Err(attributes::missing(name));
            }
        }
        self.single_header(slot, name)
    }

    /// Header that is present once at most, read by itself.
    fn single_header(&mut self, slot: Slot<'c, H>, name: &'static str) -> Result<Option<&[u8]>, AttributeError> {
        self.require_request(name)?;
        let host = self.context.host();
        let read = || host.single_header(name).map_err(|error| error.reading(name));
        cached(slot(self), read).map(Option::as_deref)
    }

    /// Fails for a connection, which has no `attribute`; policies for connections do not ask for one.
    fn require_request(&self, attribute: &'static str) -> Result<(), AttributeError> {
        match self.kind {
            Kind::Request => Ok(()),
            Kind::FirstBytes(_) => Err(AttributeError { attribute, status: "a connection has none" }),
        }
    }
}

/// Value in `slot`, read if there is none yet.
pub(crate) fn cached<T>(
    slot: &mut Option<T>,
    read: impl FnOnce() -> Result<T, AttributeError>,
) -> Result<&T, AttributeError> {
    Ok(match slot {
        Some(value) => value,
        None => slot.insert(read()?),
    })
}

fn all_headers(host: impl Host, slot: &mut Option<HeaderMap>) -> Result<&HeaderMap, AttributeError> {
    cached(slot, || attributes::request_headers(host).map_err(|error| error.reading(HEADERS)))
}

/// Fails for a pseudo-header that the request has to have.
#[cold]
#[inline(never)]
fn may_lack(name: &'static str, headers: &HeaderMap) -> Result<(), AttributeError> {
    match name == PATH && headers.first(METHOD).map_err(malformed)? == Some(CONNECT) {
        true => Ok(()),
        false => Err(attributes::missing(name)),
    }
}

/// Values of one header.
fn header_values<'s>(
    host: impl Host,
    slot: &'s mut Option<HeaderMap>,
    name: &str,
) -> Result<HeaderValues<'s>, AttributeError> {
    all_headers(host, slot)?.values(name).map_err(malformed)
}

fn malformed(_: Truncated) -> AttributeError {
    AttributeError { attribute: HEADERS, status: "not a header map" }
}

const METHOD: &str = ":method";
const PATH: &str = ":path";
const CONNECT: &[u8] = b"CONNECT";
const HEADERS: &str = "request.headers";
const USER_AGENT: &str = "user-agent";

impl<H: Host> Request for CurrentStream<'_, H> {
    fn is_connection(&self) -> bool {
        self.kind != Kind::Request
    }

    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        if self.caller.is_none() {
            self.caller = Some(self.read_caller()?);
        }
        let missing = AttributeError { attribute: "the client's certificate", status: "it was not kept" };
        self.caller.as_ref().map(Caller::peer).ok_or(missing)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.source, || self.context.source_ip()).copied()
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.remote, || attributes::remote_ip(self.context.host())).copied()
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        cached(&mut self.destination, || attributes::destination_ip(self.context.host())).copied()
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        cached(&mut self.port, || attributes::destination_port(self.context.host())).copied()
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        cached(&mut self.server_name, || attributes::server_name(self.context.host())).map(Option::as_deref)
    }

    fn time(&mut self) -> Result<Duration, AttributeError> {
        cached(&mut self.time, || attributes::time(self.context.host())).copied()
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        cached(&mut self.metadata, || attributes::metadata(self.context.host()))
    }

    fn custom_mark(&mut self) -> Result<Option<Vec<u8>>, AttributeError> {
        attributes::custom_mark(self.context.host())
    }

    fn memo(&mut self) -> Option<&mut RequestMemo> {
        Some(&mut self.memo)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.pseudo_header(|stream| &mut stream.method, METHOD)
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.pseudo_header(|stream| &mut stream.host, ":authority")
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.pseudo_header(|stream| &mut stream.path, PATH)
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        // Envoy joins several User-Agent headers into one; others can be repeated.
        if name == USER_AGENT && !self.context.prefetch_headers {
            let value = self.single_header(|stream| &mut stream.user_agent, USER_AGENT)?;
            return Ok(value.into_iter().collect());
        }
        self.require_request(HEADERS)?;
        header_values(self.context.host(), &mut self.headers, name)
    }
}

impl<H: Host> EgressRequest for CurrentStream<'_, H> {
    fn is_tls_passthrough(&self) -> bool {
        false
    }
}
