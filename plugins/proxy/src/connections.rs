//! Who is on the other side of each connection, read once a connection.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{HostFailure, NoIdentity, Peer, PeerId};

use crate::counter::Counter;
use crate::host;

/// How many connections one half of the table holds.
const HALF: usize = 4096;

/// The peers of the connections that were seen lately, by `connection.id`, which Envoy never gives twice.
///
/// A certificate is fixed by the handshake, so what was read once stays true. The table is bounded: when the newer
/// half is full it becomes the older one, and the older is forgotten and read again if it comes back.
#[derive(Debug, Default)]
pub struct Connections {
    coverage: Option<Coverage>,
    newer: RefCell<HashMap<u64, Rc<Peer>, FxBuildHasher>>,
    older: RefCell<HashMap<u64, Rc<Peer>, FxBuildHasher>>,
}

/// A connection, as it is seen at one of its requests.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Who is on its other side.
    pub peer: Rc<Peer>,
    /// Whether it was not remembered before.
    pub first: bool,
}

/// How many connections proved something by a certificate, and how many did not.
#[derive(Debug)]
struct Coverage {
    mtls: Counter,
    plaintext: Counter,
}

impl Connections {
    /// A table that counts each connection when its peer is first asked for, in
    /// `sallyport.<filter>.connection.{mtls,plaintext}`: mTLS is a certificate that was validated, plaintext the rest. A
    /// connection that was forgotten and comes back is counted again.
    pub fn counted(filter: &str) -> Self {
        let counter = |name: &str| Counter::new(&format!("{filter}.connection.{name}"));
        Self { coverage: Some(Coverage { mtls: counter("mtls"), plaintext: counter("plaintext") }), ..Self::default() }
    }

    /// Tells the proxy what was counted.
    pub fn on_tick(&self) {
        if let Some(coverage) = &self.coverage {
            coverage.mtls.flush();
            coverage.plaintext.flush();
        }
    }

    /// The connection that the current request came by.
    ///
    /// Fails where the proxy does not say who its peer is; nothing is remembered then.
    pub fn current(&self) -> Result<Seen, HostFailure> {
        // A proxy without connection.id is asked anew for every request.
        let Ok(Some(id)) = host::integer_property("connection\0id") else {
            return Ok(Seen { peer: Rc::new(read_peer()?), first: false });
        };
        if let Some(peer) = self.newer.borrow().get(&id) {
            return Ok(Seen { peer: Rc::clone(peer), first: false });
        }
        let known = self.older.borrow_mut().remove(&id);
        let first = known.is_none();
        let peer = match known {
            Some(peer) => peer,
            None => {
                let peer = Rc::new(read_peer()?);
                self.count(&peer);
                peer
            }
        };
        self.remember(id, Rc::clone(&peer));
        Ok(Seen { peer, first })
    }

    /// Whether the connection is of TLS that has shown no certificate so far: it may still come.
    pub(crate) fn handshake_may_go_on(&self) -> Result<bool, HostFailure> {
        let version =
            host::property("connection\0tls_version").map_err(|failed| failed.of("connection.tls_version"))?;
        let presented = host::boolean_property("connection\0mtls").map_err(|failed| failed.of("connection.mtls"))?;
        Ok(version.is_some() && presented != Some(true))
    }

    fn count(&self, peer: &Peer) {
        if let Some(coverage) = &self.coverage {
            match peer.is_validated() {
                true => coverage.mtls.increment(),
                false => coverage.plaintext.increment(),
            }
        }
    }

    fn remember(&self, id: u64, peer: Rc<Peer>) {
        let mut newer = self.newer.borrow_mut();
        if newer.len() >= HALF {
            *self.older.borrow_mut() = std::mem::take(&mut *newer);
        }
        newer.insert(id, peer);
    }
}

/// Reads the identity that the peer's certificate proves.
///
/// `connection.mtls` alone says only that a certificate was presented. Envoy 1.39 and later tell whether it was
/// validated; before that the listener has to require a validated one.
fn read_peer() -> Result<Peer, HostFailure> {
    let uri = host::property("connection\0uri_san_peer_certificate")
        .map_err(|failed| failed.of("connection.uri_san_peer_certificate"))?
        .unwrap_or_default();
    if uri.is_empty() {
        let presented = host::boolean_property("connection\0mtls").map_err(|failed| failed.of("connection.mtls"))?;
        if presented != Some(true) {
            return Ok(Peer::Unproven(NoIdentity::NoCertificate));
        }
    }
    let valid = host::boolean_property("connection\0peer_certificate_valid")
        .map_err(|failed| failed.of("connection.peer_certificate_valid"))?;
    if valid == Some(false) {
        return Ok(Peer::Unproven(NoIdentity::NotValidated));
    }
    if uri.is_empty() {
        return Ok(Peer::Unproven(NoIdentity::NoUri));
    }
    Ok(match PeerId::parse(&uri) {
        Ok(id) => Peer::Proven(id),
        Err(reason) => Peer::Unproven(NoIdentity::NotSpiffe(reason)),
    })
}
