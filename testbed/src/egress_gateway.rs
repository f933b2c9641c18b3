//! `envoy-config/egress.yaml` and the other egress gateways of the repository on free ports, with local DNS and TLS servers in place of the internet.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::certificates::{CertificateAuthority, Identity, SubjectAltName};
use crate::client::Client;
use crate::configuration::Configuration;
use crate::dns_server::DnsServer;
use crate::envoy::{Envoy, Options};
use crate::tls_server::TlsServer;
use crate::{access_log, filter_path, root};

/// JSON pointer to the filter's configuration in the file.
const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/1/typed_config/config/configuration/value";

/// The ports of HTTP and HTTPS, which are replaced by those of the outside.
const HTTP: u64 = 80;
const HTTPS: u64 = 443;

/// A running egress gateway, the outside, and the authority that issues identities.
#[derive(Debug)]
pub struct EgressGateway {
    envoy: Envoy,
    folder: PathBuf,
    outside: Outside,
    authority: CertificateAuthority,
    filter: Value,
}

/// The outside: servers on 127.0.0.1 behind every name that resolves to it.
#[derive(Debug)]
pub struct Outside {
    /// The server in place of each HTTPS server, if it is TLS.
    tls: Option<TlsServer>,
    http: u16,
    https: u16,
}

impl Outside {
    /// Servers at these ports in place of 80 and 443.
    pub fn new(http: u16, https: u16) -> Self {
        Self { tls: None, http, https }
    }
}

/// The outcome of an attempt to reach a host through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressOutcome {
    /// The upstream answered with this body.
    Upstream(String),
    /// The gateway answered with this status.
    Status(u16),
    /// The connection was closed without a response.
    Closed,
}

impl EgressGateway {
    /// Starts the gateway in `folder`. `names` are the DNS server's A records; names that resolve to 127.0.0.1 reach one
    /// TLS server, so 127.0.0.0 is removed from the file's denied address ranges.
    pub fn start(binary: PathBuf, folder: &Path, names: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let server: Vec<_> = names.iter().map(|(name, _)| SubjectAltName::Dns((*name).to_owned())).collect();
        let tls = TlsServer::start(&CertificateAuthority::new("outside authority")?.issue(&server)?)?;
        let https = tls.address().port();
        Self::start_before(binary, folder, names, Outside { tls: Some(tls), ..Outside::new(80, https) })
    }

    /// Starts the gateway with an outside of the caller's own.
    pub fn start_before(binary: PathBuf, folder: &Path, names: &[(&str, Ipv4Addr)], outside: Outside) -> Result<Self> {
        Self::start_file("envoy-config/egress.yaml", binary, folder, names, outside)
    }

    /// Starts the gateway of a file, whose path is from the root of the repository.
    pub fn start_file(
        file: &str,
        binary: PathBuf,
        folder: &Path,
        names: &[(&str, Ipv4Addr)],
        outside: Outside,
    ) -> Result<Self> {
        Self::start_changed(file, binary, folder, names, outside, |_| Ok(()))
    }

    /// Starts the gateway of a file after a change of its configuration.
    pub fn start_changed(
        file: &str,
        binary: PathBuf,
        folder: &Path,
        names: &[(&str, Ipv4Addr)],
        outside: Outside,
        change: impl FnOnce(&mut Configuration) -> Result<()>,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let authority = CertificateAuthority::new("shop authority")?;
        fs::write(folder.join("trusted.pem"), authority.pem())?;
        let workload = [
            SubjectAltName::Uri("spiffe://cluster.local/ns/shop/sa/egress".to_owned()),
            SubjectAltName::Dns("egress".to_owned()),
        ];
        let workload = authority.issue(&workload)?;
        workload.write(folder, "workload")?;
        fs::copy(filter_path("egress-allowlist"), folder.join("egress-allowlist.wasm"))?;
        write_stack_files(folder, &authority, &workload, &outside)?;
        let dns = DnsServer::start(names)?;

        let mut configuration = Configuration::read(&root().join(file))?;
        change(&mut configuration)?;
        configuration.move_paths("/etc/sallyport", folder);
        redirect_upstreams(configuration.at("")?, &outside, dns.address());
        if let Some(listeners) = configuration.at("/static_resources/listeners")?.as_array_mut() {
            for listener in listeners {
                // An internal listener has none.
                let Some(address) = listener.pointer_mut("/address/socket_address") else { continue };
                *address = json!({"address": "127.0.0.1", "port_value": 0});
            }
        }
        let filter = configuration.value().pointer(FILTER).cloned().unwrap_or_default();
        let options = Options { binary, folder: folder.to_owned(), workers: 1, detached: false };
        let envoy = Envoy::start(&configuration, &options)?;
        Ok(Self { envoy, folder: folder.to_owned(), outside, authority, filter })
    }

    /// The running Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Issues a workload's certificate.
    pub fn identity(&self, principal: &str) -> Result<Identity> {
        self.authority.issue(&[SubjectAltName::Uri(format!("spiffe://{principal}"))])
    }

    /// The port of the outside that replaces 443 in the rules.
    pub fn port(&self) -> u16 {
        self.outside.https
    }

    /// The number of connections to the TLS server so far.
    pub fn upstream_connections(&self) -> usize {
        self.outside.tls.as_ref().map_or(0, TlsServer::connections)
    }

    /// The configuration of the filter of the first listener, with the replaced ports; null where it has none.
    pub fn filter(&self) -> &Value {
        &self.filter
    }

    /// The local address of a listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.envoy.listener(name)
    }

    /// Opens a CONNECT tunnel to a host over mTLS, and sends a request through it.
    pub fn connect(&self, identity: &Identity, host: &str) -> Result<EgressOutcome> {
        let client = Client::tls(self.listener("mtls")?, Some(identity))?.with_sni(None);
        let port = self.port();
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n");
        let mut stream = client.connect()?;
        let status = crate::client::response_head(&mut *stream, head.as_bytes())?;
        if status != 200 {
            return Ok(EgressOutcome::Status(status));
        }
        self.get(Client::over(stream, host)?)
    }

    /// Sends a request without CONNECT over mTLS with this SNI.
    pub fn request(&self, identity: &Identity, server_name: &str, host: &str) -> Result<EgressOutcome> {
        let client = Client::tls(self.listener("mtls")?, Some(identity))?.with_sni(Some(server_name));
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        Ok(EgressOutcome::Status(client.send(head.as_bytes())?.status))
    }

    /// Sends a request head over plaintext, without an identity.
    pub fn forward(&self, head: &str) -> Result<EgressOutcome> {
        let mut stream = Client::plaintext(self.listener("forward-proxy")?).connect()?;
        crate::client::response_head(&mut *stream, format!("{head}\r\n\r\n").as_bytes()).map(EgressOutcome::Status)
    }

    /// Sends a request over TLS that the gateway passes through by this SNI.
    pub fn tls_passthrough(&self, server_name: &str) -> Result<EgressOutcome> {
        self.get(Client::tls(self.listener("tls")?, None)?.with_sni(Some(server_name)).connect()?)
    }

    fn get(&self, mut stream: Box<dyn crate::client::Stream>) -> Result<EgressOutcome> {
        Ok(match crate::client::round_trip(&mut *stream, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") {
            Ok(answer) => EgressOutcome::Upstream(String::from_utf8_lossy(&answer.body).trim_end().to_owned()),
            Err(_) => EgressOutcome::Closed,
        })
    }

    /// Waits for an access log entry of a TLS handshake that failed with this text in its reason, and returns the first.
    pub fn handshake_failure(&self, reason: &str) -> Result<Value> {
        access_log::find(&self.folder.join("envoy.out"), |entry| {
            entry.get("refused_handshake").and_then(Value::as_str).is_some_and(|found| found.contains(reason))
        })
    }

    /// Waits for an access log entry with all of these keys and values, and returns the first.
    pub fn log_entry(&self, wanted: &[(&str, &str)]) -> Result<Value> {
        access_log::find(&self.folder.join("envoy.out"), |entry| {
            wanted.iter().all(|(key, value)| entry.get(key).and_then(Value::as_str) == Some(*value))
        })
    }
}

/// Writes the files that the stack's gateway reads beside its own: the filter, its rules and its secrets.
fn write_stack_files(
    folder: &Path,
    authority: &CertificateAuthority,
    workload: &Identity,
    outside: &Outside,
) -> Result<()> {
    for name in ["filters", "policies", "envoy"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy(filter_path("egress-allowlist"), folder.join("filters/egress-allowlist.wasm"))?;
    let mut rules = Configuration::read(&root().join("envoy-config/stack/policies/egress.yaml"))?;
    rules.move_paths("/etc/sallyport", folder);
    redirect_upstreams(rules.at("")?, outside, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    fs::write(folder.join("policies/egress.yaml"), rules.value().to_string())?;
    let secret = |name: &str, key: &str, value: Value| {
        let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        json!({"resources": [{"@type": kind, "name": name, key: value}]}).to_string()
    };
    let identity = json!({
        "certificate_chain": {"inline_string": workload.certificate()},
        "private_key": {"inline_string": workload.key()}
    });
    fs::write(folder.join("envoy/sds-workload.yaml"), secret("workload", "tls_certificate", identity))?;
    let trusted = json!({"trusted_ca": {"inline_string": authority.pem()}});
    Ok(fs::write(folder.join("policies/trusted.yaml"), secret("trusted", "validation_context", trusted))?)
}

/// Replaces the ports of HTTP and HTTPS by those of the outside, and the machine's DNS resolver by the local one.
fn redirect_upstreams(value: &mut Value, outside: &Outside, dns: SocketAddr) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item.get("address_prefix") != Some(&json!("127.0.0.0")));
            items.iter_mut().for_each(|item| redirect_upstreams(item, outside, dns));
        }
        Value::Object(entries) => {
            if let Some(options) = entries.get("dns_resolver_options").cloned() {
                let resolver = json!({"socket_address": {"address": dns.ip().to_string(), "port_value": dns.port()}});
                entries.insert("resolvers".to_owned(), json!([resolver]));
                entries.insert("dns_resolver_options".to_owned(), options);
            }
            for (key, entry) in entries.iter_mut() {
                match key.as_str() {
                    "ports" | "number" | "port_value" => replace_port(entry, outside),
                    // As text: a port of filter state, and one of a Cilium policy.
                    "inline_string" | "port" if *entry == json!(HTTPS.to_string()) => {
                        *entry = json!(outside.https.to_string());
                    }
                    _ => {}
                }
                redirect_upstreams(entry, outside, dns);
            }
        }
        _ => {}
    }
}

fn replace_port(value: &mut Value, outside: &Outside) {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(HTTP) => *value = json!(outside.http),
            Some(HTTPS) => *value = json!(outside.https),
            _ => {}
        },
        Value::Array(items) => items.iter_mut().for_each(|item| replace_port(item, outside)),
        _ => {}
    }
}
