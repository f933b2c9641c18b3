//! `envoy-config/layer4-client.yaml` before the service that it expects, and before another.

use anyhow::{Result, ensure};
use host_tests::config_file::File;
use serde_json::json;
use testbed::{Client, SubjectAltName, TlsServer};

use crate::example::{Observed, log_with, scrape_when};

/// The clusters of the file, each with the workload that answers for it here.
const SERVICES: [(usize, &str); 2] = [(0, "other"), (1, "mail")];

/// Plays the file.
pub(crate) fn layer4_client() -> Result<Observed> {
    let mut file = File::read("layer4-client.yaml", &["workload"])?;
    for (cluster, account) in SERVICES {
        let uri = SubjectAltName::Uri(format!("spiffe://cluster.local/ns/shop/sa/{account}"));
        let server = TlsServer::start(&file.authority.issue(&[uri])?)?;
        *file.configuration.at(&format!(
            "/static_resources/clusters/{cluster}/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address"
        ))? = json!({"address": "127.0.0.1", "port_value": server.address().port()});
    }
    let proxy = file.start()?;
    let answer = Client::plaintext(proxy.envoy.listener("mail")?).get("/")?;
    ensure!(answer.status == 200, "the service does not answer: {answer:?}");
    let answer = Client::plaintext(proxy.envoy.listener("postgres")?).get("/");
    ensure!(!answer.is_ok_and(|answer| answer.status == 200), "another service than the expected one is used");
    let samples = scrape_when(&proxy.envoy, &["cluster.postgres.ssl.fail_verify_san"], 1)?;
    let log = log_with(proxy.folder.path(), &["refused_handshake", "to"])?;
    Ok(Observed { samples, log, scenes: Vec::new() })
}
