//! What a suite cannot say of `identity-authz` at layer 4: handshakes that never end, host calls that fail, connections
//! that cannot be closed, what stays behind.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Fault, First, Module, Root, Vm};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const STRANGER: &str = "spiffe://cluster.local/ns/dev/sa/stranger";

/// A service that speaks once the client's handshake is over, and one that does not wait for it.
const SERVER: First = First::Server { established: true };
const HASTY_SERVER: First = First::Server { established: false };

/// An ALLOW for web that asks for everything that a connection has, and a DENY that asks for it too.
const EVERYTHING: &str = r#"{"remoteAddress": "trusted", "resources": [
    {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "allow", "namespace": "shop"},
     "spec": {"rules": [{
        "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"], "ipBlocks": ["127.0.0.0/8"], "remoteIpBlocks": ["198.51.100.0/24"]}}],
        "to": [{"operation": {"ports": ["5432"]}}],
        "when": [{"key": "connection.sni", "values": ["db.example"]}, {"key": "destination.ip", "values": ["192.0.2.1"]}]}]}},
    {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "deny", "namespace": "shop"},
     "spec": {"action": "DENY", "rules": [
        {"from": [{"source": {"namespaces": ["dev"], "notIpBlocks": ["10.0.0.0/8"]}}], "to": [{"operation": {"notPorts": ["1"]}}]}]}}]}"#;

fn module() -> Result<Module> {
    filter::load("identity-authz")
}

/// A connection that `EVERYTHING` lets in, if it is web's.
fn connection(id: u64, uri: &str) -> Connection {
    to_the_database(Connection::mtls(id, uri))
}

fn plaintext(id: u64) -> Connection {
    to_the_database(Connection::plaintext(id))
}

fn to_the_database(by: Connection) -> Connection {
    let direct = ("sallyport.direct_remote_address".to_owned(), b"127.0.0.1".to_vec());
    Connection {
        destination: SocketAddr::from(([192, 0, 2, 1], 5432)),
        server_name: Some(b"db.example".to_vec()),
        filter_state: BTreeMap::from([direct]),
        ..by
    }
}

fn counters(vm: &mut Vm, root: Root) -> Result<BTreeMap<String, u64>> {
    vm.tick(root)?;
    let counters = vm.counters();
    let short = |name: &str| name.strip_prefix("sallyport.identity_authz.").map(str::to_owned);
    Ok(counters.iter().filter_map(|(name, value)| Some((short(name)?, *value))).collect())
}

#[test]
fn an_unfinished_handshake_decides_nothing_and_leaks_nothing() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, EVERYTHING)?;
    for by in [connection(1, WEB), connection(2, STRANGER)] {
        let (passage, passed) = vm.converse(root, by, &[])?;
        ensure!(passed.is_empty() && !passage.bytes_go_on && !passage.closed, "{passage:?}");
        ensure!(passage.crossings.is_empty() && passage.filter_state.is_empty(), "{passage:?}");
    }
    ensure!(counters(&mut vm, root)?.is_empty(), "{:?}", vm.counters());
    // A service that speaks meanwhile speaks to nobody that is known, whoever it will turn out to be.
    let (passage, passed) = vm.converse(root, connection(3, WEB), &[HASTY_SERVER, First::Client, SERVER])?;
    ensure!(passed == [false; 3] && passage.closed, "{passed:?} {passage:?}");
    let reason = passage.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
    ensure!(
        reason.starts_with("the proxy did not tell the client's certificate: the service spoke before"),
        "{reason}"
    );
    let found = counters(&mut vm, root)?;
    let expected = BTreeMap::from([("denied".to_owned(), 1), ("errors".to_owned(), 1)]);
    ensure!(found == expected, "{found:?}");
    Ok(())
}

#[test]
fn what_was_decided_stands_for_the_connection() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, EVERYTHING)?;
    let turns = [First::Client, SERVER, First::Client, First::Client, SERVER];
    for first in [First::Client, SERVER] {
        // The second time its certificate is known already.
        vm.connection(root, connection(1, WEB), first)?;
        let once = vm.connection(root, connection(1, WEB), first)?.crossings;
        let (passage, passed) = vm.converse(root, connection(1, WEB), &[&[first], &turns[..]].concat())?;
        ensure!(passed == [true; 6], "{passed:?}");
        ensure!(passage.crossings == once, "{:?}, for the first bytes {once:?}", passage.crossings);
        let (passage, passed) = vm.converse(root, connection(2, STRANGER), &[&[first], &turns[..]].concat())?;
        ensure!(passed == [false; 6] && passage.closed, "{passed:?}");
    }
    let found = counters(&mut vm, root)?;
    ensure!(found.get("allowed") == Some(&6) && found.get("denied") == Some(&2), "{found:?}");
    Ok(())
}

#[test]
fn no_failing_host_call_lets_a_denied_connection_through() -> Result<()> {
    let module = module()?;
    let elsewhere = || Connection { destination: SocketAddr::from(([192, 0, 2, 1], 3306)), ..connection(1, WEB) };
    let forged = || Connection { validated: Some(false), ..connection(1, WEB) };
    let from_afar = || Connection {
        filter_state: BTreeMap::from([("sallyport.direct_remote_address".to_owned(), b"203.0.113.9".to_vec())]),
        ..connection(1, WEB)
    };
    let denied: [&dyn Fn() -> Connection; 5] =
        [&|| connection(1, STRANGER), &|| plaintext(1), &elsewhere, &forged, &from_afar];
    let mut tried = 0;
    for by in denied {
        for first in [First::Client, SERVER, HASTY_SERVER] {
            let (mut vm, root) = Vm::configured(&module, EVERYTHING)?;
            let passage = vm.connection(root, by(), first)?;
            ensure!(passage.closed && !passage.bytes_go_on, "{first:?}: {passage:?}");
            ensure!(passage.crossings.len() > 4, "the connection makes {:?} only", passage.crossings);
            for fault in Fault::of_each(passage.crossings) {
                let (mut vm, root) = Vm::configured(&module, EVERYTHING)?;
                vm.fail(Some(fault.clone()));
                let (_, passed) = vm.converse(root, by(), &[first, First::Client, SERVER])?;
                ensure!(passed == [false; 3], "{fault}, and bytes go on: {passed:?}");
                tried += 1;
            }
        }
    }
    ensure!(tried >= 400, "{tried} failures were tried only");
    Ok(())
}

#[test]
fn a_failing_host_call_denies_what_needs_it_and_is_counted() -> Result<()> {
    let module = module()?;
    for first in [First::Client, SERVER] {
        for (call, attribute) in [
            ("proxy_get_property connection.uri_san_peer_certificate", "connection.uri_san_peer_certificate"),
            ("proxy_get_property connection.peer_certificate_valid", "connection.peer_certificate_valid"),
            ("proxy_get_property destination.port", "destination.port"),
            ("proxy_get_property destination.address", "destination.address"),
            ("proxy_get_property source.address", "source.address"),
            ("proxy_get_property connection.requested_server_name", "connection.requested_server_name"),
            ("proxy_get_property filter_state.sallyport", "filter_state.sallyport.direct_remote_address"),
        ] {
            let (mut vm, root) = Vm::configured(&module, EVERYTHING)?;
            ensure!(vm.connection(root, connection(1, WEB), first)?.bytes_go_on, "{call}: denied without a failure");
            vm.fail(Some(Fault { of: call.to_owned(), status: 10 }));
            let passage = vm.connection(root, connection(2, WEB), first)?;
            ensure!(passage.closed && !passage.bytes_go_on, "{call}: {passage:?}");
            let reason = passage.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
            ensure!(reason.starts_with(&format!("the proxy did not tell {attribute}: ")), "{reason}");
            vm.fail(None);
            let found = counters(&mut vm, root)?;
            let of = |name: &str| found.get(name).copied();
            ensure!((of("allowed"), of("denied"), of("errors")) == (Some(1), Some(1), Some(1)), "{call}: {found:?}");
            ensure!(vm.connection(root, connection(2, WEB), first)?.bytes_go_on, "{call}: a failure is remembered");
        }
    }
    Ok(())
}

#[test]
fn a_failing_host_call_never_walks_past_a_deny() -> Result<()> {
    let module = module()?;
    let rows = [
        (r#"{"from": [{"source": {"namespaces": ["shop"]}}]}"#, "proxy_get_property connection.uri_san"),
        (r#"{"from": [{"source": {"principals": ["*"]}}]}"#, "proxy_get_property connection.peer_certificate_valid"),
        (r#"{"from": [{"source": {"ipBlocks": ["127.0.0.1"]}}]}"#, "proxy_get_property filter_state.sallyport"),
        (r#"{"from": [{"source": {"remoteIpBlocks": ["198.51.100.1"]}}]}"#, "proxy_get_property source.address"),
        (r#"{"to": [{"operation": {"ports": ["5432"]}}]}"#, "proxy_get_property destination.port"),
        (r#"{"when": [{"key": "destination.ip", "values": ["192.0.2.1"]}]}"#, "proxy_get_property destination.address"),
        (
            r#"{"when": [{"key": "connection.sni", "values": ["db.*"]}]}"#,
            "proxy_get_property connection.requested_server_name",
        ),
        (
            r#"{"when": [{"key": "request.time", "values": ["Mon-Sun 00:00-24:00"]}]}"#,
            "proxy_get_current_time_nanoseconds",
        ),
        (
            r#"{"when": [{"key": "experimental.envoy.filters.network.x[tier]", "notValues": ["gold"]}]}"#,
            "proxy_get_property metadata",
        ),
    ];
    for (rule, call) in rows {
        let configuration = format!(
            r#"{{"defaultAction": "ALLOW", "resources": [{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "deny", "namespace": "shop"}}, "spec": {{"action": "DENY", "rules": [{rule}]}}}}]}}"#
        );
        for first in [First::Client, SERVER] {
            let (mut vm, root) = Vm::configured(&module, &configuration)?;
            ensure!(!vm.connection(root, connection(1, WEB), first)?.bytes_go_on, "{rule} does not deny");
            for fault in Fault::of_each([call]) {
                let (mut vm, root) = Vm::configured(&module, &configuration)?;
                vm.fail(Some(fault.clone()));
                let passage = vm.connection(root, connection(2, WEB), first)?;
                ensure!(passage.crossings.iter().any(|made| made.starts_with(call)), "{rule} does not make {call}");
                ensure!(passage.closed && !passage.bytes_go_on, "{fault}: {passage:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_connection_that_cannot_be_closed_is_held_both_ways() -> Result<()> {
    let module = module()?;
    let turns = [First::Client, SERVER, SERVER, First::Client];
    for by in [connection(1, STRANGER), plaintext(1)] {
        for first in [First::Client, SERVER, HASTY_SERVER] {
            let (mut vm, root) = Vm::configured(&module, EVERYTHING)?;
            vm.fail(Some(Fault { of: "proxy_close_stream".to_owned(), status: 10 }));
            let (passage, passed) = vm.converse(root, by.clone(), &[&[first], &turns[..]].concat())?;
            ensure!(!passage.closed && passed == [false; 5], "{first:?}: {passed:?} {passage:?}");
            let tries = passage.crossings.iter().filter(|crossing| *crossing == "proxy_close_stream").count();
            ensure!(tries == 5, "closing is tried with all bytes, not {tries} times");
            vm.fail(None);
            let found = counters(&mut vm, root)?;
            ensure!(found.get("denied") == Some(&1), "it is denied once: {found:?}");
            ensure!(vm.connection(root, connection(2, WEB), first)?.bytes_go_on == (first != HASTY_SERVER), "another");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_told_does_not_change_the_answer() -> Result<()> {
    let module = module()?;
    for call in [
        "proxy_set_property",
        "proxy_log",
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_set_tick_period_milliseconds",
        "proxy_get_property #",
        "proxy_set_property #",
    ] {
        let mut vm = Vm::start(&module)?;
        vm.fail(Some(Fault { of: call.to_owned(), status: 10 }));
        let root = vm.configure(EVERYTHING.as_bytes())??;
        for first in [First::Client, SERVER] {
            ensure!(vm.connection(root, connection(1, WEB), first)?.bytes_go_on, "{call}: web is closed");
            ensure!(vm.connection(root, connection(2, STRANGER), first)?.closed, "{call}: a stranger is let in");
        }
        vm.tick(root)?;
    }
    Ok(())
}

#[test]
fn a_connection_before_any_configuration_is_closed() -> Result<()> {
    let mut vm = Vm::start(&module()?)?;
    let root = vm.unconfigured()?;
    for first in [First::Client, SERVER, HASTY_SERVER] {
        let (passage, passed) = vm.converse(root, connection(1, WEB), &[first, First::Client])?;
        ensure!(passage.closed && passed == [false; 2], "{first:?}: {passage:?}");
    }
    Ok(())
}

#[test]
fn a_hundred_thousand_connections_leave_no_memory_behind() -> Result<()> {
    let (mut vm, root) = Vm::configured(&module()?, EVERYTHING)?;
    let turns: [&[First]; 5] =
        [&[], &[First::Client], &[SERVER, First::Client], &[HASTY_SERVER], &[First::Client, SERVER, First::Client]];
    vm.hush();
    let mut after_warm_up = 0;
    for id in 0..100_000_u64 {
        let by = match id % 3 {
            0 => connection(id, WEB),
            1 => connection(id, STRANGER),
            _ => plaintext(id),
        };
        let turns = turns.iter().cycle().nth(usize::try_from(id % 5)?).copied().unwrap_or_default();
        vm.converse(root, by, turns)?;
        if id % 1000 == 0 {
            vm.tick(root)?;
        }
        // The table of peers is full by then.
        if id == 30_000 {
            after_warm_up = vm.memory();
        }
    }
    ensure!(vm.memory() == after_warm_up, "{after_warm_up} bytes after 30,000, {} after 100,000", vm.memory());
    Ok(())
}
