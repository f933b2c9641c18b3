//! The shop behind its Envoy, and the clients that send the ingress scenarios.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sallyport_policy::{IdentityAuthz, Peer, SpiffeId};
use serde_json::{Value, json};
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, Response, SubjectAltName, access_log,
};

use crate::detached;
use crate::ingress_request::IngressRequest;
use crate::outcome::Outcome;
use crate::scenarios::{Expected, SCENARIOS, Scenario};

/// JSON pointer to the configuration of `identity-authz` in `envoy-config/ingress.yaml`.
const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/2/typed_config/config/configuration/value";

/// A client of the shop.
struct ShopClient {
    name: &'static str,
    /// The client certificate, if any.
    identity: Option<Identity>,
    /// The principal of the certificate.
    principal: Option<&'static str>,
}

/// A running shop.
pub(crate) struct Shop {
    envoy: Envoy,
    ingress: SocketAddr,
    folder: PathBuf,
    clients: Vec<ShopClient>,
    policies: IdentityAuthz,
}

impl Shop {
    /// Issues the certificates, starts Envoy and waits until it is ready. A detached Envoy may outlive this process.
    pub(crate) fn start(detached: bool) -> Result<Self> {
        testbed::build_filters()?;
        let binary = testbed::envoy_binary()?;
        let folder = detached::folder();
        fs::create_dir_all(&folder)?;
        let clients = issue_certificates(&folder)?;
        for filter in ["baseline-deny", "identity-authz"] {
            fs::copy(testbed::filter_path(filter), folder.join(format!("{filter}.wasm")))?;
        }
        let mut configuration = configuration(&folder)?;
        let policies = IdentityAuthz::parse(&serde_json::to_vec(configuration.at(FILTER)?)?)?;
        let envoy = Envoy::start(&configuration, &Options { binary, folder: folder.clone(), workers: 1, detached })?;
        let ingress = envoy.listener("ingress")?;
        Ok(Self { envoy, ingress, folder, clients, policies })
    }

    /// Runs every scenario.
    pub(crate) fn run_all(&self) -> Result<Vec<Outcome>> {
        SCENARIOS.iter().map(|scenario| self.run(scenario)).collect()
    }

    /// Stops Envoy.
    pub(crate) fn stop(self) {
        drop(self.envoy);
    }

    /// Leaves Envoy running, and prints commands to try it.
    pub(crate) fn detach(self) {
        let (folder, ingress, admin) = (self.folder.display(), self.ingress, self.envoy.admin());
        println!("\nEnvoy is running. The certificates of all clients are in {folder}. For example:\n");
        for client in ["frontend", "intruder-in-the-shop"] {
            println!(
                "  curl --cacert {folder}/trusted.pem --cert {folder}/{client}.pem --key {folder}/{client}.key \
                 https://localhost:{}/orders/17",
                ingress.port()
            );
        }
        println!("\nAccess log: {folder}/envoy.out\nMetrics: http://{admin}/stats/prometheus?filter=sallyport");
        println!("To stop it: make down");
        self.envoy.detach();
    }

    fn run(&self, scenario: &Scenario) -> Result<Outcome> {
        let found = self.clients.iter().find(|client| client.name == scenario.client);
        let client = found.with_context(|| format!("no client {}", scenario.client))?;
        let request = format!("{} {}", scenario.method, scenario.path);
        let response = match self.send(client, scenario) {
            Ok(response) => response,
            Err(error) => {
                // Distinguishes a rejected handshake from an Envoy that is down.
                self.envoy.admin_get("/ready").with_context(|| format!("{error:#}, and Envoy does not answer"))?;
                return Ok(Outcome {
                    client: scenario.client,
                    request,
                    response: "no connection".to_owned(),
                    policy: "mTLS".to_owned(),
                    reason: "the listener requires a certificate of a trusted authority".to_owned(),
                    is_allowed: false,
                    as_expected: scenario.expected == Expected::NoConnection,
                });
            }
        };
        let (policy, reason, actual) = match response.status {
            200 => {
                let policy = self.allowing_policy(client, scenario)?;
                (policy, "an ALLOW policy matches this principal and request".to_owned(), Expected::Allowed)
            }
            403 => {
                let (policy, reason) = self.denial(scenario)?;
                (policy, reason, Expected::Denied)
            }
            status => bail!("{} got status {status} for {request}, expected 200 or 403", scenario.client),
        };
        let as_expected = scenario.expected == actual;
        Ok(Outcome {
            client: scenario.client,
            request,
            response: response.status.to_string(),
            policy,
            reason,
            is_allowed: actual == Expected::Allowed,
            as_expected,
        })
    }

    fn send(&self, client: &ShopClient, scenario: &Scenario) -> Result<Response> {
        let Scenario { method, path, user_agent, .. } = scenario;
        let (host, name) = (self.ingress, scenario.name());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {user_agent}\r\nx-scenario: {name}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        Client::tls(self.ingress, client.identity.as_ref())?.send(head.as_bytes())
    }

    /// The policy and reason of a denial, from the access log.
    fn denial(&self, scenario: &Scenario) -> Result<(String, String)> {
        let name = scenario.name();
        let entry = access_log::find(&self.folder.join("envoy.out"), |entry| {
            entry.get("scenario").and_then(Value::as_str) == Some(&name)
        })?;
        // Fields of identity-authz are at the top level, those of baseline-deny under `baseline`.
        let text = |key: &str| {
            let baseline = || entry.get("baseline").and_then(|baseline| baseline.get(key));
            entry.get(key).and_then(Value::as_str).or_else(|| baseline().and_then(Value::as_str)).map(str::to_owned)
        };
        Ok((text("policy").unwrap_or_else(|| "none".to_owned()), text("reason").unwrap_or_default()))
    }

    /// The policy that allows a scenario. The filter does not report it, so the policy engine evaluates the request again.
    fn allowing_policy(&self, client: &ShopClient, scenario: &Scenario) -> Result<String> {
        let principal = client.principal.context("a client without a certificate was allowed")?;
        let peer = SpiffeId::parse(format!("spiffe://{principal}").as_bytes()).map(Peer::Authenticated);
        let mut request = IngressRequest { peer: peer.ok().context("not a SPIFFE ID")?, scenario };
        match self.policies.policy().matching_allow_rule(&mut request) {
            Ok(Some(rule)) => Ok(rule.policy().to_string()),
            Ok(None) => bail!("{} was allowed, but no policy allows it", scenario.path),
            Err(failure) => bail!("{failure}"),
        }
    }
}

/// Issues the certificates of the listener and of all clients into a folder.
fn issue_certificates(folder: &Path) -> Result<Vec<ShopClient>> {
    let authority = CertificateAuthority::new("shop authority")?;
    let untrusted = CertificateAuthority::new("untrusted authority")?;
    fs::write(folder.join("trusted.pem"), authority.pem())?;
    let orders = [
        SubjectAltName::Uri("spiffe://cluster.local/ns/shop/sa/orders".to_owned()),
        SubjectAltName::Dns("localhost".to_owned()),
    ];
    authority.issue(&orders)?.write(folder, "workload")?;
    let client = |name, authority: &CertificateAuthority, principal| -> Result<ShopClient> {
        let identity = authority.issue(&[SubjectAltName::Uri(format!("spiffe://{principal}"))])?;
        Ok(ShopClient { name, identity: Some(identity), principal: Some(principal) })
    };
    let clients = vec![
        client("frontend", &authority, "cluster.local/ns/shop/sa/frontend")?,
        client("frontend, with sqlmap", &authority, "cluster.local/ns/shop/sa/frontend")?,
        client("prometheus", &authority, "cluster.local/ns/monitoring/sa/prometheus")?,
        client("intruder in the shop", &authority, "cluster.local/ns/shop/sa/intruder")?,
        client("intruder next door", &authority, "cluster.local/ns/dev/sa/intruder")?,
        ShopClient { name: "intruder, no certificate", identity: None, principal: None },
        client("intruder, forged frontend", &untrusted, "cluster.local/ns/shop/sa/frontend")?,
    ];
    for client in &clients {
        if let Some(identity) = &client.identity {
            identity.write(folder, &client.name.replace(", ", "-").replace(' ', "-"))?;
        }
    }
    Ok(clients)
}

/// Reads `envoy-config/ingress.yaml`, replaces its folder and ports, and adds a listener in place of the orders service.
fn configuration(folder: &Path) -> Result<Configuration> {
    let mut configuration = Configuration::read(&testbed::root().join("envoy-config/ingress.yaml"))?;
    configuration.move_paths("/etc/sallyport", folder);
    *configuration.at("/static_resources/listeners/0/address/socket_address")? =
        json!({"address": "127.0.0.1", "port_value": 0});
    let log = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/log_format/json_format";
    // Relates each log entry to its scenario.
    if let Value::Object(format) = configuration.at(log)? {
        format.insert("scenario".to_owned(), json!("%REQ(X-SCENARIO)%"));
    }
    *configuration.at("/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address")? =
        json!({"pipe": {"path": folder.join("orders.socket")}});
    let orders = json!({
        "name": "orders",
        "address": {"pipe": {"path": folder.join("orders.socket")}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "orders",
                "route_config": {"virtual_hosts": [{"name": "orders", "domains": ["*"], "routes": [{
                    "match": {"prefix": "/"},
                    "direct_response": {"status": 200, "body": {"inline_string": "this is the orders service\n"}}
                }]}]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
                }]
            }
        }]}]
    });
    if let Value::Array(listeners) = configuration.at("/static_resources/listeners")? {
        listeners.push(orders);
    }
    Ok(configuration)
}
