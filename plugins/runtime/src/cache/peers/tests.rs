use super::*;
use crate::fake_host::{FakeHost, START_OF_2030};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// Attributes of a connection by their names after `connection.`.
type Attributes = [(&'static str, &'static [u8])];

fn principal(cache: &PeerCache<&FakeHost>) -> Option<String> {
    let connection = cache.connection().expect("a connection");
    connection.peer.id().map(|id| id.principal().to_owned())
}

#[test]
fn a_certificate_is_read_once_a_connection() {
    let host = FakeHost::default();
    let cache = PeerCache::counting(&host, "f", CertificateValidation::Attribute);
    for _ in 0..3 {
        for (connection, uri) in [(1, WEB), (2, CART)] {
            host.mtls(connection, uri);
            assert_eq!(principal(&cache).as_deref(), uri.strip_prefix("spiffe://"));
        }
    }
    let reads = host.take_calls().into_iter().filter(|call| call.contains("uri_san_peer_certificate")).count();
    assert_eq!(reads, 2);
    host.current.set(3);
    assert_eq!(principal(&cache), None);
    cache.on_tick();
    assert_eq!(host.counter("f.connection.mtls"), Some(2));
    assert_eq!(host.counter("f.connection.plaintext"), Some(1));
}

#[test]
fn without_a_token_each_request_reads_its_own_certificate() {
    let failures = ["current_time", "declare_for_connections", "set_filter_state", "property #"];
    for failing in failures {
        let host = FakeHost::default();
        host.failing.set(Some(failing));
        let cache = PeerCache::new(&host, CertificateValidation::Attribute);
        for (connection, uri) in [(1, WEB), (2, CART), (1, WEB)] {
            host.mtls(connection, uri);
            assert_eq!(principal(&cache).as_deref(), uri.strip_prefix("spiffe://"), "{failing}");
        }
    }
}

#[test]
fn an_attribute_that_the_host_does_not_supply_is_an_error_and_not_cached() {
    let host = FakeHost::default();
    let cache = PeerCache::new(&host, CertificateValidation::Attribute);
    host.mtls(1, WEB);
    for attribute in ["uri_san_peer_certificate", "peer_certificate_valid"] {
        let call: &'static str = format!("property connection.{attribute}").leak();
        host.failing.set(Some(call));
        let error = cache.connection().expect_err("a failure");
        assert_eq!(error.attribute, format!("connection.{attribute}"));
    }
    host.failing.set(None);
    assert_eq!(principal(&cache).as_deref(), WEB.strip_prefix("spiffe://"));
}

#[test]
fn two_generations_bound_the_cache() {
    let host = FakeHost::default();
    let cache = PeerCache::counting(&host, "f", CertificateValidation::Attribute);
    for connection in 0..3 * GENERATION_CAPACITY {
        host.mtls(connection, WEB);
        let _seen = cache.connection();
        // One that keeps coming back is never dropped.
        host.current.set(0);
        let _kept = cache.connection();
    }
    assert!(cache.current.borrow().len() + cache.previous.borrow().len() <= 2 * GENERATION_CAPACITY);
    host.mtls(0, "read again, this would be no SPIFFE ID");
    assert_eq!(principal(&cache).as_deref(), WEB.strip_prefix("spiffe://"));
    host.mtls(1, CART);
    assert_eq!(principal(&cache).as_deref(), CART.strip_prefix("spiffe://"));
}

fn peer(attributes: &Attributes, validation: CertificateValidation) -> Result<Peer, AttributeError> {
    let host = FakeHost::default();
    for (name, value) in attributes {
        host.set(&format!("connection\0{name}"), value);
    }
    PeerCache::new(&host, validation).connection().map(|connection| connection.peer.clone())
}

#[test]
fn a_certificate_proves_what_it_names_only_if_it_is_validated() {
    use UnauthenticatedReason::{NoCertificate, NoUri, NotValidated, ValidationUnknown};
    let web = Peer::Authenticated(SpiffeId::parse(WEB.as_bytes()).expect("an ID"));
    let none = Peer::Unauthenticated;
    let uri = ("uri_san_peer_certificate", WEB.as_bytes());
    // By the attribute, and by the listener.
    let rows: [(&Attributes, Peer, Peer); 8] = [
        (&[], none(NoCertificate), none(NoCertificate)),
        (&[("mtls", &[0])], none(NoCertificate), none(NoCertificate)),
        (&[("mtls", &[1]), ("peer_certificate_valid", &[1])], none(NoUri), none(NoUri)),
        (&[("mtls", &[1]), ("peer_certificate_valid", &[0])], none(NotValidated), none(NoUri)),
        (&[("mtls", &[1])], none(ValidationUnknown), none(NoUri)),
        (&[("mtls", &[1]), ("peer_certificate_valid", &[0]), uri], none(NotValidated), web.clone()),
        (&[("mtls", &[1]), uri], none(ValidationUnknown), web.clone()),
        (&[("mtls", &[1]), ("peer_certificate_valid", &[1]), uri], web.clone(), web),
    ];
    for (attributes, by_attribute, by_listener) in rows {
        assert_eq!(peer(attributes, CertificateValidation::Attribute), Ok(by_attribute), "{attributes:?}");
        assert_eq!(peer(attributes, CertificateValidation::Listener), Ok(by_listener), "{attributes:?}");
    }
}

#[test]
fn a_certificate_that_has_ended_proves_nothing() {
    let host = FakeHost::default();
    let cache = PeerCache::counting(&host, "f", CertificateValidation::Listener);
    host.mtls(1, WEB);
    host.set_certificate();
    host.seconds.set(START_OF_2030 - 2);
    assert_eq!(principal(&cache).as_deref(), WEB.strip_prefix("spiffe://"));
    // One that is first seen is checked by the clock, one that is known at each tick.
    host.seconds.set(START_OF_2030);
    cache.on_tick();
    for connection in [1, 2] {
        host.mtls(connection, WEB);
        host.set_certificate();
        for _ in 0..2 {
            let seen = cache.connection().expect("a connection");
            assert_eq!(seen.peer, Peer::Unauthenticated(UnauthenticatedReason::CertificateExpired), "{connection}");
        }
    }
}

#[test]
fn a_host_without_the_time_ends_every_certificate() {
    let host = FakeHost::default();
    let cache = PeerCache::new(&host, CertificateValidation::Attribute);
    host.mtls(1, WEB);
    host.set_certificate();
    assert!(cache.connection().is_ok());
    host.failing.set(Some("current_time"));
    cache.on_tick();
    assert_eq!(cache.connection().err().map(|error| error.attribute), Some("the time"));
    host.failing.set(None);
    cache.on_tick();
    assert_eq!(principal(&cache).as_deref(), WEB.strip_prefix("spiffe://"));
}

#[test]
fn a_certificate_without_a_readable_end_is_an_error() {
    let host = FakeHost::default();
    let cache = PeerCache::new(&host, CertificateValidation::Listener);
    host.mtls(1, WEB);
    host.set("connection\0peer_certificate", b"-----BEGIN CERTIFICATE-----");
    let error = cache.connection().expect_err("no certificate");
    assert_eq!(error.to_string(), "the proxy did not tell connection.peer_certificate: not a certificate");
    host.set("connection\0peer_certificate", b"");
    assert!(cache.connection().is_ok());
}

#[test]
fn a_tls_handshake_without_a_certificate_may_still_bring_one() {
    let rows: [(&Attributes, bool); 4] = [
        (&[], false),
        (&[("tls_version", b"TLSv1.3")], true),
        (&[("tls_version", b"TLSv1.3"), ("mtls", &[0])], true),
        (&[("tls_version", b"TLSv1.3"), ("mtls", &[1])], false),
    ];
    for (attributes, pending) in rows {
        let host = FakeHost::default();
        for (name, value) in attributes {
            host.set(&format!("connection\0{name}"), value);
        }
        assert_eq!(
            PeerCache::new(&host, CertificateValidation::Attribute).is_handshake_pending(),
            Ok(pending),
            "{attributes:?}"
        );
    }
}
