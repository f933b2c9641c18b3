//! `envoy-config/egress.yaml` in a real Envoy, with a DNS and a TLS server of the test's own for the outside.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use host_tests::rows;
use serde_json::Value;
use testbed::{Client, EgressGateway, EgressOutcome};

const PAYMENTS: &str = "cluster.local/ns/shop/sa/payments";
const FRONTEND: &str = "cluster.local/ns/shop/sa/frontend";

/// The names in the DNS of the outside.
const NAMES: [(&str, Ipv4Addr); 3] = [
    ("api.partner.example", Ipv4Addr::LOCALHOST),
    ("updates.example.org", Ipv4Addr::LOCALHOST),
    ("evil.example", Ipv4Addr::LOCALHOST),
];

fn gateway(folder: &tempfile::TempDir, names: &[(&str, Ipv4Addr)]) -> Result<EgressGateway> {
    testbed::build_filters()?;
    EgressGateway::start(testbed::envoy_binary()?, folder.path(), names)
}

fn reason(entry: &Value) -> &str {
    entry.get("reason").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn only_declared_hosts_are_reached_and_only_by_their_workloads() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let gateway = gateway(&folder, &NAMES)?;
    let (payments, frontend) = (gateway.identity(PAYMENTS)?, gateway.identity(FRONTEND)?);
    let port = gateway.port();
    let answer = |host: &str| EgressOutcome::Upstream(format!("this is {host}"));

    let found = gateway.connect(&payments, "api.partner.example")?;
    ensure!(found == answer("api.partner.example"), "a declared host by its workload: {found:?}");
    let found = gateway.connect(&frontend, "updates.example.org")?;
    ensure!(found == answer("updates.example.org"), "a host for every workload: {found:?}");
    let found = gateway.tls_passthrough("updates.example.org")?;
    ensure!(found == answer("updates.example.org"), "the same host by SNI: {found:?}");
    ensure!(gateway.upstream_connections() == 3, "{} connections outside", gateway.upstream_connections());

    let found = gateway.connect(&payments, "evil.example")?;
    ensure!(found == EgressOutcome::Status(403), "a host that is not declared: {found:?}");
    let entry = gateway.log_entry(&[("request", &format!("CONNECT evil.example:{port}"))])?;
    ensure!(
        reason(&entry) == format!("no rule lists this host: CONNECT to evil.example:{port} by {PAYMENTS}"),
        "{entry}"
    );
    ensure!(entry.get("details") == Some(&"egress_access_denied_matched_policy[none]".into()), "{entry}");

    let found = gateway.connect(&frontend, "api.partner.example")?;
    ensure!(found == EgressOutcome::Status(403), "a host for another workload: {found:?}");
    let entry = gateway.log_entry(&[("principal", FRONTEND)])?;
    ensure!(reason(&entry).contains(&format!("rules/payments-to-partner wants principal {PAYMENTS}")), "{entry}");

    let found = gateway.request(&payments, "updates.example.org", "api.partner.example")?;
    ensure!(found == EgressOutcome::Status(403), "an SNI that differs from the host: {found:?}");
    let entry = gateway.log_entry(&[("request", "GET api.partner.example")])?;
    ensure!(
        reason(&entry).starts_with("the TLS connection is for SNI updates.example.org, the request is not"),
        "{entry}"
    );

    let found = gateway.tls_passthrough("evil.example")?;
    ensure!(found == EgressOutcome::Closed, "an SNI that is not declared: {found:?}");
    let entry = gateway.log_entry(&[("server_name", "evil.example")])?;
    ensure!(reason(&entry).starts_with(&format!("no rule lists this host: TLS to evil.example:{port} by ")), "{entry}");
    let found = gateway.tls_passthrough("api.partner.example")?;
    ensure!(found == EgressOutcome::Closed, "a host for one workload, without an identity: {found:?}");

    let found = gateway.connect(&payments, "x.files.partner.example")?;
    ensure!(found == EgressOutcome::Status(403), "a DENY: {found:?}");
    gateway.log_entry(&[("policy", "rules/no-uploads")])?;
    ensure!(gateway.upstream_connections() == 3, "{} connections outside", gateway.upstream_connections());
    Ok(())
}

rows! {
    other_ways_through_the_gateway_are_denied: check_forward;
    connect_without_an_identity: "CONNECT api.partner.example:{port} HTTP/1.1\r\nhost: x";
    an_absolute_form: "GET http://evil.example/ HTTP/1.1\r\nhost: updates.example.org";
    another_port: "CONNECT updates.example.org:22 HTTP/1.1\r\nhost: x";
    connect_udp:
        "GET /.well-known/masque/udp/updates.example.org/53/ HTTP/1.1\r\nhost: updates.example.org\r\n\
         connection: upgrade\r\nupgrade: connect-udp\r\ncapsule-protocol: ?1";
}

/// Sends a request by plain HTTP; `{port}` stands for the port of the outside's TLS server.
fn check_forward(head: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let gateway = gateway(&folder, &NAMES)?;
    let found = gateway.forward(&head.replace("{port}", &gateway.port().to_string()))?;
    ensure!(found == EgressOutcome::Status(403), "{found:?}");
    ensure!(gateway.upstream_connections() == 0, "{} connections outside", gateway.upstream_connections());
    Ok(())
}

#[test]
fn a_declared_name_that_resolves_to_a_place_inside_is_not_reached() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inside = [
        ("api.partner.example", Ipv4Addr::new(10, 0, 0, 1)),
        ("updates.example.org", Ipv4Addr::new(169, 254, 169, 254)),
    ];
    let gateway = gateway(&folder, &inside)?;
    let payments = gateway.identity(PAYMENTS)?;
    // The last is an address that leads to the host before it.
    for host in ["api.partner.example", "updates.example.org", "240.0.0.10"] {
        let found = gateway.connect(&payments, host)?;
        ensure!(found == EgressOutcome::Status(503), "{host}: {found:?}");
        let entry = gateway.log_entry(&[("request", &format!("CONNECT {host}:{}", gateway.port()))])?;
        let details = entry.get("details").and_then(Value::as_str).context("no details")?;
        ensure!(details.contains("dns_resolution_failure"), "{entry}");
        ensure!(entry.get("flags") == Some(&"DF".into()), "{entry}");
    }
    let answer = Client::plaintext(gateway.listener("forward-proxy")?)
        .send(b"GET http://updates.example.org/ HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let body = String::from_utf8_lossy(&answer.body);
    ensure!(body.starts_with("The egress proxy found no address of this host that it may connect to"), "{body}");
    ensure!(answer.header("server").is_none(), "the proxy poses as a server");
    ensure!(gateway.tls_passthrough("updates.example.org")? == EgressOutcome::Closed, "the same host by SNI");
    Ok(())
}
