//! Kills each container in turn: what hangs on it is shut while it is down, what is denied stays denied, and all works
//! when it is back.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Claim;
use super::running::{Stack, expect};

pub(super) const CLAIMS: [Claim; 12] = [
    Claim { name: "gateway", check: |s| without(s, "gateway", |s| not_open(&s.client(&["path=/orders"])?)) },
    Claim { name: "app-envoy", check: |s| without(s, "app-envoy", |s| not_open(&s.client(&["path=/orders"])?)) },
    Claim { name: "app", check: |s| without(s, "app", |s| not_open(&s.client(&["path=/orders"])?)) },
    Claim {
        name: "app-canary",
        check: |s| without(s, "app-canary", |s| not_open(&s.client(&["path=/version", "x-canary: always"])?)),
    },
    Claim {
        name: "postgres-envoy",
        check: |s| without(s, "postgres-envoy", |s| not_open(&s.client(&["path=/orders"])?)),
    },
    Claim { name: "postgres", check: |s| without(s, "postgres", |s| not_open(&s.client(&["path=/orders"])?)) },
    Claim { name: "egress", check: |s| without(s, "egress", no_call_outside) },
    Claim { name: "outside", check: |s| without(s, "outside", no_call_outside) },
    Claim {
        name: "authorizer",
        check: |s| without(s, "authorizer", |s| not_open(&s.client(&["path=/reports", "x-badge: gold"])?)),
    },
    Claim { name: "spans", check: |s| without(s, "spans", still_decides) },
    Claim { name: "certificates", check: |s| without(s, "certificates", still_decides) },
    Claim { name: "prometheus", check: |s| without(s, "prometheus", still_decides) },
];

fn without(s: &Stack, service: &str, is_shut: fn(&Stack) -> Result<()>) -> Result<String> {
    let container = s.container(service)?;
    s.docker(&["kill", &container])?;
    let shut = is_shut(s).and_then(|()| denied_stays_denied(s));
    s.docker(&["start", &container])?;
    shut?;
    s.until_it_works()?;
    denied_stays_denied(s)?;
    Ok("shut, then working".to_owned())
}

fn not_open(answer: &Value) -> Result<()> {
    ensure!(answer.get("status").and_then(Value::as_u64).is_none_or(|status| status >= 400), "open: {answer}");
    Ok(())
}

fn no_call_outside(s: &Stack) -> Result<()> {
    let calls = s.calls()?;
    let through = calls.iter().filter(|(_, through)| *through).count();
    ensure!(through == 1, "{calls:?}");
    Ok(())
}

/// What nothing else hangs on: requests go on, and are decided.
fn still_decides(s: &Stack) -> Result<()> {
    expect(&s.client(&["path=/orders"])?, 200).map(drop)
}

fn denied_stays_denied(s: &Stack) -> Result<()> {
    not_open(&s.to_app("stranger", &["path=/orders"])?)?;
    not_open(&s.ask(&["http", "app-envoy:8000", "path=/orders"])?)?;
    not_open(&s.ask(&["tunnel", "egress:15008", "as=app", "host=undeclared.example:443"])?)?;
    let database = s.ask(&["postgres", "postgres-envoy:5432", "as=stranger"])?;
    ensure!(database.get("error").is_some(), "open: {database}");
    Ok(())
}
