use super::*;
use crate::fake_host::FakeHost;

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
    let cache = PeerCache::counting(&host, "f");
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
        let cache = PeerCache::new(&host);
        for (connection, uri) in [(1, WEB), (2, CART), (1, WEB)] {
            host.mtls(connection, uri);
            assert_eq!(principal(&cache).as_deref(), uri.strip_prefix("spiffe://"), "{failing}");
        }
    }
}

#[test]
fn an_attribute_that_the_host_does_not_supply_is_an_error_and_not_cached() {
    let host = FakeHost::default();
    let cache = PeerCache::new(&host);
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
    let cache = PeerCache::counting(&host, "f");
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

#[test]
fn a_certificate_proves_what_it_names_only_if_it_is_valid() {
    use UnauthenticatedReason::{NoCertificate, NoUri, NotValidated};
    let rows: [(&Attributes, _); 5] = [
        (&[], NoCertificate),
        (&[("mtls", &[0])], NoCertificate),
        (&[("mtls", &[1]), ("peer_certificate_valid", &[1])], NoUri),
        (&[("mtls", &[1]), ("peer_certificate_valid", &[0])], NotValidated),
        (
            &[("mtls", &[1]), ("peer_certificate_valid", &[0]), ("uri_san_peer_certificate", WEB.as_bytes())],
            NotValidated,
        ),
    ];
    for (attributes, reason) in rows {
        let host = FakeHost::default();
        for (name, value) in attributes {
            host.set(&format!("connection\0{name}"), value);
        }
        let peer = PeerCache::new(&host).connection().map(|connection| connection.peer.clone());
        assert_eq!(peer, Ok(Peer::Unauthenticated(reason)), "{attributes:?}");
    }
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
        assert_eq!(PeerCache::new(&host).is_handshake_pending(), Ok(pending), "{attributes:?}");
    }
}
