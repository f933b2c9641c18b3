//! `envoy-config/edge.yaml` under requests with a token and without, with an AUDIT and a DENY policy beside its own.

use std::fs;

use anyhow::{Context, Result, ensure};
use host_tests::config_file::{File, MANAGER};
use serde_json::json;
use testbed::{Client, TokenIssuer};

use crate::example::{Observed, log_with, scrape_when};
use crate::ingress::send;

/// Plays the file.
pub(crate) fn edge() -> Result<Observed> {
    let mut file = File::read("edge.yaml", &["server"])?;
    fs::write(file.folder.path().join("staff.jwks"), TokenIssuer::new("issuer").key_set())?;
    *file.configuration.at(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0"))? =
        json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let policy = |name: &str, action: &str, path: &str| {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "edge"},
            "spec": {"action": action, "rules": [{"to": [{"operation": {"paths": [path]}}]}]}
        })
    };
    let resources = file.filter("sallyport.identity_authz", "config/configuration/value/resources")?;
    let resources = resources.as_array_mut().context("no resources")?;
    resources.extend([policy("seen", "AUDIT", "/api/*"), policy("closed", "DENY", "/api/closed")]);
    let proxy = file.start()?;
    let client = Client::tls(proxy.envoy.listener("ingress")?, None)?;
    send(&client, "curl", "GET", "/api/items", 200)?;
    send(&client, "curl", "GET", "/api/closed", 403)?;
    send(&client, "sqlmap/1.8", "GET", "/", 403)?;
    let plaintext = Client::plaintext(proxy.envoy.listener("ingress")?).get("/");
    ensure!(!plaintext.is_ok_and(|response| response.status != 0), "plaintext gets a response");
    let counters = ["identity_authz.allowed", "identity_authz.denied", "baseline_deny.denied"]
        .map(|name| format!("wasmcustom.sallyport.{name}"));
    let samples = scrape_when(&proxy.envoy, &counters.each_ref().map(String::as_str), 3)?;
    let log = log_with(proxy.folder.path(), &["refused_handshake", "policy", "audit"])?;
    Ok(Observed { samples, log, scenes: Vec::new() })
}
