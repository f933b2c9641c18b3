//! The limits of `envoy-config/egress.yaml` with smaller numbers: connections outside for all, and requests of one client.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Client, Configuration, EgressGateway, Outside, Recorder, Stream, response_head, wait};

const HOST: &str = "updates.example.org";
const LIMIT: Duration = Duration::from_secs(20);

/// JSON pointers to the limits in the file.
const THRESHOLDS: &str = "/static_resources/clusters/0/circuit_breakers/thresholds/0";
const RATE: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/3/typed_config/descriptors/0/token_bucket";

/// Starts a gateway, after a change of its file, before a server that keeps connections open.
fn start(change: impl FnOnce(&mut Configuration) -> Result<()>) -> Result<(EgressGateway, Recorder, TempDir)> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let server = Recorder::start("")?;
    let outside = Outside::new(server.address().port(), server.address().port());
    let names = [(HOST, Ipv4Addr::LOCALHOST)];
    let gateway = EgressGateway::start_changed(
        "envoy-config/egress.yaml",
        testbed::envoy_binary()?,
        folder.path(),
        &names,
        outside,
        change,
    )?;
    Ok((gateway, server, folder))
}

/// Puts numbers in place of those that the file has for these keys.
fn set(configuration: &mut Configuration, pointer: &str, numbers: &[(&str, Value)]) -> Result<()> {
    for (key, number) in numbers {
        *configuration.at(&format!("{pointer}/{key}"))? = number.clone();
    }
    Ok(())
}

#[test]
fn beyond_all_connections_some_wait_and_the_next_client_gets_503_at_once() -> Result<()> {
    let (gateway, _server, _folder) = start(|configuration| {
        set(configuration, THRESHOLDS, &[("max_connections", json!(3)), ("max_pending_requests", json!(2))])
    })?;
    let client = Client::plaintext(gateway.listener("forward-proxy")?);
    let authority = format!("{HOST}:{}", gateway.port());
    let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    let mut tunnels: Vec<Box<dyn Stream>> = Vec::new();
    for number in 0..3 {
        let mut stream = client.connect()?;
        let status = response_head(&mut *stream, head.as_bytes())?;
        ensure!(status == 200, "tunnel {number}: {status}");
        tunnels.push(stream);
    }
    let mut waiting = Vec::new();
    for number in 1..=2 {
        let mut stream = client.connect()?;
        stream.write_all(head.as_bytes())?;
        waiting.push(stream);
        wait::until("a request that waits for a connection", LIMIT, || {
            let pending = gateway.envoy().stat("cluster.outside.upstream_rq_pending_active")?;
            Ok((pending == number).then_some(()))
        })?;
    }
    let refused = client.send(head.as_bytes())?;
    ensure!(refused.status == 503, "{refused:?}");
    let entry = gateway.log_entry(&[("flags", "UO")])?;
    ensure!(entry.get("status") == Some(&json!(503)), "{entry}");
    // The alert WayOutIsFull is about this counter, and says so as soon as somebody waits.
    let overflow = gateway.envoy().stat("cluster.outside.upstream_cx_overflow")?;
    ensure!(overflow >= 2, "{overflow} counted");

    tunnels.pop();
    let first = waiting.first_mut().map(|stream| response_head(&mut **stream, b"")).transpose()?;
    ensure!(first == Some(200), "who waited gets {first:?}");
    Ok(())
}

#[test]
fn a_client_that_asks_too_often_is_told_so_and_others_are_served() -> Result<()> {
    let (gateway, server, _folder) = start(|configuration| {
        let rate = [("max_tokens", json!(3)), ("tokens_per_fill", json!(1)), ("fill_interval", json!("3600s"))];
        set(configuration, RATE, &rate)
    })?;
    let address = gateway.listener("forward-proxy")?;
    let client = |last: u8| Client::plaintext(address).with_source_address(Ipv4Addr::new(127, 0, 0, last));
    let (greedy, modest) = (client(2), client(3));
    let head = format!("GET http://{HOST}:{}/ HTTP/1.1\r\nhost: x\r\n\r\n", server.address().port());
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(greedy.send(head.as_bytes())?.status);
    }
    ensure!(statuses == [200, 200, 200, 429, 429], "{statuses:?}");
    ensure!(modest.send(head.as_bytes())?.status == 200, "another client is refused too");
    Ok(())
}
