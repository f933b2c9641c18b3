//! Plays cases against the same module in a real Envoy: one process, a listener a configuration, real TLS.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{Authority, Client, Configuration, Envoy, Identity, Name, Options, wait};

use super::case::{Caller, Case, Sent, bytes, counter};
use super::check::Happened;

/// How long Envoy may take to write its access log or to flush counters.
const LIMIT: Duration = Duration::from_secs(30);

/// The keys of filter state that a filter sets.
const KEYS: [&str; 4] = ["decision", "policy", "principal", "reason"];

/// A running Envoy with a listener for each configuration of the cases that it was started for.
pub struct Stage {
    envoy: Envoy,
    folder: PathBuf,
    counters: String,
    listeners: Vec<(Vec<u8>, String)>,
    trusted: Authority,
    untrusted: Authority,
    requests: AtomicUsize,
}

impl Stage {
    /// Starts Envoy with `filter`'s module and every configuration of `cases`, all of which it has to take.
    pub fn start(filter: &str, cases: &[Case], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        let (trusted, untrusted) = (Authority::new("trusted")?, Authority::new("untrusted")?);
        fs::write(folder.join("trusted.pem"), trusted.pem())?;
        trusted.issue(&[Name::Dns("localhost".to_owned())])?.write(&folder, "server")?;
        let counters = filter.replace('-', "_");
        let mut listeners: Vec<(Vec<u8>, String)> = Vec::new();
        for case in cases {
            let configuration = case.configuration_bytes()?;
            if listeners.iter().all(|(known, _)| *known != configuration) {
                let name = format!("configuration-{}", listeners.len());
                listeners.push((configuration, name));
            }
        }
        let log = folder.join("access.log");
        let listener = |(configuration, name): &(Vec<u8>, String)| {
            let filter_configuration = filter_configuration(filter, filter, configuration);
            listener(name, &counters, &folder, &log, &filter_configuration)
        };
        let bootstrap = json!({"static_resources": {"listeners": listeners.iter().map(listener).collect::<Vec<_>>()}});
        let options = Options { binary, folder: folder.clone(), workers: 1, outlives: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        Ok(Self { envoy, folder, counters, listeners, trusted, untrusted, requests: AtomicUsize::new(0) })
    }

    /// Plays `case`. Counters are shared by all cases, so [`check_counters`](Self::check_counters) looks at their sums.
    pub fn play(&self, case: &Case) -> Result<()> {
        let configuration = case.configuration_bytes()?;
        let (_, name) = self
            .listeners
            .iter()
            .find(|(known, _)| *known == configuration)
            .context("a configuration of another stage")?;
        let address = self.envoy.listener(name)?;
        let identity = self.identity(&case.caller)?;
        let client = match (&identity, case.caller.tls) {
            (None, false) => Client::plaintext(address),
            (identity, _) => Client::tls(address, identity.as_ref())?,
        };
        let port = case.caller.destination_port.unwrap_or(443);
        let client = client.with_preamble(format!("PROXY TCP4 198.51.100.1 192.0.2.1 40000 {port}\r\n").into_bytes());
        let number = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let answer = client.send(&wire(&case.request, &number)?)?;
        let entry = self.log_entry(&number)?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let state = KEYS.iter().filter_map(|key| Some(((*key).to_owned(), text(key)?))).collect();
        let happened = Happened {
            status: answer.status,
            details: text("details"),
            body: answer.body,
            headers: answer.headers,
            filter_state: state,
        };
        happened.check(&case.expect)
    }

    /// Waits until the counters are what all `cases` together have to leave, each played once.
    pub fn check_counters(&self, cases: &[Case]) -> Result<()> {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for case in cases {
            for (name, value) in case.expect.counters() {
                *expected.entry(name).or_default() += value;
            }
        }
        let mut found = BTreeMap::new();
        let met = wait::until("the counters", LIMIT, || {
            let page = self.envoy.admin_get("/stats")?;
            let counters = page.lines().filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let name = counter(name.strip_prefix("wasmcustom.").unwrap_or(name), &self.counters)?;
                Some((name.to_owned(), value.parse::<u64>().ok()?))
            });
            found = counters.filter(|(_, value)| *value > 0).collect();
            Ok((found == expected).then_some(()))
        });
        met.with_context(|| format!("counters {found:#?}, expected {expected:#?}"))
    }

    fn identity(&self, caller: &Caller) -> Result<Option<Identity>> {
        let authority = if caller.untrusted { &self.untrusted } else { &self.trusted };
        caller.names()?.map(|names| authority.issue(&names)).transpose()
    }

    fn log_entry(&self, number: &str) -> Result<Value> {
        wait::until("the access log", LIMIT, || {
            let log = fs::read_to_string(self.folder.join("access.log"))?;
            let mut entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(entries.find(|entry| entry.get("case").and_then(Value::as_str) == Some(number)))
        })
    }
}

/// Gives every refused configuration of `cases` to one Envoy as a listener each, and says what the filter has logged
/// about each, by the case's name. None of the listeners may come to be.
pub fn refusals(
    filter: &str,
    cases: &[Case],
    binary: PathBuf,
    folder: PathBuf,
) -> Result<BTreeMap<String, Vec<String>>> {
    let authority = Authority::new("trusted")?;
    fs::write(folder.join("trusted.pem"), authority.pem())?;
    authority.issue(&[Name::Dns("localhost".to_owned())])?.write(&folder, "server")?;
    let log = folder.join("access.log");
    let mut resources = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let name = format!("refused-{number}");
        let configuration = filter_configuration(filter, &name, &case.configuration_bytes()?);
        let mut listener = listener(&name, "none", &folder, &log, &configuration);
        if let Value::Object(keys) = &mut listener {
            keys.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.listener.v3.Listener"));
        }
        resources.push(listener);
    }
    let discovery = folder.join("listeners.json");
    fs::write(&discovery, serde_json::to_vec(&json!({"version_info": "1", "resources": resources}))?)?;
    let bootstrap = json!({
        "node": {"id": "suite", "cluster": "suite"},
        "dynamic_resources": {"lds_config": {"resource_api_version": "V3", "path_config_source": {"path": discovery}}}
    });
    let envoy = Envoy::start(&Configuration::new(bootstrap), &Options { binary, folder, workers: 1, outlives: false })?;
    wait::until("the listeners to be refused", LIMIT, || {
        Ok((envoy.stat("listener_manager.lds.update_rejected")? > 0).then_some(()))
    })?;
    if envoy.admin_get("/listeners")?.contains("refused-") {
        bail!("Envoy took a configuration that the filter refuses:\n{}", envoy.admin_get("/listeners")?);
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in envoy.log()?.lines() {
        // `wasm log <vm_id>: <line>`, where the VM is named after the case's number.
        let Some((_, rest)) = line.split_once("wasm log refused-") else { continue };
        let Some((number, message)) = rest.split_once(": ") else { continue };
        let number: usize =
            number.split(' ').next().unwrap_or_default().parse().with_context(|| format!("in the line {line}"))?;
        let case = cases.get(number).context("a case that is not there")?;
        if !message.starts_with("sallyport ") {
            found.entry(case.name.clone()).or_default().push(message.to_owned());
        }
    }
    Ok(found)
}

/// A request as bytes for the wire.
fn wire(sent: &Sent, number: &str) -> Result<Vec<u8>> {
    let mut text = bytes(&format!("{} {} HTTP/1.1\r\nhost: {}\r\n", sent.method, sent.path, sent.host))?;
    for (name, value) in &sent.headers {
        text.extend(bytes(&format!("{name}: {value}\r\n"))?);
    }
    text.extend(format!("x-case: {number}\r\nconnection: close\r\n\r\n").into_bytes());
    Ok(text)
}

/// Envoy begins the log lines of a plugin that is being configured with its VM's id.
fn filter_configuration(filter: &str, vm_id: &str, configuration: &[u8]) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": filter,
            "vm_config": {
                "vm_id": vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": testbed::filter_path(filter)}}
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": String::from_utf8_lossy(configuration)}
        }
    })
}

/// TLS and plaintext on one port, any client certificate or none, addresses by the PROXY protocol.
fn listener(name: &str, counters: &str, folder: &std::path::Path, log: &std::path::Path, filter: &Value) -> Value {
    let mut format = serde_json::Map::from_iter([
        ("case".to_owned(), json!("%REQ(X-CASE)%")),
        ("details".to_owned(), json!("%RESPONSE_CODE_DETAILS%")),
    ]);
    for key in KEYS {
        format.insert(key.to_owned(), json!(format!("%FILTER_STATE(wasm.sallyport.{counters}.{key}:PLAIN)%")));
    }
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "suite",
        "http_protocol_options": {"allow_custom_methods": true},
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log,
                "log_format": {"json_format": format}
            }
        }],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
            "match": {"prefix": ""},
            "direct_response": {"status": 200, "body": {"inline_string": "reached"}}
        }]}]},
        "http_filters": [
            {"name": "filter", "typed_config": filter},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        ]
    });
    let filters = json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]);
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": folder.join("server.pem")},
                    "private_key": {"filename": folder.join("server.key")}
                }],
                "validation_context": {
                    "trusted_ca": {"filename": folder.join("trusted.pem")},
                    "trust_chain_verification": "ACCEPT_UNTRUSTED"
                }
            }
        }
    });
    let listener_filter = |name: &str, kind: &str| json!({"name": name, "typed_config": {"@type": format!("type.googleapis.com/envoy.extensions.filters.listener.{kind}")}});
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [
            listener_filter("envoy.filters.listener.proxy_protocol", "proxy_protocol.v3.ProxyProtocol"),
            listener_filter("envoy.filters.listener.tls_inspector", "tls_inspector.v3.TlsInspector")
        ],
        "filter_chains": [
            {"filter_chain_match": {"transport_protocol": "tls"}, "transport_socket": tls, "filters": filters},
            {"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters}
        ]
    })
}
