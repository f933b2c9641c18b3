//! The current HTTP request, as a policy asks for it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sallyport_policy::{
    DirectRemoteAddress, DynamicMetadata, EgressRequest, HeaderValues, HostFailure, IdentitySource, NoIdentity, Peer,
    PeerId, Request, forwarded_peer,
};

use crate::connections::Connections;
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

    /// Who is on the other side of the connection, where no request tells more.
    pub(crate) fn peer_of_connection(&self) -> Result<Rc<Peer>, HostFailure> {
        match self.identity {
            IdentitySource::PeerCertificate => self.connections.peer(),
            IdentitySource::FilterState(key) => peer_of_filter_state(key).map(Rc::new),
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
    pub fn new(surroundings: Surroundings<'c>) -> Self {
        Self {
            surroundings,
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
        if *self.surroundings.identity == IdentitySource::PeerCertificate {
            let _uncounted = self.peer();
        } else {
            let _uncounted = self.surroundings.connections.peer();
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
    kept(slot, || host::request_headers().map_err(|failed| failed.of("request.headers")))
}

fn only_header<'s>(slot: &'s mut Option<Option<Vec<u8>>>, name: &'static str) -> Result<Option<&'s [u8]>, HostFailure> {
    kept(slot, || host::only_header(name).map_err(|failed| failed.of(name))).map(Option::as_deref)
}

impl Request for HttpRequest<'_> {
    fn peer(&mut self) -> Result<&Peer, HostFailure> {
        if *self.surroundings.identity == IdentitySource::ForwardedClientCert {
            let headers = &mut self.headers;
            return kept(&mut self.peer, || {
                Ok(Rc::new(forwarded_peer(&all_headers(headers)?.values(FORWARDED_CLIENT_CERT))))
            })
            .map(|peer| &**peer);
        }
        kept(&mut self.peer, || self.surroundings.peer_of_connection()).map(|peer| &**peer)
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
        all_headers(&mut self.headers).map(|headers| headers.values(name))
    }
}

const USER_AGENT: &str = "user-agent";

impl EgressRequest for HttpRequest<'_> {
    fn passes_through(&self) -> bool {
        false
    }
}
