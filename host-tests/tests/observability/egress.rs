//! `envoy-config/egress.yaml` under requests that are let out, denied, reported and too many.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{
    CertificateAuthority, Client, EgressGateway, EgressOutcome, Outside, Recorder, SubjectAltName, client_hello,
    response_head, wait,
};

use crate::example::{Filters, LIMIT, Observed, log_with, reset, scrape_when};
use crate::rules::Scene;

const HOST: &str = "updates.example.org";
/// The host of a single tunnel, which is allowed.
pub(crate) const ONCE: &str = "api.partner.example";
/// The host of a single tunnel, which a rule in report mode denies and whose TLS is for another host.
pub(crate) const WATCHED: &str = "watched.partner.example";
/// The host of a single tunnel that no rule lists, in report mode.
pub(crate) const REPORTED: &str = "reported.example.org";
/// The host of a request after that tunnel.
const AFTERWARDS: &str = "afterwards.example.org";
const PAYMENTS: &str = "cluster.local/ns/shop/sa/payments";

const FILTER: &str = "sallyport.egress_allowlist";
const ALLOWED: &str = "wasmcustom.sallyport.egress_allowlist.allowed";
const DENIED: &str = "wasmcustom.sallyport.egress_allowlist.denied";
const WOULD_DENY: &str = "wasmcustom.sallyport.egress_allowlist.would_deny";
const LIMITED: &str = "wasmcustom.sallyport.egress_allowlist.limited";
const REFUSED: [&str; 2] = [
    "extension_config_discovery.http_filter.sallyport.egress_allowlist.config_fail",
    "extension_config_discovery.network_filter.sallyport.egress_allowlist.config_fail",
];

const THRESHOLDS: &str = "/static_resources/clusters/0/circuit_breakers/thresholds/0";

/// Denials that are a jump.
const MANY: u64 = 30;

/// Starts the gateway with room for two connections outside.
fn start(folder: &Path, outside: &Recorder) -> Result<(EgressGateway, Filters)> {
    testbed::build_filters()?;
    let port = outside.address().port();
    let names = [HOST, ONCE, WATCHED, REPORTED].map(|host| (host, Ipv4Addr::LOCALHOST));
    let mut filters = None;
    let change = |configuration: &mut testbed::Configuration| {
        configuration.move_paths("/etc/sallyport", folder);
        let limits = configuration.at(THRESHOLDS)?.as_object_mut().context("no limits")?;
        limits.extend([("max_connections".to_owned(), json!(2)), ("max_pending_requests".to_owned(), json!(1))]);
        let mut discovered = Filters::discovered(configuration, folder)?;
        // The port of the outside in place of that of HTTPS, as the gateway of the tests has it elsewhere.
        discovered.change(FILTER, |filter| {
            *filter = serde_json::from_str(&filter.to_string().replace("443", &port.to_string()))?;
            let rules = filter.pointer_mut("/rules").and_then(Value::as_array_mut).context("no rules")?;
            rules.extend([
                json!({"name": "to-watched", "hosts": [WATCHED], "ports": [port]}),
                json!({"name": "watched", "action": "DENY", "mode": "report", "hosts": [WATCHED]}),
            ]);
            Ok(())
        })?;
        filters = Some(discovered);
        Ok(())
    };
    let gateway = EgressGateway::start_changed(
        "envoy-config/egress.yaml",
        testbed::envoy_binary()?,
        folder,
        &names,
        Outside::new(port, port),
        change,
    )?;
    Ok((gateway, filters.context("the file was not changed")?))
}

/// Asks for a tunnel to a host. Returns the status, and the connection.
fn tunnel(gateway: &EgressGateway, host: &str) -> Result<(u16, Box<dyn testbed::Stream>)> {
    let authority = format!("{host}:{}", gateway.port());
    let mut stream = Client::plaintext(gateway.listener("forward-proxy")?).connect()?;
    let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    let status = response_head(&mut *stream, head.as_bytes())?;
    Ok((status, stream))
}

/// Sends a ClientHello for another host through a tunnel that is ended for it.
fn send_another_hello(gateway: &EgressGateway) -> Result<()> {
    let (status, mut stream) = tunnel(gateway, WATCHED)?;
    ensure!(status == 200, "a tunnel that a rule in report mode denies: {status}");
    stream.write_all(&client_hello(Some(b"other.example.org"))?)?;
    stream.flush()?;
    let mut rest = Vec::new();
    // The gateway closes without a TLS close_notify.
    let _cut = stream.read_to_end(&mut rest);
    ensure!(rest.is_empty(), "an answer through the tunnel: {}", rest.escape_ascii());
    Ok(())
}

/// Opens and ends a tunnel that would be denied, and waits until its end is in the log.
fn end_reported_tunnel(gateway: &EgressGateway) -> Result<()> {
    let (status, stream) = tunnel(gateway, REPORTED)?;
    ensure!(status == 200, "a tunnel that would be denied: {status}");
    drop(stream);
    wait::until("the tunnel to end", LIMIT, || {
        Ok((gateway.envoy().stat("cluster.outside.upstream_cx_active")? == 0).then_some(()))
    })?;
    gateway.forward(&format!("GET / HTTP/1.1\r\nhost: {AFTERWARDS}"))?;
    gateway.log_entry(&[("host", AFTERWARDS)]).map(drop)
}

/// Plays `egress.yaml`.
pub(crate) fn egress() -> Result<Observed> {
    let folder = tempfile::tempdir()?;
    let outside = Recorder::start("")?;
    let (gateway, mut filters) = start(folder.path(), &outside)?;
    let envoy = gateway.envoy();
    let declared = tunnel(&gateway, HOST)?.0;
    ensure!(declared == 200, "a declared host: {declared}");
    let identity = gateway.identity(PAYMENTS)?;
    ensure!(gateway.connect(&identity, "other.example.org")? == EgressOutcome::Status(403), "an undeclared host");
    let _answer = gateway.connect(&identity, ONCE)?;
    let _closed = gateway.tls_passthrough("other.example.org")?;
    send_another_hello(&gateway)?;
    let healthy = scrape_when(envoy, &[ALLOWED, DENIED], 5)?;

    let stranger =
        CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(format!("spiffe://{PAYMENTS}"))])?;
    let client = Client::tls(gateway.listener("mtls")?, Some(&identity))?.with_sni(None);
    reset(envoy, "egress", &client, "GET / HTTP/1.1\r\nhost: other.example.org\r\n\r\n")?;
    let forged = Client::tls(gateway.listener("mtls")?, Some(&stranger))?.get("/");
    ensure!(!forged.is_ok_and(|response| response.status != 0), "a forged certificate gets a response");
    gateway.handshake_failure("CERTIFICATE_VERIFY_FAILED")?;
    for _ in 0..MANY {
        ensure!(tunnel(&gateway, "files.partner.example")?.0 == 403, "a denied host");
    }
    let jump = scrape_when(envoy, &[DENIED], MANY + 4)?;

    filters.spoil(FILTER)?;
    let refused = scrape_when(envoy, &REFUSED, 2)?;

    filters.change(FILTER, |configuration| {
        let keys = configuration.as_object_mut().context("no object")?;
        keys.extend([("mode".to_owned(), json!("report")), ("maxConnectionsPerClient".to_owned(), json!(1))]);
        Ok(())
    })?;
    wait::until("the filter to report", LIMIT, || {
        Ok((gateway.forward("GET / HTTP/1.1\r\nhost: other.example.org")? != EgressOutcome::Status(403)).then_some(()))
    })?;
    end_reported_tunnel(&gateway)?;
    let changed = scrape_when(envoy, &[WOULD_DENY], 3)?;

    // Two connections are all that there are; a third waits, and more are refused.
    let kept: Vec<_> = (0..2).map(|_| tunnel(&gateway, HOST)).collect::<Result<_>>()?;
    ensure!(kept.iter().all(|(status, _)| *status == 200), "tunnels to a declared host");
    let open = scrape_when(envoy, &[LIMITED], 1)?;
    let authority = format!("{HOST}:{}", gateway.port());
    let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    let mut waiting = Client::plaintext(gateway.listener("forward-proxy")?).connect()?;
    waiting.write_all(head.as_bytes())?;
    let full = scrape_when(envoy, &["cluster.outside.upstream_cx_overflow"], 1)?;

    let log = log_with(folder.path(), &["refused_handshake", "upstream", "policy", "flags"])?;
    let samples = full.clone();
    let scenes = vec![
        Scene { condition: "many denials", before: healthy, after: jump.clone(), alerts: &["DenialsJumped"] },
        Scene { condition: "a refused policy", before: jump, after: refused.clone(), alerts: &["FilterFailedToLoad"] },
        Scene { condition: "another policy", before: refused, after: changed, alerts: &["PoliciesDiffer"] },
        Scene { condition: "the last connection", before: open, after: full, alerts: &["WayOutIsFull"] },
    ];
    Ok(Observed { samples, log, scenes })
}
