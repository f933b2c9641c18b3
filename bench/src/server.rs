//! One Envoy with a listener for each variant, and the CPU time of its worker.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Identity, Options, SubjectAltName};

use crate::variant::{CALLER, HANDWRITTEN_MODULES};

/// Time limit for the worker to become idle.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A listener of the measured Envoy: its name, and its HTTP filters before the router.
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) filters: Vec<Value>,
}

/// The measured Envoy. It has one worker, so one thread serves all requests.
pub(crate) struct Server {
    envoy: Envoy,
    /// Client certificates: with a DNS SAN beside the SPIFFE ID, and without.
    clients: [Identity; 2],
    /// The folder in /proc of the worker's thread.
    worker: PathBuf,
    authority: CertificateAuthority,
    folder: TempDir,
}

impl Server {
    /// Starts Envoy with these listeners and waits until it is ready. `listeners` gets a folder for their files.
    pub(crate) fn start(listeners: impl FnOnce(&Path) -> Vec<Listener>) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("bench")?;
        authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), "server")?;
        fs::write(folder.path().join("trusted.pem"), authority.pem())?;
        let spiffe_id = SubjectAltName::Uri(format!("spiffe://{CALLER}"));
        let dns_name = SubjectAltName::Dns("web.shop.svc".to_owned());
        let clients = [authority.issue(&[spiffe_id.clone(), dns_name])?, authority.issue(&[spiffe_id])?];
        for (name, text) in HANDWRITTEN_MODULES {
            fs::write(folder.path().join(name), wat::parse_str(text)?)?;
        }
        let listeners: Vec<_> =
            listeners(folder.path()).into_iter().map(|listener| listener_json(listener, folder.path())).collect();
        let configuration = Configuration::new(json!({
            "node": {"id": "bench", "cluster": "bench"},
            "static_resources": {"listeners": listeners}
        }));
        let options =
            Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers: 1, detached: false };
        let envoy = Envoy::start(&configuration, &options)?;
        let worker = worker(envoy.process().context("Envoy has no process")?)?;
        Ok(Self { envoy, clients, worker, authority, folder })
    }

    /// A client of a listener, with a client certificate, with a DNS SAN beside its SPIFFE ID or without.
    pub(crate) fn client(&self, listener: &str, has_dns_san: bool) -> Result<Client> {
        let [with_dns_name, without_dns_name] = &self.clients;
        let certificate = if has_dns_san { with_dns_name } else { without_dns_name };
        Client::tls(self.envoy.listener(listener)?, Some(certificate))
    }

    /// A client of a listener with another certificate.
    pub(crate) fn client_of(&self, listener: &str, certificate: &Identity) -> Result<Client> {
        Client::tls(self.envoy.listener(listener)?, Some(certificate))
    }

    /// The authority that the listeners trust.
    pub(crate) fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Measures the worker's CPU time during `work` and until it is idle again.
    pub(crate) fn cpu_time_of(&self, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let before = self.cpu_time()?;
        work()?;
        Ok(self.cpu_time()?.saturating_sub(before))
    }

    /// Waits until the worker is idle, and reads its CPU time so far (proc(5), `stat` and `schedstat`).
    fn cpu_time(&self) -> Result<Duration> {
        let start = Instant::now();
        while !fs::read_to_string(self.worker.join("stat"))?.contains(") S ") {
            ensure!(start.elapsed() < BUSY_TIMEOUT, "Envoy's worker has been busy for {} s", BUSY_TIMEOUT.as_secs());
        }
        let text = fs::read_to_string(self.worker.join("schedstat"))?;
        Ok(Duration::from_nanos(text.split_whitespace().next().context("an empty schedstat")?.parse()?))
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of the process.
    pub(crate) fn process(&self) -> Result<u32> {
        self.envoy.process().context("Envoy has no process")
    }

    /// Envoy's version, as in `1.40.0`.
    pub(crate) fn version(&self) -> Result<String> {
        let page: Value = serde_json::from_str(&self.envoy.admin_get("/server_info")?)?;
        let version = page.get("version").and_then(Value::as_str).context("no version")?;
        Ok(version.split('/').nth(1).unwrap_or(version).to_owned())
    }
}

/// Finds the /proc folder of Envoy's thread `wrk:worker_0`.
fn worker(process: u32) -> Result<PathBuf> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.starts_with("wrk:worker_0") {
            return Ok(thread);
        }
    }
    anyhow::bail!("Envoy has no thread wrk:worker_0")
}

fn listener_json(Listener { name, filters }: Listener, folder: &Path) -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    }});
    let filters: Vec<_> = filters.into_iter().chain([router]).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP2",
        "max_request_headers_kb": 96,
        "common_http_protocol_options": {"max_headers_count": 50_000},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": filters
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "disable_stateless_session_resumption": true,
        "disable_stateful_session_resumption": true,
        "common_tls_context": testbed::common_tls_context(folder)
    });
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        }]
    })
}
