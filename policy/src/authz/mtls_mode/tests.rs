//! Every combination of mesh, namespace, workload and port, against a plain reading of what Istio documents: the
//! narrowest scope that says something decides, and without any both are taken.

use super::*;
use crate::collections::map::HashMap;
use crate::identity::error::UnauthenticatedReason;
use crate::identity::peer::Peer;
use crate::identity::spiffe_id::SpiffeId;
use crate::test_support::fake_request::FakeRequest;

/// Policy of one scope: none, or its mode, which is none for UNSET.
type Written = Option<Option<MtlsMode>>;

const WRITTEN: [Written; 5] =
    [None, Some(None), Some(Some(MtlsMode::Disable)), Some(Some(MtlsMode::Permissive)), Some(Some(MtlsMode::Strict))];

/// The port that PeerAuthentication may name here, and another.
const NAMED: u16 = 8080;
const OTHER: u16 = 9090;

/// A connection by a peer to a port.
fn connection(peer: Peer, port: Option<u16>) -> FakeRequest {
    FakeRequest { peer, port, ..FakeRequest::new("") }
}

/// The name of the PeerAuthentication that rejects a connection; only its peer and its port may be read for that.
fn rejecting<'a>(mutual_tls: &'a MutualTls, request: &mut FakeRequest) -> Result<Option<&'a str>, AttributeError> {
    let found = mutual_tls.rejects(request).map(|name| name.map(PolicyName::name));
    assert!(request.read.iter().all(|attribute| ["peer", "port"].contains(attribute)), "{:?}", request.read);
    found
}

/// All that a certificate can show, with whether it counts as mTLS.
fn peers() -> [(Peer, bool); 5] {
    let id = SpiffeId::parse(b"spiffe://cluster.local/ns/shop/sa/web").expect("a SPIFFE ID");
    [
        (Peer::Authenticated(id), true),
        // Validated, though it names nobody: Istio takes it too.
        (Peer::Unauthenticated(UnauthenticatedReason::NoUri), true),
        (Peer::Unauthenticated(UnauthenticatedReason::NoCertificate), false),
        (Peer::Unauthenticated(UnauthenticatedReason::NotValidated), false),
        (Peer::Unauthenticated(UnauthenticatedReason::NoForwardedIdentity), false),
    ]
}

fn labels(app: &str) -> HashMap<String, String> {
    [("app".to_owned(), app.to_owned())].into_iter().collect()
}

fn orders() -> Workload {
    Workload { namespace: "shop".to_owned(), labels: Some(labels("orders")), ..Workload::default() }
}

fn resource(namespace: &str, name: &str, target: Target, mode: Option<MtlsMode>, port: Written) -> PeerAuthentication {
    PeerAuthentication {
        name: PolicyName::of_resource(namespace, name),
        created: None,
        target,
        mode,
        ports: port.map(|mode| (NAMED, mode)).into_iter().collect(),
    }
}

/// The mTLS requirements of [`orders`], and the number of resources that do.
fn merged(all: &[PeerAuthentication], diagnostics: &Diagnostics) -> (MutualTls, usize) {
    let applicable = Applicable::new(all, Some(&orders()), "istio-system", diagnostics);
    (MutualTls::new(&applicable), applicable.count)
}

/// The resources of one combination. A port is named by the workload's resource alone.
fn written(
    mesh: Written,
    namespace: Written,
    workload: Option<(Option<MtlsMode>, Written)>,
) -> Vec<PeerAuthentication> {
    let of_scope =
        |space: &str, name: &str, written: Written| written.map(|mode| resource(space, name, Target::All, mode, None));
    let of_workload =
        workload.map(|(mode, port)| resource("shop", "workload", Target::Labels(labels("orders")), mode, port));
    [of_scope("istio-system", "mesh", mesh), of_scope("shop", "namespace", namespace), of_workload]
        .into_iter()
        .flatten()
        .collect()
}

/// The plain reading: the name of what requires a certificate on a connection to this port.
fn required(
    mesh: Written,
    namespace: Written,
    workload: Option<(Option<MtlsMode>, Written)>,
    port: Option<u16>,
) -> Option<&'static str> {
    let (of_workload, of_port) = workload.unwrap_or_default();
    let of_port = of_port.filter(|_| port == Some(NAMED)).flatten();
    let narrowest_first = [
        (of_port, "workload"),
        (of_workload, "workload"),
        (namespace.flatten(), "namespace"),
        (mesh.flatten(), "mesh"),
    ];
    let (mode, name) = narrowest_first.into_iter().find_map(|(mode, name)| Some((mode?, name)))?;
    (mode == MtlsMode::Strict).then_some(name)
}

#[test]
fn every_combination_means_what_the_plain_reading_says() {
    let mut workloads = vec![None];
    for mode in WRITTEN.into_iter().flatten() {
        workloads.extend(WRITTEN.map(|port| Some((mode, port))));
    }
    let mut combinations = 0;
    for mesh in WRITTEN {
        for namespace in WRITTEN {
            for &workload in &workloads {
                let mut all = written(mesh, namespace, workload);
                for reversed in [false, true] {
                    if reversed {
                        all.reverse();
                    }
                    let diagnostics = Diagnostics::default();
                    let (mutual_tls, here) = merged(&all, &diagnostics);
                    assert!(diagnostics.into_result(Some(())).is_ok(), "{mesh:?} {namespace:?} {workload:?}");
                    assert_eq!(here, all.len(), "{mesh:?} {namespace:?} {workload:?}");
                    for port in [Some(NAMED), Some(OTHER), None] {
                        let required = required(mesh, namespace, workload, port);
                        for (peer, is_mutual) in peers() {
                            let mut connection = connection(peer.clone(), port);
                            let found = rejecting(&mutual_tls, &mut connection);
                            let expected = required.filter(|_| !is_mutual);
                            assert_eq!(
                                found,
                                Ok(expected),
                                "mesh {mesh:?}, namespace {namespace:?}, workload {workload:?}, port {port:?}, {peer:?}"
                            );
                            combinations += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(combinations, 5 * 5 * 21 * 2 * 3 * 5);
}

#[test]
fn what_is_meant_for_others_does_not_count() {
    let strict = Some(MtlsMode::Strict);
    let all = [
        resource("pay", "namespace", Target::All, strict, None),
        resource("shop", "another", Target::Labels(labels("web")), strict, Some(strict)),
        resource("pay", "workload", Target::Labels(labels("orders")), strict, None),
    ];
    let diagnostics = Diagnostics::default();
    let (mutual_tls, here) = merged(&all, &diagnostics);
    assert!(diagnostics.into_result(Some(())).is_ok());
    assert_eq!(here, 0);
    assert_eq!(mutual_tls.names().count(), 0);
    let mut plaintext = connection(Peer::Unauthenticated(UnauthenticatedReason::NoCertificate), Some(NAMED));
    assert_eq!(rejecting(&mutual_tls, &mut plaintext), Ok(None));
}

#[test]
fn what_the_proxy_does_not_tell_stops_only_what_asks_for_it() {
    let failure = |attribute| Err(AttributeError { attribute, status: "it failed" });
    let failing = |failing: &[&'static str], port| FakeRequest {
        failing: failing.to_vec(),
        port,
        ..FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web")
    };
    let strict = Some(MtlsMode::Strict);
    let permissive = Some(MtlsMode::Permissive);
    let of = |all: &[PeerAuthentication]| merged(all, &Diagnostics::default()).0;

    // Without ports none is asked for, and without STRICT nobody.
    let none = of(&written(Some(permissive), None, None));
    assert_eq!(rejecting(&none, &mut failing(&["peer", "port"], None)), Ok(None));
    let everywhere = of(&written(Some(strict), None, None));
    assert_eq!(rejecting(&everywhere, &mut failing(&["port"], None)), Ok(None));
    assert_eq!(rejecting(&everywhere, &mut failing(&["peer"], None)), failure("peer"));

    let by_port = of(&written(None, None, Some((permissive, Some(strict)))));
    assert_eq!(rejecting(&by_port, &mut failing(&["port"], None)), failure("port"));
    assert_eq!(rejecting(&by_port, &mut failing(&["peer"], Some(NAMED))), failure("peer"));
    assert_eq!(rejecting(&by_port, &mut failing(&["peer"], Some(OTHER))), Ok(None));
}

#[test]
fn the_counters_are_of_those_that_can_turn_a_connection_away() {
    let strict = Some(MtlsMode::Strict);
    let permissive = Some(MtlsMode::Permissive);
    let names = |all: &[PeerAuthentication]| {
        let (mutual_tls, _) = merged(all, &Diagnostics::default());
        mutual_tls.names().map(|name| name.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&written(Some(strict), Some(permissive), None)), Vec::<String>::new());
    assert_eq!(names(&written(Some(strict), None, None)), ["mesh"]);
    assert_eq!(names(&written(Some(strict), None, Some((None, Some(permissive))))), ["mesh"]);
    assert_eq!(names(&written(Some(strict), None, Some((None, Some(strict))))), ["mesh", "workload"]);
}
