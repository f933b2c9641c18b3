//! `envoy-config/egress-client.yaml`: an Envoy beside a program that can give no certificate to a proxy.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Configuration, Envoy, Options, Printed, SubjectAltName, access_log, run_program};

use crate::fixture::{FRONTEND, Fixture, PARTNER, PAYMENTS, PUBLIC, Way};
use crate::python::FETCH;

/// JSON pointers to what differs from machine to machine.
const LISTENER: &str = "/static_resources/listeners/0/address/socket_address/port_value";
const GATEWAY: &str =
    "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
const GATEWAY_IDENTITY: &str = "/static_resources/clusters/0/transport_socket/typed_config/common_tls_context/validation_context/match_typed_subject_alt_names/0/matcher/exact";

/// A local proxy of a workload.
struct LocalProxy {
    envoy: Envoy,
    folder: PathBuf,
}

impl LocalProxy {
    /// Starts one for the fixture's gateway, of which it expects this identity, the file's own where there is none.
    fn start(fixture: &Fixture, workload: &str, gateway: Option<&str>) -> Result<Self> {
        let folder = fixture.folder().join(format!("{workload}-proxy"));
        fs::create_dir(&folder)?;
        for kind in ["pem", "key"] {
            fs::copy(fixture.folder().join(format!("{workload}.{kind}")), folder.join(format!("workload.{kind}")))?;
        }
        fs::copy(fixture.folder().join("gateway/trusted.pem"), folder.join("trusted.pem"))?;
        let mut configuration = Configuration::read(&testbed::root().join("envoy-config/egress-client.yaml"))?;
        configuration.move_paths("/etc/sallyport", &folder);
        *configuration.at(LISTENER)? = json!(0);
        *configuration.at(GATEWAY)? = json!({"address": "127.0.0.1", "port_value": fixture.port("mtls")?});
        if let Some(identity) = gateway {
            *configuration.at(GATEWAY_IDENTITY)? = json!(identity);
        }
        let options = Options { binary: testbed::envoy_binary()?, folder: folder.clone(), workers: 1, detached: false };
        Ok(Self { envoy: Envoy::start(&configuration, &options)?, folder })
    }

    /// Fetches a page of a host by this proxy.
    fn fetch(&self, fixture: &Fixture, program: &str, way: Way, host: &str) -> Result<Printed> {
        let proxy = format!("http://{}", self.envoy.listener("egress")?);
        let url = fixture.url(way, host, "");
        let arguments = match program {
            "curl" => vec!["--silent", "--show-error", "--cacert", "outside.pem", "--proxy", &proxy, &url],
            _ => vec!["-c", FETCH, &url, "outside.pem", &proxy, ""],
        };
        run_program(program, &arguments, "", fixture.folder())
    }
}

#[test]
fn programs_without_certificates_are_their_workload_by_the_local_proxy() -> Result<()> {
    for client in ["curl", "python3"] {
        let fixture = Fixture::start(client)?;
        let payments = LocalProxy::start(&fixture, PAYMENTS, None)?;
        for (way, host) in [(Way::Http, PUBLIC), (Way::Connect, PUBLIC), (Way::Connect, PARTNER)] {
            let printed = payments.fetch(&fixture, client, way, host)?;
            fixture.expect_reached(way, &printed, &format!("this is {host}"))?;
        }
        for way in [Way::Http, Way::Connect] {
            fixture.expect_denied(way, &payments.fetch(&fixture, client, way, &way.undeclared())?)?;
            let by = fixture.gateway.log_entry(&[("host", &way.undeclared())])?;
            let expected = "cluster.local/ns/shop/sa/payments";
            ensure!(by.get("principal").and_then(Value::as_str) == Some(expected), "{by}");
        }
        let frontend = LocalProxy::start(&fixture, FRONTEND, None)?;
        let printed = frontend.fetch(&fixture, client, Way::Connect, PARTNER)?;
        ensure!(!printed.succeeded && printed.errors.contains("403"), "{client}: {printed:#?}");
    }
    Ok(())
}

#[test]
fn the_local_proxy_sends_nothing_to_another_than_the_gateway() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    let other = "spiffe://cluster.local/ns/shop/sa/other";
    let proxy = LocalProxy::start(&fixture, PAYMENTS, Some(other))?;
    let printed = proxy.fetch(&fixture, "curl", Way::Http, PUBLIC)?;
    ensure!(!printed.succeeded && printed.output.is_empty(), "{printed:#?}");
    let entry = access_log::find(&proxy.folder.join("envoy.out"), |entry| entry.get("refused_handshake").is_some())?;
    ensure!(entry.to_string().contains("CERTIFICATE_VERIFY_FAILED"), "{entry}");
    Ok(())
}

#[test]
fn a_local_proxy_with_a_refused_certificate_is_seen_in_the_gateways_log() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    // The workload's certificate is of an authority that the gateway does not know.
    let stranger = CertificateAuthority::new("stranger")?;
    let uri = "spiffe://cluster.local/ns/shop/sa/stranger".to_owned();
    stranger.issue(&[SubjectAltName::Uri(uri)])?.write(fixture.folder(), "stranger")?;
    let proxy = LocalProxy::start(&fixture, "stranger", None)?;
    for way in [Way::Http, Way::Connect] {
        let printed = proxy.fetch(&fixture, "curl", way, PUBLIC)?;
        // The connection ends with a reset or without one, as it happens.
        let messages = [
            "curl: (56) Recv failure: Connection reset by peer",
            "curl: (52) Empty reply from server",
            "curl: (56) Proxy CONNECT aborted",
        ];
        let is_expected = messages.iter().any(|message| printed.errors.contains(message));
        ensure!(!printed.succeeded && is_expected, "{}: {printed:#?}", way.name());
    }
    fixture.gateway.handshake_failure("CERTIFICATE_VERIFY_FAILED")?;
    Ok(())
}
