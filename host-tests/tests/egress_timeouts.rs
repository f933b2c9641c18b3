//! Timeouts of `envoy-config/egress.yaml`. Nobody waits for an hour here: a test checks the value in the file, puts a short
//! one into its place, and sees that this key is what ends a silent client or server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, ensure};
use host_tests::rows;
use serde_json::json;
use testbed::{Client, EgressGateway, Outside, Stream, client_hello, response_head};

const FILE: &str = "envoy-config/egress.yaml";
const HOST: &str = "updates.example.org";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The value that stands in for those of the file.
const SHORT: &str = "0.5s";

/// A gateway before a server that never says a word.
struct Fixture {
    gateway: EgressGateway,
    _server: TcpListener,
    _folder: tempfile::TempDir,
}

impl Fixture {
    /// Starts a gateway with a short time at a pointer into the file, which has this value there.
    fn start(pointer: &str, value: &str) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = server.local_addr()?.port();
        let names = [(HOST, Ipv4Addr::LOCALHOST)];
        let shorten = |configuration: &mut testbed::Configuration| {
            let key = configuration.at(pointer)?;
            ensure!(*key == json!(value), "{pointer} is {key}");
            *key = json!(SHORT);
            Ok(())
        };
        let (binary, outside) = (testbed::envoy_binary()?, Outside::new(port, port));
        let gateway = EgressGateway::start_changed(FILE, binary, folder.path(), &names, outside, shorten)?;
        Ok(Self { gateway, _server: server, _folder: folder })
    }

    fn forward_proxy(&self) -> Result<Box<dyn Stream>> {
        Client::plaintext(self.gateway.listener("forward-proxy")?).connect()
    }

    fn authority(&self) -> String {
        format!("{HOST}:{}", self.gateway.port())
    }
}

/// Waits until the gateway closes.
fn expect_end(mut stream: Box<dyn Stream>) -> Result<()> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    ensure!(rest.is_empty(), "{}", rest.escape_ascii());
    Ok(())
}

rows! {
    a_response_that_does_not_come_ends_by_the_timeout_of_the_route_or_of_the_stream: check_response;
    of_the_route: "/route_config/virtual_hosts/0/routes/1/route/timeout", "0s", "response_timeout";
    of_the_stream: "/stream_idle_timeout", "3600s", "stream_idle_timeout";
}

fn check_response(pointer: &str, value: &str, details: &str) -> Result<()> {
    let fixture = Fixture::start(&format!("{MANAGER}{pointer}"), value)?;
    let head = format!("GET http://{}/ HTTP/1.1\r\nhost: x\r\n\r\n", fixture.authority());
    let status = response_head(&mut *fixture.forward_proxy()?, head.as_bytes())?;
    ensure!(status == 504, "{status}");
    let entry = fixture.gateway.log_entry(&[("details", details), ("host", HOST)])?;
    ensure!(entry.get("decision").is_none_or(serde_json::Value::is_null), "{entry}");
    Ok(())
}

#[test]
fn a_silent_tunnel_ends_by_the_timeout_of_the_stream() -> Result<()> {
    let fixture = Fixture::start(&format!("{MANAGER}/stream_idle_timeout"), "3600s")?;
    let authority = fixture.authority();
    let mut stream = fixture.forward_proxy()?;
    let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    ensure!(response_head(&mut *stream, head.as_bytes())? == 200);
    expect_end(stream)?;
    fixture.gateway.log_entry(&[("details", "stream_idle_timeout"), ("way", "connect")])?;
    Ok(())
}

#[test]
fn a_connection_without_a_request_ends_by_its_own_timeout() -> Result<()> {
    let fixture = Fixture::start(&format!("{MANAGER}/common_http_protocol_options/idle_timeout"), "3600s")?;
    let mut stream = fixture.forward_proxy()?;
    // A host that no rule lists: the answer comes at once, and the connection stays open.
    let status = response_head(&mut *stream, b"GET http://evil.example/ HTTP/1.1\r\nhost: x\r\n\r\n")?;
    ensure!(status == 403, "{status}");
    let mut body = Vec::new();
    stream.read_to_end(&mut body)?;
    ensure!(body.starts_with(b"The egress proxy"), "{}", body.escape_ascii());
    Ok(())
}

#[test]
fn a_silent_connection_that_passes_through_ends_by_the_timeout_of_the_tcp_proxy() -> Result<()> {
    let pointer = "/static_resources/listeners/2/filter_chains/0/filters/3/typed_config/idle_timeout";
    let fixture = Fixture::start(pointer, "3600s")?;
    let mut stream = Client::plaintext(fixture.gateway.listener("tls")?).connect()?;
    stream.write_all(&client_hello(Some(HOST.as_bytes()))?)?;
    stream.flush()?;
    expect_end(stream)?;
    let entry = fixture.gateway.log_entry(&[("server_name", HOST), ("way", "tls")])?;
    ensure!(entry.get("decision").is_none_or(serde_json::Value::is_null), "{entry}");
    Ok(())
}
