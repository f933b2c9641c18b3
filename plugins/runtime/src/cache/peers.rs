//! Cache of peers: the identity of each connection, read once.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{AttributeError, CertificateValidation, Peer, SpiffeId, UnauthenticatedReason, certificate_end};

use crate::cache::cached_decision::CachedDecision;
use crate::cache::unique_key::UniqueKey;
use crate::counter::Counter;
use crate::host::{Host, attributes};

/// Connections that one generation of the cache holds.
const GENERATION_CAPACITY: usize = 4096;

/// Peers of recent connections, by a token that this VM gives to each.
///
/// The token is a filter state of the connection. Envoy's `connection.id` would not do: over HTTP/3 it is derived from
/// what the client sends, so a client can take the ID of another. A certificate is fixed by the handshake, so an entry
/// stays true until the certificate ends, which is checked with the time of the last tick. The cache has two generations: when the current one is full it becomes the previous one, whose entries
/// are dropped, and read again if their connections come back. If the host cannot store the token, nothing is cached.
#[derive(Debug)]
pub struct PeerCache<H> {
    host: H,
    validation: CertificateValidation,
    /// Time of the last tick, or of the last certificate that was read.
    now: Cell<Duration>,
    coverage: Option<Coverage<H>>,
    /// Filter-state key of tokens, `None` if the host cannot store them.
    token_key: Option<UniqueKey>,
    current: RefCell<Generation>,
    previous: RefCell<Generation>,
}

type Generation = HashMap<u64, Rc<CachedConnection>, FxBuildHasher>;

/// Connection in the cache.
#[derive(Debug)]
pub struct CachedConnection {
    /// Identity of its other side.
    pub peer: Peer,
    /// End of the certificate that proves it; `None` without one, or if the host does not supply it (Envoy before 1.38).
    pub(crate) certificate_end: Option<Duration>,
    /// Result of the policy for all requests of the connection, once computed; `None` inside if each request is decided
    /// by itself.
    pub(crate) decision: OnceCell<Option<Rc<CachedDecision>>>,
    /// Index of the tag that it was last offered, and whether it has it.
    pub(crate) tag: Cell<Option<(usize, bool)>>,
}

/// Counters of connections with a validated certificate, and without.
#[derive(Debug)]
struct Coverage<H> {
    mtls: Counter<H>,
    plaintext: Counter<H>,
}

thread_local! {
    /// Filter-state key of tokens, one for all plugins of a VM.
    static TOKEN_KEY: OnceCell<UniqueKey> = const { OnceCell::new() };
    /// Last token that was given out.
    static LAST_TOKEN: Cell<u64> = const { Cell::new(0) };
}

/// Filter-state key of this VM's tokens, `None` if the host has no clock to make one.
fn vm_token_key(host: impl Host) -> Option<UniqueKey> {
    TOKEN_KEY.with(|key| match key.get() {
        Some(key) => Some(*key),
        None => UniqueKey::new(host, b'#').map(|new| *key.get_or_init(|| new)),
    })
}

impl<H: Host> PeerCache<H> {
    /// Makes a cache that counts nothing. To be called once in each root context, which has to declare the token.
    pub fn new(host: H, validation: CertificateValidation) -> Self {
        let token_key = vm_token_key(host).filter(|key| host.declare_for_connections(key.as_str()).is_ok());
        Self {
            host,
            validation,
            now: Cell::default(),
            coverage: None,
            token_key,
            current: RefCell::default(),
            previous: RefCell::default(),
        }
    }

    /// Makes a cache that counts each connection when it is first seen, in
    /// `sallyport.<filter>.connection.{mtls,plaintext}`: mTLS is a validated certificate, plaintext everything else. A
    /// connection that was dropped from the cache and comes back is counted again.
    pub fn counting(host: H, filter: &str, validation: CertificateValidation) -> Self {
        let counter = |name: &str| Counter::new(host, &format!("{filter}.connection.{name}"));
        Self {
            coverage: Some(Coverage { mtls: counter("mtls"), plaintext: counter("plaintext") }),
            ..Self::new(host, validation)
        }
    }

    pub(crate) fn host(&self) -> H {
        self.host
    }

    /// Time of the last tick, or of the last certificate that was read.
    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// Flushes the counters and takes the time. A host without it ends every certificate: what depends on one is denied.
    pub fn on_tick(&self) {
        self.now.set(self.host.current_time().unwrap_or(Duration::MAX));
        if let Some(coverage) = &self.coverage {
            coverage.mtls.flush();
            coverage.plaintext.flush();
        }
    }

    /// Connection of the current stream.
    ///
    /// Fails if the host does not supply the peer's attributes; nothing is cached then.
    pub fn connection(&self) -> Result<Rc<CachedConnection>, AttributeError> {
        let Some(token) = self.token() else { return self.read_connection() };
        let current = self.current.borrow().get(&token).map(Rc::clone);
        if let Some(connection) = current.filter(|connection| !self.is_expired(connection)) {
            return Ok(connection);
        }
        let previous = self.previous.borrow_mut().remove(&token);
        let connection = match previous.filter(|connection| !self.is_expired(connection)) {
            Some(connection) => connection,
            None => {
                let connection = self.read_connection()?;
                self.count(&connection.peer);
                connection
            }
        };
        self.insert(token, Rc::clone(&connection));
        Ok(connection)
    }

    /// Token of the current connection, given now if it has none; `None` if the host does not store or supply it.
    fn token(&self) -> Option<u64> {
        let key = self.token_key.as_ref()?;
        match attributes::integer(self.host, key.as_str()) {
            Ok(Some(token)) => Some(token),
            Ok(None) => {
                let token = LAST_TOKEN.get().checked_add(1)?;
                LAST_TOKEN.set(token);
                self.host.set_filter_state(key.as_str(), &token.to_le_bytes()).ok()?;
                Some(token)
            }
            Err(_) => None,
        }
    }

    fn insert(&self, token: u64, connection: Rc<CachedConnection>) {
        let mut current = self.current.borrow_mut();
        if current.len() >= GENERATION_CAPACITY {
            // Both keep their memory, so that a busy proxy's does not become fragmented.
            std::mem::swap(&mut *current, &mut *self.previous.borrow_mut());
            current.clear();
        }
        current.insert(token, connection);
    }

    fn count(&self, peer: &Peer) {
        if let Some(coverage) = &self.coverage {
            match peer.is_validated() {
                true => coverage.mtls.increment(),
                false => coverage.plaintext.increment(),
            }
        }
    }

    /// Reports whether the certificate has ended since it was read.
    fn is_expired(&self, connection: &CachedConnection) -> bool {
        let valid = !matches!(connection.peer, Peer::Unauthenticated(UnauthenticatedReason::CertificateExpired));
        valid && connection.certificate_end.is_some_and(|end| end <= self.now.get())
    }

    fn read_connection(&self) -> Result<Rc<CachedConnection>, AttributeError> {
        let mut peer = read_peer(self.host, self.validation)?;
        let certificate_end = if peer.is_validated() { read_certificate_end(self.host)? } else { None };
        if let Some(end) = certificate_end {
            self.now.set(attributes::time(self.host)?);
            if end <= self.now.get() {
                peer = Peer::Unauthenticated(UnauthenticatedReason::CertificateExpired);
            }
        }
        Ok(Rc::new(CachedConnection { peer, certificate_end, decision: OnceCell::new(), tag: Cell::new(None) }))
    }

    /// Reports whether the client's certificate may still come: the connection is TLS and has presented none so far.
    pub(crate) fn is_handshake_pending(&self) -> Result<bool, AttributeError> {
        let version =
            self.host.property("connection\0tls_version").map_err(|error| error.reading("connection.tls_version"))?;
        Ok(version.is_some() && !has_certificate(self.host)?)
    }
}

/// `connection.mtls`: whether the client presented a certificate, validated or not.
fn has_certificate(host: impl Host) -> Result<bool, AttributeError> {
    const ATTRIBUTE: &str = "connection.mtls";
    let presented = attributes::boolean(host, "connection\0mtls").map_err(|error| error.reading(ATTRIBUTE))?;
    presented.ok_or(attributes::missing(ATTRIBUTE))
}

/// Reads the identity that the peer's certificate proves.
///
/// `connection.mtls` says only that a certificate was presented. Its validation is known from Envoy 1.39 and
/// later, though not on resumed sessions, or the configuration says that the listener requires a validated one.
fn read_peer(host: impl Host, validation: CertificateValidation) -> Result<Peer, AttributeError> {
    let uri = host
        .property("connection\0uri_san_peer_certificate")
        .map_err(|error| error.reading("connection.uri_san_peer_certificate"))?
        .unwrap_or_default();
    if uri.is_empty() && !has_certificate(host)? {
        return Ok(Peer::Unauthenticated(UnauthenticatedReason::NoCertificate));
    }
    if validation == CertificateValidation::Attribute {
        let valid = attributes::boolean(host, "connection\0peer_certificate_valid")
            .map_err(|error| error.reading("connection.peer_certificate_valid"))?;
        match valid {
            Some(true) => {}
            Some(false) => return Ok(Peer::Unauthenticated(UnauthenticatedReason::NotValidated)),
            None => return Ok(Peer::Unauthenticated(UnauthenticatedReason::ValidationUnknown)),
        }
    }
    if uri.is_empty() {
        return Ok(Peer::Unauthenticated(UnauthenticatedReason::NoUri));
    }
    Ok(match SpiffeId::parse(&uri) {
        Ok(id) => Peer::Authenticated(id),
        Err(reason) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(reason)),
    })
}

/// Reads the end of the peer's certificate, `None` if the host does not supply the certificate (Envoy before 1.38).
fn read_certificate_end(host: impl Host) -> Result<Option<Duration>, AttributeError> {
    const ATTRIBUTE: &str = "connection.peer_certificate";
    let pem = host.property("connection\0peer_certificate").map_err(|error| error.reading(ATTRIBUTE))?;
    let Some(pem) = pem.filter(|pem| !pem.is_empty()) else { return Ok(None) };
    certificate_end(&pem).map(Some).ok_or(AttributeError { attribute: ATTRIBUTE, status: "not a certificate" })
}

#[cfg(test)]
mod tests;
