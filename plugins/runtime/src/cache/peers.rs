//! Who is on the other side of each connection, read once a connection.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{AttributeError, Peer, SpiffeId, UnauthenticatedReason};

use crate::cache::decisions::CachedDecision;
use crate::cache::unique_key::Name;
use crate::counter::Counter;
use crate::host;

/// How many connections one half of the table holds.
const GENERATION_CAPACITY: usize = 4096;

/// The peers of the connections that were seen lately, by a number that this VM gives to each.
///
/// The number is a filter state of the connection itself. Envoy's `connection.id` would not do: over HTTP/3 it is made of
/// what the client sends, so a client can take one that another has had. A certificate is fixed by the handshake, so what
/// was read once stays true. The table is bounded: when the newer half is full it becomes the older one, and the older is
/// forgotten and read again if it comes back. Where the proxy keeps no such filter state nothing is remembered.
#[derive(Debug)]
pub struct Connections {
    coverage: Option<Coverage>,
    /// Whether numbers can be given.
    numbered: bool,
    newer: RefCell<HashMap<u64, Rc<CachedConnection>, FxBuildHasher>>,
    older: RefCell<HashMap<u64, Rc<CachedConnection>, FxBuildHasher>>,
}

thread_local! {
    /// The key of the filter state: one for all plugins of a VM.
    static KEY: OnceCell<String> = const { OnceCell::new() };
    /// How many connections have got a number.
    static NUMBERED: Cell<u64> = const { Cell::new(0) };
}

/// Calls `ask` with the key of this VM; none where it has none.
fn with_key<T>(ask: impl FnOnce(&str) -> T) -> Option<T> {
    KEY.with(|key| key.get().map(|key| ask(key)))
}

/// A connection that was seen.
#[derive(Debug)]
pub struct CachedConnection {
    /// Who is on its other side.
    pub peer: Peer,
    /// What is settled of it, once that was asked; none where each of its requests is decided by itself.
    pub(crate) settled: OnceCell<Option<Rc<CachedDecision>>>,
}

impl CachedConnection {
    fn read() -> Result<Rc<Self>, AttributeError> {
        Ok(Rc::new(Self { peer: read_peer()?, settled: OnceCell::new() }))
    }
}

/// How many connections proved something by a certificate, and how many did not.
#[derive(Debug)]
struct Coverage {
    mtls: Counter,
    plaintext: Counter,
}

impl Connections {
    /// A table that counts nothing.
    pub fn uncounted() -> Self {
        KEY.with(|known| {
            if known.get().is_none()
                && let Some(key) = Name::new(b'#')
            {
                let _made = known.set(key.as_str().to_owned());
            }
        });
        // Each root context has to declare it.
        let numbered = with_key(host::declare_for_connections).is_some_and(|declared| declared.is_ok());
        Self { coverage: None, numbered, newer: RefCell::default(), older: RefCell::default() }
    }

    /// A table that counts each connection when it is first seen, in `sallyport.<filter>.connection.{mtls,plaintext}`:
    /// mTLS is a certificate that was validated, plaintext the rest. A connection that was forgotten and comes back is
    /// counted again, however often it was recognised by its mark meanwhile.
    pub fn counted(filter: &str) -> Self {
        let counter = |name: &str| Counter::new(&format!("{filter}.connection.{name}"));
        Self {
            coverage: Some(Coverage { mtls: counter("mtls"), plaintext: counter("plaintext") }),
            ..Self::uncounted()
        }
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
    pub fn current(&self) -> Result<Rc<CachedConnection>, AttributeError> {
        let Some(number) = self.number() else { return CachedConnection::read() };
        if let Some(known) = self.newer.borrow().get(&number) {
            return Ok(Rc::clone(known));
        }
        let known = self.older.borrow_mut().remove(&number);
        let known = match known {
            Some(known) => known,
            None => {
                let known = CachedConnection::read()?;
                self.count(&known.peer);
                known
            }
        };
        self.remember(number, Rc::clone(&known));
        Ok(known)
    }

    /// The number of the current connection, given now if it has none; none where it cannot be l4_warned.
    fn number(&self) -> Option<u64> {
        if !self.numbered {
            return None;
        }
        match with_key(host::integer_property)? {
            Ok(Some(number)) => Some(number),
            Ok(None) => {
                let number = NUMBERED.get().checked_add(1)?;
                NUMBERED.set(number);
                with_key(|key| host::set_filter_state(key, &number.to_le_bytes()))?.ok()?;
                Some(number)
            }
            Err(_) => None,
        }
    }

    /// Whether the connection is of TLS that has shown no certificate so far: it may still come.
    pub(crate) fn handshake_may_go_on(&self) -> Result<bool, AttributeError> {
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

    fn remember(&self, number: u64, known: Rc<CachedConnection>) {
        let mut newer = self.newer.borrow_mut();
        if newer.len() >= GENERATION_CAPACITY {
            // The memory of both is kept, so that a busy proxy's does not come to pieces.
            std::mem::swap(&mut *newer, &mut *self.older.borrow_mut());
            newer.clear();
        }
        newer.insert(number, known);
    }
}

/// Reads the identity that the peer's certificate proves.
///
/// `connection.mtls` alone says only that a certificate was presented. Envoy 1.39 and later tell whether it was
/// validated; before that the listener has to require a validated one.
fn read_peer() -> Result<Peer, AttributeError> {
    let uri = host::property("connection\0uri_san_peer_certificate")
        .map_err(|failed| failed.of("connection.uri_san_peer_certificate"))?
        .unwrap_or_default();
    if uri.is_empty() {
        let presented = host::boolean_property("connection\0mtls").map_err(|failed| failed.of("connection.mtls"))?;
        if presented != Some(true) {
            return Ok(Peer::Unauthenticated(UnauthenticatedReason::NoCertificate));
        }
    }
    let valid = host::boolean_property("connection\0peer_certificate_valid")
        .map_err(|failed| failed.of("connection.peer_certificate_valid"))?;
    if valid == Some(false) {
        return Ok(Peer::Unauthenticated(UnauthenticatedReason::NotValidated));
    }
    if uri.is_empty() {
        return Ok(Peer::Unauthenticated(UnauthenticatedReason::NoUri));
    }
    Ok(match SpiffeId::parse(&uri) {
        Ok(id) => Peer::Authenticated(id),
        Err(reason) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(reason)),
    })
}
