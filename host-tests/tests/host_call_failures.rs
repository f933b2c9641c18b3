//! Every host call failing in turn, for all filters: a request or connection that is denied stays denied whatever a call
//! returns, be it a status that Envoy never sends, NotFound where a value always is, or bytes of a wrong size.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use host_tests::wasm_host::{Connection, InjectedAnswer, InjectedFailure, Request, Speaker, Vm};
use host_tests::{filter, policy, rows};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

const NOT_FOUND: u32 = 1;

/// The calls whose values some streams do not have: NotFound is no failure of theirs.
const OPTIONAL: [&str; 6] = [
    "proxy_get_property connection.uri_san_peer_certificate",
    "proxy_get_property connection.requested_server_name",
    "proxy_get_property connection.peer_certificate",
    "proxy_get_property filter_state.envoy.upstream.dynamic_port",
    "proxy_get_property connection.tls_version",
    "proxy_get_header_map_value user-agent",
];

/// The calls that return a text, for which any text is a value: of wrong bytes only none are tried.
const TEXTS: [&str; 2] = ["proxy_get_header_map_value", "proxy_get_property connection.requested_server_name"];

/// What a client sends.
#[derive(Clone, Debug)]
enum Sent {
    Request(Connection, Request),
    Connection(Connection),
}

impl Sent {
    /// Sends it under a configuration after `prepare`. Returns whether anything goes on, and the host calls.
    fn send(&self, filter: &str, configuration: &str, prepare: impl FnOnce(&mut Vm)) -> Result<(bool, Vec<String>)> {
        let (mut vm, root) = Vm::configured(&filter::load(filter)?, configuration)?;
        prepare(&mut vm);
        Ok(match self.clone() {
            Self::Request(connection, request) => {
                let outcome = vm.request(root, connection, request)?;
                (outcome.continues, outcome.host_calls)
            }
            Self::Connection(connection) => {
                let outcome = vm.connection(root, connection, Speaker::Client)?;
                (outcome.data_forwarded, outcome.host_calls)
            }
        })
    }
}

fn connection() -> Connection {
    Connection {
        server_name: Some(b"db.example".to_vec()),
        filter_state: BTreeMap::from([("sallyport.direct_remote_address".to_owned(), b"198.51.100.1".to_vec())]),
        ..Connection::mtls(1, WEB)
    }
}

fn get() -> Sent {
    Sent::Request(connection(), Request::new("GET", "orders.shop", "/admin/x").with("x-role", b"guest"))
}

fn connect(authority: &str) -> Sent {
    Sent::Request(connection(), Request::new("CONNECT", authority, ""))
}

/// Returns the configuration of one DENY policy of this rule, where everything else is allowed.
fn deny(rule: &str) -> String {
    format!(
        "{{defaultAction: ALLOW, resources: [{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
         metadata: {{name: p, namespace: shop}}, spec: {{action: DENY, rules: [{rule}]}}}}]}}"
    )
}

/// Returns the configuration of one DENY policy of `baseline-deny`.
fn baseline(rule: &str) -> String {
    deny(rule).replace("defaultAction: ALLOW, ", "")
}

/// Returns the configuration of a DENY rule of `egress-allowlist` beside one that allows everything.
fn egress(rule: &str) -> String {
    format!(
        "{{rules: [{{name: all, hosts: [orders.shop, evil.com, db.example], ports: [80, 443]}}, {{name: never, action: DENY, {rule}}}]}}"
    )
}

rows! {
    no_failing_host_call_passes_a_deny: check_denied;
    a_principal: "identity-authz", deny("{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}"), get();
    a_namespace: "identity-authz", deny("{from: [{source: {notNamespaces: [other]}}]}"), get();
    an_address: "identity-authz", deny("{from: [{source: {ipBlocks: [198.51.100.1]}}]}"), get();
    a_destination: "identity-authz", deny("{when: [{key: destination.ip, values: [0.0.0.0/0]}]}"), get();
    a_method: "identity-authz", deny("{to: [{operation: {methods: [GET]}}]}"), get();
    a_host: "identity-authz", deny("{to: [{operation: {hosts: [orders.shop]}}]}"), get();
    a_path: "identity-authz", deny("{to: [{operation: {paths: ['/admin/*']}}]}"), get();
    a_port: "identity-authz", deny("{to: [{operation: {ports: ['443']}}]}"), get();
    a_header: "identity-authz", deny("{when: [{key: 'request.headers[x-role]', values: [guest]}]}"), get();
    several_headers: "identity-authz",
        deny("{to: [{operation: {methods: [GET], paths: ['/admin/*']}}], \
               when: [{key: 'request.headers[x-role]', values: [guest]}]}"),
        get();
    no_token: "identity-authz", deny("{from: [{source: {notRequestPrincipals: ['*']}}]}"), get();
    the_clock: "identity-authz", deny("{when: [{key: request.time, notValues: ['Mon 00:00-00:01']}]}"), get();
    a_connection_by_its_peer: "identity-authz",
        deny("{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}"), Sent::Connection(connection());
    a_connection_by_its_port: "identity-authz", deny("{to: [{operation: {ports: ['443']}}]}"),
        Sent::Connection(connection());
    a_connection_by_its_address: "identity-authz", deny("{from: [{source: {ipBlocks: [198.51.100.1]}}]}"),
        Sent::Connection(connection());
    a_tool: "baseline-deny", "{userAgent: {missing: deny}}".to_owned(), get();
    a_hostile_header: "baseline-deny", baseline("{when: [{key: 'request.headers[x-role]', values: [guest]}]}"), get();
    a_hostile_path: "baseline-deny", baseline("{to: [{operation: {paths: ['/admin/*']}}]}"), get();
    a_hostile_method: "baseline-deny", baseline("{to: [{operation: {methods: [GET]}}]}"), get();
    an_outside_host: "egress-allowlist", egress("hosts: [orders.shop]"), get();
    an_outside_host_for_a_principal: "egress-allowlist",
        egress("from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], hosts: [evil.com]"),
        connect("evil.com:443");
    an_outside_host_for_an_address: "egress-allowlist",
        egress("from: [{source: {ipBlocks: [198.51.100.1]}}], hosts: [evil.com]"), connect("evil.com:443");
    a_server_name: "egress-allowlist", egress("hosts: [db.example]"), Sent::Connection(connection());
}

fn check_denied(filter: &str, configuration: String, sent: Sent) -> Result<()> {
    let configuration = policy::configuration(&configuration)?;
    let (passes, host_calls) = sent.send(filter, &configuration, |_| {})?;
    ensure!(!passes, "it is not denied");
    let host_calls: Vec<_> = host_calls.into_iter().filter(|call| !call.starts_with("proxy_log")).collect();
    ensure!(!host_calls.is_empty(), "no host call is made");
    let mut tried = 0;
    let may_be_absent = |call: &str| OPTIONAL.iter().any(|optional| call.starts_with(optional));
    let not_found = host_calls.iter().filter(|call| call.starts_with("proxy_get_") && !may_be_absent(call));
    let not_found = not_found.map(|call| InjectedFailure { call: call.clone(), status: NOT_FOUND });
    for failure in InjectedFailure::each_of(host_calls.clone()).chain(not_found) {
        let injected = Some(failure.clone());
        let (passes, _) =
            sent.send(filter, &configuration, |vm| vm.inject_failure(injected)).with_context(|| failure.to_string())?;
        ensure!(!passes, "{failure}, and it goes on");
        tried += 1;
    }
    let is_text = |call: &str| TEXTS.iter().any(|text| call.starts_with(text));
    // A Unix socket has an empty address.
    for answer in InjectedAnswer::each_of(host_calls.into_iter().filter(|call| call.starts_with("proxy_get_"))) {
        let is_empty = answer.bytes.is_empty() && (may_be_absent(&answer.call) || answer.call.ends_with("address"));
        if is_text(&answer.call) || is_empty {
            continue;
        }
        let injected = Some(answer.clone());
        let (passes, _) =
            sent.send(filter, &configuration, |vm| vm.inject_answer(injected)).with_context(|| answer.to_string())?;
        ensure!(!passes, "{answer}, and it goes on");
        tried += 1;
    }
    println!("{tried} failures and answers");
    ensure!(tried >= InjectedFailure::STATUSES.len(), "only {tried} were tried");
    Ok(())
}
