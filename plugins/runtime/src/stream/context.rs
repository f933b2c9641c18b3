//! Context of a stream: what a filter's configuration says about where identities and addresses come from.

use std::net::IpAddr;
use std::rc::Rc;

use sallyport_policy::{AttributeError, DirectRemoteAddress, IdentitySource, Peer, SpiffeId, UnauthenticatedReason};

use crate::cache::peers::{CachedConnection, PeerCache};
use crate::host::{Host, attributes};

/// Sources of the attributes of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamContext<'c, H> {
    /// Peers of recent connections.
    pub peers: &'c PeerCache<H>,
    /// Source of the caller's identity.
    pub identity: &'c IdentitySource,
    /// Source of the address of the connection's other end.
    pub direct_remote_address: DirectRemoteAddress,
    /// True if all headers are read in one host call, which is cheaper as soon as two are needed.
    pub prefetch_headers: bool,
}

impl<'c, H: Host> StreamContext<'c, H> {
    /// Context of a filter that takes identities from certificates.
    pub fn of_connections(peers: &'c PeerCache<H>, direct_remote_address: DirectRemoteAddress) -> Self {
        Self { peers, identity: &IdentitySource::PeerCertificate, direct_remote_address, prefetch_headers: false }
    }

    pub(crate) fn host(&self) -> H {
        self.peers.host()
    }

    /// Connection of the stream, `None` if identities come from elsewhere or the host does not supply them; then only
    /// what depends on an identity fails.
    ///
    /// A connection is counted when it is first seen, whether or not a policy depends on its peer.
    pub(crate) fn connection(&self) -> Option<Rc<CachedConnection>> {
        let connection = self.peers.connection().ok()?;
        (*self.identity == IdentitySource::PeerCertificate).then_some(connection)
    }

    /// Caller, unless a header supplies it.
    pub(crate) fn caller(&self) -> Result<Caller, AttributeError> {
        match self.identity {
            IdentitySource::PeerCertificate => self.peers.connection().map(Caller::Connection),
            IdentitySource::FilterState(key) => peer_of_filter_state(self.host(), key).map(Caller::Request),
            IdentitySource::ForwardedClientCert => {
                Err(AttributeError { attribute: FORWARDED_CLIENT_CERT, status: "a connection has no headers" })
            }
        }
    }

    /// Address of the connection's other end.
    pub(crate) fn source_ip(&self) -> Result<Option<IpAddr>, AttributeError> {
        source_ip(self.host(), self.direct_remote_address)
    }
}

/// Reads the address of the connection's other end.
pub(crate) fn source_ip(host: impl Host, source: DirectRemoteAddress) -> Result<Option<IpAddr>, AttributeError> {
    match source {
        DirectRemoteAddress::FilterState => attributes::direct_remote_ip(host),
        DirectRemoteAddress::Connection => attributes::remote_ip(host),
    }
}

/// Caller of a stream.
pub(crate) enum Caller {
    /// Peer shared by all requests of a connection.
    Connection(Rc<CachedConnection>),
    /// Peer read for this request alone.
    Request(Peer),
}

impl Caller {
    pub(crate) fn peer(&self) -> &Peer {
        match self {
            Self::Connection(connection) => &connection.peer,
            Self::Request(peer) => peer,
        }
    }
}

pub(crate) const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// Reads the SPIFFE ID in a filter state. It may differ from one request to the next.
fn peer_of_filter_state(host: impl Host, key: &str) -> Result<Peer, AttributeError> {
    let uri = attributes::filter_state(host, key).map_err(|error| error.reading("the filter state of identity.key"))?;
    Ok(match uri.as_deref() {
        None | Some([]) => Peer::Unauthenticated(UnauthenticatedReason::NoForwardedIdentity),
        Some(uri) => match SpiffeId::parse(uri) {
            Ok(id) => Peer::Authenticated(id),
            Err(reason) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(reason)),
        },
    })
}
