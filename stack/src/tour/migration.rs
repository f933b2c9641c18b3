//! What changes while the stack runs: certificates, and the mode from report to enforce.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::wait;

use super::Claim;
use super::running::{ENVOYS, LIMIT, Stack, expect, is};

pub(super) const CLAIMS: [Claim; 5] = [
    Claim { name: "certificates are rotated without a lost request", check: rotation },
    Claim { name: "report mode and PERMISSIVE let everything through, without a lost request", check: to_report },
    Claim { name: "what would have been denied is listed", check: listed },
    Claim { name: "then it is enforced, without a restart or a lost request", check: to_enforce },
    Claim { name: "a faulty policy is refused, and the old one holds", check: faulty },
];

/// PERMISSIVE mTLS, and nothing denied by any policy.
pub(super) fn report(s: &Stack) -> Result<()> {
    for file in fs::read_dir(s.policies())? {
        let file = file?.file_name().to_string_lossy().into_owned();
        s.restore(&file)?;
        s.edit(&file, "mode: enforce", "mode: report")?;
        if fs::read_to_string(s.policies().join(&file))?.contains("mode: STRICT") {
            s.edit(&file, "mode: STRICT", "mode: PERMISSIVE")?;
        }
    }
    Ok(())
}

/// What the repository has.
pub(super) fn enforce(s: &Stack) -> Result<()> {
    for file in fs::read_dir(s.policies())? {
        s.restore(&file?.file_name().to_string_lossy())?;
    }
    Ok(())
}

/// From the access logs: who asked whom for what, how often, and the policy and reason of the denial that it would
/// have been.
pub(super) fn would_deny(s: &Stack) -> Result<Vec<String>> {
    let mut counts = BTreeMap::<[String; 6], u32>::new();
    for service in ENVOYS {
        for entry in s.log(service)?.iter().filter(|entry| is(entry, "decision", "would_deny")) {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
            let asked = match service {
                "egress" => format!("CONNECT {}", text("authority")),
                "postgres-envoy" => "a connection".to_owned(),
                _ => text("request"),
            };
            *counts
                .entry([text("workload"), text("principal"), text("peer"), asked, text("policy"), text("reason")])
                .or_default() += 1;
        }
    }
    Ok(counts
        .into_iter()
        .map(|([workload, principal, peer, asked, policy, reason], count)| {
            let who = if principal == "-" { peer } else { principal };
            format!("{count:5} x {workload}: {asked} by {who}, policy {policy}: {reason}")
        })
        .collect())
}

/// How long Envoy has run, by which a restart would show.
fn starts(s: &Stack) -> Result<Vec<String>> {
    ENVOYS
        .iter()
        .map(|service| s.docker(&["inspect", "--format", "{{.State.StartedAt}}", &s.container(service)?]))
        .collect()
}

fn rotation(s: &Stack) -> Result<String> {
    let expiry = || s.sum("envoy_listener_ssl_certificate_expiration_unix_time_seconds");
    let before = wait::until("the expiry to be scraped", LIMIT, || Ok(Some(expiry()?).filter(|sum| *sum > 0.0)))?;
    let flood = s.flood(&["gateway:8080", "path=/orders", "seconds=6"])?;
    let restarts = starts(s)?;
    s.docker(&["exec", &s.container("certificates")?, "/stack", "rotate", "/certificates"])?;
    wait::until("later expiries", LIMIT, || Ok((expiry()? > before).then_some(())))?;
    ensure!(starts(s)? == restarts, "an Envoy was restarted");
    // A new connection is made under the new certificates.
    expect(&s.to_app("gateway", &["path=/orders"])?, 200)?;
    flood.all_had(200)
}

fn to_report(s: &Stack) -> Result<String> {
    without_a_loss(s, report, true)
}

fn listed(s: &Stack) -> Result<String> {
    wait::until("the list to hold all four", LIMIT, || {
        let rows = would_deny(s)?;
        let has = |parts: &[&str]| rows.iter().any(|row| parts.iter().all(|part| row.contains(part)));
        let whole = has(&["app: GET /orders", "sa/stranger"])
            && has(&["app: GET /orders", "by -"])
            && has(&["egress: CONNECT undeclared.example:443"])
            && has(&["postgres: a connection by cluster.local/ns/demo/sa/stranger"]);
        Ok(whole.then(|| format!("{} rows", rows.len())))
    })
}

fn to_enforce(s: &Stack) -> Result<String> {
    without_a_loss(s, enforce, false)
}

/// Changes the mode under a flood of good requests, and waits until it is in effect for everyone who may not.
fn without_a_loss(s: &Stack, change: fn(&Stack) -> Result<()>, open: bool) -> Result<String> {
    let restarts = starts(s)?;
    let flood = s.flood(&["gateway:8080", "path=/orders", "seconds=4"])?;
    change(s)?;
    let tries: [&[&str]; 4] = [
        &["http", "app-envoy:8000", "path=/orders", "as=stranger"],
        &["http", "app-envoy:8000", "path=/orders"],
        &["tunnel", "egress:15008", "as=app", "host=undeclared.example:443"],
        &["postgres", "postgres-envoy:5432", "as=stranger"],
    ];
    for arguments in tries {
        wait::until(&format!("{arguments:?} to be let through: {open}"), LIMIT, || {
            let answer = s.ask(arguments)?;
            let through = matches!(answer.get("status"), Some(status) if *status == 200 || *status == "R");
            Ok((through == open).then_some(()))
        })?;
    }
    ensure!(starts(s)? == restarts, "an Envoy was restarted");
    flood.all_had(200)
}

fn faulty(s: &Stack) -> Result<String> {
    let failures = "envoy_extension_config_discovery_http_filter_config_fail";
    let before = s.sum(failures)?;
    s.edit("app.yaml", "principals:", "principal:")?;
    let counted = wait::until("the refusal to be counted", LIMIT, || Ok((s.sum(failures)? > before).then_some(())));
    let held = expect(&s.to_app("gateway", &["path=/orders"])?, 200)
        .and_then(|_| expect(&s.to_app("stranger", &["path=/orders"])?, 403));
    s.restore("app.yaml")?;
    counted?;
    held?;
    Ok("refused and counted".to_owned())
}
