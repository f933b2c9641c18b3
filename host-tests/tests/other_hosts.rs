//! The filters in other Proxy-Wasm hosts than Envoy: each loads, decides by what the host tells, and denies, naming it, what
//! it cannot know. `docs/compare.md` lists what each filter asks of a host.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use host_tests::policy;
use host_tests::suite::{self, native};
use host_tests::wasm_host::Profile::{HeadersAlone, NoAttributes, TextAttributes};
use host_tests::wasm_host::{Connection, Profile, Request, Speaker, Vm};
use host_tests::{filter, rows};
use wasmparser::{Parser, Payload};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A policy that lets in whatever its one DENY rule does not deny.
const DENY: &str = "
defaultAction: ALLOW
remoteAddress: trusted
resources:
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: p, namespace: shop}
  spec: {action: DENY, rules: [RULE]}
";

const STRICT: &str = "
defaultAction: ALLOW
resources:
- {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p, namespace: shop}, spec: {mtls: {mode: STRICT}}}
";

/// The mark is filter state.
const CUSTOM: &str = "
stage: custom
customProviders: [login]
resources:
- {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: shop}, spec: {action: CUSTOM, provider: {name: login}, rules: [{to: [{operation: {paths: [/x]}}]}]}}
";

const EGRESS: &str = "sniMustMatchHost: false\nrules: [{name: api, hosts: [api.example], ports: [80]RULE}]";

const PRINCIPAL: &str = "{from: [{source: {principals: [cluster.local/ns/shop/sa/bad]}}]}";
const NOT_PRINCIPAL: &str = "{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/bad]}}]}";
const IP_BLOCK: &str = "{from: [{source: {ipBlocks: [192.0.2.7]}}]}";
const REMOTE_IP_BLOCK: &str = "{from: [{source: {remoteIpBlocks: [192.0.2.7]}}]}";
const TOKEN: &str = "{from: [{source: {requestPrincipals: ['*']}}]}";
const PORT: &str = "{to: [{operation: {ports: ['22']}}]}";
const SERVER_NAME: &str = "{when: [{key: connection.sni, values: [evil.test]}]}";
const METHOD_AND_PATH: &str = "{to: [{operation: {methods: [DELETE], paths: [/admin]}}]}";
const HEADER: &str = "{when: [{key: 'request.headers[x-role]', values: [guest]}]}";
const TIME: &str =
    "{when: [{key: request.time, values: ['Mon-Sun 00:00-00:01']}], to: [{operation: {methods: [PUT]}}]}";

/// The request of a client that no policy here is against.
fn request() -> Request {
    Request::new("GET", "api.example", "/").with("user-agent", b"Mozilla/5.0")
}

/// Sends a request by mTLS to a filter in another host. Returns the reason of the denial in the log, or `None` if it
/// passes.
fn ask(filter: &str, profile: Profile, template: &str, rule: &str, request: Request) -> Result<Option<String>> {
    let mut vm = Vm::start_in(profile, &filter::load(filter)?)?;
    let configuration = policy::configuration(&template.replace("RULE", rule))?;
    let root = vm.configure(configuration.as_bytes())??;
    ensure!(vm.log().iter().any(|line| line.message.contains("loaded ")), "{:?}", vm.log());
    let mut connection = Connection::mtls(1, WEB);
    connection.server_name = Some(b"shop.test".to_vec());
    let outcome = vm.request(root, connection, request)?;
    if outcome.continues {
        return Ok(None);
    }
    ensure!(outcome.response.is_some(), "no answer: {outcome:?}");
    vm.log().last().map(|line| Some(line.message.clone())).context("nothing is logged")
}

rows! {
    what_a_host_does_not_tell_is_denied_and_named: check_denied;
    a_principal: "identity-authz", NoAttributes, DENY, PRINCIPAL, "connection.mtls: NotFound";
    no_principal: "identity-authz", NoAttributes, DENY, NOT_PRINCIPAL, "connection.mtls: NotFound";
    strict: "identity-authz", NoAttributes, STRICT, "", "connection.mtls: NotFound";
    an_address: "identity-authz", NoAttributes, DENY, IP_BLOCK, "filter_state.sallyport.direct_remote_address: it is not set";
    a_remote_address: "identity-authz", NoAttributes, DENY, REMOTE_IP_BLOCK, "source.address: NotFound";
    a_token: "identity-authz", NoAttributes, DENY, TOKEN, "metadata: NotFound";
    a_port: "identity-authz", NoAttributes, DENY, PORT, "destination.address: NotFound";
    a_server_name: "identity-authz", NoAttributes, DENY, SERVER_NAME, "connection.requested_server_name: NotFound";
    a_mark: "identity-authz", NoAttributes, CUSTOM, "", "the proxy did not keep the mark for ext_authz: NotFound";
    a_principal_unimplemented: "identity-authz", HeadersAlone, DENY, PRINCIPAL, "connection.uri_san_peer_certificate: Unimplemented";
    strict_unimplemented: "identity-authz", HeadersAlone, STRICT, "", "connection.uri_san_peer_certificate: Unimplemented";
    an_address_unimplemented: "identity-authz", HeadersAlone, DENY, IP_BLOCK, "filter_state.sallyport.direct_remote_address: Unimplemented";
    a_token_unimplemented: "identity-authz", HeadersAlone, DENY, TOKEN, "metadata: Unimplemented";
    a_port_unimplemented: "identity-authz", HeadersAlone, DENY, PORT, "destination.port: Unimplemented";
    a_server_name_unimplemented: "identity-authz", HeadersAlone, DENY, SERVER_NAME, "connection.requested_server_name: Unimplemented";
    a_mark_unimplemented: "identity-authz", HeadersAlone, CUSTOM, "", "the proxy did not keep the mark for ext_authz: Unimplemented";
    a_principal_in_text: "identity-authz", TextAttributes, DENY, PRINCIPAL, "connection.mtls: ParseFailure";
    strict_in_text: "identity-authz", TextAttributes, STRICT, "", "connection.mtls: ParseFailure";
    a_port_in_text: "identity-authz", TextAttributes, DENY, PORT, "destination.port: ParseFailure";
    a_source_of_egress: "egress-allowlist", NoAttributes, EGRESS, ", from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]", "connection.mtls: NotFound";
    a_source_of_egress_unimplemented: "egress-allowlist", HeadersAlone, EGRESS, ", from: [{source: {namespaces: [shop]}}]", "connection.uri_san_peer_certificate: Unimplemented";
    a_source_of_egress_in_text: "egress-allowlist", TextAttributes, EGRESS, ", from: [{source: {namespaces: [shop]}}]", "connection.mtls: ParseFailure";
    a_server_name_of_egress: "egress-allowlist", NoAttributes, "rules: [{name: api, hosts: [api.example]}]", "", "connection.requested_server_name: NotFound";
    a_client_to_be_limited: "egress-allowlist", NoAttributes, "sniMustMatchHost: false\nmaxConnectionsPerClient: 5\nrules: [{name: api, hosts: [api.example]}]", "", "connection.mtls: NotFound";
}

fn check_denied(filter: &str, profile: Profile, template: &str, rule: &str, named: &str) -> Result<()> {
    let reason = ask(filter, profile, template, rule, request())?.context("it passes")?;
    ensure!(reason.contains(named), "{reason}");
    Ok(())
}

/// What headers and the clock tell is decided in every host.
#[test]
fn what_a_host_tells_is_decided() -> Result<()> {
    let delete = Request::new("DELETE", "api.example", "/admin");
    let guest = request().with("x-role", b"guest");
    let scanner = Request::new("GET", "api.example", "/").with("user-agent", b"sqlmap/1.7");
    let other_host = Request::new("GET", "other.example", "/");
    let scanners = "presets: [scanners]";
    for profile in [NoAttributes, HeadersAlone, TextAttributes] {
        for (filter, template, rule, request, passes) in [
            ("identity-authz", DENY, METHOD_AND_PATH, request(), true),
            ("identity-authz", DENY, METHOD_AND_PATH, delete.clone(), false),
            ("identity-authz", DENY, HEADER, request(), true),
            ("identity-authz", DENY, HEADER, guest.clone(), false),
            ("identity-authz", DENY, TIME, request(), true),
            ("baseline-deny", scanners, "", request(), true),
            ("baseline-deny", scanners, "", scanner.clone(), false),
            ("egress-allowlist", EGRESS, "", request(), true),
            ("egress-allowlist", EGRESS, "", other_host.clone(), false),
        ] {
            let reason = ask(filter, profile, template, rule, request)?;
            ensure!(reason.is_none() == passes, "{filter} with {rule} in {profile:?}: {reason:?}");
        }
    }
    // nginx tells a remote address and an SNI as Envoy does.
    for rule in [REMOTE_IP_BLOCK, SERVER_NAME] {
        ensure!(ask("identity-authz", TextAttributes, DENY, rule, request())?.is_none(), "{rule}");
    }
    Ok(())
}

#[test]
fn connections_are_closed_or_held_where_a_host_does_not_tell() -> Result<()> {
    for (filter, template, rule) in [
        ("identity-authz", DENY, PRINCIPAL),
        ("baseline-deny", "presets: [scanners]", ""),
        ("egress-allowlist", EGRESS, ""),
    ] {
        for profile in [NoAttributes, HeadersAlone, TextAttributes] {
            let mut vm = Vm::start_in(profile, &filter::load(filter)?)?;
            let root = vm.configure(policy::configuration(&template.replace("RULE", rule))?.as_bytes())??;
            let outcome = vm.connection(root, Connection::mtls(1, WEB), Speaker::Client)?;
            ensure!(!outcome.data_forwarded, "{filter} in {profile:?}: {outcome:?}");
        }
    }
    Ok(())
}

/// Returns the host functions that a module imports.
fn imports(filter: &str) -> Result<BTreeSet<String>> {
    testbed::build_filters()?;
    let bytes = fs::read(testbed::filter_path(filter))?;
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                names.insert(import?.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// Returns the attributes that a filter asks for in its suite. Keys of its own, which are new in every VM, are left out.
fn attributes(filter: &str) -> Result<BTreeSet<String>> {
    let module = filter::load(filter)?;
    let mut names = BTreeSet::new();
    for case in suite::load(&testbed::root().join("host-tests/suites").join(filter))? {
        // A request that Envoy itself rejects reaches no filter.
        if case.expect.envoy.is_none() && case.expect.refused.is_none() {
            names.extend(native::play_and_record(&module, &filter.replace('-', "_"), &case)?);
        }
    }
    names.retain(|name| !name.starts_with(['#', '+']) && name != "sallyport.marks");
    Ok(names)
}

/// Returns the names in backticks of a column of the table on the page that begins with this header.
fn documented(header: &str, filter: &str) -> Result<BTreeSet<String>> {
    let page = fs::read_to_string(testbed::root().join("docs/compare.md"))?;
    let (_, table) = page.split_once(header).with_context(|| format!("no table {header}"))?;
    let filters = ["identity-authz", "baseline-deny", "egress-allowlist"];
    let Some(column) = filters.iter().position(|known| *known == filter) else { bail!("no column {filter}") };
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut names = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells.get(1).and_then(|cell| cell.split('`').nth(1)).with_context(|| row.to_owned())?;
        if cells.get(column + 2).is_some_and(|cell| !cell.is_empty()) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

#[test]
fn the_page_lists_what_each_filter_asks_of_a_host() -> Result<()> {
    let mut differences = Vec::new();
    for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
        for (header, needed) in [("| host function |", imports(filter)?), ("| attribute |", attributes(filter)?)] {
            let listed = documented(header, filter)?;
            if listed != needed {
                differences.push(format!("{filter} {header} lists {listed:?}, needed are {needed:?}"));
            }
        }
    }
    ensure!(differences.is_empty(), "docs/compare.md:\n{}", differences.join("\n"));
    Ok(())
}
