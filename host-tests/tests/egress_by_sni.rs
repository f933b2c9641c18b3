//! `envoy-config/egress-by-sni.yaml` in a real Envoy: the server name inside a tunnel picks the host.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::rows;
use testbed::{Client, EgressGateway, Outside, Recorder, Stream, client_hello, response_head, wait};

const FILE: &str = "envoy-config/egress-by-sni.yaml";
const HOSTS: [&str; 2] = ["updates.example.org", "eu.mirrors.example.org"];

/// The address that DNS gives out for every host.
const AUTHORITY: &str = "240.240.0.1:443";

const FRONTEND: &str = "cluster.local/ns/shop/sa/frontend";

/// The time that bytes may take to the outside.
const LIMIT: Duration = Duration::from_secs(20);

/// A gateway before a server that keeps what it gets.
struct Fixture {
    gateway: EgressGateway,
    outside: Recorder,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn start() -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let outside = Recorder::start("")?;
        let names = HOSTS.map(|host| (host, Ipv4Addr::LOCALHOST));
        let port = outside.address().port();
        let gateway =
            EgressGateway::start_file(FILE, testbed::envoy_binary()?, folder.path(), &names, Outside::new(port, port))?;
        Ok(Self { gateway, outside, _folder: folder })
    }

    /// Opens a tunnel to the address by HTTP/1.1 or by HTTP/2.
    fn tunnel(&self, alpn: &str) -> Result<Box<dyn Stream>> {
        let identity = self.gateway.identity(FRONTEND)?;
        let client = Client::tls(self.gateway.listener("mtls")?, Some(&identity))?.with_sni(None).with_alpn(alpn);
        if alpn == "h2" {
            let headers = [(&b":method"[..], &b"CONNECT"[..]), (b":authority", AUTHORITY.as_bytes())];
            return Ok(Box::new(client.open_http2_tunnel(&headers, b"")?));
        }
        let mut stream = client.connect()?;
        let head = format!("CONNECT {AUTHORITY} HTTP/1.1\r\nhost: {AUTHORITY}\r\n\r\n");
        ensure!(response_head(&mut *stream, head.as_bytes())? == 200);
        Ok(stream)
    }
}

rows! {
    the_server_name_inside_picks_the_host: check_host;
    a_name: HOSTS[0], "http/1.1";
    a_name_below_a_star: HOSTS[1], "http/1.1";
    in_http_2_as_ztunnel_sends_it: HOSTS[0], "h2";
}

fn check_host(host: &str, alpn: &str) -> Result<()> {
    let fixture = Fixture::start()?;
    let mut stream = fixture.tunnel(alpn)?;
    let hello = client_hello(Some(host.as_bytes()))?;
    stream.write_all(&hello)?;
    stream.flush()?;
    let mut found = Vec::new();
    wait::until("the bytes outside", LIMIT, || {
        found = fixture.outside.received();
        Ok((found == [hello.as_slice()]).then_some(()))
    })
    .with_context(|| format!("{found:?}"))?;
    drop(stream);
    let entry = fixture.gateway.log_entry(&[("server_name", host), ("policy", "shop/updates")])?;
    for (key, value) in [
        ("request", format!("CONNECT {AUTHORITY}")),
        ("host", host.to_owned()),
        ("way", "tls".to_owned()),
        ("client", "127.0.0.1".to_owned()),
        ("peer", format!("spiffe://{FRONTEND}")),
    ] {
        ensure!(entry.get(key) == Some(&value.as_str().into()), "{key} of {entry}");
    }
    Ok(())
}

rows! {
    what_names_no_listed_host_ends_before_anything_is_connected_to: check_denied;
    another_host: &client_hello(Some(b"evil.example"))?;
    no_server_name: &client_hello(None)?;
    no_tls: b"GET / HTTP/1.1\r\nhost: updates.example.org\r\n\r\n";
}

fn check_denied(bytes: &[u8]) -> Result<()> {
    let fixture = Fixture::start()?;
    let mut stream = fixture.tunnel("http/1.1")?;
    stream.write_all(bytes)?;
    stream.flush()?;
    let mut rest = Vec::new();
    // The gateway closes without a TLS close_notify.
    let _cut = stream.read_to_end(&mut rest);
    ensure!(rest.is_empty(), "{}", rest.escape_ascii());
    fixture.gateway.log_entry(&[("decision", "deny"), ("peer", &format!("spiffe://{FRONTEND}"))])?;
    ensure!(fixture.outside.received().is_empty(), "{:?}", fixture.outside.received());
    Ok(())
}
