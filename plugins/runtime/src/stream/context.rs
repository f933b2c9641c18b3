//! Where a filter finds who asks and from where.

use std::net::IpAddr;
use std::rc::Rc;

use sallyport_policy::{AttributeError, DirectRemoteAddress, IdentitySource, Peer, SpiffeId, UnauthenticatedReason};

use crate::cache::peers::{CachedConnection, Connections};
use crate::host;

/// Where a filter finds who asks and from where.
#[derive(Clone, Copy, Debug)]
pub struct StreamContext<'c> {
    /// The connections that were seen lately.
    pub connections: &'c Connections,
    /// What tells who asks.
    pub identity: &'c IdentitySource,
    /// What tells the address of the connection's other end.
    pub direct_remote_address: DirectRemoteAddress,
}

impl<'c> StreamContext<'c> {
    /// For filters that take identities from certificates.
    pub fn of_connections(connections: &'c Connections, direct_remote_address: DirectRemoteAddress) -> Self {
        Self { connections, identity: &IdentitySource::PeerCertificate, direct_remote_address }
    }

    /// The connection, which is counted when it is first seen, whether or not a policy asks who its peer is; none where
    /// that is not the one who asks. What the proxy does not tell stops nothing that does not ask for it.
    pub fn connection(&self) -> Option<Rc<CachedConnection>> {
        let connection = self.connections.current().ok()?;
        (*self.identity == IdentitySource::PeerCertificate).then_some(connection)
    }

    /// Who asks, where no header tells.
    pub(crate) fn connection_caller(&self) -> Result<Caller, AttributeError> {
        match self.identity {
            IdentitySource::PeerCertificate => self.connections.current().map(Caller::Connection),
            IdentitySource::FilterState(key) => peer_of_filter_state(key).map(Caller::Request),
            IdentitySource::ForwardedClientCert => {
                Err(AttributeError { attribute: FORWARDED_CLIENT_CERT, status: "a connection has no headers" })
            }
        }
    }
}

/// What asks the proxy for the address of the connection's other end.
pub(crate) fn ask_source_ip(of: DirectRemoteAddress) -> fn() -> Result<Option<IpAddr>, AttributeError> {
    match of {
        DirectRemoteAddress::FilterState => host::direct_remote_ip,
        DirectRemoteAddress::Connection => host::client_ip,
    }
}

/// Who asks: one for all requests of a connection, or read anew for each of them.
pub(crate) enum Caller {
    Connection(Rc<CachedConnection>),
    Request(Peer),
}

impl Caller {
    pub(crate) fn peer(&self) -> &Peer {
        match self {
            Self::Connection(known) => &known.peer,
            Self::Request(peer) => peer,
        }
    }
}

pub(crate) const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// Reads the SPIFFE ID that a filter state holds. It is read anew for every request: what sets it may tell them apart.
fn peer_of_filter_state(key: &str) -> Result<Peer, AttributeError> {
    let uri = host::filter_state(key).map_err(|failed| failed.of("the filter state of identity.key"))?;
    Ok(match uri.as_deref() {
        None | Some([]) => Peer::Unauthenticated(UnauthenticatedReason::NoForwardedIdentity),
        Some(uri) => match SpiffeId::parse(uri) {
            Ok(id) => Peer::Authenticated(id),
            Err(reason) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(reason)),
        },
    })
}
