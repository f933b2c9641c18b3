//! `envoy-config/custom.yaml` under requests that an authorizer is asked about and others.

use anyhow::{Context, Result, ensure};
use host_tests::config_file::{File, MANAGER};
use serde_json::json;

use crate::example::{Observed, log_with, scrape_when};
use crate::ingress::{fail_handshakes, send};

const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";
const GATEWAY: &str = "spiffe://cluster.local/ns/edge/sa/gateway";

/// Plays the file with the stand-in for the authorizer on a socket in its folder.
pub(crate) fn custom() -> Result<Observed> {
    let mut file = File::read("custom.yaml", &["workload"])?;
    let socket = json!({"pipe": {"path": file.folder.path().join("login.socket")}});
    let login = file.configuration.at("/static_resources/listeners/1")?;
    login.as_object_mut().context("no listener")?.insert("address".to_owned(), socket.clone());
    let endpoint = "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
    *file.configuration.at(endpoint)? = socket;
    *file.configuration.at(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0"))? =
        json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let proxy = file.start()?;
    send(&proxy.client(FRONTEND)?, "curl", "GET", "/orders", 200)?;
    send(&proxy.client(GATEWAY)?, "curl", "GET", "/account", 302)?;
    send(&proxy.client(GATEWAY)?, "curl", "GET", "/orders", 403)?;
    // Who has logged in, where a DENY policy asks for what the authorizer says of the user.
    let refund = "GET /account/refunds HTTP/1.1\r\nhost: shop\r\ncookie: session=alice\r\nconnection: close\r\n\r\n";
    let status = proxy.client(GATEWAY)?.send(refund.as_bytes())?.status;
    ensure!(status == 403, "a refund: {status}");
    fail_handshakes(&proxy)?;
    let counters = ["none", "oauth2-proxy"].map(|mark| format!("wasmcustom.sallyport.identity_authz.custom.{mark}"));
    let samples = scrape_when(&proxy.envoy, &counters.each_ref().map(String::as_str), 3)?;
    let log = log_with(proxy.folder.path(), &["custom", "policy", "refused_handshake"])?;
    Ok(Observed { samples, log, scenes: Vec::new() })
}
