//! Bytes that leave through the egress gateway of the Compose stack, `envoy-config/stack/envoy/egress.yaml` with its rules,
//! each compared.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::rows;
use testbed::{Client, EgressGateway, Outside, Recorder, client_hello, response_head, wait};

const FILE: &str = "envoy-config/stack/envoy/egress.yaml";
const HOST: &str = "api.partner.example";
const HELLO_APP: &str = "cluster.local/ns/demo/sa/hello-app";

/// The time that bytes may take to the outside.
const LIMIT: Duration = Duration::from_secs(20);

/// Headers that are for the proxy, or pretend to come from one.
const HEADERS: &str = "user-agent: test\r\nproxy-authorization: Basic c2VjcmV0\r\nproxy-connection: keep-alive\r\n\
    x-forwarded-proto: gopher\r\nx-envoy-external-address: 192.0.2.9\r\n";

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
        let port = outside.address().port();
        let names = [(HOST, Ipv4Addr::LOCALHOST)];
        let binary = testbed::envoy_binary()?;
        let gateway = EgressGateway::start_file(FILE, binary, folder.path(), &names, Outside::new(port, port))?;
        Ok(Self { gateway, outside, _folder: folder })
    }

    fn client(&self) -> Result<Client> {
        let identity = self.gateway.identity(HELLO_APP)?;
        Ok(Client::tls(self.gateway.listener("egress")?, Some(&identity))?.with_sni(None))
    }

    fn authority(&self) -> String {
        format!("{HOST}:{}", self.gateway.port())
    }
}

rows! {
    what_a_tunnel_carries_is_what_the_client_sends: check_tunnel;
    http_1_0: Some("HTTP/1.0");
    http_1_1: Some("HTTP/1.1");
    http_2: None;
}

/// Opens a tunnel by a version of HTTP/1, or by HTTP/2.
fn check_tunnel(version: Option<&str>) -> Result<()> {
    let fixture = Fixture::start()?;
    let authority = fixture.authority();
    let hello = client_hello(Some(HOST.as_bytes()))?;
    let mut stream: Box<dyn testbed::Stream> = match version {
        Some(version) => {
            let mut stream = fixture.client()?.with_alpn("http/1.1").connect()?;
            let head = format!("CONNECT {authority} {version}\r\nhost: {authority}\r\n{HEADERS}\r\n");
            ensure!(response_head(&mut *stream, head.as_bytes())? == 200);
            stream
        }
        None => {
            let headers = [
                (&b":method"[..], &b"CONNECT"[..]),
                (b":authority", authority.as_bytes()),
                (b"proxy-authorization", b"Basic c2VjcmV0"),
            ];
            let stream = fixture.client()?.with_alpn("h2").open_http2_tunnel(&headers, b"")?;
            ensure!(stream.is_open(), "refused");
            Box::new(stream)
        }
    };
    stream.write_all(&hello)?;
    stream.flush()?;
    let mut found = Vec::new();
    wait::until("the bytes outside", LIMIT, || {
        found = fixture.outside.received();
        Ok((found == [hello.as_slice()]).then_some(()))
    })
    .with_context(|| format!("{found:?}"))
}

#[test]
fn a_request_without_connect_goes_nowhere() -> Result<()> {
    let fixture = Fixture::start()?;
    let head = format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{HEADERS}\r\n", fixture.authority());
    let answer = fixture.client()?.with_alpn("http/1.1").send(head.as_bytes())?;
    ensure!(answer.status != 200, "{}", answer.status);
    ensure!(fixture.outside.received().is_empty(), "{:?}", fixture.outside.received());
    Ok(())
}
