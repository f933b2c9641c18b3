//! Probes of a port, which connect and close without a byte, at layer 4 in each version of Envoy: they are closed where a
//! client would be denied, and neither counted nor logged as denials.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use host_tests::envoy_version::{EnvoyVersion, EnvoyVersions};
use host_tests::policy::only_allow_web;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Options, SubjectAltName, wait};

const LIMIT: Duration = Duration::from_secs(30);
const STRANGER: &str = "spiffe://cluster.local/ns/shop/sa/stranger";

struct Fixture {
    envoy: Envoy,
    authority: CertificateAuthority,
    _folder: TempDir,
}

impl Fixture {
    /// Starts Envoy with a listener for plaintext and one that terminates TLS. Both lead to an echo service, through an
    /// `identity-authz` that lets the principal web in.
    fn start(version: EnvoyVersion, mode: &str) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("trusted")?;
        fs::write(folder.path().join("trusted.pem"), authority.pem())?;
        authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), "server")?;
        let mut policy: Value = serde_json::from_str(&only_allow_web("")?)?;
        set(&mut policy, "mode", json!(mode));
        set(&mut policy, "identity", json!({"validation": "listener"}));
        let plugin = testbed::wasm_plugin(
            "identity_authz",
            "identity_authz",
            &testbed::filter_path("identity-authz"),
            &testbed::string_value(&policy.to_string()),
        );
        let tls = json!({"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": testbed::common_tls_context(folder.path())
        }});
        let listeners = [listener("plaintext", &plugin, &Value::Null), listener("tls", &plugin, &tls)];
        let (service, cluster) = echo(folder.path());
        let listeners: Vec<_> = listeners.into_iter().chain([service]).collect();
        let bootstrap = json!({"static_resources": {"listeners": listeners, "clusters": [cluster]}});
        let binary = testbed::envoy_binary_of(&version.to_string())?;
        let options = Options { binary, folder: folder.path().to_owned(), workers: 1, detached: false };
        Ok(Self { envoy: Envoy::start(&Configuration::new(bootstrap), &options)?, authority, _folder: folder })
    }

    fn counters(&self) -> Result<[u64; 4]> {
        let counter = |name: &str| self.envoy.stat(&format!("wasmcustom.sallyport.identity_authz.{name}"));
        Ok([counter("allowed")?, counter("denied")?, counter("would_deny")?, counter("errors")?])
    }

    /// Waits until Envoy has seen the end of this number of connections.
    fn wait_for_ends(&self, listener: &str, count: u64) -> Result<()> {
        wait::until("the probes to end", LIMIT, || {
            let ended = self.envoy.stat(&format!("listener.{listener}.downstream_cx_destroy"))?;
            Ok((ended >= count).then_some(()))
        })
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(keys) = object {
        keys.insert(key.to_owned(), value);
    }
}

fn listener(name: &str, plugin: &Value, tls: &Value) -> Value {
    let filter =
        json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm", "config": plugin});
    // It passes half-closed connections on, so the filter sees the end of a client that sends nothing.
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name, "cluster": "echo"
    });
    let mut chain = json!({"filters": [
        {"name": "filter", "typed_config": filter}, {"name": "proxy", "typed_config": proxy}
    ]});
    if !tls.is_null() {
        set(&mut chain, "transport_socket", tls.clone());
    }
    json!({
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [chain]
    })
}

/// The listener and the cluster of an echo service.
fn echo(folder: &Path) -> (Value, Value) {
    let address = json!({"pipe": {"path": folder.join("echo.socket")}});
    let echo = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"});
    let chains = json!([{"filters": [{"name": "echo", "typed_config": echo}]}]);
    let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": address}}]}]);
    (
        json!({"name": "echo", "address": address, "filter_chains": chains}),
        json!({"name": "echo", "type": "STATIC", "load_assignment": {"cluster_name": "echo", "endpoints": endpoints}}),
    )
}

/// Connects and closes.
fn connect_and_close(address: SocketAddr) -> Result<()> {
    drop(TcpStream::connect(address)?);
    Ok(())
}

/// Connects, says that no byte follows, and waits for Envoy to close.
fn connect_and_end(address: SocketAddr) -> Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    socket.read_to_end(&mut received)?;
    ensure!(received.is_empty(), "{} to a probe", received.escape_ascii());
    Ok(())
}

/// Completes the TLS handshake, and closes with a close_notify or without.
fn shake_hands_and_close(client: &Client) -> Result<()> {
    let mut stream = client.connect()?;
    // The handshake is made with the first write, of nothing.
    stream.flush()?;
    Ok(())
}

fn check(version: EnvoyVersion, mode: &str) -> Result<()> {
    let fixture = Fixture::start(version, mode)?;
    let (plaintext, tls) = (fixture.envoy.listener("plaintext")?, fixture.envoy.listener("tls")?);
    let stranger = fixture.authority.issue(&[SubjectAltName::Uri(STRANGER.to_owned())])?;
    let stranger = Client::tls(tls, Some(&stranger))?;
    for _ in 0..3 {
        connect_and_close(plaintext)?;
        connect_and_end(plaintext)?;
        connect_and_close(tls)?;
        shake_hands_and_close(&stranger)?;
    }
    fixture.wait_for_ends("plaintext", 6)?;
    fixture.wait_for_ends("tls", 6)?;

    // A byte of the same clients is a denial, whose counts come after those of the probes.
    let passes = mode == "report";
    ensure!(Client::plaintext(plaintext).is_echoed(b"x")? == passes, "plaintext with a byte");
    ensure!(stranger.is_echoed(b"x")? == passes, "TLS with a byte");
    let expected = if passes { [0, 0, 2, 0] } else { [0, 2, 0, 0] };
    wait::until("the counters", LIMIT, || Ok((fixture.counters()?.iter().sum::<u64>() >= 2).then_some(())))?;
    ensure!(fixture.counters()? == expected, "{:?}, expected {expected:?}", fixture.counters()?);
    let log = fixture.envoy.log()?;
    let denials = log.lines().filter(|line| line.contains("no ALLOW policy matches")).count();
    ensure!(denials == 2, "{denials} denials in the log:\n{log}");
    Ok(())
}

#[test]
fn a_probe_is_no_denial_in_any_version() -> Result<()> {
    for version in EnvoyVersions::load()?.versions {
        for mode in ["enforce", "report"] {
            check(version, mode).map_err(|error| error.context(format!("Envoy {version}, {mode}")))?;
        }
    }
    Ok(())
}
