//! One guest that makes every host call, in the wasmtime host and in Envoy. Both give the same answers, except those that
//! `host-tests/host-call-differences.yaml` lists.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Module, Request, Speaker, TunnelEvent, Vm};
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Options, WebServer, wait};

const GUEST: &str = "every-host-call";
const LIMIT: Duration = Duration::from_secs(60);

/// The configuration of the guest, of which it reads parts.
const CONFIGURATION: &str = "http";

/// The answer to a request that the guest answers twice.
const FIRST: &[u8] = b"first";

/// A host call and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    callback: String,
    call: String,
    answer: String,
}

/// A call that the wasmtime host answers otherwise, in every callback where Envoy gives this answer to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    calls: BTreeSet<String>,
    envoy: String,
    wasmtime: String,
    #[serde(rename = "why")]
    _why: String,
}

fn rows(report: &[u8]) -> Result<Vec<Row>> {
    let row = |line: &str| {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        let mut part = || parts.next().with_context(|| line.to_owned());
        Ok(Row { callback: part()?, call: part()?, answer: part()? })
    };
    let mut rows = String::from_utf8(report.to_vec())?.lines().map(row).collect::<Result<Vec<Row>>>()?;
    // When the timer fires first is another time in each run.
    rows.sort_by(|one, other| one.callback.cmp(&other.callback));
    Ok(rows)
}

fn differences() -> Result<Vec<Difference>> {
    let text = std::fs::read_to_string(testbed::root().join("host-tests/host-call-differences.yaml"))?;
    Ok(serde_json::from_value(testbed::read_yaml(&text)?)?)
}

/// The answers of the wasmtime host.
fn in_wasmtime() -> Result<Vec<Row>> {
    let (mut vm, root) = Vm::configured(&filter::load(GUEST)?, CONFIGURATION)?;
    vm.tick(root)?;
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let connection =
        |id| Connection { source: loopback(40_000), destination: loopback(50_000), ..Connection::plaintext(id) };
    vm.connection(root, connection(1), Speaker::Client)?;
    let request = |method: &str, path: &str| {
        let header = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Request(vec![
            header(":authority", "shop"),
            header(":path", path),
            header(":method", method),
            header(":scheme", "http"),
            header("x-forwarded-proto", "http"),
        ])
    };
    vm.request(root, connection(2), request("GET", "/"))?;
    let twice = vm.request(root, connection(3), request("GET", "/twice"))?;
    ensure!(twice.response.is_some_and(|response| response.body == FIRST), "not the first answer");
    let body = [TunnelEvent::LastBytes(b"hello".to_vec())];
    vm.tunnel(root, connection(4), request("POST", "/body"), &body)?;
    let outcome = vm.request(root, connection(5), request("GET", "/answers"))?;
    rows(&outcome.response.context("no answer")?.body)
}

fn listener(name: &str, filters: &Value) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": filters}]
    })
}

/// A listener at each layer whose filter is this module, in one VM, and a cluster for requests with a body.
fn bootstrap(module: &Path, upstream: u16) -> Value {
    let plugin = testbed::wasm_plugin("plugin", "vm", module, &testbed::string_value(CONFIGURATION));
    let filter = |kind: &str| {
        let name = format!("type.googleapis.com/envoy.extensions.filters.{kind}.wasm.v3.Wasm");
        json!({"@type": name, "config": plugin})
    };
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let http = json!([{"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "generate_request_id": false,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/body"}, "route": {"cluster": "upstream"}},
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": [{"name": "filter", "typed_config": filter("http")}, {"name": "router", "typed_config": router}]
    }}]);
    let echo = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"});
    let tcp = json!([{"name": "filter", "typed_config": filter("network")}, {"name": "echo", "typed_config": echo}]);
    let address = json!({"address": "127.0.0.1", "port_value": upstream});
    json!({"static_resources": {"listeners": [listener("http", &http), listener("tcp", &tcp)], "clusters": [{
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": address}}}
        ]}]}
    }]}})
}

fn start_envoy(module: &Path, upstream: u16, folder: &Path) -> Result<Envoy> {
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(&Configuration::new(bootstrap(module, upstream)), &options)
}

/// The answers of Envoy.
fn in_envoy() -> Result<Vec<Row>> {
    testbed::build_guests()?;
    let folder = tempfile::tempdir()?;
    let upstream = WebServer::start(folder.path(), None)?;
    let envoy = start_envoy(&testbed::guest_path(GUEST), upstream.port(), folder.path())?;
    let http = Client::plaintext(envoy.listener("http")?);
    ensure!(Client::plaintext(envoy.listener("tcp")?).is_echoed(b"a")?, "no echo");
    for request in [
        "GET / HTTP/1.1\r\nhost: shop\r\n\r\n",
        "GET /twice HTTP/1.1\r\nhost: shop\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let response = http.send(request.as_bytes())?;
        ensure!(response.status == 200, "{request}: {response:?}");
        ensure!(!request.contains("/twice") || response.body == FIRST, "{}", response.body.escape_ascii());
    }
    wait::until("a tick", LIMIT, || {
        let rows = rows(&http.send(b"GET /answers HTTP/1.1\r\nhost: shop\r\n\r\n")?.body)?;
        Ok(rows.iter().any(|row| row.callback == "tick").then_some(rows))
    })
}

#[test]
fn every_host_call_is_answered_as_envoy_answers_it() -> Result<()> {
    let (envoy, wasmtime) = (in_envoy()?, in_wasmtime()?);
    let calls = |rows: &[Row]| rows.iter().map(|row| format!("{}: {}", row.callback, row.call)).collect::<Vec<_>>();
    let (in_envoy, in_wasmtime) = (calls(&envoy), calls(&wasmtime));
    ensure!(in_envoy == in_wasmtime, "not the same calls: {in_envoy:#?}\n{in_wasmtime:#?}");
    let differences = differences()?;
    let mut seen: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); differences.len()];
    let mut unlisted = Vec::new();
    for (envoy, wasmtime) in envoy.iter().zip(&wasmtime).filter(|(envoy, wasmtime)| envoy != wasmtime) {
        let listed = differences.iter().zip(&mut seen).find(|(listed, _)| {
            listed.calls.contains(&envoy.call) && (&listed.envoy, &listed.wasmtime) == (&envoy.answer, &wasmtime.answer)
        });
        match listed {
            Some((_, seen)) => drop(seen.insert(&envoy.call)),
            None => unlisted.push(format!(
                "{}: {} is answered {} by Envoy, {} by the wasmtime host",
                envoy.callback, envoy.call, envoy.answer, wasmtime.answer
            )),
        }
    }
    ensure!(unlisted.is_empty(), "{} unlisted differences:\n{}", unlisted.len(), unlisted.join("\n"));
    for (difference, seen) in differences.iter().zip(seen) {
        let gone: Vec<_> = difference.calls.iter().filter(|call| !seen.contains(call.as_str())).collect();
        ensure!(gone.is_empty(), "{gone:?} are listed as different and are not");
    }
    println!(
        "{} calls in {} callbacks",
        envoy.len(),
        envoy.iter().map(|row| &row.callback).collect::<BTreeSet<_>>().len()
    );
    Ok(())
}

/// A module that imports `env.proxy_unknown`, and exports the version of the ABI.
const UNKNOWN_IMPORT: [&[u8]; 6] = [
    b"\0asm\x01\0\0\0",
    b"\x01\x04\x01\x60\0\0",
    b"\x02\x15\x01\x03env\x0dproxy_unknown\0\0",
    b"\x03\x02\x01\0",
    b"\x07\x1b\x01\x17proxy_abi_version_0_2_1\0\x01",
    b"\x0a\x04\x01\x02\0\x0b",
];

#[test]
fn a_function_that_envoy_lacks_is_no_import() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("module.wasm");
    std::fs::write(&module, UNKNOWN_IMPORT.concat())?;
    let error = Module::load(&module).and_then(|module| Vm::start(&module)).err().context("wasmtime loads it")?;
    ensure!(format!("{error:#}").contains("unknown import: `env::proxy_unknown`"), "{error:#}");
    let error = start_envoy(&module, 1, folder.path()).err().context("Envoy loads it")?;
    ensure!(format!("{error:#}").contains("missing import: env.proxy_unknown"), "{error:#}");
    Ok(())
}
