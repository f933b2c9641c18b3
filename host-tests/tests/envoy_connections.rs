//! What a real Envoy keeps of connections for the filter.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Options, SubjectAltName, access_log};

#[test]
fn each_kind_of_callers_gets_a_mark() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let authority = CertificateAuthority::new("trusted")?;
    fs::write(path("trusted.pem"), authority.pem())?;
    authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), "server")?;
    let callers = ["web", "orders", "payments"];
    let rules = callers.map(|caller| {
        json!({
            "from": [{"source": {"principals": [format!("cluster.local/ns/shop/sa/{caller}")]}}],
            "to": [{"operation": {"paths": [format!("/{caller}")]}}]
        })
    });
    let configuration = json!({"resources": [{
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "callers", "namespace": "shop"},
        "spec": {"rules": rules}
    }]});
    let filter = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": testbed::wasm_plugin(
            "identity_authz",
            "identity_authz",
            &testbed::filter_path("identity-authz"),
            &json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
        )
    });
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let log = json!({"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": path("access.log"),
        "log_format": {"json_format": {
            "path": "%REQ(:PATH)%", "marks": "%FILTER_STATE(wasm.sallyport.marks:PLAIN)%"
        }}
    }});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "access_log": [log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": [{"name": "filter", "typed_config": filter}, {"name": "router", "typed_config": router}]
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": testbed::common_tls_context(folder.path())
    });
    let bootstrap = Configuration::new(json!({"static_resources": {"listeners": [{
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": tls},
            "filters": [{"name": "http", "typed_config": manager}]
        }]
    }]}}));
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
    let envoy = Envoy::start(&bootstrap, &options)?;
    for caller in callers {
        let certificate =
            authority.issue(&[SubjectAltName::Uri(format!("spiffe://cluster.local/ns/shop/sa/{caller}"))])?;
        let client = Client::tls(envoy.listener("ingress")?, Some(&certificate))?;
        let asked = format!("/{caller}");
        ensure!(client.get(&asked)?.status == 200, "{caller} is not let in");
        let entry = access_log::find(&path("access.log"), |entry| entry.get("path") == Some(&json!(asked)))?;
        ensure!(entry.get("marks") == Some(&json!("\u{1}")), "{caller}: {entry}");
    }
    Ok(())
}
