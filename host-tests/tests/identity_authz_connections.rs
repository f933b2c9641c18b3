//! `identity-authz` as a network filter, beyond its suite: incomplete handshakes, host calls that fail, connections
//! that cannot be closed, and memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use host_tests::policy::{self, single_policy};
use host_tests::wasm_host::{Connection, InjectedFailure, Root, Speaker, Vm};
use host_tests::{filter, rows};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const STRANGER: &str = "spiffe://cluster.local/ns/dev/sa/stranger";

/// The status InternalFailure, which Envoy returns for a capability that is not granted.
const INTERNAL_FAILURE: u32 = 10;

/// A server that speaks once the client's handshake is complete, and one that does not wait for it.
const SERVER: Speaker = Speaker::Server { established: true };
const HASTY_SERVER: Speaker = Speaker::Server { established: false };

/// An ALLOW for web that needs every attribute of a connection, and a DENY.
const EVERYTHING: &str = "
remoteAddress: trusted
resources:
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: allow, namespace: shop}
  spec:
    rules:
    - from:
      - source:
          principals: [cluster.local/ns/shop/sa/web]
          ipBlocks: [127.0.0.0/8]
          remoteIpBlocks: [198.51.100.0/24]
      to: [{operation: {ports: ['5432']}}]
      when:
      - {key: connection.sni, values: [db.example]}
      - {key: destination.ip, values: [192.0.2.1]}
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: deny, namespace: shop}
  spec:
    action: DENY
    rules:
    - from: [{source: {namespaces: [dev], notIpBlocks: [10.0.0.0/8]}}]
      to: [{operation: {notPorts: ['1']}}]
";

fn configured() -> Result<(Vm, Root)> {
    Vm::configured(&filter::load("identity-authz")?, &policy::configuration(EVERYTHING)?)
}

/// Returns a connection that [`EVERYTHING`] allows if `uri` is web's.
fn connection(id: u64, uri: &str) -> Connection {
    to_database(Connection::mtls(id, uri))
}

fn plaintext(id: u64) -> Connection {
    to_database(Connection::plaintext(id))
}

fn to_database(connection: Connection) -> Connection {
    let direct = ("sallyport.direct_remote_address".to_owned(), b"127.0.0.1".to_vec());
    Connection {
        destination: SocketAddr::from(([192, 0, 2, 1], 5432)),
        server_name: Some(b"db.example".to_vec()),
        filter_state: BTreeMap::from([direct]),
        ..connection
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
    let (mut vm, root) = configured()?;
    for connection in [connection(1, WEB), connection(2, STRANGER)] {
        let (outcome, forwarded) = vm.exchange(root, connection, &[])?;
        ensure!(forwarded.is_empty() && !outcome.data_forwarded && !outcome.closed, "{outcome:?}");
        ensure!(outcome.host_calls.is_empty() && outcome.filter_state.is_empty(), "{outcome:?}");
    }
    ensure!(counters(&mut vm, root)?.is_empty(), "{:?}", vm.counters());
    // A server that speaks meanwhile would speak to an unknown client, whoever it turns out to be.
    let (outcome, forwarded) = vm.exchange(root, connection(3, WEB), &[HASTY_SERVER, Speaker::Client, SERVER])?;
    ensure!(forwarded == [false; 3] && outcome.closed, "{forwarded:?} {outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
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
fn a_decision_holds_for_the_whole_connection() -> Result<()> {
    let (mut vm, root) = configured()?;
    let turns = [Speaker::Client, SERVER, Speaker::Client, Speaker::Client, SERVER];
    for first in [Speaker::Client, SERVER] {
        // The second time, the certificate is cached.
        vm.connection(root, connection(1, WEB), first)?;
        let once = vm.connection(root, connection(1, WEB), first)?.host_calls;
        let (outcome, forwarded) = vm.exchange(root, connection(1, WEB), &[&[first], &turns[..]].concat())?;
        ensure!(forwarded == [true; 6], "{forwarded:?}");
        ensure!(outcome.host_calls == once, "{:?}, for the first bytes {once:?}", outcome.host_calls);
        let (outcome, forwarded) = vm.exchange(root, connection(2, STRANGER), &[&[first], &turns[..]].concat())?;
        ensure!(forwarded == [false; 6] && outcome.closed, "{forwarded:?}");
    }
    let found = counters(&mut vm, root)?;
    ensure!(found.get("allowed") == Some(&6) && found.get("denied") == Some(&2), "{found:?}");
    Ok(())
}

rows! {
    no_failing_host_call_lets_a_denied_connection_through: check_denied_under_any_failure;
    a_stranger: connection(1, STRANGER);
    nobody: plaintext(1);
    another_port: Connection { destination: SocketAddr::from(([192, 0, 2, 1], 3306)), ..connection(1, WEB) };
    an_unvalidated_certificate: Connection { validated: Some(false), ..connection(1, WEB) };
    another_direct_address: Connection {
        filter_state: BTreeMap::from([("sallyport.direct_remote_address".to_owned(), b"203.0.113.9".to_vec())]),
        ..connection(1, WEB)
    };
}

fn check_denied_under_any_failure(connection: Connection) -> Result<()> {
    let mut tried = 0;
    for first in [Speaker::Client, SERVER, HASTY_SERVER] {
        let (mut vm, root) = configured()?;
        let outcome = vm.connection(root, connection.clone(), first)?;
        ensure!(outcome.closed && !outcome.data_forwarded, "{first:?}: {outcome:?}");
        ensure!(outcome.host_calls.len() > 4, "the connection makes only {:?}", outcome.host_calls);
        for failure in InjectedFailure::each_of(outcome.host_calls) {
            let (mut vm, root) = configured()?;
            vm.inject_failure(Some(failure.clone()));
            let (_, forwarded) = vm.exchange(root, connection.clone(), &[first, Speaker::Client, SERVER])?;
            ensure!(forwarded == [false; 3], "{failure}, and data is forwarded: {forwarded:?}");
            tried += 1;
        }
    }
    ensure!(tried >= 80, "only {tried} failures were tried");
    Ok(())
}

rows! {
    a_failing_host_call_denies_what_needs_it_and_is_counted: check_failure_denies_and_counts;
    the_certificate: "connection.uri_san_peer_certificate";
    whether_the_certificate_is_valid: "connection.peer_certificate_valid";
    the_port: "destination.port";
    the_address: "destination.address";
    the_source_address: "source.address";
    the_server_name: "connection.requested_server_name";
    the_direct_address: "filter_state.sallyport.direct_remote_address";
}

fn check_failure_denies_and_counts(attribute: &str) -> Result<()> {
    for first in [Speaker::Client, SERVER] {
        let (mut vm, root) = configured()?;
        ensure!(vm.connection(root, connection(1, WEB), first)?.data_forwarded, "{first:?}: denied without a failure");
        let call = format!("proxy_get_property {attribute}");
        vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
        let outcome = vm.connection(root, connection(2, WEB), first)?;
        ensure!(outcome.closed && !outcome.data_forwarded, "{first:?}: {outcome:?}");
        let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
        ensure!(reason.starts_with(&format!("the proxy did not tell {attribute}: ")), "{reason}");
        vm.inject_failure(None);
        let found = counters(&mut vm, root)?;
        let counter = |name: &str| found.get(name).copied();
        let counted = (counter("allowed"), counter("denied"), counter("errors"));
        ensure!(counted == (Some(1), Some(1), Some(1)), "{first:?}: {found:?}");
        ensure!(vm.connection(root, connection(2, WEB), first)?.data_forwarded, "{first:?}: the failure was cached");
    }
    Ok(())
}

rows! {
    a_failing_host_call_never_bypasses_a_deny: check_deny_under_failure;
    namespaces: "from: [{source: {namespaces: [shop]}}]", "proxy_get_property connection.uri_san";
    any_principal: "from: [{source: {principals: ['*']}}]", "proxy_get_property connection.peer_certificate_valid";
    ip_blocks: "from: [{source: {ipBlocks: [127.0.0.1]}}]", "proxy_get_property filter_state.sallyport";
    remote_ip_blocks: "from: [{source: {remoteIpBlocks: [198.51.100.1]}}]", "proxy_get_property source.address";
    ports: "to: [{operation: {ports: ['5432']}}]", "proxy_get_property destination.port";
    destination_ip: "when: [{key: destination.ip, values: [192.0.2.1]}]", "proxy_get_property destination.address";
    sni: "when: [{key: connection.sni, values: ['db.*']}]", "proxy_get_property connection.requested_server_name";
    time: "when: [{key: request.time, values: ['Mon-Sun 00:00-24:00']}]", "proxy_get_current_time_nanoseconds";
    metadata:
        "when: [{key: 'experimental.envoy.filters.network.x[tier]', notValues: [gold]}]",
        "proxy_get_property metadata";
}

fn check_deny_under_failure(rule: &str, call: &str) -> Result<()> {
    let module = filter::load("identity-authz")?;
    let configuration = single_policy(&format!("action: DENY\nrules:\n- {rule}"))?;
    for first in [Speaker::Client, SERVER] {
        let (mut vm, root) = Vm::configured(&module, &configuration)?;
        ensure!(!vm.connection(root, connection(1, WEB), first)?.data_forwarded, "the rule does not deny");
        for failure in InjectedFailure::each_of([call]) {
            let (mut vm, root) = Vm::configured(&module, &configuration)?;
            vm.inject_failure(Some(failure.clone()));
            let outcome = vm.connection(root, connection(2, WEB), first)?;
            ensure!(outcome.host_calls.iter().any(|made| made.starts_with(call)), "{:?}", outcome.host_calls);
            ensure!(outcome.closed && !outcome.data_forwarded, "{failure}: {outcome:?}");
        }
    }
    Ok(())
}

rows! {
    a_connection_that_cannot_be_closed_is_held_both_ways: check_held;
    a_stranger: connection(1, STRANGER);
    nobody: plaintext(1);
}

fn check_held(denied: Connection) -> Result<()> {
    let turns = [Speaker::Client, SERVER, SERVER, Speaker::Client];
    for first in [Speaker::Client, SERVER, HASTY_SERVER] {
        let (mut vm, root) = configured()?;
        let call = "proxy_close_stream".to_owned();
        vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
        let (outcome, forwarded) = vm.exchange(root, denied.clone(), &[&[first], &turns[..]].concat())?;
        ensure!(!outcome.closed && forwarded == [false; 5], "{first:?}: {forwarded:?} {outcome:?}");
        let attempts = outcome.host_calls.iter().filter(|call| *call == "proxy_close_stream").count();
        ensure!(attempts == 5, "{attempts} attempts to close it, expected one with each turn");
        vm.inject_failure(None);
        let found = counters(&mut vm, root)?;
        ensure!(found.get("denied") == Some(&1), "the denial is not counted once: {found:?}");
        let allowed = vm.connection(root, connection(2, WEB), first)?;
        ensure!(allowed.data_forwarded == (first != HASTY_SERVER), "another connection: {allowed:?}");
    }
    Ok(())
}

rows! {
    failures_that_no_decision_needs_change_no_answer: check_answers_under_failure;
    filter_state: "proxy_set_property";
    the_log: "proxy_log";
    metrics_cannot_be_defined: "proxy_define_metric";
    metrics_cannot_be_incremented: "proxy_increment_metric";
    the_timer: "proxy_set_tick_period_milliseconds";
    connection_ids_cannot_be_read: "proxy_get_property #";
    connection_ids_cannot_be_set: "proxy_set_property #";
}

fn check_answers_under_failure(call: &str) -> Result<()> {
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    vm.inject_failure(Some(InjectedFailure { call: call.to_owned(), status: INTERNAL_FAILURE }));
    let root = vm.configure(policy::configuration(EVERYTHING)?.as_bytes())??;
    for first in [Speaker::Client, SERVER] {
        ensure!(vm.connection(root, connection(1, WEB), first)?.data_forwarded, "{first:?}: web is denied");
        ensure!(vm.connection(root, connection(2, STRANGER), first)?.closed, "{first:?}: a stranger is allowed");
    }
    vm.tick(root)
}

#[test]
fn a_connection_before_any_configuration_is_closed() -> Result<()> {
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    let root = vm.unconfigured()?;
    for first in [Speaker::Client, SERVER, HASTY_SERVER] {
        let (outcome, forwarded) = vm.exchange(root, connection(1, WEB), &[first, Speaker::Client])?;
        ensure!(outcome.closed && forwarded == [false; 2], "{first:?}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn a_hundred_thousand_connections_leave_no_memory_behind() -> Result<()> {
    let (mut vm, root) = configured()?;
    let turns: [&[Speaker]; 5] = [
        &[],
        &[Speaker::Client],
        &[SERVER, Speaker::Client],
        &[HASTY_SERVER],
        &[Speaker::Client, SERVER, Speaker::Client],
    ];
    vm.stop_recording();
    let mut before = 0;
    for id in 0..100_000_u64 {
        let connection = match id % 3 {
            0 => connection(id, WEB),
            1 => connection(id, STRANGER),
            _ => plaintext(id),
        };
        let turns = turns.iter().cycle().nth(usize::try_from(id % 5)?).copied().unwrap_or_default();
        vm.exchange(root, connection, turns)?;
        if id % 1000 == 0 {
            vm.tick(root)?;
        }
        // The peer cache is full by then.
        if id == 30_000 {
            before = vm.memory();
        }
    }
    ensure!(vm.memory() == before, "{before} bytes after 30,000, {} after 100,000", vm.memory());
    Ok(())
}

#[test]
fn a_probe_that_closes_without_a_byte_is_no_denial() -> Result<()> {
    for mode in ["", "mode: report"] {
        let configuration = policy::configuration(&format!("{EVERYTHING}{mode}\n"))?;
        let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &configuration)?;
        let outcome = vm.connection(root, connection(1, STRANGER), Speaker::SilentClient)?;
        ensure!(outcome.closed == mode.is_empty(), "{mode}: {outcome:?}");
        ensure!(outcome.data_forwarded != mode.is_empty(), "{mode}: {outcome:?}");
        vm.tick(root)?;
        let is_counted = |name: &str| vm.counters().contains_key(&format!("sallyport.identity_authz.{name}"));
        ensure!(!is_counted("denied") && !is_counted("would_deny"), "{mode}: {:?}", vm.counters());
        let denials: Vec<_> = vm.log().iter().filter(|line| line.message.contains("DENY policy")).collect();
        ensure!(denials.is_empty(), "{denials:?}");
        // What follows is decided as before.
        let outcome = vm.connection(root, connection(2, STRANGER), Speaker::Client)?;
        ensure!(outcome.closed == mode.is_empty(), "{mode}: {outcome:?}");
        vm.tick(root)?;
        let counted = if mode.is_empty() { "denied" } else { "would_deny" };
        ensure!(vm.counters().get(&format!("sallyport.identity_authz.{counted}")) == Some(&1), "{:?}", vm.counters());
    }
    Ok(())
}
