//! A folder of manifests, calls of the command, and an Envoy that runs what they write.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, Recorder, SubjectAltName, TokenIssuer,
};

/// A folder with the manifests of `tests/render/shop`, certificates, and room for what is rendered.
pub(crate) struct Shop {
    folder: TempDir,
    authority: CertificateAuthority,
    pub(crate) issuer: TokenIssuer,
    pub(crate) service: Recorder,
}

impl Shop {
    pub(crate) fn new() -> Result<Self> {
        testbed::build_filters()?;
        let shop = Self {
            folder: tempfile::tempdir()?,
            authority: CertificateAuthority::new("trusted")?,
            issuer: TokenIssuer::new("login"),
            service: Recorder::start("")?,
        };
        let certificates = shop.path("certificates");
        fs::create_dir(shop.policies())?;
        fs::create_dir(&certificates)?;
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render/shop"))? {
            let entry = entry?;
            fs::copy(entry.path(), shop.policies().join(entry.file_name()))?;
        }
        shop.write("login.json", &shop.request_authentication("https://login.shop.example").to_string())?;
        fs::write(certificates.join("trusted.pem"), shop.authority.pem())?;
        let server = shop.authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?;
        server.write(&certificates, "workload")?;
        Ok(shop)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn policies(&self) -> PathBuf {
        self.path("policies")
    }

    /// A certificate of a server.
    pub(crate) fn server_identity(&self) -> Result<Identity> {
        self.authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])
    }

    /// Writes a file of the policies, in several steps as an editor does.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.policies().join(name), text)?)
    }

    /// A RequestAuthentication for tokens of the shop's issuer.
    fn request_authentication(&self, issuer: &str) -> Value {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
            "metadata": {"name": "login", "namespace": "shop"},
            "spec": {"jwtRules": [{"issuer": issuer, "jwks": self.issuer.key_set()}]}
        })
    }

    /// The command with the flags that all calls have.
    pub(crate) fn command(&self, place: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        command.args(["render", "--for", place]);
        command.arg("--modules").arg(testbed::root().join("dist"));
        command
    }

    /// The flags of `--for bootstrap`.
    pub(crate) fn bootstrap_flags(&self) -> Vec<String> {
        let certificates = self.path("certificates").to_string_lossy().into_owned();
        let upstream = self.service.address().to_string();
        ["--certificates", &certificates, "--upstream", &upstream, "--listen", "127.0.0.1:0"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Starts Envoy with a bootstrap.
    pub(crate) fn start(&self, bootstrap: Value) -> Result<Envoy> {
        self.start_in(self.folder.path(), bootstrap)
    }

    /// Starts Envoy with a bootstrap and a folder of its own.
    pub(crate) fn start_in(&self, folder: &Path, bootstrap: Value) -> Result<Envoy> {
        let options =
            Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 2, detached: false };
        Envoy::start(&Configuration::new(bootstrap), &options)
    }

    /// A client with the certificate of this service account of the shop.
    pub(crate) fn client(&self, envoy: &Envoy, account: &str) -> Result<Client> {
        let uri = SubjectAltName::Uri(format!("spiffe://cluster.local/ns/shop/sa/{account}"));
        Client::tls(envoy.listener("ingress")?, Some(&self.authority.issue(&[uri])?))
    }
}

/// A running `sallyport render --watch`, stopped when dropped.
pub(crate) struct Watching {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _stopped = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Watching {
    /// Starts this call.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Ok(mut lines) = keep.lock() {
                    lines.push(line);
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Reports whether a line with these words was printed.
    pub(crate) fn said(&self, words: &str) -> bool {
        self.lines.lock().is_ok_and(|lines| lines.iter().any(|line| line.contains(words)))
    }
}

/// Runs a call and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("the command does not run")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Holds a whole file against Envoy's own reader of YAML.
pub(crate) fn validate(path: &Path) -> Result<()> {
    let mut envoy = Command::new(testbed::envoy_binary()?);
    let output = envoy.args(["--mode", "validate", "-c"]).arg(path).arg("--use-dynamic-base-id").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A bootstrap with a plaintext listener, whose filters are these.
pub(crate) fn plaintext(filters: &Value, upstream: std::net::SocketAddr, is_http: bool) -> Value {
    let cluster = json!({"name": "upstream", "type": "STATIC", "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream.port()}}}}
    ]}]}});
    let mut filters = filters.as_array().cloned().unwrap_or_default();
    if is_http {
        filters.push(json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
        filters = vec![json!({"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress", "http_filters": filters,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}
            ]}]}
        }})];
    } else {
        filters.push(json!({"name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp", "cluster": "upstream"
        }}));
    }
    json!({
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {"clusters": [cluster], "listeners": [{
            "name": "ingress", "filter_chains": [{"filters": filters}],
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
        }]}
    })
}

/// Asks for orders without a break until told to stop; returns how many were asked for, and what was lost.
pub(crate) fn load(web: Client, stop: Arc<AtomicBool>) -> thread::JoinHandle<(usize, Vec<String>)> {
    thread::spawn(move || {
        let (mut count, mut lost) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            match web.get("/orders/1") {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => lost.push(answer.status.to_string()),
                Err(error) => lost.push(format!("{error:#}")),
            }
        }
        (count, lost)
    })
}
