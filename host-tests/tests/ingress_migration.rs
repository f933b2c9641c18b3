//! `envoy-config/ingress-migration.yaml` in a real Envoy: mTLS and plaintext on one port, from PERMISSIVE to STRICT.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use host_tests::rows;
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Options, SubjectAltName, access_log, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// Starts Envoy with the file, its folder and ports moved, and a stand-in for the service.
fn start(folder: &Path, mode: &str) -> Result<Envoy> {
    testbed::build_filters()?;
    fs::copy(testbed::filter_path("identity-authz"), folder.join("identity-authz.wasm"))?;
    let mut configuration = Configuration::read(&testbed::root().join("envoy-config/ingress-migration.yaml"))?;
    configuration.move_paths("/etc/sallyport", folder);
    *configuration.at("/static_resources/listeners/0/address/socket_address")? =
        json!({"address": "127.0.0.1", "port_value": 0});
    for chain in ["0", "1"] {
        let manager = format!("/static_resources/listeners/0/filter_chains/{chain}/filters/0/typed_config");
        let resources = "http_filters/0/typed_config/config/configuration/value/resources";
        *configuration.at(&format!("{manager}/{resources}/0/spec/mtls/mode"))? = json!(mode);
        *configuration.at(&format!("{manager}/route_config/virtual_hosts/0/routes/0"))? =
            json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    }
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(&configuration, &options)
}

/// Returns the numbers of mTLS and of plaintext connections.
fn connections(envoy: &Envoy) -> Result<[u64; 2]> {
    let count = |name: &str| envoy.stat(&format!("wasmcustom.sallyport.identity_authz.connection.{name}"));
    Ok([count("mtls")?, count("plaintext")?])
}

rows! {
    mtls_and_plaintext_share_a_port_until_the_mode_is_strict: check_mode;
    permissive: "PERMISSIVE", 200;
    strict: "STRICT", 403;
}

fn check_mode(mode: &str, plaintext: u16) -> Result<()> {
    let (authority, stranger) = (CertificateAuthority::new("trusted")?, CertificateAuthority::new("stranger")?);
    let web = |authority: &CertificateAuthority| {
        authority.issue(&[SubjectAltName::Uri("spiffe://cluster.local/ns/shop/sa/web".to_owned())])
    };
    let pay = authority.issue(&[SubjectAltName::Uri("spiffe://cluster.local/ns/pay/sa/api".to_owned())])?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("trusted.pem"), authority.pem())?;
    authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), "workload")?;
    let envoy = start(folder.path(), mode)?;
    let address = envoy.listener("ingress")?;
    let clients: [(&str, Client, u16); 3] = [
        ("mTLS", Client::tls(address, Some(&web(&authority)?))?, 200),
        ("mTLS of another namespace", Client::tls(address, Some(&pay))?, 403),
        ("plaintext", Client::plaintext(address), plaintext),
    ];
    for (name, client, expected) in clients {
        let status = client.get("/")?.status;
        ensure!(status == expected, "{name} gets {status}, expected {expected}");
    }
    for (name, identity) in [("TLS without a certificate", None), ("a forged certificate", Some(web(&stranger)?))] {
        let response = Client::tls(address, identity.as_ref())?.get("/");
        ensure!(!response.is_ok_and(|response| response.status != 0), "{name} gets a response");
    }
    let log = folder.path().join("envoy.out");
    for failure in ["PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED"] {
        access_log::find(&log, |entry| {
            entry.get("refused_handshake").and_then(Value::as_str).is_some_and(|reason| reason.contains(failure))
        })?;
    }
    wait::until("the connections to be counted", LIMIT, || Ok((connections(&envoy)? == [2, 1]).then_some(())))?;
    if mode == "STRICT" {
        let reason = |entry: &Value| entry.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        let found = reason(&access_log::find(&log, |entry| reason(entry).contains("STRICT"))?);
        let expected = "PeerAuthentication istio-system/default is STRICT, and the connection has no validated certificate; \
                        a listener asks for one by a validation_context, and insists on it by \
                        require_client_certificate (docs/listener-settings.md): GET / by";
        ensure!(found.starts_with(expected), "{found}");
    }
    Ok(())
}
