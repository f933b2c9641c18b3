//! Bytes that leave through `envoy-config/egress.yaml`, each compared, and the share of one client.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::rows;
use testbed::{
    Client, Configuration, EgressGateway, Envoy, Outside, Recorder, Stream, client_hello, response_head, wait,
};

const NAMES: [(&str, Ipv4Addr); 1] = [("updates.example.org", Ipv4Addr::LOCALHOST)];
const HOST: &str = "updates.example.org";
const FRONTEND: &str = "cluster.local/ns/shop/sa/frontend";

/// The time that bytes may take to the outside.
const LIMIT: Duration = Duration::from_secs(20);

/// A gateway before two servers that keep what they get.
struct Fixture {
    gateway: EgressGateway,
    http: Recorder,
    https: Recorder,
    _folder: tempfile::TempDir,
}

/// A listener of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `forward-proxy`, without TLS.
    Plain,
    /// `mtls`, with HTTP/1.1.
    Mtls,
}

impl Fixture {
    /// Starts a gateway before an HTTPS server with this greeting.
    fn start(greeting: &'static str) -> Result<Self> {
        Self::start_changed(greeting, |_| Ok(()))
    }

    /// Starts a gateway with another configuration before an HTTPS server with this greeting.
    fn start_changed(greeting: &'static str, change: impl FnOnce(&mut Configuration) -> Result<()>) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let (http, https) = (Recorder::start("")?, Recorder::start(greeting)?);
        let outside = Outside::new(http.address().port(), https.address().port());
        let (file, binary) = ("envoy-config/egress.yaml", testbed::envoy_binary()?);
        let gateway = EgressGateway::start_changed(file, binary, folder.path(), &NAMES, outside, change)?;
        Ok(Self { gateway, http, https, _folder: folder })
    }

    fn client(&self, way: Way) -> Result<Client> {
        Ok(match way {
            Way::Plain => Client::plaintext(self.gateway.listener("forward-proxy")?),
            Way::Mtls => {
                let identity = self.gateway.identity(FRONTEND)?;
                Client::tls(self.gateway.listener("mtls")?, Some(&identity))?.with_sni(Some(HOST))
            }
        })
    }

    /// The authority of the HTTP server.
    fn http_authority(&self) -> String {
        format!("{HOST}:{}", self.http.address().port())
    }

    /// The head of a CONNECT to the HTTPS server.
    fn connect_head(&self, version: &str) -> String {
        let authority = format!("{HOST}:{}", self.gateway.port());
        format!(
            "CONNECT {authority} {version}\r\nhost: {authority}\r\nproxy-authorization: Basic c2VjcmV0\r\n\
             proxy-connection: keep-alive\r\nuser-agent: test\r\n\r\n"
        )
    }

    /// Opens a tunnel by a version of HTTP/1 to the HTTPS server.
    fn tunnel(&self, way: Way, version: &str) -> Result<Box<dyn Stream>> {
        let mut stream = self.client(way)?.connect()?;
        let status = response_head(&mut *stream, self.connect_head(version).as_bytes())?;
        ensure!(status == 200, "{status}");
        Ok(stream)
    }

    /// Waits until the HTTPS server has got exactly these bytes on its one connection.
    fn expect_https(&self, expected: &[u8]) -> Result<()> {
        let mut found = Vec::new();
        let met = wait::until("the bytes outside", LIMIT, || {
            found = self.https.received();
            Ok((found == [expected]).then_some(()))
        });
        met.with_context(|| {
            format!("{:?}", found.iter().map(|bytes| bytes.escape_ascii().to_string()).collect::<Vec<_>>())
        })
    }
}

/// The headers that every request has: the client's own, and what is for the proxy or pretends to come from one.
const HEADERS: &str = "user-agent: test\r\naccept: */*\r\nproxy-authorization: Basic c2VjcmV0\r\n\
    proxy-connection: keep-alive\r\nx-forwarded-proto: gopher\r\nx-envoy-external-address: 192.0.2.9\r\n\
    x-envoy-internal: true\r\nx-envoy-upstream-rq-timeout-ms: 5000\r\n";

rows! {
    a_server_gets_what_the_client_sends_and_nothing_else: check_request;
    plain: Way::Plain, "GET http://{authority}/a?b HTTP/1.1\r\nhost: x\r\n",
        "GET /a?b HTTP/1.1\r\nhost: {authority}\r\nuser-agent: test\r\naccept: */*\r\n\r\n";
    mtls: Way::Mtls, "GET /a?b HTTP/1.1\r\nhost: {authority}\r\n",
        "GET /a?b HTTP/1.1\r\nhost: {authority}\r\nuser-agent: test\r\naccept: */*\r\n\r\n";
    a_websocket: Way::Plain,
        "GET http://{authority}/ HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
        "GET / HTTP/1.1\r\nhost: {authority}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         user-agent: test\r\naccept: */*\r\n\r\n";
}

/// Sends a request; `{authority}` stands for the HTTP server.
fn check_request(way: Way, head: &str, expected: &str) -> Result<()> {
    let fixture = Fixture::start("")?;
    let [head, expected] = [head, expected].map(|text| text.replace("{authority}", &fixture.http_authority()));
    let mut stream = fixture.client(way)?.connect()?;
    let status = response_head(&mut *stream, format!("{head}{HEADERS}\r\n").as_bytes())?;
    ensure!(status == 200, "{status}");
    let received = fixture.http.received();
    let received: Vec<_> = received.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    ensure!(received == [expected], "{received:#?}");
    Ok(())
}

#[test]
fn who_offers_tls_in_place_of_plain_http_gets_plain_http() -> Result<()> {
    let head = "GET http://{authority}/ HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: TLS/1.2\r\n";
    let expected = "GET / HTTP/1.1\r\nhost: {authority}\r\nuser-agent: test\r\naccept: */*\r\n\r\n";
    check_request(Way::Plain, head, expected)
}

#[test]
fn whether_to_send_a_body_is_decided_before_anyone_asks_for_it() -> Result<()> {
    let fixture = Fixture::start("")?;
    let post = |host: &str| -> Result<u16> {
        let authority = format!("{host}:{}", fixture.http.address().port());
        let head = format!(
            "POST http://{authority}/ HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
        );
        response_head(&mut *fixture.client(Way::Plain)?.connect()?, head.as_bytes())
    };
    ensure!(post("evil.example")? == 403, "an undeclared host is told to send its body");
    // This server answers at once, without `100 Continue`.
    ensure!(post(HOST)? == 200, "the proxy answers for the server");
    let received = fixture.http.received().concat();
    ensure!(String::from_utf8_lossy(&received).contains("expect: 100-continue\r\n"), "{}", received.escape_ascii());
    Ok(())
}

#[test]
fn a_request_of_http_2_brings_nothing_else_either() -> Result<()> {
    let fixture = Fixture::start("")?;
    let client = fixture.client(Way::Mtls)?.with_alpn("h2");
    let own = [("user-agent", "test"), ("accept", "*/*"), ("proxy-authorization", "Basic c2VjcmV0")];
    let authority = fixture.http_authority();
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", &authority), (":path", "/")];
    let headers: Vec<_> = pseudo.iter().chain(&own).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    client.send_http2(&headers)?;
    let received = fixture.http.received();
    let received: Vec<_> = received.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    let expected = format!("GET / HTTP/1.1\r\nhost: {authority}\r\nuser-agent: test\r\naccept: */*\r\n\r\n");
    ensure!(received == [expected], "{received:#?}");
    Ok(())
}

rows! {
    what_a_tunnel_carries_is_what_the_client_sends: check_tunnel;
    plain: Way::Plain, "HTTP/1.1";
    mtls: Way::Mtls, "HTTP/1.1";
    http_1_0_as_python_and_openssl_send_it: Way::Plain, "HTTP/1.0";
}

fn check_tunnel(way: Way, version: &str) -> Result<()> {
    let fixture = Fixture::start("")?;
    let hello = client_hello(Some(HOST.as_bytes()))?;
    let mut stream = fixture.tunnel(way, version)?;
    for byte in &hello {
        stream.write_all(&[*byte])?;
        stream.flush()?;
    }
    fixture.expect_https(&hello)
}

/// The address that leads to [`HOST`].
const ADDRESS: &str = "240.0.0.10";

rows! {
    a_tunnel_to_an_address_of_an_entry_goes_to_its_host: check_led_tunnel;
    http_1_1: "http/1.1";
    http_2_as_ztunnel_sends_it: "h2";
}

fn check_led_tunnel(alpn: &str) -> Result<()> {
    let fixture = Fixture::start("")?;
    let client = fixture.client(Way::Mtls)?.with_alpn(alpn);
    let authority = format!("{ADDRESS}:{}", fixture.gateway.port());
    let hello = client_hello(Some(HOST.as_bytes()))?;
    match alpn {
        "h2" => {
            let headers = [(&b":method"[..], &b"CONNECT"[..]), (b":authority", authority.as_bytes())];
            let mut stream = client.open_http2_tunnel(&headers, b"")?;
            ensure!(stream.is_open(), "refused");
            stream.write_all(&hello)?;
            fixture.expect_https(&hello)?;
        }
        _ => {
            let mut stream = client.connect()?;
            let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
            ensure!(response_head(&mut *stream, head.as_bytes())? == 200);
            stream.write_all(&hello)?;
            fixture.expect_https(&hello)?;
        }
    }
    let entry = fixture.gateway.log_entry(&[("request", &format!("CONNECT {authority}")), ("host", HOST)])?;
    ensure!(entry.get("policy") == Some(&"shop/updates".into()), "{entry}");
    Ok(())
}

#[test]
fn what_passes_through_by_its_server_name_is_what_the_client_sends() -> Result<()> {
    let fixture = Fixture::start("")?;
    let hello = client_hello(Some(HOST.as_bytes()))?;
    let mut stream = Client::plaintext(fixture.gateway.listener("tls")?).connect()?;
    stream.write_all(&hello)?;
    fixture.expect_https(&hello)
}

#[test]
fn of_a_tunnel_for_another_host_nothing_goes_out() -> Result<()> {
    let fixture = Fixture::start("")?;
    let hello = client_hello(Some(b"evil.example"))?;
    for (way, version) in [(Way::Plain, "HTTP/1.1"), (Way::Plain, "HTTP/1.0"), (Way::Mtls, "HTTP/1.1")] {
        let mut stream = fixture.tunnel(way, version)?;
        stream.write_all(&hello)?;
        stream.flush()?;
        let mut rest = Vec::new();
        // The gateway closes without a TLS close_notify.
        let _cut = stream.read_to_end(&mut rest);
        ensure!(rest.is_empty(), "{way:?}: {}", rest.escape_ascii());
    }
    let authority = format!("CONNECT {HOST}:{}", fixture.gateway.port());
    let entry = fixture.gateway.log_entry(&[("request", &authority), ("decision", "deny")])?;
    ensure!(entry.get("details") == Some(&"egress_access_denied_matched_policy[none]".into()), "{entry}");
    let received = fixture.https.received();
    ensure!(received == vec![Vec::<u8>::new(); 3], "{received:?}");
    Ok(())
}

#[test]
fn a_server_that_speaks_first_is_not_held() -> Result<()> {
    const GREETING: &str = "SSH-2.0-server\r\n";
    // A port of a ServiceEntry with protocol HTTPS is for TLS, whose servers wait for their clients.
    let fixture = Fixture::start_changed(GREETING, |configuration| {
        let text = configuration.value().to_string().replace(r#""protocol":"HTTPS""#, r#""protocol":"TCP""#);
        *configuration = Configuration::new(serde_json::from_str(&text)?);
        Ok(())
    })?;
    let mut stream = fixture.tunnel(Way::Plain, "HTTP/1.1")?;
    let mut greeting = vec![0; GREETING.len()];
    stream.read_exact(&mut greeting)?;
    ensure!(greeting == GREETING.as_bytes(), "{}", greeting.escape_ascii());
    stream.write_all(b"SSH-2.0-client\r\n")?;
    fixture.expect_https(b"SSH-2.0-client\r\n")
}

/// The limit of open connections in the file.
const MOST: usize = 1000;

#[test]
fn a_greedy_client_leaves_the_way_out_to_others() -> Result<()> {
    let fixture = Fixture::start("")?;
    let client = |last: u8| -> Result<Client> {
        Ok(fixture.client(Way::Plain)?.with_source_address(Ipv4Addr::new(127, 0, 0, last)))
    };
    let head = fixture.connect_head("HTTP/1.1");
    let (greedy, modest) = (client(2)?, client(3)?);
    let mut tunnels = Vec::new();
    for number in 0..MOST {
        let mut stream = greedy.connect()?;
        let status = response_head(&mut *stream, head.as_bytes())?;
        ensure!(status == 200, "tunnel {number}: {status}");
        tunnels.push(stream);
    }
    let refused = greedy.send(head.as_bytes())?;
    ensure!(refused.status == 429, "{}", refused.status);
    let body = String::from_utf8_lossy(&refused.body);
    ensure!(body.starts_with("This client has too many connections open through the egress proxy."), "{body}");
    let entry = fixture.gateway.log_entry(&[("details", "egress_access_denied_too_many_connections")])?;
    let reason = entry.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default();
    ensure!(reason.starts_with("the client has 1000 connections open, the most that"), "{entry}");
    ensure!(response_head(&mut *modest.connect()?, head.as_bytes())? == 200, "another client is refused too");
    // It passes through by its server name as little.
    let hello = client_hello(Some(HOST.as_bytes()))?;
    let mut passing = Client::plaintext(fixture.gateway.listener("tls")?)
        .with_source_address(Ipv4Addr::new(127, 0, 0, 2))
        .connect()?;
    passing.write_all(&hello)?;
    let entry = fixture.gateway.log_entry(&[("server_name", HOST), ("decision", "deny")])?;
    ensure!(entry.get("reason").is_some_and(|reason| reason.to_string().contains("TLS to")), "{entry}");

    tunnels.pop();
    wait::until("a tunnel in place of one that has ended", LIMIT, || {
        Ok((response_head(&mut *greedy.connect()?, head.as_bytes())? == 200).then_some(()))
    })
}

/// Clients, each with a connection of HTTP/2, and the tunnels of each.
const CLIENTS: u8 = 100;
const TUNNELS_OF_EACH: usize = 100;

#[test]
#[ignore = "takes more than 10,000 open files in each of two processes"]
fn ten_thousand_tunnels_are_open_at_once_and_each_is_inspected() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = outside.local_addr()?.port();
    let gateway =
        EgressGateway::start_before(testbed::envoy_binary()?, folder.path(), &NAMES, Outside::new(port, port))?;
    let count = usize::from(CLIENTS) * TUNNELS_OF_EACH;
    let accepted = thread::spawn(move || outside.incoming().take(count).collect::<io::Result<Vec<_>>>());
    let before = memory(gateway.envoy())?;

    let authority = format!("{HOST}:{port}");
    let headers = [(&b":method"[..], &b"CONNECT"[..]), (b":authority", authority.as_bytes())];
    let hello = client_hello(Some(HOST.as_bytes()))?;
    let mut connections = Vec::new();
    for client in 0..CLIENTS {
        let address = Ipv4Addr::new(127, 0, 1, client + 1);
        let client = Client::plaintext(gateway.listener("forward-proxy")?).with_source_address(address);
        let mut connection = client.http2()?;
        connection.open_tunnels(&headers, TUNNELS_OF_EACH, &hello)?;
        connections.push(connection);
    }
    for mut socket in accepted.join().ok().context("the server panicked")?? {
        socket.set_read_timeout(Some(LIMIT))?;
        let mut received = vec![0; hello.len()];
        socket.read_exact(&mut received)?;
        ensure!(received == hello, "{}", received.escape_ascii());
    }
    let bytes = (memory(gateway.envoy())? - before) / count;
    println!("{count} tunnels, {bytes} bytes of Envoy's memory for each");
    ensure!(bytes < 64 * 1024, "{bytes} bytes a tunnel");
    Ok(())
}

/// The memory that Envoy has in use, in bytes.
fn memory(envoy: &Envoy) -> Result<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", envoy.process().context("no process")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: usize = line.trim().strip_suffix(" kB").context("not in kB")?.parse()?;
    Ok(kibibytes * 1024)
}
