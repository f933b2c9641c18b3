//! The current HTTP request, as a policy asks for it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sallyport_policy::{
    DirectRemoteAddress, DynamicMetadata, EgressRequest, HeaderValues, HostFailure, IdentitySource, NoIdentity, Peer,
    PeerId, Request, forwarded_peer,
};

use crate::abi::Bytes;
use crate::connections::{Connections, Seen};
use crate::header_map::HeaderMap;
use crate::host;

/// Where a filter finds who asks and from where.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'c> {
    /// The connections that were seen lately.
    pub connections: &'c Connections,
    /// What tells who asks.
    pub identity: &'c IdentitySource,
    /// What tells the address of the connection's other end.
    pub direct_remote_address: DirectRemoteAddress,
}

impl<'c> Surroundings<'c> {
    /// For filters that take identities from certificates and addresses from connections.
    pub fn of_connections(connections: &'c Connections) -> Self {
        Self {
            connections,
            identity: &IdentitySource::PeerCertificate,
            direct_remote_address: DirectRemoteAddress::Connection,
        }
    }

    /// The connection, which is counted when it is first seen, whether or not a policy asks who its peer is; none where
    /// that is not the one who asks. What the proxy does not tell stops nothing that does not ask for it.
    pub fn connection(&self) -> Option<Seen> {
        let connection = self.connections.current().ok()?;
        (*self.identity == IdentitySource::PeerCertificate).then_some(connection)
    }

    /// Who asks, where no header tells.
    pub(crate) fn asker_of_connection(&self) -> Result<Asker, HostFailure> {
        match self.identity {
            IdentitySource::PeerCertificate => self.connections.current().map(|seen| Asker::Connection(seen.peer)),
            IdentitySource::FilterState(key) => peer_of_filter_state(key).map(Asker::Request),
            IdentitySource::ForwardedClientCert => {
                Err(HostFailure { attribute: FORWARDED_CLIENT_CERT, answer: "a connection has no headers" })
            }
        }
    }

    pub(crate) fn ask_source_ip(&self) -> fn() -> Result<Option<IpAddr>, HostFailure> {
        match self.direct_remote_address {
            DirectRemoteAddress::FilterState => host::direct_remote_ip,
            DirectRemoteAddress::Connection => host::client_ip,
        }
    }
}

/// Who asks: one for all requests of a connection, or read anew for each of them.
pub(crate) enum Asker {
    Connection(Rc<Peer>),
    Request(Peer),
}

impl Asker {
    pub(crate) fn peer(&self) -> &Peer {
        match self {
            Self::Connection(peer) => peer,
            Self::Request(peer) => peer,
        }
    }
}

const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// Reads the SPIFFE ID that a filter state holds. It is read anew for every request: what sets it may tell them apart.
fn peer_of_filter_state(key: &str) -> Result<Peer, HostFailure> {
    let uri = host::filter_state(key).map_err(|failed| failed.of("the filter state of identity.key"))?;
    Ok(match uri.as_deref() {
        None | Some([]) => Peer::Unproven(NoIdentity::NothingForwarded),
        Some(uri) => match PeerId::parse(uri) {
            Ok(id) => Peer::Proven(id),
            Err(reason) => Peer::Unproven(NoIdentity::NotSpiffe(reason)),
        },
    })
}

/// Asks the proxy for an attribute when a policy first needs it, and keeps the answer.
pub struct HttpRequest<'c> {
    surroundings: Surroundings<'c>,
    /// Whether all headers are asked for at once, where several are needed.
    at_once: bool,
    asker: Option<Asker>,
    source: Option<Option<IpAddr>>,
    client: Option<Option<IpAddr>>,
    destination: Option<Option<IpAddr>>,
    port: Option<Option<u16>>,
    method: Option<Option<Bytes>>,
    host: Option<Option<Bytes>>,
    path: Option<Option<Bytes>>,
    user_agent: Option<Option<Bytes>>,
    headers: Option<HeaderMap>,
    server_name: Option<Option<Bytes>>,
    time: Option<Duration>,
    metadata: Option<DynamicMetadata>,
}

impl<'c> HttpRequest<'c> {
    /// The request whose headers the proxy has just handed over.
    pub fn new(surroundings: Surroundings<'c>) -> Self {
        Self {
            surroundings,
            at_once: false,
            asker: None,
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

    /// The same, of which all headers are asked for at once or each by itself: one crossing that brings all of them costs
    /// less than two.
    pub fn all_headers_at_once(mut self, at_once: bool) -> Self {
        self.at_once = at_once;
        self
    }

    /// The same, sent by the peer of its connection.
    pub fn by(mut self, peer: Option<Rc<Peer>>) -> Self {
        self.asker = peer.map(Asker::Connection);
        self
    }
}

/// The kept answer, or a new one.
pub(crate) fn kept<T>(slot: &mut Option<T>, ask: impl FnOnce() -> Result<T, HostFailure>) -> Result<&T, HostFailure> {
    Ok(match slot {
        Some(known) => known,
        None => slot.insert(ask()?),
    })
}

/// What `of` finds among all headers.
fn among_all<'s, T>(
    slot: &'s mut Option<HeaderMap>,
    of: impl FnOnce(&'s HeaderMap) -> Option<T>,
) -> Result<T, HostFailure> {
    let headers = kept(slot, || host::request_headers().map_err(|failed| failed.of("request.headers")))?;
    of(headers).ok_or(HostFailure { attribute: "request.headers", answer: "not a header map" })
}

fn only_header<'s>(slot: &'s mut Option<Option<Bytes>>, name: &'static str) -> Result<Option<&'s [u8]>, HostFailure> {
    kept(slot, || host::only_header(name).map_err(|failed| failed.of(name))).map(Option::as_deref)
}

impl HttpRequest<'_> {
    /// A header that is there once, kept in the slot that `of` picks unless all headers are.
    fn once(
        &mut self,
        of: fn(&mut Self) -> &mut Option<Option<Bytes>>,
        name: &'static str,
    ) -> Result<Option<&[u8]>, HostFailure> {
        match self.at_once {
            true => among_all(&mut self.headers, |headers| headers.first(name)),
            false => only_header(of(self), name),
        }
    }
}

impl Request for HttpRequest<'_> {
    fn peer(&mut self) -> Result<&Peer, HostFailure> {
        let (surroundings, headers) = (&self.surroundings, &mut self.headers);
        let ask = || match surroundings.identity {
            IdentitySource::ForwardedClientCert => among_all(headers, |headers| headers.values(FORWARDED_CLIENT_CERT))
                .map(|values| Asker::Request(forwarded_peer(&values))),
            IdentitySource::PeerCertificate | IdentitySource::FilterState(_) => surroundings.asker_of_connection(),
        };
        kept(&mut self.asker, ask).map(|asker| asker.peer())
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
        self.once(|request| &mut request.method, ":method")
    }

    fn host(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        self.once(|request| &mut request.host, ":authority")
    }

    fn path(&mut self) -> Result<Option<&[u8]>, HostFailure> {
        self.once(|request| &mut request.path, ":path")
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, HostFailure> {
        // Envoy joins several User-Agent headers into one; others can come several times.
        if name == USER_AGENT && !self.at_once {
            return only_header(&mut self.user_agent, USER_AGENT).map(|value| value.into_iter().collect());
        }
        among_all(&mut self.headers, |headers| headers.values(name))
    }
}

const USER_AGENT: &str = "user-agent";

impl EgressRequest for HttpRequest<'_> {
    fn passes_through(&self) -> bool {
        false
    }
}
