//! `identity-authz` and its host calls: how many a request makes, and what becomes of it when they fail.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::policy::{allow_web, authorization_policy, only_allow_web, single_policy};
use host_tests::wasm_host::{Connection, InjectedFailure, Request, Vm};
use host_tests::{filter, rows};
use serde_json::json;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const STRANGER: &str = "spiffe://cluster.local/ns/shop/sa/stranger";

/// The status InternalFailure, which Envoy returns for a capability that is not granted.
const INTERNAL_FAILURE: u32 = 10;

/// An operation that needs the method, the path, the host and the port.
const ONLY_GET_A: &str = "{methods: [GET], paths: [/a], notHosts: [x], notPorts: ['2']}";

fn get(path: &str) -> Request {
    Request::new("GET", "orders.shop", path)
}

rows! {
    no_failing_host_call_lets_a_denied_request_through: check_denied_under_any_failure;
    web_at_another_path: WEB, "/b";
    a_stranger: STRANGER, "/a";
}

fn check_denied_under_any_failure(caller: &str, path: &str) -> Result<()> {
    let module = filter::load("identity-authz")?;
    let deny = authorization_policy(
        "deny-rest",
        "{action: DENY, rules: [{to: [{operation: {hosts: [evil], ports: ['1']}}]}]}",
    )?;
    let configuration = json!({"resources": [allow_web(ONLY_GET_A)?, deny]}).to_string();
    let (mut vm, root) = Vm::configured(&module, &configuration)?;
    let host_calls = vm.request(root, Connection::mtls(1, caller), get(path))?.host_calls;
    ensure!(host_calls.len() > 5, "the request makes only {host_calls:?}");
    let mut tried = 0;
    for failure in InjectedFailure::each_of(host_calls) {
        let (mut vm, root) = Vm::configured(&module, &configuration)?;
        vm.inject_failure(Some(failure.clone()));
        let outcome = vm.request(root, Connection::mtls(1, caller), get(path)).with_context(|| failure.to_string())?;
        ensure!(!outcome.continues, "{failure}, and the request continues");
        tried += 1;
    }
    ensure!(tried >= 24, "only {tried} failures were tried");
    Ok(())
}

rows! {
    a_failing_host_call_denies_what_needs_it_and_is_counted: check_failure_denies_and_counts;
    the_certificate: "proxy_get_property connection.uri_san_peer_certificate";
    whether_the_certificate_is_valid: "proxy_get_property connection.peer_certificate_valid";
    the_port: "proxy_get_property destination.port";
    the_headers: "proxy_get_header_map_pairs";
}

fn check_failure_denies_and_counts(call: &str) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web(ONLY_GET_A)?)?;
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/a"))?.continues, "denied without a failure");
    vm.inject_failure(Some(InjectedFailure { call: call.to_owned(), status: INTERNAL_FAILURE }));
    let outcome = vm.request(root, Connection::mtls(2, WEB), get("/a"))?;
    ensure!(outcome.status() == Some(403), "{outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
    let attribute = call.split(' ').nth(1).unwrap_or("request.headers");
    ensure!(reason.starts_with(&format!("the proxy did not tell {attribute}: InternalFailure: ")), "{reason}");
    vm.inject_failure(None);
    vm.tick(root)?;
    let counters = vm.counters();
    ensure!(counters.get("sallyport.identity_authz.errors") == Some(&1), "{counters:?}");
    ensure!(vm.request(root, Connection::mtls(2, WEB), get("/a"))?.continues, "the failure was cached");
    Ok(())
}

rows! {
    a_failing_host_call_never_bypasses_a_deny: check_deny_under_failure;
    principals: "from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]", "proxy_get_property connection.uri_san";
    namespaces: "from: [{source: {namespaces: [shop]}}]", "proxy_get_property connection.peer_certificate_valid";
    methods: "to: [{operation: {methods: [GET]}}]", "proxy_get_header_map_value :method";
    paths: "to: [{operation: {paths: ['/admin/{**}']}}]", "proxy_get_header_map_value :path";
    hosts: "to: [{operation: {hosts: [orders.shop]}}]", "proxy_get_header_map_value :authority";
    ports: "to: [{operation: {ports: ['443']}}]", "proxy_get_property destination.port";
    headers: "when: [{key: 'request.headers[x-role]', values: [guest]}]", "proxy_get_header_map_pairs";
}

fn check_deny_under_failure(rule: &str, call: &str) -> Result<()> {
    let module = filter::load("identity-authz")?;
    let configuration = single_policy(&format!("action: DENY\nrules:\n- {rule}"))?;
    let request = || get("/admin/x").with("x-role", b"guest");
    for failure in InjectedFailure::each_of([call]) {
        let (mut vm, root) = Vm::configured(&module, &configuration)?;
        let outcome = vm.request(root, Connection::mtls(1, WEB), request())?;
        ensure!(outcome.status() == Some(403), "the rule does not deny: {outcome:?}");
        vm.inject_failure(Some(failure.clone()));
        let outcome = vm.request(root, Connection::mtls(2, WEB), request())?;
        ensure!(outcome.host_calls.iter().any(|made| made.starts_with(call)), "{:?}", outcome.host_calls);
        ensure!(outcome.status() == Some(403), "{failure}: {outcome:?}");
    }
    Ok(())
}

rows! {
    failures_that_no_decision_needs_change_no_answer: check_answers_under_failure;
    filter_state: "proxy_set_property";
    the_log: "proxy_log";
    metrics_cannot_be_defined: "proxy_define_metric";
    metrics_cannot_be_incremented: "proxy_increment_metric";
    connection_ids_cannot_be_read: "proxy_get_property #";
    connection_ids_cannot_be_set: "proxy_set_property #";
    tags_cannot_be_read: "proxy_get_property +";
    tags_cannot_be_set: "proxy_set_property +";
    the_count_of_tags_cannot_be_read: "proxy_get_property sallyport.marks";
    the_count_of_tags_cannot_be_set: "proxy_set_property sallyport.marks";
    foreign_functions: "proxy_call_foreign_function";
    the_clock: "proxy_get_current_time_nanoseconds";
    contexts: "proxy_set_effective_context";
}

fn check_answers_under_failure(call: &str) -> Result<()> {
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    vm.inject_failure(Some(InjectedFailure { call: call.to_owned(), status: INTERNAL_FAILURE }));
    let root = vm.configure(only_allow_web("")?.as_bytes())??;
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/a"))?.continues, "web is denied");
    let outcome = vm.request(root, Connection::mtls(2, STRANGER), get("/a"))?;
    ensure!(outcome.status() == Some(403), "{outcome:?}");
    vm.tick(root)
}

rows! {
    on_a_known_connection_a_request_makes_few_host_calls: check_host_calls;
    principals_alone: "", &["proxy_get_property +"];
    a_method_and_a_path: "{methods: [GET], paths: [/a]}", &["proxy_get_property +", "proxy_get_header_map_pairs"];
    paths: "{paths: [/a], notPaths: [/b]}", &["proxy_get_property +", "proxy_get_header_map_value :path"];
}

fn check_host_calls(operation: &str, expected: &[&str]) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &only_allow_web(operation)?)?;
    vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
    let outcome = vm.request(root, Connection::mtls(7, WEB), get("/a"))?;
    ensure!(outcome.continues, "{outcome:?}");
    let host_calls: Vec<_> = outcome.host_calls.iter().map(|call| call.split_inclusive('+').next()).collect();
    ensure!(host_calls == expected.iter().copied().map(Some).collect::<Vec<_>>(), "{host_calls:?}");
    Ok(())
}

#[test]
fn before_envoy_1_39_only_the_listener_can_vouch_for_a_certificate() -> Result<()> {
    let module = filter::load("identity-authz")?;
    let (mut vm, root) = Vm::configured(&module, &only_allow_web("")?)?;
    let old = |id: u64, uri: &str| Connection { validated: None, ..Connection::mtls(id, uri) };
    let outcome = vm.request(root, old(1, WEB), get("/"))?;
    ensure!(!outcome.continues, "{outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").context("no reason")?;
    for setting in ["Envoy 1.39", "identity.validation: listener", "require_client_certificate", "validation_context"] {
        ensure!(reason.contains(setting), "{reason}");
    }
    let configuration = json!({"identity": {"validation": "listener"}, "resources": [allow_web("")?]}).to_string();
    let (mut vm, root) = Vm::configured(&module, &configuration)?;
    ensure!(vm.request(root, old(1, WEB), get("/"))?.continues, "the listener vouches for it");
    ensure!(!vm.request(root, old(2, STRANGER), get("/"))?.continues, "another identity");
    Ok(())
}

rows! {
    without_the_direct_address_what_needs_it_is_denied: check_direct_address;
    an_allow: "{rules: [{from: [{source: {notIpBlocks: [10.0.0.0/8]}}]}]}";
    a_deny: "{action: DENY, rules: [{when: [{key: source.ip, values: [10.0.0.0/8]}]}]}";
}

fn check_direct_address(spec: &str) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &single_policy(spec)?)?;
    let mut connection = Connection::mtls(1, WEB);
    connection.filter_state.insert("sallyport.direct_remote_address".to_owned(), b"192.0.2.9".to_vec());
    ensure!(vm.request(root, connection.clone(), get("/"))?.continues, "denied with the address");
    let outcome = vm.request(root, Connection::mtls(2, WEB), get("/"))?;
    ensure!(outcome.status() == Some(403), "allowed without the address");
    let reason = outcome.filter_state.get("wasm.sallyport.identity_authz.reason").cloned().unwrap_or_default();
    let expected = "the proxy did not tell filter_state.sallyport.direct_remote_address: it is not set; set it by a filter set_filter_state before this one, as envoy-config/ingress.yaml does for requests and layer4.yaml for connections, or write directRemoteAddress: connection where no X-Forwarded-For is trusted (docs/listener-settings.md): ";
    ensure!(reason.starts_with(expected), "{reason}");
    connection.filter_state.insert("sallyport.direct_remote_address".to_owned(), b"nonsense".to_vec());
    ensure!(!vm.request(root, connection, get("/"))?.continues, "allowed with a malformed address");
    Ok(())
}

#[test]
fn malformed_metadata_denies_what_needs_it() -> Result<()> {
    let spec = "{action: DENY, rules: [{from: [{source: {requestPrincipals: ['*/ann']}}]}]}";
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &single_policy(spec)?)?;
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues, "without metadata there is no token");
    let malformed = Connection { metadata: vec![0x0a, 0xff], ..Connection::mtls(1, WEB) };
    ensure!(!vm.request(root, malformed, get("/"))?.continues, "allowed with malformed metadata");
    Ok(())
}

/// The start of 2026-11-23, a Monday, in seconds since the Unix epoch.
const MONDAY: u64 = 1_795_392_000;

const WORKING_HOURS: &str = "{rules: [{when: [{key: request.time, values: ['Mon-Fri 09:00-17:00']}]}]}";

rows! {
    times_are_in_utc: check_time;
    before_the_window: (0, 8, 59), false;
    first_minute: (0, 9, 0), true;
    last_minute: (0, 16, 59), true;
    after_the_window: (0, 17, 0), false;
    saturday: (5, 12, 0), false;
}

fn check_time((days, hours, minutes): (u64, u64, u64), expected: bool) -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &single_policy(WORKING_HOURS)?)?;
    vm.stop_clock(Duration::from_secs(MONDAY + ((days * 24 + hours) * 60 + minutes) * 60));
    let continues = vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues;
    ensure!(continues == expected, "{continues}");
    Ok(())
}

#[test]
fn without_a_clock_what_needs_the_time_is_denied() -> Result<()> {
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &single_policy(WORKING_HOURS)?)?;
    vm.stop_clock(Duration::from_secs(MONDAY + 12 * 3600));
    ensure!(vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues, "denied within the window");
    let call = "proxy_get_current_time_nanoseconds".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
    ensure!(!vm.request(root, Connection::mtls(1, WEB), get("/"))?.continues, "allowed without a clock");
    Ok(())
}
