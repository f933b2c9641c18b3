//! `envoy-config/egress-by-sni.yaml` under tunnels whose server names are listed and not.

use std::io::{Read, Write};
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use testbed::{
    CertificateAuthority, Client, EgressGateway, Outside, Recorder, SubjectAltName, client_hello, response_head,
};

use crate::example::{Observed, log_with, scrape_when};

const HOST: &str = "updates.example.org";
/// A listed host at whose address nobody listens.
const CLOSED: &str = "eu.mirrors.example.org";

const FRONTEND: &str = "cluster.local/ns/shop/sa/frontend";

const ALLOWED: &str = "wasmcustom.sallyport.egress_allowlist.allowed";
const DENIED: &str = "wasmcustom.sallyport.egress_allowlist.denied";

/// Sends a ClientHello through a tunnel of its own.
fn hello(gateway: &EgressGateway, server_name: &str) -> Result<Box<dyn testbed::Stream>> {
    let client = Client::tls(gateway.listener("mtls")?, Some(&gateway.identity(FRONTEND)?))?.with_sni(None);
    let mut stream = client.connect()?;
    let status = response_head(&mut *stream, b"CONNECT 240.240.0.1:443 HTTP/1.1\r\nhost: 240.240.0.1:443\r\n\r\n")?;
    ensure!(status == 200, "a tunnel gets {status}");
    stream.write_all(&client_hello(Some(server_name.as_bytes()))?)?;
    stream.flush()?;
    Ok(stream)
}

/// Plays the file.
pub(crate) fn egress_by_sni() -> Result<Observed> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let outside = Recorder::start("")?;
    let port = outside.address().port();
    let names = [(HOST, Ipv4Addr::LOCALHOST), (CLOSED, Ipv4Addr::new(127, 0, 0, 2))];
    let gateway = EgressGateway::start_file(
        "envoy-config/egress-by-sni.yaml",
        testbed::envoy_binary()?,
        folder.path(),
        &names,
        Outside::new(port, port),
    )?;
    let tunnel = hello(&gateway, HOST)?;
    for refused in [CLOSED, "other.example.org"] {
        let mut rest = Vec::new();
        // The gateway closes without a TLS close_notify.
        let _cut = hello(&gateway, refused)?.read_to_end(&mut rest);
        ensure!(rest.is_empty(), "{refused}: {}", rest.escape_ascii());
    }
    let stranger =
        CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(format!("spiffe://{FRONTEND}"))])?;
    let forged = Client::tls(gateway.listener("mtls")?, Some(&stranger))?.get("/");
    ensure!(!forged.is_ok_and(|response| response.status != 0), "a forged certificate gets a response");
    let samples = scrape_when(gateway.envoy(), &[ALLOWED, DENIED], 3)?;
    drop(tunnel);
    gateway.log_entry(&[("server_name", HOST)])?;
    let log = log_with(folder.path(), &["refused_handshake", "upstream", "decision", "flags"])?;
    Ok(Observed { samples, log, scenes: Vec::new() })
}
