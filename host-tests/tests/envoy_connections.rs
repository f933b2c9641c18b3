//! The cache of `identity-authz` in a real Envoy.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use host_tests::policy::authorization_policy;
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Options, SubjectAltName, access_log};

const CALLERS: [&str; 3] = ["web", "orders", "payments"];

/// Returns the HTTP filter with an ALLOW policy that gives each caller a path of its own.
fn filter() -> Result<Value> {
    let rule = |caller: &str| {
        format!(
            "- from: [{{source: {{principals: [cluster.local/ns/shop/sa/{caller}]}}}}]\n  \
               to: [{{operation: {{paths: [/{caller}]}}}}]\n"
        )
    };
    let policy = authorization_policy("callers", &format!("rules:\n{}", CALLERS.map(rule).concat()))?;
    let configuration = json!({"resources": [policy]});
    Ok(json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": testbed::wasm_plugin(
            "identity_authz",
            "identity_authz",
            &testbed::filter_path("identity-authz"),
            &json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
        )
    }))
}

/// Starts Envoy with an mTLS listener and an access log that shows the number of the connection's tags.
fn start(folder: &Path) -> Result<Envoy> {
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let log = json!({"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": folder.join("access.log"),
        "log_format": {"json_format": {
            "path": "%REQ(:PATH)%", "tags": "%FILTER_STATE(wasm.sallyport.marks:PLAIN)%"
        }}
    }});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "access_log": [log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": [{"name": "filter", "typed_config": filter()?}, {"name": "router", "typed_config": router}]
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": testbed::common_tls_context(folder)
    });
    let bootstrap = Configuration::new(json!({"static_resources": {"listeners": [{
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": tls},
            "filters": [{"name": "http", "typed_config": manager}]
        }]
    }]}}));
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(&bootstrap, &options)
}

#[test]
fn each_kind_of_caller_gets_a_tag() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let authority = CertificateAuthority::new("trusted")?;
    fs::write(folder.path().join("trusted.pem"), authority.pem())?;
    authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), "server")?;
    let envoy = start(folder.path())?;
    for caller in CALLERS {
        let certificate =
            authority.issue(&[SubjectAltName::Uri(format!("spiffe://cluster.local/ns/shop/sa/{caller}"))])?;
        let client = Client::tls(envoy.listener("ingress")?, Some(&certificate))?;
        let path = format!("/{caller}");
        ensure!(client.get(&path)?.status == 200, "{caller} is denied");
        let log = folder.path().join("access.log");
        let entry = access_log::find(&log, |entry| entry.get("path") == Some(&json!(path)))?;
        ensure!(entry.get("tags") == Some(&json!("\u{1}")), "{caller}: {entry}");
    }
    Ok(())
}
