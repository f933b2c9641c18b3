//! `envoy-config/egress-client.yaml` before a server that is not the gateway.

use anyhow::{Result, ensure};
use host_tests::config_file::File;
use serde_json::json;
use testbed::{Client, SubjectAltName, TlsServer};

use crate::example::{Observed, log_with, scrape_when};

const GATEWAY: &str =
    "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";

/// Plays the file.
pub(crate) fn egress_client() -> Result<Observed> {
    let mut file = File::read("egress-client.yaml", &["workload"])?;
    let other = SubjectAltName::Uri("spiffe://cluster.local/ns/shop/sa/other".to_owned());
    let server = TlsServer::start(&file.authority.issue(&[other])?)?;
    *file.configuration.at(GATEWAY)? = json!({"address": "127.0.0.1", "port_value": server.address().port()});
    let proxy = file.start()?;
    let client = Client::plaintext(proxy.envoy.listener("egress")?);
    let answer = client.send(b"CONNECT updates.example.org:443 HTTP/1.1\r\nhost: updates.example.org:443\r\n\r\n");
    ensure!(!answer.is_ok_and(|answer| answer.status == 200), "another server than the gateway is used");
    let samples = scrape_when(&proxy.envoy, &["cluster.egress-gateway.ssl.fail_verify_san"], 1)?;
    let log = log_with(proxy.folder.path(), &["refused_handshake", "gateway"])?;
    Ok(Observed { samples, log, scenes: Vec::new() })
}
