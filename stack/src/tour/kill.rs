//! Kills each container in turn: what hangs on it is shut while it is down, what is denied stays denied, and all works
//! when it is back.

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::{Client, wait};

use super::Claim;
use super::answer::{expect, no_connection, not_open};
use super::running::{LIMIT, Stack};

pub(super) const CLAIMS: [Claim; 14] = [
    Claim { name: "gateway", check: |s| without(s, "gateway", |s| shut(s, &["path=/orders"])) },
    Claim { name: "app-envoy", check: |s| without(s, "app-envoy", |s| shut(s, &["path=/orders"])) },
    Claim { name: "app", check: |s| without(s, "app", |s| shut(s, &["path=/orders"])) },
    Claim {
        name: "app-canary",
        check: |s| without(s, "app-canary", |s| shut(s, &["path=/version", "x-canary: always"])),
    },
    Claim { name: "postgres-envoy", check: |s| without(s, "postgres-envoy", |s| shut(s, &["path=/orders"])) },
    Claim { name: "postgres", check: |s| without(s, "postgres", |s| shut(s, &["path=/orders"])) },
    Claim { name: "egress", check: |s| without(s, "egress", no_call_outside) },
    Claim { name: "outside", check: |s| without(s, "outside", no_call_outside) },
    Claim { name: "authorizer", check: |s| without(s, "authorizer", |s| shut(s, &["path=/reports", "x-badge: gold"])) },
    Claim { name: "spans", check: |s| without(s, "spans", goes_on) },
    Claim { name: "certificates", check: |s| without(s, "certificates", goes_on) },
    Claim { name: "prometheus", check: |s| without(s, "prometheus", goes_on) },
    Claim { name: "visitor", check: without_visitor },
    Claim { name: "another workload in the place of app-envoy gets no request", check: impostor },
];

/// What is seen while a container is down, and that what is denied stays denied then.
fn without(s: &Stack, service: &str, while_down: fn(&Stack) -> Result<&'static str>) -> Result<String> {
    killed(s, service, || while_down(s).and_then(|seen| denied_stays_denied(s).map(|()| seen)))
}

/// Kills a container, looks, and brings it back.
fn killed(s: &Stack, service: &str, look: impl FnOnce() -> Result<&'static str>) -> Result<String> {
    let container = s.container(service)?;
    s.docker(&["kill", container])?;
    let seen = look();
    s.docker(&["start", container])?;
    let seen = seen?;
    s.until_it_works()?;
    denied_stays_denied(s)?;
    Ok(format!("{seen}, all working after"))
}

/// What hangs on the container.
fn shut(s: &Stack, question: &[&str]) -> Result<&'static str> {
    not_open(&s.client(question)?)?;
    Ok("shut while down")
}

/// The database, which is within, goes on.
fn no_call_outside(s: &Stack) -> Result<&'static str> {
    let calls = s.calls()?;
    let through: Vec<_> = calls.iter().filter(|call| call.through).map(|call| call.name.as_str()).collect();
    ensure!(through.len() == 1 && through.iter().all(|name| name.starts_with("PostgreSQL")), "{calls:?}");
    Ok("nothing goes out while down")
}

/// What no request hangs on: all go on, and are decided.
fn goes_on(s: &Stack) -> Result<&'static str> {
    expect(&s.client(&["path=/checkout"])?, 200)?;
    Ok("requests decided as before while down")
}

fn denied_stays_denied(s: &Stack) -> Result<()> {
    not_open(&s.to_app("stranger", &["path=/orders"])?)?;
    not_open(&s.ask(&["http", "app-envoy:8000", "path=/orders"])?)?;
    not_open(&s.client(&["path=/orders", "user-agent: sqlmap/1.8"])?)?;
    not_open(&s.ask(&["tunnel", "egress:15008", "as=app", "host=undeclared.example:443"])?)?;
    no_connection(&s.ask(&["postgres", "postgres-envoy:5432", "as=stranger"])?).map(drop)
}

/// Nobody within is left to ask, so a client outside does.
fn without_visitor(s: &Stack) -> Result<String> {
    killed(s, "visitor", || {
        let gateway = s.published("gateway", 8080)?.parse()?;
        let status = Client::plaintext(gateway).get("/orders")?.status;
        ensure!(status == 200, "{status}");
        Ok("a client outside served while down")
    })
}

/// The visitor takes the name of `app-envoy` while that is down, and serves with a good certificate of its own.
fn impostor(s: &Stack) -> Result<String> {
    let (visitor, app, mesh) = (s.container("visitor")?, s.container("app-envoy")?, s.network("mesh"));
    s.docker(&["exec", "--detach", visitor, "/stack", "impersonate", "stranger", "8000"])?;
    s.docker(&["kill", app])?;
    s.docker(&["network", "disconnect", &mesh, visitor])?;
    s.docker(&["network", "connect", "--alias", "app-envoy", &mesh, visitor])?;
    let refused = gateway_refuses(s);
    s.docker(&["network", "disconnect", &mesh, visitor])?;
    s.docker(&["network", "connect", "--alias", "visitor", &mesh, visitor])?;
    // It goes on serving otherwise.
    s.docker(&["restart", "--time", "0", visitor])?;
    s.docker(&["start", app])?;
    s.until_it_works()?;
    refused
}

fn gateway_refuses(s: &Stack) -> Result<String> {
    let refusals = "envoy_cluster_ssl_fail_verify_san{workload=\"gateway\",envoy_cluster_name=\"app\"}";
    let before = s.sum(refusals)?;
    wait::until("the gateway to refuse the impostor", LIMIT, || {
        let answer = s.client(&["path=/orders"])?;
        ensure!(answer.get("status").and_then(Value::as_u64) != Some(200), "the gateway took it for app-envoy");
        Ok((s.sum(refusals)? > before).then_some(()))
    })?;
    Ok("refused: not who was asked for".to_owned())
}
