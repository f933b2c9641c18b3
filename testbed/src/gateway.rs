//! `envoy-config/egress.yaml` in a run of its own: ports moved, and an outside that stands for the world.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::certificates::{Authority, Identity, Name};
use crate::client::Client;
use crate::configuration::Configuration;
use crate::envoy::{Envoy, Options};
use crate::outside::{DnsServer, TlsServer};
use crate::{access_log, filter_path, root};

/// Where the filter's configuration stands in the file.
const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";

/// The port of HTTPS, for which the stand-in's is put.
const HTTPS: u64 = 443;

/// A running egress gateway, its outside, and who may issue identities.
#[derive(Debug)]
pub struct Gateway {
    envoy: Envoy,
    folder: PathBuf,
    outside: TlsServer,
    authority: Authority,
    filter: Value,
}

/// What came of a try to reach a host through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The server behind answered, with this.
    Answer(String),
    /// The gateway answered itself, with this status.
    Status(u16),
    /// The connection was closed without an answer.
    Closed,
}

impl Gateway {
    /// Starts it in `folder`. `names` is what the outside's DNS knows; all that resolve to this machine reach one TLS
    /// server there, so this machine's addresses are taken out of the file's guard.
    pub fn start(binary: PathBuf, folder: &Path, names: &[(&str, Ipv4Addr)]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let authority = Authority::new("shop authority")?;
        fs::write(folder.join("trusted.pem"), authority.pem())?;
        let workload =
            [Name::Uri("spiffe://cluster.local/ns/shop/sa/egress".to_owned()), Name::Dns("egress".to_owned())];
        authority.issue(&workload)?.write(folder, "workload")?;
        fs::copy(filter_path("egress-allowlist"), folder.join("egress-allowlist.wasm"))?;
        let server: Vec<_> = names.iter().map(|(name, _)| Name::Dns((*name).to_owned())).collect();
        let outside = TlsServer::start(&authority.issue(&server)?)?;
        let dns = DnsServer::start(names)?;

        let mut configuration = Configuration::read(&root().join("envoy-config/egress.yaml"))?;
        configuration.move_paths("/etc/sallyport", folder);
        move_into_the_run(configuration.at("")?, outside.address().port(), dns.address());
        if let Some(listeners) = configuration.at("/static_resources/listeners")?.as_array_mut() {
            for listener in listeners {
                let address = listener.pointer_mut("/address/socket_address").context("no address")?;
                let protocol = address.get("protocol").cloned().unwrap_or(json!("TCP"));
                *address = json!({"address": "127.0.0.1", "port_value": 0, "protocol": protocol});
            }
        }
        let filter = configuration.at(FILTER)?.clone();
        let options = Options { binary, folder: folder.to_owned(), workers: 1, outlives: false };
        let envoy = Envoy::start(&configuration, &options)?;
        Ok(Self { envoy, folder: folder.to_owned(), outside, authority, filter })
    }

    /// Issues a workload's certificate.
    pub fn identity(&self, principal: &str) -> Result<Identity> {
        self.authority.issue(&[Name::Uri(format!("spiffe://{principal}"))])
    }

    /// The port of the server outside, which the rules name instead of 443.
    pub fn port(&self) -> u16 {
        self.outside.address().port()
    }

    /// How many connections the server outside has had.
    pub fn outside_connections(&self) -> usize {
        self.outside.connections()
    }

    /// The configuration of the filter, as the gateway runs it.
    pub fn filter(&self) -> &Value {
        &self.filter
    }

    /// Where a listener listens.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.envoy.listener(name)
    }

    /// Opens a tunnel to a host in mTLS, and asks the server at its end for something.
    pub fn connect(&self, identity: &Identity, host: &str) -> Result<Reached> {
        let client = Client::tls(self.listener("mtls")?, Some(identity))?.naming(None);
        let port = self.port();
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n");
        let mut stream = client.connect()?;
        let status = crate::client::head_of_answer(&mut *stream, head.as_bytes())?;
        if status != 200 {
            return Ok(Reached::Status(status));
        }
        self.ask(Client::over(stream, host)?)
    }

    /// Sends a plain request, in mTLS under this server name.
    pub fn request(&self, identity: &Identity, server_name: &str, host: &str) -> Result<Reached> {
        let client = Client::tls(self.listener("mtls")?, Some(identity))?.naming(Some(server_name));
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        Ok(Reached::Status(client.send(head.as_bytes())?.status))
    }

    /// Sends a plain request or CONNECT without any identity.
    pub fn forward(&self, head: &str) -> Result<Reached> {
        let mut stream = Client::plaintext(self.listener("forward-proxy")?).connect()?;
        crate::client::head_of_answer(&mut *stream, format!("{head}\r\n\r\n").as_bytes()).map(Reached::Status)
    }

    /// Speaks TLS that passes through, under this server name.
    pub fn pass(&self, server_name: &str) -> Result<Reached> {
        self.ask(Client::tls(self.listener("tls")?, None)?.naming(Some(server_name)).connect()?)
    }

    fn ask(&self, mut stream: Box<dyn crate::client::Stream>) -> Result<Reached> {
        Ok(match crate::client::talk(&mut *stream, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") {
            Ok(answer) => Reached::Answer(String::from_utf8_lossy(&answer.body).trim_end().to_owned()),
            Err(_) => Reached::Closed,
        })
    }

    /// The first line of the access log of which all these hold.
    pub fn log_entry(&self, wanted: &[(&str, &str)]) -> Result<Value> {
        access_log::find(&self.folder.join("envoy.out"), |entry| {
            wanted.iter().all(|(key, value)| entry.get(key).and_then(Value::as_str) == Some(*value))
        })
    }
}

/// Puts the server outside in place of port 443, and its DNS in place of the machine's.
fn move_into_the_run(value: &mut Value, https: u16, dns: SocketAddr) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item.get("address_prefix") != Some(&json!("127.0.0.0")));
            items.iter_mut().for_each(|item| move_into_the_run(item, https, dns));
        }
        Value::Object(entries) => {
            if let Some(options) = entries.get("dns_resolver_options").cloned() {
                let resolver = json!({"socket_address": {"address": dns.ip().to_string(), "port_value": dns.port()}});
                entries.insert("resolvers".to_owned(), json!([resolver]));
                entries.insert("dns_resolver_options".to_owned(), options);
            }
            for (key, entry) in entries.iter_mut() {
                match key.as_str() {
                    "ports" | "number" | "port_value" => move_port(entry, https),
                    "inline_string" if *entry == json!(HTTPS.to_string()) => *entry = json!(https.to_string()),
                    _ => {}
                }
                move_into_the_run(entry, https, dns);
            }
        }
        _ => {}
    }
}

fn move_port(value: &mut Value, https: u16) {
    match value {
        Value::Number(number) if number.as_u64() == Some(HTTPS) => *value = json!(https),
        Value::Array(items) => items.iter_mut().for_each(|item| move_port(item, https)),
        _ => {}
    }
}
