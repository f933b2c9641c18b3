use sallyport_policy::{CertificateValidation, DirectRemoteAddress};

use super::*;
use crate::cache::peers::PeerCache;
use crate::fake_host::FakeHost;
use crate::stream::context::StreamContext;
use crate::stream::request::CurrentStream;

/// Opens a connection of the host's current client.
fn open(limit: &ClientLimit, host: &FakeHost) -> Result<Option<OpenConnection>, AttributeError> {
    let peers = PeerCache::new(host, CertificateValidation::Attribute);
    let context = StreamContext::of_connections(&peers, DirectRemoteAddress::Connection);
    limit.open(&mut CurrentStream::request(context))
}

#[test]
fn a_client_is_counted_by_who_it_is_and_else_by_its_address() {
    let host = FakeHost::default();
    let limit = ClientLimit::new(2);
    assert_eq!(limit.most(), 2);
    host.set("source\0address", b"10.0.0.1:4000");
    let first = open(&limit, &host).unwrap();
    let second = open(&limit, &host).unwrap();
    assert!(first.is_some() && second.is_some());
    host.set("source\0address", b"10.0.0.1:4001");
    assert!(open(&limit, &host).unwrap().is_none(), "a third of the same address");

    // Other connections from there, of workloads that are proven.
    host.mtls(1, "spiffe://cluster.local/ns/shop/sa/web");
    host.set("source\0address", b"10.0.0.1:4002");
    let of_web = [open(&limit, &host).unwrap(), open(&limit, &host).unwrap()];
    assert!(of_web.iter().all(Option::is_some));
    host.mtls(2, "spiffe://cluster.local/ns/shop/sa/web");
    host.set("source\0address", b"10.0.0.2:4000");
    assert!(open(&limit, &host).unwrap().is_none(), "a third of the same workload, from elsewhere");
    host.mtls(3, "spiffe://cluster.local/ns/shop/sa/cart");
    assert!(open(&limit, &host).unwrap().is_some(), "another workload");

    host.current.set(0);
    drop(first);
    let third = open(&limit, &host).unwrap();
    assert!(third.is_some(), "one of its connections has ended");
    drop((second, third, of_web));
    assert!(limit.open.borrow().is_empty());
}

#[test]
fn a_client_that_the_proxy_does_not_tell_is_an_error() {
    let host = FakeHost::default();
    let limit = ClientLimit::new(2);
    for failing in ["property source", "property connection.uri_san_peer_certificate"] {
        host.failing.set(Some(failing));
        assert!(open(&limit, &host).is_err(), "{failing}");
    }
    host.failing.set(None);
    // A client on a Unix socket has no IP address.
    host.set("source\0address", b"/run/envoy.sock");
    assert!(open(&limit, &host).unwrap().is_some());
    assert!(limit.open.borrow().is_empty());
}
