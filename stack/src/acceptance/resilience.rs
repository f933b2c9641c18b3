//! Stops each container in turn: requests that depend on it fail, denied requests stay denied, and everything works again
//! after a restart.

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::{Client, wait};

use super::Check;
use super::assertions::{expect_no_connection, expect_refused, expect_status};
use super::stack::{Stack, TIMEOUT};

pub(super) const CHECKS: [Check; 16] = [
    Check { claim: "gateway", run: |s| without(s, "gateway", |s| expect_outage(s, &["path=/orders"])) },
    Check { claim: "app-envoy", run: |s| without(s, "app-envoy", |s| expect_outage(s, &["path=/orders"])) },
    Check { claim: "app", run: |s| without(s, "app", |s| expect_outage(s, &["path=/orders"])) },
    Check {
        claim: "app-canary",
        run: |s| without(s, "app-canary", |s| expect_outage(s, &["path=/version", "x-canary: always"])),
    },
    Check { claim: "postgres-envoy", run: |s| without(s, "postgres-envoy", |s| expect_outage(s, &["path=/orders"])) },
    Check { claim: "postgres", run: |s| without(s, "postgres", |s| expect_outage(s, &["path=/orders"])) },
    Check { claim: "egress-dns", run: |s| without(s, "egress-dns", |s| expect_outage(s, &["path=/orders"])) },
    Check { claim: "egress-zone", run: |s| without(s, "egress-zone", expect_no_outage) },
    Check { claim: "egress", run: |s| without(s, "egress", expect_no_egress) },
    Check { claim: "outside", run: |s| without(s, "outside", expect_no_egress) },
    Check {
        claim: "authorizer",
        run: |s| without(s, "authorizer", |s| expect_outage(s, &["path=/reports", "x-badge: gold"])),
    },
    Check { claim: "spans", run: |s| without(s, "spans", expect_no_outage) },
    Check { claim: "certificates", run: |s| without(s, "certificates", expect_no_outage) },
    Check { claim: "prometheus", run: |s| without(s, "prometheus", expect_no_outage) },
    Check { claim: "visitor", run: without_visitor },
    Check { claim: "an impostor in place of app-envoy gets no request", run: impostor },
];

/// Runs a check while a container is down, and checks that denied requests stay denied.
fn without(s: &Stack, service: &str, while_down: fn(&Stack) -> Result<&'static str>) -> Result<String> {
    while_stopped(s, service, || while_down(s).and_then(|seen| check_denials(s).map(|()| seen)))
}

/// Kills a container, runs `check`, restarts the container and waits until the stack is healthy.
fn while_stopped(s: &Stack, service: &str, check: impl FnOnce() -> Result<&'static str>) -> Result<String> {
    let container = s.container(service)?;
    s.docker(&["kill", container])?;
    let seen = check();
    s.docker(&["start", container])?;
    let seen = seen?;
    s.wait_until_healthy()?;
    check_denials(s)?;
    Ok(format!("{seen}; healthy after restart"))
}

/// Checks that a request which depends on the stopped container is refused.
fn expect_outage(s: &Stack, arguments: &[&str]) -> Result<&'static str> {
    expect_refused(&s.request(arguments)?)?;
    Ok("refused while stopped")
}

/// Checks that external calls fail while the database still answers.
fn expect_no_egress(s: &Stack) -> Result<&'static str> {
    let calls = s.calls()?;
    let succeeded: Vec<_> = calls.iter().filter(|call| call.succeeded).map(|call| call.name.as_str()).collect();
    ensure!(succeeded.len() == 1 && succeeded.iter().all(|name| name.starts_with("PostgreSQL")), "{calls:?}");
    Ok("no external call succeeds while stopped")
}

/// Checks that requests still succeed, because none depends on the stopped container.
fn expect_no_outage(s: &Stack) -> Result<&'static str> {
    expect_status(&s.request(&["path=/checkout"])?, 200)?;
    Ok("no effect while stopped")
}

/// Checks that requests which the policies deny stay denied.
fn check_denials(s: &Stack) -> Result<()> {
    expect_refused(&s.request_app("stranger", &["path=/orders"])?)?;
    expect_refused(&s.probe(&["http", "app-envoy:8000", "path=/orders"])?)?;
    expect_refused(&s.request(&["path=/orders", "user-agent: sqlmap/1.8"])?)?;
    expect_refused(&s.probe(&["tunnel", "egress:15008", "as=app", "host=undeclared.example:443"])?)?;
    expect_no_connection(&s.probe(&["postgres", "postgres-envoy:5432", "as=stranger"])?).map(drop)
}

/// Checks with a client on the host machine, because the container that runs the probes is stopped.
fn without_visitor(s: &Stack) -> Result<String> {
    while_stopped(s, "visitor", || {
        let gateway = s.published("gateway", 8080)?.parse()?;
        let status = Client::plaintext(gateway).get("/orders")?.status;
        ensure!(status == 200, "{status}");
        Ok("an external client is served while stopped")
    })
}

/// Gives the visitor the network alias of the stopped `app-envoy`, where it serves with a valid certificate of its own.
fn impostor(s: &Stack) -> Result<String> {
    let (visitor, app, mesh) = (s.container("visitor")?, s.container("app-envoy")?, s.network("mesh"));
    s.docker(&["exec", "--detach", visitor, "/stack", "impersonate", "stranger", "8000"])?;
    s.docker(&["kill", app])?;
    s.docker(&["network", "disconnect", &mesh, visitor])?;
    s.docker(&["network", "connect", "--alias", "app-envoy", &mesh, visitor])?;
    let refused = gateway_refuses(s);
    s.docker(&["network", "disconnect", &mesh, visitor])?;
    s.docker(&["network", "connect", "--alias", "visitor", &mesh, visitor])?;
    // Stops the impostor's server.
    s.docker(&["restart", "--time", "0", visitor])?;
    s.docker(&["start", app])?;
    s.wait_until_healthy()?;
    refused
}

fn gateway_refuses(s: &Stack) -> Result<String> {
    let refusals = "envoy_cluster_ssl_fail_verify_san{workload=\"gateway\",envoy_cluster_name=\"app\"}";
    let before = s.sum(refusals)?;
    wait::until("the gateway to refuse the impostor", TIMEOUT, || {
        let answer = s.request(&["path=/orders"])?;
        ensure!(answer.get("status").and_then(Value::as_u64) != Some(200), "the gateway accepted the impostor");
        Ok((s.sum(refusals)? > before).then_some(()))
    })?;
    Ok("refused: the certificate has another SAN".to_owned())
}
