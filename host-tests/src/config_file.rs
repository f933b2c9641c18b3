//! Files of `envoy-config/` in a real Envoy, whole or with settings changed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Identity, Options, SubjectAltName, access_log};

/// The TLS context of the first listener.
pub const TLS: &str = "/static_resources/listeners/0/filter_chains/0/transport_socket/typed_config";
/// The HTTP connection manager of the first listener.
pub const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// A file of `envoy-config/`, adapted to a folder, from which settings are taken away.
pub struct File {
    /// The bootstrap.
    pub configuration: Configuration,
    /// The authority that its listeners trust.
    pub authority: CertificateAuthority,
    /// The folder that stands for `/etc/sallyport`.
    pub folder: TempDir,
}

/// An Envoy with a file from which a setting was taken away.
pub struct Proxy {
    /// The running Envoy.
    pub envoy: Envoy,
    /// The authority that its listeners trust.
    pub authority: CertificateAuthority,
    /// The folder that stands for `/etc/sallyport`.
    pub folder: TempDir,
}

impl File {
    /// Reads a file of `envoy-config/`, issues a server certificate for each of `certificates`, and moves folders and
    /// ports.
    pub fn read(name: &str, certificates: &[&str]) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("trusted")?;
        fs::write(folder.path().join("trusted.pem"), authority.pem())?;
        for certificate in certificates {
            authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), certificate)?;
        }
        for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
            fs::copy(testbed::filter_path(filter), folder.path().join(format!("{filter}.wasm")))?;
        }
        let mut configuration = Configuration::read(&testbed::root().join("envoy-config").join(name))?;
        configuration.move_paths("/etc/sallyport", folder.path());
        let listeners = configuration.at("/static_resources/listeners")?.as_array_mut().context("no listeners")?;
        for listener in listeners {
            let address = listener.pointer_mut("/address/socket_address").context("no address")?;
            let protocol = address.get("protocol").cloned().unwrap_or(json!("TCP"));
            *address = json!({"address": "127.0.0.1", "port_value": 0, "protocol": protocol});
        }
        Ok(Self { configuration, authority, folder })
    }

    /// `ingress.yaml` with these policies in `identity-authz`, and an answer of its own in place of the service.
    pub fn ingress(policies: &Value) -> Result<Self> {
        let mut file = Self::read("ingress.yaml", &["workload"])?;
        *file.configuration.at(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0"))? =
            json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
        *file.filter("sallyport.identity_authz", "config/configuration/value")? = policies.clone();
        Ok(file)
    }

    /// A part of the configuration of an HTTP filter of the first listener.
    pub fn filter(&mut self, name: &str, part: &str) -> Result<&mut Value> {
        let filters =
            self.configuration.at(&format!("{MANAGER}/http_filters"))?.as_array_mut().context("no filters")?;
        let filter = filters.iter_mut().find(|filter| filter.get("name") == Some(&json!(name)));
        let configuration = filter.and_then(|filter| filter.pointer_mut(&format!("/typed_config/{part}")));
        configuration.with_context(|| format!("no {part} in {name}"))
    }

    /// Removes a key. Fails where the file does not have it.
    pub fn without(mut self, object: &str, key: &str) -> Result<Self> {
        let keys = self.configuration.at(object)?.as_object_mut().context("no object")?;
        keys.remove(key).with_context(|| format!("{object} has no {key}"))?;
        Ok(self)
    }

    /// Removes the filters that set `sallyport.direct_remote_address`. Fails where there is none.
    pub fn without_direct_remote_address(mut self, filters: &str) -> Result<Self> {
        let filters = self.configuration.at(filters)?.as_array_mut().context("no filters")?;
        let before = filters.len();
        filters.retain(|filter| filter.get("name") != Some(&json!("sallyport.direct_remote_address")));
        ensure!(filters.len() < before, "the file does not set the address");
        Ok(self)
    }

    /// Starts Envoy. Fails where it refuses the file.
    pub fn start(self) -> Result<Proxy> {
        let Self { configuration, authority, folder } = self;
        let envoy = run(&configuration, folder.path())?;
        Ok(Proxy { envoy, authority, folder })
    }
}

fn run(configuration: &Configuration, folder: &Path) -> Result<Envoy> {
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(configuration, &options)
}

impl Proxy {
    /// A certificate for this SPIFFE ID.
    pub fn identity(&self, uri: &str) -> Result<Identity> {
        self.authority.issue(&[SubjectAltName::Uri(uri.to_owned())])
    }

    /// A client with a certificate for this SPIFFE ID.
    pub fn client(&self, uri: &str) -> Result<Client> {
        Client::tls(self.envoy.listener("ingress")?, Some(&self.identity(uri)?))
    }

    /// Waits for a denial in the access log, and returns its reason.
    pub fn reason(&self) -> Result<String> {
        let reason = |entry: &Value| entry.get("reason").and_then(Value::as_str).map(str::to_owned);
        let entry = access_log::find(&self.folder.path().join("envoy.out"), |entry| reason(entry).is_some())?;
        reason(&entry).context("no reason")
    }

    /// Fails unless a denial in the access log has a reason with all of these words.
    pub fn ensure_reason(&self, words: &[&str]) -> Result<()> {
        let reason = self.reason()?;
        ensure!(words.iter().all(|word| reason.contains(word)), "{reason}");
        Ok(())
    }
}
