//! `egress-allowlist` beyond its suites: host calls that fail, a connection or a tunnel that cannot be closed, the
//! cost of a decision and of a tunnel's bytes, and its growth.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use host_tests::policy;
use host_tests::wasm_host::{Connection, InjectedFailure, Request, Root, Speaker, TunnelEvent, TunnelOutcome, Vm};
use host_tests::{filter, rows};
use serde_json::json;
use testbed::client_hello;

const PAYMENTS: &str = "spiffe://cluster.local/ns/shop/sa/payments";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// The status InternalFailure, which Envoy returns for a capability that is not granted.
const INTERNAL_FAILURE: u32 = 10;

const RULES: &str = "
rules:
- name: payments
  from: [{source: {principals: [cluster.local/ns/shop/sa/payments], notIpBlocks: [10.0.0.0/8]}}]
  hosts: [good.com]
- name: anyone
  from: [{source: {notIpBlocks: [10.0.0.0/8]}}]
  hosts: [open.com]
- name: never
  action: DENY
  from: [{source: {ipBlocks: [10.0.0.0/8]}}]
  hosts: [open.com]
";

fn configured(yaml: &str) -> Result<(Vm, Root)> {
    Vm::configured(&filter::load("egress-allowlist")?, &policy::configuration(yaml)?)
}

fn connection(id: u64, uri: Option<&str>, server_name: Option<&str>) -> Connection {
    let connection = uri.map_or_else(|| Connection::without_certificate(id), |uri| Connection::mtls(id, uri));
    Connection {
        server_name: server_name.map(|name| name.as_bytes().to_vec()),
        filter_state: [("sallyport.direct_remote_address".to_owned(), b"198.51.100.1".to_vec())].into(),
        ..connection
    }
}

fn get(host: &str) -> Request {
    Request::new("GET", host, "/")
}

fn connect(authority: &str) -> Request {
    Request::new("CONNECT", authority, "")
}

rows! {
    no_failing_host_call_lets_a_denied_request_out: check_denied_request;
    another_workload: connection(1, Some(WEB), None), get("good.com");
    another_server_name: connection(1, Some(PAYMENTS), Some("front.com")), get("good.com");
    another_host: connection(1, Some(PAYMENTS), None), connect("evil.com:443");
}

fn check_denied_request(connection: Connection, request: Request) -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let host_calls = vm.request(root, connection.clone(), request.clone())?.host_calls;
    ensure!(host_calls.len() > 4, "the request makes only {host_calls:?}");
    let mut tried = 0;
    for failure in InjectedFailure::each_of(host_calls) {
        let (mut vm, root) = configured(RULES)?;
        vm.inject_failure(Some(failure.clone()));
        let outcome = vm.request(root, connection.clone(), request.clone())?;
        ensure!(!outcome.continues, "{failure}, and the request continues");
        tried += 1;
    }
    ensure!(tried >= 20, "only {tried} failures were tried");
    Ok(())
}

rows! {
    no_failing_host_call_lets_a_denied_connection_out: check_denied_connection;
    no_server_name: None;
    a_host_that_no_rule_lists: Some("evil.com");
    a_host_for_a_principal: Some("good.com");
}

fn check_denied_connection(server_name: Option<&str>) -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let outcome = vm.connection(root, connection(1, None, server_name), Speaker::Client)?;
    ensure!(outcome.closed && !outcome.continues && !outcome.data_forwarded, "{outcome:?}");
    let mut tried = 0;
    for failure in InjectedFailure::each_of(outcome.host_calls) {
        let (mut vm, root) = configured(RULES)?;
        vm.inject_failure(Some(failure.clone()));
        let outcome = vm.connection(root, connection(1, None, server_name), Speaker::Client)?;
        ensure!(!outcome.data_forwarded, "{failure}, and data is forwarded: {outcome:?}");
        tried += 1;
    }
    ensure!(tried >= 12, "only {tried} failures were tried");
    Ok(())
}

#[test]
fn a_connection_that_cannot_be_closed_is_held() -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let call = "proxy_close_stream".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
    let outcome = vm.connection(root, connection(1, None, Some("evil.com")), Speaker::Client)?;
    ensure!(!outcome.closed && !outcome.continues && !outcome.data_forwarded, "{outcome:?}");
    let attempts = outcome.host_calls.iter().filter(|call| *call == "proxy_close_stream").count();
    ensure!(attempts == 2, "{attempts} attempts to close it, expected one more with the first bytes");
    vm.inject_failure(None);
    let outcome = vm.connection(root, connection(2, None, Some("open.com")), Speaker::Client)?;
    ensure!(outcome.data_forwarded, "another connection: {outcome:?}");
    Ok(())
}

/// Plays a tunnel to open.com whose client sends `bytes` in pieces of `size`.
fn tunnel(vm: &mut Vm, root: Root, bytes: &[u8], size: usize) -> Result<TunnelOutcome> {
    let events: Vec<_> =
        [&[][..]].into_iter().chain(bytes.chunks(size)).map(|piece| TunnelEvent::Bytes(piece.to_vec())).collect();
    vm.tunnel(root, connection(1, Some(WEB), None), connect("open.com:443"), &events)
}

rows! {
    no_failing_host_call_lets_a_denied_tunnel_through: check_denied_tunnel;
    another_server_name: &client_hello(Some(b"evil.com"))?;
    no_server_name: &client_hello(None)?;
    no_tls: b"SSH-2.0-x\r\n and more";
}

fn check_denied_tunnel(bytes: &[u8]) -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let outcome = tunnel(&mut vm, root, bytes, 20)?;
    ensure!(outcome.forwarded.is_empty() && outcome.request.status() == Some(403), "{outcome:?}");
    for failure in InjectedFailure::each_of(outcome.request.host_calls) {
        let (mut vm, root) = configured(RULES)?;
        vm.inject_failure(Some(failure.clone()));
        let outcome = tunnel(&mut vm, root, bytes, 20)?;
        ensure!(outcome.forwarded.is_empty(), "{failure}, and bytes go on: {outcome:?}");
    }
    Ok(())
}

#[test]
fn a_tunnel_whose_bytes_cannot_be_read_is_denied_and_counted() -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let hello = client_hello(Some(b"open.com"))?;
    ensure!(tunnel(&mut vm, root, &hello, 20)?.forwarded.concat() == hello, "denied without a failure");
    let call = "proxy_get_buffer_bytes".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
    let outcome = tunnel(&mut vm, root, &hello, 20)?;
    ensure!(outcome.forwarded.is_empty(), "{outcome:?}");
    let reason = outcome.request.filter_state.get("wasm.sallyport.egress_allowlist.reason").context("no reason")?;
    ensure!(reason.starts_with("the proxy did not tell the first bytes of the tunnel: InternalFailure"), "{reason}");
    vm.inject_failure(None);
    vm.tick(root)?;
    ensure!(vm.counters().get("sallyport.egress_allowlist.errors") == Some(&1), "{:?}", vm.counters());
    Ok(())
}

#[test]
fn a_tunnel_that_is_denied_and_not_gone_stays_held() -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let call = "proxy_send_local_response".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
    let bytes = [client_hello(Some(b"evil.com"))?, client_hello(Some(b"open.com"))?].concat();
    let outcome = tunnel(&mut vm, root, &bytes, 20)?;
    ensure!(outcome.forwarded.is_empty(), "{outcome:?}");
    let attempts = outcome.request.host_calls.iter().filter(|call| *call == "proxy_send_local_response").count();
    ensure!(attempts == 1, "{attempts} attempts to answer");
    Ok(())
}

/// The most instructions of a read of a tunnel that is decided.
const MOST_OF_A_READ: u64 = 250;

#[test]
fn a_read_of_a_decided_tunnel_is_no_host_call_and_costs_the_same_for_any_size() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load_metered("egress-allowlist")?, &policy::configuration(RULES)?)?;
    let hello = client_hello(Some(b"open.com"))?;
    let decided = tunnel(&mut vm, root, &hello, hello.len())?.request.host_calls;
    let bytes = [hello.clone(), vec![7; 100_000]].concat();
    let outcome = tunnel(&mut vm, root, &bytes, hello.len())?;
    ensure!(outcome.request.host_calls == decided, "{:?}", outcome.request.host_calls);
    let reads = outcome.instructions.get(2..).context("no reads")?;
    let (least, most) = (reads.iter().min().context("none")?, reads.iter().max().context("none")?);
    println!("instructions of a read: {least} to {most}");
    ensure!(*most <= MOST_OF_A_READ, "a read takes {most} instructions");
    ensure!(outcome.forwarded.concat() == bytes, "not everything goes on");
    Ok(())
}

#[test]
fn a_client_hello_that_trickles_costs_the_same_for_each_byte() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load_metered("egress-allowlist")?, &policy::configuration(RULES)?)?;
    // A message that never ends, in records of one byte.
    let bytes: Vec<u8> =
        [&[1, 0, 0x40, 0][..], &[0; 8000]].concat().iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let outcome = tunnel(&mut vm, root, &bytes, 1)?;
    ensure!(outcome.forwarded.is_empty() && !outcome.request.continues, "it is not held");
    let quarters: Vec<u64> =
        outcome.instructions.chunks(outcome.instructions.len() / 4).map(|reads| reads.iter().sum()).collect();
    let (first, last) = (quarters.first().context("none")?, quarters.get(3).context("none")?);
    println!("instructions: {first} for the first quarter of the bytes, {last} for the last");
    ensure!(last * 10 <= first * 12, "{quarters:?}");
    Ok(())
}

rows! {
    a_failing_host_call_denies_what_needs_it_and_is_counted: check_failure_denies_and_counts;
    the_certificate: "proxy_get_property connection.uri_san_peer_certificate";
    whether_the_certificate_is_valid: "proxy_get_property connection.peer_certificate_valid";
    the_server_name: "proxy_get_property connection.requested_server_name";
    the_direct_address: "proxy_get_property filter_state.sallyport.direct_remote_address";
    the_method: "proxy_get_header_map_value :method";
    the_authority: "proxy_get_header_map_value :authority";
}

fn check_failure_denies_and_counts(call: &str) -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let outcome = vm.request(root, connection(1, Some(PAYMENTS), None), get("good.com"))?;
    ensure!(outcome.continues, "denied without a failure: {outcome:?}");
    vm.inject_failure(Some(InjectedFailure { call: call.to_owned(), status: INTERNAL_FAILURE }));
    let outcome = vm.request(root, connection(2, Some(PAYMENTS), None), get("good.com"))?;
    ensure!(!outcome.continues, "{outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.egress_allowlist.reason").context("no reason")?;
    ensure!(reason.starts_with("the proxy did not tell "), "{reason}");
    vm.inject_failure(None);
    vm.tick(root)?;
    ensure!(vm.counters().get("sallyport.egress_allowlist.errors") == Some(&1), "{:?}", vm.counters());
    Ok(())
}

#[test]
fn connections_and_requests_before_any_configuration_are_denied() -> Result<()> {
    let mut vm = Vm::start(&filter::load("egress-allowlist")?)?;
    let root = vm.unconfigured()?;
    ensure!(!vm.connection(root, connection(1, None, Some("open.com")), Speaker::Client)?.data_forwarded);
    ensure!(!vm.request(root, connection(1, None, None), get("open.com"))?.continues);
    Ok(())
}

const METHOD: &str = "proxy_get_header_map_value :method";
const AUTHORITY: &str = "proxy_get_header_map_value :authority";
const SERVER_NAME: &str = "proxy_get_property connection.requested_server_name";

rows! {
    on_a_known_connection_a_request_makes_few_host_calls: check_host_calls;
    plain_http: get("open.com"), &[METHOD, AUTHORITY, SERVER_NAME];
    a_tunnel_for_everyone: connect("open.com:443"), &[METHOD, AUTHORITY];
    a_tunnel_for_a_principal: connect("good.com:443"), &[METHOD, AUTHORITY, "proxy_get_property #"];
}

fn check_host_calls(request: Request, expected: &[&str]) -> Result<()> {
    let (mut vm, root) = configured(
        "
rules:
- {name: a, hosts: [open.com]}
- {name: b, from: [{source: {principals: [cluster.local/ns/shop/sa/payments]}}], hosts: [good.com]}
",
    )?;
    vm.request(root, connection(7, Some(PAYMENTS), None), request.clone())?;
    let outcome = vm.request(root, connection(7, Some(PAYMENTS), None), request)?;
    // The key of a connection's own id, after `#`, is different in each VM.
    let host_calls: Vec<_> = outcome.host_calls.iter().filter_map(|call| call.split_inclusive('#').next()).collect();
    ensure!(outcome.continues && host_calls == expected, "{outcome:?}");
    Ok(())
}

#[test]
fn neither_requests_nor_connections_leave_memory_behind() -> Result<()> {
    let (mut vm, root) = configured(RULES)?;
    let hello = client_hello(Some(b"open.com"))?;
    let play = |vm: &mut Vm, rounds: u64| -> Result<usize> {
        for round in 0..rounds {
            for server_name in [None, Some("evil.com"), Some("open.com")] {
                vm.connection(root, connection(round, None, server_name), Speaker::Client)?;
            }
            vm.request(root, connection(round % 100, Some(PAYMENTS), None), get("evil.com:443"))?;
            // One that ends before it is decided, and one that passes.
            tunnel(vm, root, &hello[..30], 10)?;
            tunnel(vm, root, &hello, 200)?;
        }
        Ok(vm.memory())
    };
    let before = play(&mut vm, 500)?;
    let after = play(&mut vm, 5000)?;
    ensure!(after == before, "{before} bytes before, {after} after");
    Ok(())
}

/// Returns a configuration with `count` hosts, half of them wildcards, in rules of ten.
fn hosts(count: usize) -> String {
    let host = |number: usize| format!("{}h{number}.example.com", if number.is_multiple_of(2) { "*." } else { "" });
    let rule = |number: usize| {
        let hosts: Vec<_> = (number * 10..number * 10 + 10).map(host).collect();
        json!({"name": format!("r{number}"), "hosts": hosts})
    };
    json!({"rules": (0..count / 10).map(rule).collect::<Vec<_>>()}).to_string()
}

/// Returns the instructions of 400 requests to random hosts of [`hosts`] and to others.
fn cost(vm: &mut Vm, root: Root, count: usize) -> Result<u64> {
    let mut random = Rng::with_seed(1);
    let mut instructions = 0;
    for turn in 0..400 {
        let number = random.usize(..count);
        let (host, allowed) = match turn % 3 {
            0 => (format!("a.h{}.example.com", number - number % 2), true),
            1 => (format!("h{}.example.com", number | 1), true),
            _ => (format!("other{number}.example.com"), false),
        };
        let outcome = vm.request(root, connection(1, None, None), get(&host))?;
        ensure!(outcome.continues == allowed, "{host}");
        instructions += outcome.instructions;
    }
    Ok(instructions)
}

#[test]
fn a_hundred_thousand_hosts_cost_what_ten_do() -> Result<()> {
    let module = filter::load_metered("egress-allowlist")?;
    let (mut few, few_root) = Vm::configured(&module, &hosts(10))?;
    let load = |count: usize| -> Result<(Vm, Root, Duration)> {
        let start = Instant::now();
        let (vm, root) = Vm::configured(&module, &hosts(count))?;
        Ok((vm, root, start.elapsed()))
    };
    let (_, _, tenth) = load(10_000)?;
    let (mut many, many_root, loaded) = load(100_000)?;
    let bytes_per_host = (many.memory() - few.memory()) / 100_000;
    let (base, cost) = (cost(&mut few, few_root, 10)?, cost(&mut many, many_root, 100_000)?);
    println!(
        "instructions: {base} with 10 hosts, {cost} with 100,000; loaded in {:.2} s, {bytes_per_host} bytes a host",
        loaded.as_secs_f64()
    );
    ensure!(cost * 10 <= base * 12, "{base} instructions with 10 hosts, {cost} with 100,000");
    // Ten times the hosts take about ten times as long; the factor 30 leaves room for a busy machine.
    ensure!(loaded < tenth * 30, "10,000 hosts load in {tenth:?}, 100,000 in {loaded:?}");
    ensure!(bytes_per_host < 1000, "{bytes_per_host} bytes a host");
    Ok(())
}

#[test]
fn what_resources_do_not_open_is_logged_at_load() -> Result<()> {
    let (vm, _) = configured(
        "
resources:
- apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata: {name: within, namespace: shop}
  spec: {hosts: [x.com], ports: [{number: 443}], location: MESH_INTERNAL, exportTo: [\"*\"]}
- apiVersion: cilium.io/v2
  kind: CiliumNetworkPolicy
  metadata: {name: web, namespace: shop}
  spec: {endpointSelector: {}, egress: [{toEntities: [world]}]}
",
    )?;
    let lines: Vec<_> = vm.log().iter().map(|line| (line.level, line.message.as_str())).collect();
    let (first, lines) = lines.split_first().context("no log")?;
    let loaded = ") egress_allowlist: loaded 0 rules and 2 resources with 0 hosts, 0 rules only report";
    ensure!(first.0 == 2 && first.1.ends_with(loaded), "{first:?}");
    let prefix = "sallyport egress_allowlist:";
    let expected = [
        (
            2,
            format!(
                "{prefix} passed over, ServiceEntries or parts of them that open nothing here: 1 with location: MESH_INTERNAL"
            ),
        ),
        (
            3,
            format!(
                "{prefix} opens the world without naming hosts, which opens nothing here; list them in toFQDNs or serverNames: shop/web"
            ),
        ),
    ];
    let expected: Vec<_> = expected.iter().map(|(level, message)| (*level, message.as_str())).collect();
    ensure!(lines == expected, "{lines:#?}");
    Ok(())
}
