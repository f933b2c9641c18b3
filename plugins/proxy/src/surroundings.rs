//! Where a filter finds who asks and from where.

use std::net::IpAddr;
use std::rc::Rc;

use sallyport_policy::{DirectRemoteAddress, HostFailure, IdentitySource, NoIdentity, Peer, PeerId};

use crate::connections::{Connections, SeenConnection};
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
    pub fn connection(&self) -> Option<Rc<SeenConnection>> {
        let connection = self.connections.current().ok()?;
        (*self.identity == IdentitySource::PeerCertificate).then_some(connection)
    }

    /// Who asks, where no header tells.
    pub(crate) fn asker_of_connection(&self) -> Result<Asker, HostFailure> {
        match self.identity {
            IdentitySource::PeerCertificate => self.connections.current().map(Asker::Connection),
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
    Connection(Rc<SeenConnection>),
    Request(Peer),
}

impl Asker {
    pub(crate) fn peer(&self) -> &Peer {
        match self {
            Self::Connection(known) => &known.peer,
            Self::Request(peer) => peer,
        }
    }
}

pub(crate) const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

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
